"""Reliability diagrams as inline SVG: what was stated against what came, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hydra.tournament.calibration import (
    Bin,
    base_rate,
    base_rate_brier,
    brier,
    reliability,
    resolved,
)
from hydra.tournament.season import TicketRow

LEAST_CASES = 10  # fewer say little of a probability
WIDTH, HEIGHT = 266, 246
LEFT, TOP, SIDE = 52, 8, 196  # of the square within
_LARGEST_DOT, _SMALLEST_DOT = 13.0, 2.5
_Z = 1.6449  # normal quantile: nine of ten


@dataclass(slots=True)
class Cases:
    """Tickets whose engine stated a probability: those it can be judged by, and the rest."""

    stated: list[float]
    came: list[bool]
    untested: int = 0  # ended otherwise than at target or stop
    tagged: int = 0  # of those it is judged by: decided before a knowledge cutoff

    @classmethod
    def of(cls, tickets: Iterable[TicketRow]) -> Cases:
        """Of tickets that are over; open ones are left out."""
        found = cls([], [])
        for ticket in tickets:
            if ticket.target_first is None or ticket.status != "CLOSED":
                continue
            came = resolved(ticket.exit_reason or "")
            if came is None:
                found.untested += 1
                continue
            found.stated.append(ticket.target_first)
            found.came.append(came)
            found.tagged += bool(ticket.tag)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A part of the statements: where it lies, how large it is, how far its share may be off."""

    x: float
    y: float
    radius: float  # its area goes with the number of cases
    low_y: float  # of the interval
    high_y: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """One engine's, or one family's; no dots where there are too few cases."""

    name: str
    look: str
    dots: tuple[Dot, ...]
    cases: int
    brier: float | None
    base_brier: float | None
    base: float | None  # share of tickets whose target came first
    untested: int
    tagged: int
    says: str


def diagram(name: str, look: str, cases: Cases) -> Diagram:
    """What the template draws. Raises ValueError where a probability lies outside 0 to 1."""
    count = len(cases.came)
    is_enough = count >= LEAST_CASES
    bins = reliability(cases.stated, cases.came) if is_enough else ()
    score = brier(cases.stated, cases.came) if is_enough else None
    base_score = base_rate_brier(cases.came) if is_enough else None
    says = f"{name}: {count} tickets with a stated probability ended at target or stop"
    if score is not None and base_score is not None:
        told = "; ".join(_told(one) for one in bins)
        says += f"; Brier score {score:.3f}, base rate {base_score:.3f}; {told}"
    return Diagram(
        name=name,
        look=look,
        dots=tuple(_dot(one, count) for one in bins),
        cases=count,
        brier=score,
        base_brier=base_score,
        base=base_rate(cases.came) if count else None,
        untested=cases.untested,
        tagged=cases.tagged,
        says=says,
    )


def x_of(probability: float) -> float:
    return round(LEFT + SIDE * probability, 1)


def y_of(share: float) -> float:
    return round(TOP + SIDE * (1.0 - share), 1)


def _dot(one: Bin, total: int) -> Dot:
    low, high = wilson(round(one.came * one.cases), one.cases)
    return Dot(
        x=x_of(one.stated),
        y=y_of(one.came),
        radius=round(max(_SMALLEST_DOT, _LARGEST_DOT * math.sqrt(one.cases / total)), 1),
        low_y=y_of(low),
        high_y=y_of(high),
        says=f"{_told(one)}; nine times in ten between {low:.0%} and {high:.0%}",
    )


def _told(one: Bin) -> str:
    came = f"the target came first in {one.came:.0%}"
    return f"{one.cases} stated at {one.stated:.2f} on average: {came}"


def wilson(successes: int, cases: int, z: float = _Z) -> tuple[float, float]:
    """Interval of a share, inside 0 to 1; `cases` is at least 1.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference,
    Journal of the American Statistical Association 22, 1927.
    """
    share, z2 = successes / cases, z * z
    centre = (share + z2 / (2 * cases)) / (1 + z2 / cases)
    reach = z / (1 + z2 / cases) * math.sqrt(share * (1 - share) / cases + z2 / (4 * cases**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def frame() -> dict[str, object]:
    """The square that the dots of every diagram lie in, and its round shares."""
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": LEFT + SIDE,
        "top": TOP,
        "bottom": TOP + SIDE,
        "ticks": [(f"{i / 4:.0%}", x_of(i / 4), y_of(i / 4)) for i in range(5)],
    }
