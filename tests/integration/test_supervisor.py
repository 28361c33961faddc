"""A live season whose database comes and goes: it waits, loses no minute, and ends the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from apps.runtime.backlog import Backlog
from apps.runtime.daemon import Daemon
from apps.runtime.sentinel import Pulse
from apps.runtime.supervisor import Supervisor
from hydra.errors import JournalFault, StorageError
from hydra.feeds.connector import Backoff
from hydra.storage import database, queries
from hydra.storage.database import reading
from hydra.storage.store import open_season, try_writing
from hydra.storage.verify import verify_season
from tests.support.daemons import NAME, Bars, Buyer, Rows, a_board, a_daemon, live_season
from tests.support.disks import small_disk

pytest_plugins = ["tests.support.postgres"]

MARKET = Bars([100.0, 101.0, 102.0, 101.0, 96.0, 94.0, 91.0, 100.0])
AT = 3  # the row before which something happens
Act = Callable[[], object]


def nothing() -> None: ...


class Season:
    """Plays MARKET under a supervisor. At row AT `fault` is called, and `mend` once it waits."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.said: list[str] = []
        self.states: list[str] = []
        self.buyers: list[Buyer] = []
        self.pulse = Pulse(bar_s=60.0)
        self.board = a_board(home)
        self.home = home

    @contextmanager
    def daemon(self, backlog: Backlog) -> Iterator[Daemon]:
        buyer = Buyer()
        self.buyers.append(buyer)
        season = live_season(buyer)
        resume = len(self.buyers) > 1
        with open_season(self.url, season.row, resume=resume, durable=True) as store:
            yield a_daemon(
                season, self.url, store, backlog, self.home, pulse=self.pulse, board=self.board
            )

    def play(self, fault: Act = nothing, mend: Act = nothing, **of_the_source: Any) -> str | None:
        async def run() -> str | None:
            source = Rows(
                MARKET, range(len(MARKET.closes)),
                before=lambda row: fault() if row == AT else None, **of_the_source,
            )  # fmt: skip
            backlog = Backlog(source)

            def say(text: str) -> None:
                self.said.append(text)
                self.states.append(self.board.status.state)
                if "waits for its database" in text:
                    mend()

            def attempt() -> AbstractContextManager[Daemon]:
                return self.daemon(backlog)

            supervisor = Supervisor(
                attempt, partial(try_writing, self.url, NAME), backlog=backlog, pulse=self.pulse,
                board=self.board, say=say, rng=Random(1),
                backoff=Backoff(first_s=0.01, longest_s=0.02),
            )  # fmt: skip
            try:
                return await supervisor.run()
            finally:
                assert source.is_closed

        return asyncio.run(run())

    def verified(self) -> list[tuple[str, str | None]]:
        """Its trades, from a database that verifies."""
        with reading(self.url) as connection:
            assert verify_season(connection).is_sound
            return [(one.status, one.exit_reason) for one in queries.trades(connection)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("undisturbed")
    digest = Season(f"sqlite:///{home}/hydra.db", home).play()
    assert digest is not None
    return digest


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)


def assert_it_waited_and_went_on(season: Season, digest: str | None, undisturbed: str) -> None:
    assert digest == undisturbed
    assert len(season.buyers) == 2
    assert season.buyers[1].asked == MARKET.closes  # no minute was lost
    assert "waiting" in season.states
    assert (season.board.status.state, season.board.status.text) == ("finished", "")
    assert season.pulse.storage == ""
    assert season.verified() == [("CLOSED", "stop")]


def test_another_program_that_holds_the_database_is_waited_for(
    tmp_path: Path, undisturbed: str
) -> None:
    season = Season(f"sqlite:///{tmp_path}/hydra.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "hydra.db", isolation_level=None)) as other:
        digest = season.play(
            fault=lambda: other.execute("BEGIN IMMEDIATE"), mend=lambda: other.execute("ROLLBACK")
        )
    assert_it_waited_and_went_on(season, digest, undisturbed)
    assert any("database is locked" in text for text in season.said)


def test_what_a_failed_attempt_held_is_let_go_before_the_next(tmp_path: Path) -> None:
    held: list[weakref.ref[Daemon]] = []
    left: list[int] = []

    class Watched(Season):
        @contextmanager
        def daemon(self, backlog: Backlog) -> Iterator[Daemon]:
            left.append(sum(one() is not None for one in held))
            with super().daemon(backlog) as daemon:
                held.append(weakref.ref(daemon))
                yield daemon

    with closing(sqlite3.connect(tmp_path / "hydra.db", isolation_level=None)) as other:
        Watched(f"sqlite:///{tmp_path}/hydra.db", tmp_path).play(
            fault=lambda: other.execute("BEGIN IMMEDIATE"), mend=lambda: other.execute("ROLLBACK")
        )
    assert left == [0, 0]


def test_a_full_disk_is_waited_for(tmp_path: Path, undisturbed: str) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        season = Season(f"sqlite:///{disk}/hydra.db", tmp_path)
        filler = disk / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
                while True:
                    file.write(bytes(4096))

        digest = season.play(fault=fill, mend=filler.unlink)
        assert_it_waited_and_went_on(season, digest, undisturbed)
        assert any("disk is full" in text for text in season.said)


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_server_that_restarts_is_waited_for(
    cleanly: bool, postgres_url: str, restart_postgres: Callable[[bool], None], tmp_path: Path,
    undisturbed: str,
) -> None:  # fmt: skip
    season = Season(postgres_url, tmp_path)
    digest = season.play(fault=lambda: restart_postgres(cleanly))
    assert_it_waited_and_went_on(season, digest, undisturbed)


def test_told_to_stop_while_it_waits_it_stops(tmp_path: Path) -> None:
    season = Season(f"sqlite:///{tmp_path}/hydra.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "hydra.db", isolation_level=None)) as other:
        digest = season.play(
            fault=lambda: other.execute("BEGIN IMMEDIATE"),
            mend=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
    assert digest is None
    assert season.board.status.state == "stopped"


def test_told_to_stop_it_stops_after_the_minute(tmp_path: Path) -> None:
    season = Season(f"sqlite:///{tmp_path}/hydra.db", tmp_path)

    assert season.play(fault=lambda: os.kill(os.getpid(), signal.SIGTERM), waits=True) is None

    assert season.board.status.state == "stopped"
    assert 1 <= len(season.buyers[0].asked) < len(MARKET.closes)


def test_a_database_that_cannot_be_used_from_the_start_is_told_at_once(tmp_path: Path) -> None:
    season = Season(f"sqlite:///{tmp_path}/hydra.db", tmp_path)
    (tmp_path / "hydra.db").write_bytes(b"no database at all, but a file")

    with pytest.raises(StorageError, match="not a database"):
        season.play()

    assert season.board.status.state == "failed"


def test_an_altered_journal_is_not_waited_for(tmp_path: Path) -> None:
    season = Season(f"sqlite:///{tmp_path}/hydra.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "hydra.db", isolation_level=None)) as other:

        def alter() -> None:
            other.execute("ROLLBACK")
            other.execute("UPDATE journal SET body = '{}' WHERE seq = 2")

        with pytest.raises(JournalFault):
            season.play(fault=lambda: other.execute("BEGIN IMMEDIATE"), mend=alter)

    assert season.board.status.state == "failed"
