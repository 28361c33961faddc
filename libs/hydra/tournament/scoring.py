"""The table of points: each scoring cycle adds every engine's weight in percent."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hydra.tournament.ranking import Standing
from hydra.tournament.season import ScoreRow


class Scoreboard:
    """Counts the points of a season. Exact: the same cycles give the same totals."""

    def __init__(self) -> None:
        self._totals: dict[str, Fraction] = {}
        self._cycle = 0

    def score(self, standings: Sequence[Standing], at_ns: int) -> tuple[ScoreRow, ...]:
        """Close a scoring cycle: add its points, return its rows in the order of standings."""
        self._cycle += 1
        rows = []
        for standing in standings:
            entrant = standing.entrant
            total = self._totals.get(entrant.engine, Fraction(0)) + standing.points
            self._totals[entrant.engine] = total
            rows.append(
                ScoreRow(
                    at_ns=at_ns,
                    scoring_cycle=self._cycle,
                    engine=entrant.engine,
                    rank=standing.rank,
                    total_points=float(total),
                    weight=float(standing.weight),
                    net_pnl_units=entrant.net_pnl_units,
                    trades=entrant.trades,
                    wins=entrant.wins,
                )
            )
        return tuple(rows)

    def total(self, engine: str) -> Fraction:
        """Points of an engine so far."""
        return self._totals.get(engine, Fraction(0))
