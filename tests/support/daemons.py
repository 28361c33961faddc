"""A small live season for tests: one symbol, an engine that buys once, bars and candles by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from apps.cli.models import Models
from apps.runtime import status
from apps.runtime.backlog import Backlog
from apps.runtime.daemon import Daemon
from apps.runtime.live_season import LiveSeason, no_bars
from apps.runtime.sentinel import Pulse
from hydra.clock import NS_PER_S, Clock, ManualClock
from hydra.engines.protocol import Engine
from hydra.engines.view import View
from hydra.feeds.minutes import Minute
from hydra.feeds.replay import streams_of
from hydra.feeds.tables import rows_between
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.resample import resampled
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Close
from hydra.storage.bars import SeasonBars
from hydra.storage.store import SqlSeasonStore
from hydra.tournament.season import SeasonRow
from tests.support.bars import START_NS, a_table
from tests.support.seasons import USD, a_contestant

MINUTE_NS = 60 * NS_PER_S
SYMBOL = "BTC-USD"
NAME = "live"


@dataclass
class Bars:
    """The market of a test, as a live source tells it and as its venue remembers it."""

    closes: Sequence[float]
    unfit: Mapping[int, str] = field(default_factory=dict)  # by row
    unheard: frozenset[int] = frozenset()  # rows of which a live source has no bar

    @property
    def table(self) -> BarTable:
        return a_table(SYMBOL, list(self.closes), "1m")

    def row(self, row: int) -> BarTable:
        return rows_between(self.table, row, row + 1)

    def minute(self, row: int) -> Minute:
        close_ns = START_NS + (row + 1) * MINUTE_NS
        if row in self.unheard:
            return Minute(close_ns, {}, {SYMBOL: "not heard"})
        return Minute(close_ns, {SYMBOL: self.row(row)}, {SYMBOL: self.unfit.get(row, "")})

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        first, last = np.searchsorted(self.table.open_ns, [start_ns, end_ns])
        return {SYMBOL: rows_between(self.table, int(first), int(last))}


class Rows:
    """A source: the market's rows, one after the other, then `end`, or for ever nothing."""

    def __init__(
        self, market: Bars, rows: Iterable[int], *, before: Callable[[int], object] = lambda row: 0,
        end: BaseException | None = None, waits: bool = False,
    ) -> None:  # fmt: skip
        """`before` is called with each row before it is given."""
        self._market = market
        self._rows = list(rows)
        self._before = before
        self._end = end
        self._waits = waits
        self.is_closed = False

    async def minutes(self) -> AsyncIterator[Minute]:
        for row in self._rows:
            self._before(row)
            yield self._market.minute(row)
        if self._end is not None:
            raise self._end
        if self._waits:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.is_closed = True


class Buyer:
    """Buys once; notes when it is asked."""

    features = ()

    def __init__(self) -> None:
        self.asked: list[float] = []

    def decide(self, view: View) -> Any:
        self.asked.append(view.close)
        if len(view.bars(100).close) == 1:
            return [view.buy(stop=95.0, lots=Decimal(1))]
        return ()


class Watcher:
    """Closes what it does not have, which is refused and so leaves a record; notes what it saw."""

    features = ()

    def __init__(self) -> None:
        self.seen: list[float] = []

    def decide(self, view: View) -> Any:
        self.seen.append(view.close)
        return [Close(ticket=len(view.bars(100).close))]


def live_season(engine: Engine, coarse: Watcher | None = None, **of_the_plan: Any) -> LiveSeason:
    """A season of one engine over bars of a minute, without costs or limits; and, where `coarse`
    is given, of one that watches bars of five minutes."""
    empty = no_bars(a_table(SYMBOL, [100.0], "1m").instrument, MINUTE_NS)
    values: dict[str, Any] = {
        "mode": "independent", "profile": profile("none"), "costs": costs_named("none"), "seed": 1,
        "start_ns": START_NS, "sample_ns": MINUTE_NS, "initial_units": 25_000 * USD,
        "luck_traders": 0, "bootstrap_replicates": 2, "is_live": True, "commit_ms": 0, "poll_ms": 0,
    }  # fmt: skip
    tables, contestants = [empty], [a_contestant("buyer", engine)]
    if coarse is not None:
        tables.append(resampled(empty, 5 * MINUTE_NS))
        contestants.append(a_contestant("watcher", coarse, resolution_ns=5 * MINUTE_NS))
    return LiveSeason(
        row=SeasonRow(
            name=NAME, mode="independent", profile="none", seed=1,
            initial_units=25_000 * USD, settings={"feed": {}}, inputs=(),
        ),
        plan=SeasonPlan(**(values | of_the_plan)),
        contestants=tuple(contestants),
        absent=(),
        gladiators=(),
        models="off",
        streams=streams_of(tables),
        empty={SYMBOL: empty},
        instruments={SYMBOL: empty.instrument},
    )  # fmt: skip


def a_board(home: Path) -> status.Board:
    return status.Board(
        status.path_of(home, NAME),
        status.Status(season=NAME, state="starting", pid=1, db="", started_ns=0, updated_ns=0),
    )


def a_daemon(
    season: LiveSeason, url: str, store: SqlSeasonStore, backlog: Backlog, home: Path, **more: Any
) -> Daemon:
    """A daemon of the season; `more` are its other fields."""
    clock: Clock = ManualClock(START_NS)
    fields: dict[str, Any] = {
        "past": None, "clock": clock, "pulse": Pulse(bar_s=60.0), "board": a_board(home),
        "say": lambda text: None,
    }  # fmt: skip
    return Daemon(
        season=season,
        store=store,
        kept=SeasonBars(url, store.season_id),
        models=Models(url),
        backlog=backlog,
        warm_bars=0,
        **(fields | more),
    )
