"""A live season that is played by the daemon itself, in this process, and may die at any write."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from apps.cli.models import Models
from apps.runtime import status
from apps.runtime.backlog import Backlog
from apps.runtime.daemon import Daemon, Past
from apps.runtime.live_season import LiveSeason, no_bars
from apps.runtime.sentinel import Pulse
from hydra.clock import NS_PER_S, Clock
from hydra.errors import StorageError
from hydra.feeds.minutes import FileMinutes
from hydra.feeds.replay import streams_of
from hydra.guardian.profiles import DailyLimit, MaxLimit, profile
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.market.resample import resampled
from hydra.mother.contestants import Contestant
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.storage import queries
from hydra.storage.bars import SeasonBars
from hydra.storage.database import reading
from hydra.storage.schema import ensure
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.tournament.season import SeasonRow
from tests.support.faults.check import check
from tests.support.faults.engines import Faulty, Trader, Vice
from tests.support.faults.writes import Blow, Killed, Writes
from tests.support.hand_time import HandTime
from tests.support.seasons import USD, a_contestant

NAME = "season"
Strike = tuple[str, int, Blow]  # at which moment of a write, the how many-th, what
# Limits that traders by chance do reach in some dozens of bars.
STRICT = msgspec.structs.replace(
    profile("ftmo-2step"),
    name="strict",
    daily=DailyLimit(limit_frac=Decimal("0.02"), guard_frac=Decimal("0.01")),
    max=MaxLimit(limit_frac=Decimal("0.08"), guard_frac=Decimal("0.04")),
    slippage_allowance_bps=Decimal(0),
    cooldown_s=None,
    max_correlation=None,
)


def scratch() -> Path | None:
    """A folder in memory, where there is one: commits of a season wait for their disk."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


@dataclass(kw_only=True)
class Setup:
    """A season of traders and one that may misbehave, fresh objects each time."""

    instruments: Sequence[Instrument]
    resolution_ns: int
    start_ns: int
    vice: Vice | None = None
    vice_after: int = 0
    deadline_s: float = 10.0
    coarse: int = 3  # one trader watches bars of so many
    plan: dict[str, Any] = field(default_factory=dict)

    def contestants(self) -> list[Contestant]:
        coarse_ns = self.coarse * self.resolution_ns
        more: dict[str, Any] = {"deadline_s": self.deadline_s}
        return [
            a_contestant("alpha", Trader("alpha"), **more),
            a_contestant("faulty", Faulty(self.vice, self.vice_after), **more),
            a_contestant("beta", Trader("beta"), latency_ns=NS_PER_S // 2, **more),
            a_contestant("coarse", Trader("coarse"), resolution_ns=coarse_ns, **more),
        ]

    def season(self) -> LiveSeason:
        empty = [no_bars(one, self.resolution_ns) for one in self.instruments]
        coarse = [resampled(one, self.coarse * self.resolution_ns) for one in empty]
        plan: dict[str, Any] = {
            "mode": "independent", "profile": STRICT, "costs": costs_named("real"), "seed": 1,
            "start_ns": self.start_ns, "sample_ns": 6 * self.resolution_ns,
            "initial_units": 25_000 * USD, "luck_traders": 0, "bootstrap_replicates": 2,
            "is_live": True, "commit_ms": 0, "poll_ms": 0,
        }  # fmt: skip
        return LiveSeason(
            row=SeasonRow(
                name=NAME, mode="independent", profile="strict", seed=1,
                initial_units=25_000 * USD, settings={"feed": {}}, inputs=(),
            ),
            plan=SeasonPlan(**(plan | self.plan)),
            contestants=tuple(self.contestants()),
            absent=(),
            gladiators=(),
            models="off",
            streams=streams_of([*empty, *coarse]),
            empty={table.symbol: table for table in empty},
            instruments={one.symbol: one for one in self.instruments},
        )  # fmt: skip

    def daemon(
        self,
        url: str,
        store: SqlSeasonStore,
        *,
        season: LiveSeason,
        backlog: Backlog,
        past: Past | None,
        clock: Clock,
        home: Path,
        say: Callable[[str], None],
    ) -> Daemon:
        """The daemon as `hydra run` builds it, but that no supervisor makes another."""
        return Daemon(
            season=season,
            store=store,
            kept=SeasonBars(url, store.season_id),
            models=Models(url),
            backlog=backlog,
            past=past,
            warm_bars=4,
            clock=clock,
            pulse=Pulse(bar_s=self.resolution_ns / NS_PER_S),
            board=status.Board(
                status.path_of(home, NAME),
                status.Status(
                    season=NAME, state="starting", pid=1, db=url, started_ns=0, updated_ns=0
                ),
            ),
            say=say,
        )


# Seasons on recorded bars, which come again to whoever starts anew


def play_file(
    setup: Setup, tables: Sequence[BarTable], home: Path, writes: Writes, blows: Sequence[Strike]
) -> tuple[str, int]:
    """Play to the end through deaths and failing databases; the digest, and how many lives it
    took. After each life what it left is checked."""
    url = f"sqlite:///{writes.path}"
    for life in count():
        if life < len(blows):
            writes.next(*blows[life])
        try:
            return asyncio.run(_life(setup, tables, url, home)), life + 1
        except (Killed, StorageError) as error:
            assert writes.struck, f"it failed though nothing was done to it: {error}"
        finally:
            writes.heal()
            writes.at, writes.struck = None, False  # a season may end before its blow falls
        if is_stored(url):
            check(url, NAME)
    raise AssertionError("count has no end")


async def _life(setup: Setup, tables: Sequence[BarTable], url: str, home: Path) -> str:
    season = setup.season()
    time = HandTime(setup.start_ns)
    backlog = Backlog(FileMinutes(tables, timer=time, speed=0))
    with open_season(url, season.row, resume=is_stored(url), durable=True) as store:
        daemon = setup.daemon(
            url, store, season=season, backlog=backlog, past=None, clock=time, home=home,
            say=lambda text: None,
        )  # fmt: skip
        try:
            digest = await daemon.play()
        finally:
            await backlog.aclose()
    assert digest is not None
    return digest


def is_stored(url: str) -> bool:
    with reading(url) as connection:
        return NAME in [one.season.name for one in queries.seasons(connection)]


@cache
def _empty_database() -> bytes:
    """A database of today's schema, without a season."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        ensure(f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


@contextmanager
def a_home() -> Iterator[tuple[Path, Writes]]:
    """A folder with an empty database, all of whose writes are watched."""
    with TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "hydra.db"
        path.write_bytes(_empty_database())
        with Writes(path).watched() as writes:
            yield Path(folder), writes
