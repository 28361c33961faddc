"""Plays a season on a market that goes on, until it ends or is told to stop.

The order of things is what makes a death at any moment harmless. A minute's bars are kept
durably, then they are played, then what came of them is committed. On start the kept bars are
played again, which gives the same season; what is missing since then is made up for from the
venue's candles, on which orders are settled and nobody is asked; then the market goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol

import msgspec

from apps.cli.models import Models
from apps.runtime import status
from apps.runtime.live_season import LiveSeason
from hydra.clock import Clock
from hydra.errors import VenueDown
from hydra.feeds.cycles import Cycles, joined
from hydra.feeds.kept import MADE_UP, NO_BAR, KeptBars, chunks_of, parted
from hydra.feeds.minutes import Minute, MinuteSource
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk
from hydra.market.timeframes import timeframe_name
from hydra.mother.mother import Mother
from hydra.storage.bars import KeptBar, SeasonBars
from hydra.storage.store import SqlSeasonStore


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
    source: MinuteSource
    past: Past | None  # None: the source has no candles (a file)
    warm_bars: int  # of each length, before the season
    clock: Clock
    status_path: Path
    db: str  # its place, for the status
    say: Callable[[str], None]
    followed: Callable[[], object] = lambda: None  # told of every commit
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _status: status.Status = field(init=False)

    def __post_init__(self) -> None:
        now_ns = self.clock.now_ns()
        self._status = status.Status(
            season=self.season.row.name, state="starting", pid=os.getpid(), db=self.db,
            started_ns=now_ns, updated_ns=now_ns,
        )  # fmt: skip

    def stop(self) -> None:
        """End after the minute that is being played."""
        self._stopping.set()

    async def play(self) -> str | None:
        """The season's digest where its feed came to its end, None where it was told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        mother = Mother(
            plan=self.season.plan,
            contestants=self.season.contestants,
            streams=self.season.streams,
            store=self.store,
            absent=self.season.absent,
            on_commit=self._committed,
        )
        self._tell("recovering" if self.store.stored_cycle else "starting")
        try:
            await self.models.open()
            digest = await mother.run(self._chunks(mother))
        except _Stopped:
            self._tell("stopped")
            return None
        except BaseException as error:
            self._tell("failed", text=f"{type(error).__name__}: {error}"[:500])
            raise
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await self.source.aclose()
            await self.models.aclose()
        self._tell("finished")
        return digest

    # Bars, old and new

    async def _chunks(self, mother: Mother) -> AsyncIterator[Chunk]:
        start_ns = self.season.plan.start_ns
        kept = self.kept.load(self.season.instruments)
        if not kept:
            kept = await self._warm_up(start_ns)
        warm, played = parted(kept, start_ns)
        cycles = Cycles(self.season.streams, self.season.empty)
        self._show_warm(mother, cycles, warm)
        # Up to there the market is known.
        newest_ns = max((int(one.close_ns[-1]) for one in played), default=start_ns)
        for chunk in chunks_of(cycles, played, self.store.stored_cycle):
            yield chunk
        if played:
            self.say(f"{sum(len(one.table) for one in played):,} bars were played again")
            async for made_up in self._gap(newest_ns, self.clock.now_ns()):
                newest_ns = made_up[0].close_ns
                self.kept.append(made_up)
                for chunk in _cycles(cycles, newest_ns, made_up):
                    yield chunk
        self._tell("playing")
        is_first = bool(played)
        async for minute in self._minutes():
            if minute.close_ns <= newest_ns:
                continue
            # Nobody listened all through the first minute, nor while the machine slept; and what
            # was traded while no venue could be heard is known once one can.
            unheard_ns = minute.close_ns - self._fine_ns * bool(minute.bars)
            if unheard_ns > newest_ns and (is_first or minute.bars):
                async for made_up in self._gap(newest_ns, unheard_ns):
                    newest_ns = made_up[0].close_ns
                    self.kept.append(made_up)
                    for chunk in _cycles(cycles, newest_ns, made_up):
                        yield chunk
            is_first = False
            unfit = {symbol: why for symbol, why in minute.fit.items() if why}
            self._status = msgspec.structs.replace(self._status, unfit=unfit)
            if minute.close_ns <= newest_ns or not minute.bars:
                continue
            bars = [KeptBar(table, minute.fit.get(name, "")) for name, table in minute.bars.items()]
            self.kept.append(bars)
            newest_ns = minute.close_ns
            for chunk in _cycles(cycles, newest_ns, bars):
                yield chunk

    async def _minutes(self) -> AsyncIterator[Minute]:
        """Of the source, until it ends; raises _Stopped when told to stop."""
        minutes = self.source.minutes()
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(minutes, None))
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    coming.cancel()
                    with suppress(asyncio.CancelledError):
                        await coming
                    raise _Stopped
                minute = coming.result()
                if minute is None:
                    return
                yield minute
        finally:
            stopped.cancel()

    async def _warm_up(self, start_ns: int) -> list[KeptBars]:
        """Candles from before the season, kept like all others so that it can be played again."""
        if self.past is None or not self.warm_bars:
            return []
        warm: list[KeptBars] = []
        for length_ns in sorted({stream.resolution_ns for stream in self.season.streams}):
            end_ns = start_ns - start_ns % length_ns
            try:
                tables = await self.past.bars(
                    length_ns, end_ns - self.warm_bars * length_ns, end_ns
                )
            except VenueDown as error:
                self.say(f"no candles of {timeframe_name(length_ns)} to warm up with: {error}")
                continue
            warm += [KeptBars(table, [""] * len(table)) for table in tables.values()]
        bars = [bar for one in warm for bar in _each(one.table)]
        self.kept.append(bars)
        self.say(f"warmed up with {len(bars):,} candles")
        return warm

    def _show_warm(self, mother: Mother, cycles: Cycles, warm: Sequence[KeptBars]) -> None:
        by_stream: dict[tuple[str, int], list[BarTable]] = {}
        for one in warm:
            key = (one.table.symbol, one.table.resolution_ns)
            by_stream.setdefault(key, []).append(one.table)
        tables = {key: joined(parts) for key, parts in by_stream.items()}
        if tables:
            empty = cycles.empty
            mother.warm(
                [
                    tables.get((s.symbol, s.resolution_ns), empty[s.symbol, s.resolution_ns])
                    for s in self.season.streams
                ]
            )
        cycles.begin(
            {
                s.symbol: tables[s.symbol, s.resolution_ns]
                for s in self.season.streams
                if s.execution and (s.symbol, s.resolution_ns) in tables
            }
        )

    @property
    def _fine_ns(self) -> int:
        """The length of the bars that are built."""
        return min(stream.resolution_ns for stream in self.season.streams)

    async def _gap(self, from_ns: int, until_ns: int) -> AsyncIterator[list[KeptBar]]:
        """What the market did while nobody listened, instant by instant."""
        if self.past is None:
            return
        fine_ns = self._fine_ns
        try:
            tables = await self.past.bars(fine_ns, from_ns, until_ns - until_ns % fine_ns)
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
        self._status = msgspec.structs.replace(self._status, cycle=cycle, at_ns=now_ns)
        if cycle >= self.store.stored_cycle:
            self._tell(self._status.state)
            self.followed()

    def _tell(self, state: str, *, text: str = "") -> None:
        self._status = msgspec.structs.replace(
            self._status, state=state, updated_ns=self.clock.now_ns(), text=text
        )
        status.write(self.status_path, self._status)


