"""Who stands where, and what weight that earns: exact, with every rule written down.

**Rank.** By net P&L in money units, after all costs. An engine whose account breached its
guardian's limits ranks below all others, whatever it earned: the account is lost. A benched or
eliminated engine keeps the P&L it has and ranks by it: what it earned was earned. References
(buy and hold, flat) hold no rank; their line stands where their P&L puts it, so that everyone
sees who beat them. So does the line of a model that has so far decided only on prices from
before its knowledge cutoff, which it may have read about; afterwards it ranks by what its later
decisions make. Equal P&L is equal rank, and the next rank is left out (1, 1, 3).

**Weight.** The best playing engine takes 40 %, the next 30, 20 and 10 %; from the fifth on it is
nothing. A benched, breached or eliminated engine takes none, and the next playing one moves up
into its weight: a weight is money for the future, and it cannot trade. Engines of equal rank
share the mean of the weights they cover. With fewer than four playing, the weights are scaled to
sum to 1 (three: 4/9, 3/9, 2/9); with none playing there are no weights and the house stays in
cash.

**Statistical ties.** With `Weights.BY_CONFIDENCE` engines whose confidence sets of ranks overlap,
directly or through others, share their weights as equals do. The rank shown stays that of P&L.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction

import msgspec

from hydra.errors import ConfigError

RANK_WEIGHTS = (Fraction(40, 100), Fraction(30, 100), Fraction(20, 100), Fraction(10, 100))


class State(StrEnum):
    """How an engine stands with the season (`EngineRow.state`)."""

    PLAYING = "playing"
    BENCHED = "benched"
    BREACHED = "breached"
    ELIMINATED = "eliminated"


class Weights(StrEnum):
    """What decides the weights."""

    BY_PNL = "pnl"
    BY_CONFIDENCE = "confidence"


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """A contestant, as the ranking needs it."""

    engine: str
    net_pnl_units: int  # since the season's start, after all costs
    state: State = State.PLAYING
    is_reference: bool = False
    is_tagged: bool = False  # nothing that it has decided counts for a rank
    trades: int = 0  # closed tickets
    counted_trades: int = 0  # of those, what counts for its rank
    wins: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An entrant in its place."""

    entrant: Entrant
    rank: int | None  # 1 is first; None: a reference, or nothing of it counts
    weight: Fraction  # of the house account; all weights sum to 1, or to 0 with nobody playing

    @property
    def points(self) -> Fraction:
        """What this standing earns in one scoring cycle: its weight in percent."""
        return 100 * self.weight


def standings(
    entrants: Iterable[Entrant],
    *,
    weights_by: Weights = Weights.BY_PNL,
    rank_sets: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[Standing, ...]:
    """All entrants, best first; equal ones by name.

    `rank_sets` holds (best, worst) rank of an engine; one without a set is taken to have its own
    rank alone. Raises ConfigError when two entrants have one name, or when weights go by
    confidence and there are no sets.
    """
    field = sorted(entrants, key=lambda e: (e.state is State.BREACHED, -e.net_pnl_units, e.engine))
    names = [entrant.engine for entrant in field]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConfigError(f"standings: two engines named {', '.join(twice)}; rename one")
    if weights_by is Weights.BY_CONFIDENCE and rank_sets is None:
        raise ConfigError("standings: weights by confidence need the engines' sets of ranks")

    ranks = _ranks(field)
    playing = [e.engine for e in field if e.engine in ranks and e.state is State.PLAYING]
    if weights_by is Weights.BY_CONFIDENCE and rank_sets is not None:
        sets = {name: rank_sets.get(name, (ranks[name], ranks[name])) for name in playing}
        groups = _overlapping(sets)
    else:
        groups = _equal(playing, ranks)
    weights = _weights(groups)
    return tuple(
        Standing(
            entrant=entrant,
            rank=ranks.get(entrant.engine),
            weight=weights.get(entrant.engine, Fraction(0)),
        )
        for entrant in field
    )


def _ranks(field: Sequence[Entrant]) -> dict[str, int]:
    """Rank of each competitor in a sorted field; equals take the first of their places."""
    ranks: dict[str, int] = {}
    before: tuple[bool, int] | None = None
    rank = 0
    for place, entrant in enumerate(
        (e for e in field if not (e.is_reference or e.is_tagged)), start=1
    ):
        merit = (entrant.state is State.BREACHED, entrant.net_pnl_units)
        if merit != before:
            rank, before = place, merit
        ranks[entrant.engine] = rank
    return ranks


def _equal(playing: Sequence[str], ranks: Mapping[str, int]) -> list[list[str]]:
    """Engines of one rank together, best first."""
    groups: dict[int, list[str]] = {}
    for name in playing:
        groups.setdefault(ranks[name], []).append(name)
    return [groups[rank] for rank in sorted(groups)]


def _overlapping(sets: Mapping[str, tuple[int, int]]) -> list[list[str]]:
    """Engines whose sets overlap together, also through others, best first."""
    groups: list[list[str]] = []
    reach = 0
    for name in sorted(sets, key=lambda name: (sets[name], name)):
        best, worst = sets[name]
        if groups and best <= reach:
            groups[-1].append(name)
        else:
            groups.append([name])
        reach = max(reach, worst)
    return groups


def _weights(groups: Sequence[Sequence[str]]) -> dict[str, Fraction]:
    """40/30/20/10 down the groups; each member takes the mean of what its group covers."""
    count = sum(len(group) for group in groups)
    scale = sum(RANK_WEIGHTS[:count], Fraction(0))
    weights: dict[str, Fraction] = {}
    place = 0
    for group in groups:
        covered = sum(RANK_WEIGHTS[place : place + len(group)], Fraction(0))
        weights |= dict.fromkeys(group, covered / scale / len(group))
        place += len(group)
    return weights
