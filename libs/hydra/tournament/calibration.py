"""How far stated probabilities can be trusted: Brier score, reliability, what a base rate scores.

An engine that opens a ticket may state the probability that its target comes before its stop.
Once the ticket is over it is known what came, and the two are held against each other here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


class Bin(NamedTuple):
    """The statements between two probabilities, `low` included; `high` too where it is 1."""

    low: float
    high: float
    cases: int
    stated: float  # mean of what was stated
    came: float  # share that came


class Murphy(NamedTuple):
    """What a Brier score is made of: reliability - resolution + uncertainty."""

    reliability: float  # how far shares lie from what was stated; 0 is perfect
    resolution: float  # how far statements tell cases apart; more is better
    uncertainty: float  # of the matter itself: base rate x (1 - base rate)


def resolved(reason: str) -> bool | None:
    """Whether the target came first, by the reason for which a ticket closed.

    None for everything but "target" and "stop": the statement was never put to the test. Such
    tickets are counted apart; scoring them either way would reward closing early.
    """
    return {"target": True, "stop": False}.get(reason)


def brier(stated: Sequence[float], came: Sequence[bool]) -> float:
    """Mean squared difference of probability and outcome: 0 is perfect, 1 the worst.

    Always stating 0.5 scores 0.25. `stated` and `came` are (n,). Raises ValueError unless they
    are of one length above 0 and every probability lies from 0 to 1.
    Source: G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly
    Weather Review 78, 1950 (for two outcomes he adds up both, which doubles the score).
    """
    p, o = _columns(stated, came)
    return float(np.square(p - o).mean())


def base_rate(came: Sequence[bool]) -> float:
    """The share that came. Raises ValueError where there is nothing."""
    if not len(came):
        raise ValueError("nothing has come or failed to come yet")
    return float(np.mean(np.asarray(came, np.float64)))


def base_rate_brier(came: Sequence[bool]) -> float:
    """What always stating the base rate would have scored: base rate x (1 - base rate).

    Whoever scores higher has told these cases apart worse than one who knew only how many came.
    """
    share = base_rate(came)
    return share * (1.0 - share)


def reliability(stated: Sequence[float], came: Sequence[bool], bins: int = 5) -> tuple[Bin, ...]:
    """The points of a reliability diagram: `bins` equal parts of 0 to 1, those with statements.

    Raises ValueError as `brier` does, and for fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins: take at least one")
    p, o = _columns(stated, came)
    # Not int(p x bins): 0.29 x 100 is 28.999… in floats, while 29 / 100 is 0.29 itself.
    edges = np.arange(1, bins) / bins
    place = np.searchsorted(edges, p, side="right")
    found = []
    for index in np.unique(place).tolist():
        there = place == index
        found.append(
            Bin(
                low=index / bins,
                high=(index + 1) / bins,
                cases=int(there.sum()),
                stated=float(p[there].mean()),
                came=float(o[there].mean()),
            )
        )
    return tuple(found)


def murphy(stated: Sequence[float], came: Sequence[bool]) -> Murphy:
    """The three parts of the Brier score; reliability - resolution + uncertainty equals it.

    Statements are grouped by their very value, which makes the identity exact; groups of
    neighbouring values would leave a rest. Raises ValueError as `brier` does.
    Source: A. H. Murphy, A New Vector Partition of the Probability Score, Journal of Applied
    Meteorology 12, 1973.
    """
    p, o = _columns(stated, came)
    values, group, counts = np.unique(p, return_inverse=True, return_counts=True)
    shares = np.bincount(group, weights=o) / counts
    weights, mean = counts / len(o), float(o.mean())
    return Murphy(
        reliability=float((weights * np.square(values - shares)).sum()),
        resolution=float((weights * np.square(shares - mean)).sum()),
        uncertainty=mean * (1.0 - mean),
    )


def _columns(stated: Sequence[float], came: Sequence[bool]) -> tuple[Float64, Float64]:
    p, o = np.asarray(stated, np.float64), np.asarray(came, np.float64)
    if len(p) != len(o) or not len(p):
        raise ValueError(
            f"{len(p)} probabilities for {len(o)} outcomes: take one each, some at least"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a probability lies from 0 to 1")
    return p, o