class _Stopped(Exception):
    """The season was told to stop; all that was played is committed."""


def _cycles(cycles: Cycles, close_ns: int, bars: Sequence[KeptBar]) -> Iterator[Chunk]:
    """The cycles of kept bars: of nothing else, so that they are the same the second time.

    A coarse bar that ended while no bar closed has its cycle now, before that of the bars.
    """
    fit = {bar.table.symbol: bar.unfit for bar in bars}
    settles_only = any(bar.unfit == MADE_UP for bar in bars)
    nothing = dict.fromkeys(cycles.symbols, NO_BAR)
    for overdue_ns in cycles.overdue(close_ns):
        late = cycles.chunk(overdue_ns, {}, nothing, settles_only=settles_only)
        if late is not None:
            yield late
    unfit = {symbol: fit.get(symbol, NO_BAR) for symbol in cycles.symbols}
    chunk = cycles.chunk(
        close_ns,
        {bar.table.symbol: bar.table for bar in bars},
        {symbol: why for symbol, why in unfit.items() if why},
        settles_only=settles_only,
    )
    if chunk is not None:
        yield chunk


def _each(table: BarTable, unfit: str = "") -> list[KeptBar]:
    return [KeptBar(rows_between(table, i, i + 1), unfit) for i in range(len(table))]
