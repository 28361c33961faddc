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
from apps.runtime.jobs import Jobs
from apps.runtime.kept import begin, cycles_of
from apps.runtime.live_season import LiveSeason
from apps.runtime.sentinel import Pulse
from apps.runtime.status import Board
from hydra.clock import NS_PER_DAY, NS_PER_S, Clock, monotonic_ns
from hydra.errors import VenueDown
from hydra.feeds.cycles import Cycles
from hydra.feeds.kept import LATE, MADE_UP, KeptBars, chunks_of, parted
from hydra.feeds.minutes import Minute
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk
from hydra.market.timeframes import timeframe_name
from hydra.mother.mother import Mother
from hydra.storage.bars import KeptBar, SeasonBars, singly
from hydra.storage.store import SqlSeasonStore

WEEKEND_NS = 3 * NS_PER_DAY  # and a holiday
LATE_S = 30.0
CANDLES_S = 20.0  # that a season which plays waits for candles; the market goes on meanwhile


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
    jobs: Jobs | None = None
    on_kept: Callable[[Sequence[KeptBar]], object] = lambda bars: None  # told of bars once kept
    has_played: bool = field(default=False, init=False)  # a minute that was not stored before
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _unfit: dict[str, str] = field(default_factory=dict)  # by symbol, of the newest minute
    _unknown: str = ""  # why the last gap could not be made up
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
        self._tell("recovering" if self.store.stored_cycle else "starting")
        if self.jobs is not None:
            self.jobs.start(lambda: self._tell(self.board.status.state))
        try:
            self.backlog.oldest()  # the venues are heard while the past is made up for
            await self.models.open()
            digest = await self._mother.run(self._chunks())
        except _Stopped:
            self._tell("stopped")
            return None
        finally:
            self.pulse.is_playing = False
            if self.jobs is not None:
                await self.jobs.aclose()
            await self.models.aclose()
        self._tell("finished")
        return digest

    # Bars, old and new

    async def _chunks(self) -> AsyncIterator[Chunk]:
        start_ns = self.season.plan.start_ns
        kept = self.kept.load(self.season.instruments)
        if not kept:
            kept = await self._warm_up(start_ns)
        warm, played = parted(kept, start_ns)
        cycles = Cycles(self.season.streams, self.season.empty)
        if shown := begin(cycles, warm, start_ns):
            self._mother.warm(shown)
        was_there = bool(played)
        # Up to there the market is known.
        newest_ns = max((int(one.close_ns[-1]) for one in played), default=start_ns)
        for chunk in chunks_of(cycles, played, self.store.stored_cycle):
            yield chunk
        if was_there:
            self.say(f"{sum(len(one.table) for one in played):,} bars were played again")
        del kept, warm, played  # a season's bars take more room than all that is played on them
        if was_there:
            until_ns = self.clock.now_ns()
            waiting = await self.backlog.waiting()
            if waiting is not None:  # what was heard meanwhile is better than its candles
                until_ns = min(until_ns, waiting.close_ns - self._fine_ns)
            async for made_up in self._gap(newest_ns, until_ns):
                newest_ns = made_up[0].close_ns
                for chunk in cycles_of(cycles, newest_ns, made_up):
                    yield chunk
        self._tell("playing")
        self.pulse.beat_ns, self.pulse.is_playing = monotonic_ns(), True
        is_first = was_there
        async for minute in self._minutes():
            # Nobody listened all through the first minute, nor while the machine slept; and what
            # was traded while no venue could be heard is known once one can.
            unheard_ns = minute.close_ns - self._fine_ns * bool(minute.bars)
            if unheard_ns > newest_ns and (is_first or minute.bars):
                async for made_up in self._gap(newest_ns, unheard_ns):
                    newest_ns = made_up[0].close_ns
                    for chunk in cycles_of(cycles, newest_ns, made_up):
                        yield chunk
            if minute.close_ns <= newest_ns:
                self.backlog.done()
                continue
            is_first = False
            is_late = self._is_late(minute)
            fit = {symbol: LATE if is_late else minute.fit.get(symbol, "") for symbol in minute.fit}
            bars = [KeptBar(table, fit.get(name, "")) for name, table in minute.bars.items()]
            self._keep(bars)
            self.backlog.done()
            self._unfit = {symbol: why for symbol, why in fit.items() if why}
            self.pulse.feel(self._unfit, self.season.instruments.values(), minute.close_ns)
            if bars:
                newest_ns = minute.close_ns
                for chunk in cycles_of(cycles, newest_ns, bars):
                    yield chunk
            else:
                self._tell("playing")
            self.pulse.beat_ns, self.has_played = monotonic_ns(), True

    def _keep(self, bars: Sequence[KeptBar]) -> None:
        self.kept.append(bars)
        self.on_kept(bars)

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

    async def _warm_up(self, start_ns: int) -> list[KeptBars]:
        """Candles from before the season, kept like all others so that it can be played again."""
        if self.past is None or not self.warm_bars:
            return []
        warm: list[KeptBars] = []
        for length_ns in sorted({stream.resolution_ns for stream in self.season.streams}):
            end_ns = start_ns - start_ns % length_ns
            try:
                tables = await self._candles(length_ns, end_ns - self._back_ns(length_ns), end_ns)
            except VenueDown as error:
                self.say(f"no candles of {timeframe_name(length_ns)} to warm up with: {error}")
                continue
            for table in tables.values():
                newest = rows_between(table, max(0, len(table) - self.warm_bars), len(table))
                warm.append(KeptBars(newest, [""] * len(newest)))
        bars = list(singly(warm))
        self._keep(bars)
        self.say(f"warmed up with {len(bars):,} candles")
        return warm

    def _back_ns(self, length_ns: int) -> int:
        """How long ago `warm_bars` bars began: longer where a market shuts at weekends."""
        always = all(one.calendar == "24/7" for one in self.season.instruments.values())
        back_ns = self.warm_bars * length_ns
        return back_ns if always else back_ns * 3 // 2 + WEEKEND_NS

    @property
    def _fine_ns(self) -> int:
        """The length of the bars that are built."""
        return min(stream.resolution_ns for stream in self.season.streams)

    async def _gap(self, from_ns: int, until_ns: int) -> AsyncIterator[list[KeptBar]]:
        """What the market did while nobody listened, instant by instant, kept."""
        fine_ns = self._fine_ns
        end_ns = until_ns - until_ns % fine_ns
        if self.past is None or end_ns <= from_ns:
            return
        try:
            tables = await self._candles(fine_ns, from_ns, end_ns)
        except VenueDown as error:
            if str(error) != self._unknown:  # else it is so minute after minute
                self.say(f"what the market did meanwhile is unknown: {error}")
            self._unknown = str(error)
            return
        self._unknown = ""
        bars = list(singly(KeptBars(one, [MADE_UP] * len(one)) for one in tables.values()))
        bars.sort(key=lambda bar: (bar.close_ns, bar.table.symbol))
        if bars:
            self.say(f"{len(bars):,} bars made up for the time the program was not there")
        for _, group in groupby(bars, key=lambda bar: bar.close_ns):
            made_up = list(group)
            self._keep(made_up)
            yield made_up

    async def _candles(self, length_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        """Of the past. Raises VenueDown, _Stopped when told to stop."""
        assert self.past is not None
        coming = asyncio.ensure_future(self.past.bars(length_ns, start_ns, end_ns))
        stopped = asyncio.ensure_future(self._stopping.wait())
        within_s = CANDLES_S if self.pulse.is_playing else None
        try:
            await asyncio.wait(
                {coming, stopped}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
            if coming.done():
                return coming.result()
            if stopped.done():
                raise _Stopped
            raise VenueDown(f"no candles came within {CANDLES_S:g} s")
        finally:
            stopped.cancel()
            if coming.cancel():
                await asyncio.wait({coming})

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
        if self.jobs is not None:
            self.jobs.committed(now_ns)

    def _tell(self, state: str, **changes: object) -> None:
        if self.jobs is not None:
            changes |= {"jobs": self.jobs.shown(), "feed": self.jobs.feed()}
        self.board.tell(state=state, updated_ns=self.clock.now_ns(), unfit=self._unfit, **changes)


class _Stopped(Exception):
    """The season was told to stop; all that was played is committed."""
