"""Who has to leave the tournament: the last of those that can be judged, if it lost money.

Judged are engines that play and hold a rank (references and those of whom nothing counts hold
none) and have enough closed trades that count. The last of them by rank leaves, one at a time,
when its net P&L is below zero. One alone is not last: else who trades first would go before the
others can be judged; a draw at the last place sends nobody away either. So many engines as there
are weights to give go on playing: with that many or fewer nobody is judged at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hydra.errors import ConfigError
from hydra.guardian.verdicts import usd
from hydra.tournament.ranking import RANK_WEIGHTS, Standing, State

MOST_H = 8_760  # a year


class EliminationRules(msgspec.Struct, frozen=True, kw_only=True):
    """When it is judged, and whom. Raises ConfigError on what makes no sense."""

    every_h: int = 0  # market time from the season's start; 0: never
    least_trades: int = 3  # closed ones that count, to be judged
    least_playing: int = len(RANK_WEIGHTS)  # with a rank, once one has left

    def __post_init__(self) -> None:
        if not 0 <= self.every_h <= MOST_H:
            raise ConfigError(
                f"elimination every {self.every_h} h: it must lie between 0 (never) and {MOST_H}"
                " (a year); set it with --eliminate-every"
            )
        if self.least_trades < 1 or self.least_playing < 1:
            raise ConfigError(
                f"elimination of who has {self.least_trades} trades, down to {self.least_playing}"
                " engines: both must be at least 1"
            )


NO_ELIMINATION = EliminationRules()


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one judgement."""

    engine: str | None  # who leaves; None: nobody
    text: str  # why, with figures


def judge(places: Sequence[Standing], rules: EliminationRules) -> Judgement:
    """Who of the standings leaves now."""
    playing = [
        place for place in places if place.rank is not None and place.entrant.state is State.PLAYING
    ]
    if len(playing) <= rules.least_playing:
        return _nobody(
            f"{len(playing)} engines with a rank play, and {rules.least_playing} have to go on"
        )
    judged = [one for one in playing if one.entrant.counted_trades >= rules.least_trades]
    if len(judged) < 2:
        who = f"only {judged[0].entrant.engine}" if judged else "none"
        return _nobody(
            f"{who} of {len(playing)} engines has {rules.least_trades} closed trades yet"
        )
    worst = max(one.rank or 0 for one in judged)
    last = [one.entrant for one in judged if one.rank == worst]
    whose = f"of {len(judged)} judged (at least {rules.least_trades} closed trades each)"
    if last[0].net_pnl_units >= 0:
        return _nobody(
            f"the last {whose}, {last[0].engine}, lost nothing: net P&L"
            f" {usd(last[0].net_pnl_units)}"
        )
    if len(last) > 1:
        return _nobody(
            f"{' and '.join(one.engine for one in last)} share the last place {whose}:"
            f" net P&L {usd(last[0].net_pnl_units)}"
        )
    (one,) = last
    next_up = min(
        (other.entrant for other in judged if other.entrant is not one),
        key=lambda other: (other.net_pnl_units, other.engine),
    )
    return Judgement(
        engine=one.engine,
        text=f"last {whose}: net P&L {usd(one.net_pnl_units)} after {one.counted_trades} trades,"
        f" {usd(next_up.net_pnl_units - one.net_pnl_units)} behind {next_up.engine}",
    )


def _nobody(text: str) -> Judgement:
    return Judgement(engine=None, text=f"nobody is eliminated: {text}")
