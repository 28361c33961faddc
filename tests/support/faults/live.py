"""Seasons on living venues, in which all that can go wrong does: a seed decides what and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from apps.runtime.backlog import Backlog
from hydra.clock import NS_PER_S, to_ns
from hydra.errors import StorageError
from hydra.feeds.asset import Limits
from hydra.feeds.venue_minutes import VenueMinutes
from hydra.market.catalogue import Catalogue
from hydra.storage.store import open_season
from tests.support.faults.check import check
from tests.support.faults.engines import Vice
from tests.support.faults.season import NAME, Setup, is_stored
from tests.support.faults.wire import World, disturb
from tests.support.faults.writes import MOMENTS, Blow, Killed, Writes
from tests.support.hand_time import HandTime, rest

PRAGUE = ZoneInfo("Europe/Prague")
BAR_S = 10
SEASON_S = 300
LIMITS = Limits(grace_s=2, stale_s=4, failover_s=6, return_s=40)
TURNS = 4  # rests for the daemon to play a minute in
# Midnights of Prague: common ones, and the first and last of the days on which clocks change.
MIDNIGHTS = (
    (2026, 1, 15), (2026, 3, 29), (2026, 3, 30), (2026, 7, 1), (2026, 10, 25), (2026, 10, 26),
)  # fmt: skip


class Wrong:
    """The machine's clock: true time, and what it is wrong by."""

    def __init__(self, time: HandTime) -> None:
        self._time = time
        self.off_ns = 0

    def now_ns(self) -> int:
        return self._time.now_ns() + self.off_ns


@dataclass
class Story:
    """What happened, in words: of a seed that fails."""

    seed: int
    told: list[str] = field(default_factory=list)
    start_ns: int = 0  # of the season
    is_on_time: bool = True  # the machine's clock was never wrong

    def tell(self, at_s: int, what: str) -> None:
        self.told.append(f"{at_s:4d} s: {what}")

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *self.told])


@contextmanager
def told_by(story: Story) -> Iterator[None]:
    """Whatever goes wrong, the story is told with it."""
    try:
        yield
    except BaseException as error:
        error.add_note(str(story))
        raise


def play_venues(seed: int, home: Path, writes: Writes) -> Story:
    """Play a season to its end. Raises AssertionError, with the story, where it is not sound."""
    story = Story(seed)
    with told_by(story):
        asyncio.run(_Season(seed, home, writes, story).play())
    return story


class _Season:
    def __init__(self, seed: int, home: Path, writes: Writes, story: Story) -> None:
        self.rng = rng = Random(seed)
        midnight = datetime(*rng.choice(MIDNIGHTS), tzinfo=PRAGUE)
        self.start_ns = to_ns(midnight) - rng.randrange(4, 20) * BAR_S * NS_PER_S
        instruments = [Catalogue.load().instrument("BTC-USD", 2)]
        vices = [None, None, Vice.RAISES, Vice.NAN, Vice.CROWDS, Vice.FLOODS, Vice.FOREIGN]
        self.setup = Setup(
            instruments=instruments,
            resolution_ns=BAR_S * NS_PER_S,
            start_ns=self.start_ns,
            vice=rng.choice(vices),
            vice_after=rng.randrange(20),
        )
        story.start_ns = self.start_ns
        self.home, self.writes, self.story = home, writes, story
        self.url = f"sqlite:///{writes.path}"
        self.time = HandTime(self.start_ns - 12 * NS_PER_S)
        self.clock = Wrong(self.time)
        self.world = World(instruments, self.time.now_ns() // NS_PER_S, seed)
        self.mends: list[tuple[int, Callable[[], None]]] = []

    @property
    def at_s(self) -> int:
        return (self.time.now_ns() - self.start_ns) // NS_PER_S

    async def play(self) -> None:
        lives = 0
        while self.at_s < SEASON_S:
            lives += 1
            try:
                await self._live()
            except (Killed, StorageError) as error:
                assert self.writes.struck, f"it failed though nothing was done to it: {error}"
                self.story.tell(self.at_s, f"{self.writes.at} {self.writes.blow.name}")
            self.writes.heal()
            self.writes.at, self.writes.struck = None, False
            if is_stored(self.url):
                check(self.url, NAME)
            if self.at_s < SEASON_S:
                away_s = self.rng.choice((0, 3, 25))
                for _ in range(away_s):
                    await self._pass()
        assert lives < 20

    async def _live(self) -> None:
        """One life of the process: to the season's end, or to its own."""
        season = self.setup.season()
        source = VenueMinutes(
            self.setup.instruments, self.world.feeds(self.clock), clock=self.clock,
            timer=self.time, resolution_ns=self.setup.resolution_ns, limits=LIMITS,
        )  # fmt: skip
        backlog = Backlog(source)
        if self.rng.random() < 0.6:
            blow = self.rng.choice([Blow.DEATH, *Blow])
            at_begin = blow in (Blow.LOCKED, Blow.FULL, Blow.READ_ONLY)
            moment = "begin" if at_begin else self.rng.choice(MOMENTS)
            self.writes.next(moment, self.rng.randrange(1, 60), blow)
        with open_season(self.url, season.row, resume=is_stored(self.url), durable=True) as store:
            daemon = self.setup.daemon(
                self.url, store, season=season, backlog=backlog, past=self.world,
                clock=self.clock, home=self.home, say=lambda text: None,
            )  # fmt: skip
            playing = asyncio.create_task(daemon.play())
            try:
                while self.at_s < SEASON_S and not playing.done():
                    await self._happen()
                    await self._pass()
                await source.aclose()
                await playing
            finally:
                if not playing.done():
                    playing.cancel()
                    await asyncio.wait({playing})
                await backlog.aclose()
                self.world.lines = []

    async def _happen(self) -> None:
        """Now and then something goes wrong, and something else is mended."""
        rng, at_s = self.rng, self.at_s
        for due_s, mend in list(self.mends):
            if at_s >= due_s:
                mend()
                self.mends.remove((due_s, mend))
        chance = rng.random()
        if chance < 0.02:
            venues = rng.sample(self.world.venues, rng.choice((1, 1, 2, 3)))
            for venue in venues:
                self.mends.append((at_s + rng.randrange(2, 40), disturb(venue, rng)))
            self.story.tell(at_s, f"trouble at {', '.join(venue.name for venue in venues)}")
        elif chance < 0.025:
            by_s = rng.choice((-30, -3, 3, 8, 25))
            self.clock.off_ns += by_s * NS_PER_S
            self.story.is_on_time = False
            self.story.tell(at_s, f"the clock jumps by {by_s} s")
            self.mends.append((at_s + rng.randrange(5, 60), self._right))
        elif chance < 0.03:
            slept_s = rng.randrange(2, 35)
            self.story.tell(at_s, f"the machine sleeps for {slept_s} s")
            for _ in range(slept_s):
                self.world.at_s += 1
                for venue in self.world.venues:
                    venue.tick(self.world.at_s)
            await self.time.jump(slept_s)

    def _right(self) -> None:
        self.story.tell(self.at_s, "the clock is right again")
        self.clock.off_ns = 0

    async def _pass(self) -> None:
        """A second."""
        await self.time.run(1)
        self.world.second()
        for _ in range(TURNS):
            await rest()
