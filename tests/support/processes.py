"""Seasons over the embedded prices, played in processes that may be killed.

Children are forked from a process that has imported and compiled everything, so each starts at
once; a child that is killed dies by a real SIGKILL and leaves nothing but the database.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import select

from hydra.engines.protocol import Engine
from hydra.engines.registry import ENGINES, build
from hydra.feeds.barfile import load_bars
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.feeds.tables import rows_between
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.storage import tables as schema
from hydra.storage.database import reading
from hydra.storage.memory import MemoryDatabase
from hydra.storage.queries import find_season
from hydra.storage.store import open_season
from hydra.tournament.season import SeasonRow, SeasonStore, StandingRow
from tests.support.shared_data import ROOT

HOUR_NS = 3_600_000_000_000
CRYPTO = ROOT / "data" / "sample" / "crypto_4h.csv"
EURUSD = ROOT / "data" / "sample" / "eurusd_1h.csv"
ROW_TABLES = (
    schema.engines, schema.tickets, schema.equity_points, schema.scores, schema.guardian_days,
    schema.guardian_latches, schema.standings, schema.journal,
)  # fmt: skip


@cache
def sample_tables(path: Path = CRYPTO, bars: int | None = None) -> tuple[BarTable, ...]:
    """The tables of a file of prices; of each the first `bars`."""
    tables = load_bars([path], catalogue=Catalogue.load(None)).tables
    return tuple(t if bars is None else rows_between(t, 0, min(bars, len(t))) for t in tables)


def contestants_of(
    tables: Sequence[BarTable],
    specs: Sequence[str] = tuple(ENGINES),
    more: Mapping[str, Engine] | None = None,
) -> list[Contestant]:
    """Registered engines by their specs, and engines of a test by name."""
    symbols = sorted({table.symbol for table in tables})
    built = [build(spec, symbols) for spec in specs]
    return [
        Contestant(
            name=one.name,
            engine=one.engine,
            title=one.title,
            params=one.params,
            is_reference=one.is_reference,
            resolution_ns=one.resolution_ns,
        )
        for one in built
    ] + [Contestant(name=name, engine=engine, title=name) for name, engine in (more or {}).items()]


@dataclass(kw_only=True)
class Setup:
    """A season that can be played again and again: fresh engines each time."""

    tables: Sequence[BarTable]
    specs: Sequence[str] = tuple(ENGINES)
    more: Callable[[], Mapping[str, Engine]] = dict
    profile: str = "ftmo-2step"
    costs: str = "real"
    mode: str = "independent"
    seed: int = 1
    name: str = "season"
    settings: dict[str, object] = field(default_factory=dict)
    inputs: tuple[tuple[str, str], ...] = (("bars.csv", "00" * 32),)
    chunk_cycles: int = 1024
    plan: dict[str, Any] = field(default_factory=dict)

    def row(self) -> SeasonRow:
        return SeasonRow(
            name=self.name,
            mode=self.mode,
            profile=self.profile,
            seed=self.seed,
            initial_units=25_000 * 10**8,
            settings=self.settings,
            inputs=self.inputs,
        )

    def play(
        self, store: SeasonStore, on_commit: Callable[[int, int], None] | None = None
    ) -> tuple[str, tuple[StandingRow, ...]]:
        """Play all of it; the digest and the standings."""
        streams = streams_of(self.tables)
        feed = ReplayFeed(streams, self.tables, self.chunk_cycles)
        figures: dict[str, Any] = {"luck_traders": 0, "bootstrap_replicates": 2}
        mother = Mother(
            plan=SeasonPlan(
                mode=self.mode,
                profile=profile(self.profile),
                costs=costs_named(self.costs),
                seed=self.seed,
                start_ns=min(int(table.open_ns[0]) for table in self.tables),
                sample_ns=4 * HOUR_NS,
                **(figures | self.plan),
            ),
            contestants=contestants_of(self.tables, self.specs, self.more()),
            streams=streams,
            store=store,
            on_commit=on_commit,
        )
        return asyncio.run(mother.run(feed.chunks())), mother.standings

    def play_in_memory(self) -> tuple[str, MemoryDatabase]:
        """The digest, and the database that holds the season."""
        database = MemoryDatabase()
        digest, _ = self.play(database.open_season(self.row(), resume=False))
        return digest, database

    def play_stored(
        self,
        url: str,
        *,
        resume: bool = False,
        on_commit: Callable[[int, int], None] | None = None,
    ) -> str:
        """Play it into a database; its digest."""
        with open_season(url, self.row(), resume=resume) as store:
            return self.play(store, on_commit)[0]


# Processes


@dataclass(frozen=True)
class Child:
    """A forked process; what it says comes line by line."""

    pid: int
    pipe: int

    def lines(self, most: int | None = None) -> list[str]:
        """Read until the child has said `most` lines or has ended."""
        said = b""
        while most is None or said.count(b"\n") < most:
            part = os.read(self.pipe, 65_536 if most is None else 1)
            if not part:
                break
            said += part
        return said.decode().splitlines()

    def kill(self) -> None:
        """SIGKILL, wherever it may be."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """How it ended: 0, its exit code, or minus the signal that killed it."""
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def fork(work: Callable[[Callable[[str], None]], None]) -> Child:
    """Start `work(say)` in a process of its own."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(work, writer)
    os.close(writer)
    return Child(pid, reader)


def _child(work: Callable[[Callable[[str], None]], None], writer: int) -> NoReturn:
    code = 1
    try:
        work(lambda line: _say(writer, line))
        code = 0
    except BaseException:
        _say(writer, traceback.format_exc())
    finally:
        os._exit(code)  # never back into the test run that was forked


def _say(writer: int, line: str) -> None:
    os.write(writer, f"{line}\n".encode())


def in_child(work: Callable[[Callable[[str], None]], None]) -> list[str]:
    """What a process said that ended well."""
    child = fork(work)
    said = child.lines()
    code = child.wait()
    assert code == 0, "\n".join(said)
    return said


def die() -> NoReturn:
    """kill -9 of the process itself."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returned")


# What a season left


def rows_of(url: str, name: str = "season") -> dict[str, list[tuple[object, ...]]]:
    """Every row that a season left in the database, table by table, in key order."""
    left: dict[str, list[tuple[object, ...]]] = {}
    with reading(url) as connection:
        season_id = find_season(connection, name).id
        for table in ROW_TABLES:
            keys = list(table.primary_key)
            statement = select(table).where(table.c.season_id == season_id).order_by(*keys)
            left[table.name] = [tuple(row)[1:] for row in connection.execute(statement)]
    return left
