"""Plays a season on a market that goes on, until it ends or is told to stop.

The order of things is what makes a death at any moment harmless. A minute's bars are kept
durably, then they are played, then what came of them is committed. On start the kept bars are
played again, which gives the same season; what is missing since then is made up for from the
venue's candles, on which orders are settled and nobody is asked; then the market goes on.

A fault of the database is such a death, but of the `Daemon` alone: the `Supervisor` makes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from apps.cli.models import Models
from apps.runtime.backlog import Backlog
from apps.runtime.kept import LATE, MADE_UP, chunk_of, show_warm
from apps.runtime.live_season import LiveSeason
from apps.runtime.sentinel import Pulse
from apps.runtime.status import Board
from hydra.clock import NS_PER_S, Clock, monotonic_ns
from hydra.errors import VenueDown
from hydra.feeds.cycles import Cycles
from hydra.feeds.minutes import Minute
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk
from hydra.market.timeframes import timeframe_name
from hydra.mother.mother import Mother
from hydra.storage.bars import KeptBar, SeasonBars
from hydra.storage.store import SqlSeasonStore

LATE_S = 30.0


class Past(Protocol):
    """Candles of what has been, for warming up and for gaps."""

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        """By symbol, the bars that open from `start_ns` on and close by `end_ns`."""
        ...


@dataclass(kw_only=True)
class Daemon:
    """One season, live. `await play()`; `stop()` from a signal handler."""

    season: LiveSeason
    store: SqlSeasonStore
    kept: SeasonBars
    models: Models
    backlog: Backlog
    past: Past | None  # None: the source has no candles, and no time of its own (a file)
    warm_bars: int  # of each length, before the season
    clock: Clock
    pulse: Pulse
    board: Board
    say: Callable[[str], None]
    followed: Callable[[], object] = lambda: None  # told of every commit
    on_kept: Callable[[Sequence[KeptBar]], object] = lambda bars: None  # told of bars once kept
    has_played: bool = field(default=False, init=False)  # a minute that was not stored before
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _mother: Mother = field(init=False)

    def stop(self) -> None:
        """End after the minute that is being played."""
        self._stopping.set()

    async def play(self) -> str | None:
        """The season's digest where its feed came to its end, None where it was told to stop."""
        self._mother = Mother(
            plan=self.season.plan,
            contestants=self.season.contestants,
            streams=self.season.streams,
            store=self.store,
            absent=self.season.absent,
            on_commit=self._committed,
        )
        self.pulse.symbols = len(self.season.instruments)
        self._tell("recovering" if self.store.stored_cycle else "starting")
        try:
            self.backlog.oldest()  # the venues are heard while the past is made up for
            await self.models.open()
            digest = await self._mother.run(self._chunks(self._mother))
        except _Stopped:
            self._tell("stopped")
            return None
        finally:
            self.pulse.is_playing = False
            await self.models.aclose()
        self._tell("finished")
        return digest

    # Bars, old and new

    async def _chunks(self, mother: Mother) -> AsyncIterator[Chunk]:
        start_ns = self.season.plan.start_ns
        kept = self.kept.load(self.season.instruments)
        if not kept:
            kept = await self._warm_up(start_ns)
        warm = [bar for bar in kept if bar.close_ns <= start_ns]
        played = [bar for bar in kept if bar.close_ns > start_ns]
        cycles = Cycles(self.season.streams, self.season.empty)
        show_warm(mother, cycles, self.season.streams, warm)
        newest_ns = start_ns
        for close_ns, group in groupby(played, key=lambda bar: bar.close_ns):
            newest_ns = close_ns
            chunk = chunk_of(cycles, close_ns, list(group))
            if chunk is not None:
                yield chunk
        if played:
            self.say(f"{len(played):,} bars were played again")
            async for made_up in self._gap(newest_ns):
                newest_ns = made_up[0].close_ns
                self.kept.append(made_up)
                self.on_kept(made_up)
                chunk = chunk_of(cycles, newest_ns, made_up)
                if chunk is not None:
                    yield chunk
        self._tell("playing")
        self.pulse.beat_ns, self.pulse.is_playing = monotonic_ns(), True
        async for minute in self._minutes():
            if minute.close_ns <= newest_ns:
                self.backlog.done()
                continue
            is_late = self._is_late(minute)
            fit = {symbol: LATE if is_late else minute.fit.get(symbol, "") for symbol in minute.fit}
            bars = [KeptBar(table, fit.get(name, "")) for name, table in minute.bars.items()]
            self.kept.append(bars)
            self.on_kept(bars)
            self.backlog.done()
            self.pulse.unfit = {symbol: why for symbol, why in fit.items() if why}
            chunk = chunk_of(cycles, minute.close_ns, bars)
            if chunk is not None:
                yield chunk
            self.pulse.beat_ns, self.has_played = monotonic_ns(), True

    def _is_late(self, minute: Minute) -> bool:
        """Whether the moment at which one could have traded on a minute has passed."""
        if self.past is None:
            return False
        return self.clock.now_ns() - minute.close_ns > LATE_S * NS_PER_S

    async def _minutes(self) -> AsyncIterator[Minute]:
        """Of the backlog, until it ends; raises _Stopped when told to stop."""
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                coming = self.backlog.oldest()
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    raise _Stopped
                minute = coming.result()
                if minute is None:
                    return
                yield minute
        finally:
            stopped.cancel()

    async def _warm_up(self, start_ns: int) -> list[KeptBar]:
        """Candles from before the season, kept like all others so that it can be played again."""
        if self.past is None or not self.warm_bars:
            return []
        bars: list[KeptBar] = []
        for length_ns in sorted({stream.resolution_ns for stream in self.season.streams}):
            end_ns = start_ns - start_ns % length_ns
            try:
                tables = await self.past.bars(
                    length_ns, end_ns - self.warm_bars * length_ns, end_ns
                )
            except VenueDown as error:
                self.say(f"no candles of {timeframe_name(length_ns)} to warm up with: {error}")
                continue
            for table in tables.values():
                bars += _each(table)
        bars.sort(key=lambda bar: (bar.close_ns, bar.table.symbol, bar.table.resolution_ns))
        self.kept.append(bars)
        self.on_kept(bars)
        self.say(f"warmed up with {len(bars):,} candles")
        return bars

    async def _gap(self, newest_ns: int) -> AsyncIterator[list[KeptBar]]:
        """What the market did since the newest kept bar, instant by instant."""
        if self.past is None:
            return
        fine_ns = min(stream.resolution_ns for stream in self.season.streams)
        waiting = await self.backlog.waiting()
        now_ns = self.clock.now_ns()
        end_ns = now_ns - now_ns % fine_ns
        if waiting is not None:  # what was heard meanwhile is better than its candles
            end_ns = min(end_ns, waiting.close_ns - fine_ns)
        if end_ns <= newest_ns:
            return
        try:
            tables = await self.past.bars(fine_ns, newest_ns, end_ns)
        except VenueDown as error:
            self.say(f"what the market did meanwhile is unknown: {error}")
            return
        bars = [bar for table in tables.values() for bar in _each(table, MADE_UP)]
        bars.sort(key=lambda bar: (bar.close_ns, bar.table.symbol))
        if bars:
            self.say(f"{len(bars):,} bars made up for the time the program was not there")
        for _, group in groupby(bars, key=lambda bar: bar.close_ns):
            yield list(group)

    # The status

    def _committed(self, cycle: int, now_ns: int) -> None:
        if cycle < self.store.stored_cycle:
            return
        self.pulse.exposed = frozenset(
            ticket.instrument.symbol
            for account in self._mother.accounts
            for ticket in account.live.values()
            if ticket.status == "OPEN"
        )
        self._tell(self.board.status.state, cycle=cycle, at_ns=now_ns)
        self.followed()

    def _tell(self, state: str, **changes: object) -> None:
        self.board.tell(
            state=state, updated_ns=self.clock.now_ns(), unfit=dict(self.pulse.unfit), **changes
        )


class _Stopped(Exception):
    """The season was told to stop; all that was played is committed."""


def _each(table: BarTable, unfit: str = "") -> list[KeptBar]:
    return [KeptBar(rows_between(table, i, i + 1), unfit) for i in range(len(table))]
