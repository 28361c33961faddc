"""A database that fails in the middle of a season: a clear error, whole commits, and a resumed
season that ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.cli.main import run
from hydra.errors import StorageError
from hydra.storage import database, queries
from hydra.storage.database import reading
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.storage.verify import verify_season
from tests.support.disks import enlarge, small_disk
from tests.support.processes import CRYPTO, Child, Setup, fork, in_child, rows_of, sample_tables
from tests.support.seasons import START_NS, a_season, play

pytest_plugins = ["tests.support.postgres"]

# One commit a cycle, so that a fault finds a season between any two.
SETUP = Setup(
    tables=sample_tables(bars=60),
    specs=("ema_trend", "mean_reversion", "flat"),
    plan={"poll_ms": 0, "commit_ms": 0},
)
FAULT_CYCLE = 40
AtCycle = Callable[[int, int], None]
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def undisturbed() -> str:
    """The digest of the season that nothing disturbed."""
    return SETUP.play_in_memory()[0]


def at_fault(act: Callable[[], object]) -> AtCycle:
    """Called after each commit; acts after that of FAULT_CYCLE."""

    def look(cycle: int, now_ns: int) -> None:
        if cycle == FAULT_CYCLE:
            act()

    return look


def assert_whole(url: str) -> int:
    """The season left there is sound; its last committed cycle."""
    with reading(url) as connection:
        verdict = verify_season(connection)
        left = queries.season(connection)
    assert verdict.is_sound, verdict.faults
    assert verdict.records == left.journal_count
    return left.cycle


def resume(url: str) -> str:
    return SETUP.play_stored(url, resume=True)


# Another program holds SQLite's write lock


def hold_lock(path: Path, hold_s: float) -> Child:
    """A process that writes to the database and takes its time; it has the lock on return."""

    def work(say: Say) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        say("locked")
        time.sleep(hold_s)
        other.execute("ROLLBACK")

    child = fork(work)
    assert child.lines(1) == ["locked"]
    return child


def test_a_lock_that_is_let_go_in_time_only_costs_time(tmp_path: Path, undisturbed: str) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    holders: list[Child] = []
    digest = SETUP.play_stored(
        url,
        on_commit=at_fault(lambda: holders.append(hold_lock(tmp_path / "hydra.db", 0.6))),
    )

    assert holders[0].wait() == 0
    assert digest == undisturbed
    assert_whole(url)


def test_a_lock_that_is_kept_stops_the_season_which_goes_on_later(
    tmp_path: Path, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path}/hydra.db"
    holders: list[Child] = []
    with pytest.raises(
        StorageError, match=r"hydra\.db: database is locked \(another program .*--resume"
    ):
        SETUP.play_stored(
            url, on_commit=at_fault(lambda: holders.append(hold_lock(tmp_path / "hydra.db", 60)))
        )
    holders[0].kill()
    holders[0].wait()

    assert assert_whole(url) == FAULT_CYCLE
    assert resume(url) == undisturbed


def test_the_command_says_how_to_go_on_once_the_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    path = tmp_path / "data" / "hydra" / "hydra.db"
    bars = ["--bars", str(CRYPTO), "--engines", "ema_trend,flat", "--to", "2024-01-15", "--quiet"]
    assert run(["replay", *bars, "--season", "whole"]) == 0
    holders: list[Child] = []
    commit = SqlSeasonStore.commit

    def lock_and_commit(store: SqlSeasonStore, cycle: int, at_ns: int) -> None:
        if not holders:
            holders.append(hold_lock(path, 60))
        commit(store, cycle, at_ns)

    with monkeypatch.context() as locked:
        locked.setattr(database, "BUSY_TIMEOUT_S", 0.1)
        locked.setattr(SqlSeasonStore, "commit", lock_and_commit)
        assert run(["replay", *bars, "--season", "broken"]) == 3
    said = capsys.readouterr().err
    assert "database is locked" in said
    assert said.splitlines()[-1].strip().endswith("replay --resume --season broken")
    holders[0].kill()
    holders[0].wait()

    assert run(["replay", "--resume", "--season", "broken", "--quiet"]) == 0
    with reading(f"sqlite:///{path}") as connection:
        digests = {one.digest for one in queries.seasons(connection)}
    assert len(digests) == 1


# What this user may not write


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp(prefix="hydra-shared-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def without_rights(folder: Path, work: Callable[[], object]) -> list[str]:
    """What `work` raised, line by line, in a process that may only read the folder."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)

    def in_other_shoes(say: Say) -> None:
        if os.geteuid() == 0:  # nothing is read-only for root
            os.setgroups([])
            os.setgid(65_534)
            os.setuid(65_534)
        try:
            work()
        except StorageError as error:
            say(str(error))

    said = in_child(in_other_shoes)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    return said


def test_a_database_that_may_only_be_read_is_named_and_left_alone(
    shared_folder: Path, undisturbed: str
) -> None:
    url = f"sqlite:///{shared_folder}/hydra.db"
    stop_at_fault(url)
    before = rows_of(url)

    (said,) = without_rights(shared_folder, lambda: resume(url))

    assert "hydra.db" in said
    assert "this user may not write the file or its folder" in said
    assert rows_of(url) == before
    assert resume(url) == undisturbed


def stop_at_fault(url: str) -> None:
    """Play up to FAULT_CYCLE, and no further."""

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        SETUP.play_stored(url, on_commit=at_fault(stop))


# A full disk


def test_a_full_disk_stops_the_season_which_goes_on_when_there_is_room(
    tmp_path: Path, undisturbed: str
) -> None:
    with small_disk(tmp_path / "disk", "900k") as disk:
        runs_out_of_room(disk, undisturbed)


def runs_out_of_room(disk: Path, undisturbed: str) -> None:
    url = f"sqlite:///{disk}/hydra.db"
    seen: list[int] = []
    with pytest.raises(StorageError, match=r"hydra\.db: .*(full|disk I/O).*--resume"):
        SETUP.play_stored(url, on_commit=lambda cycle, now_ns: seen.append(cycle))
    assert assert_whole(url) == seen[-1]

    # Without room, it cannot go on either, and says so.
    fill(disk)
    with pytest.raises(StorageError, match=r"(full|No space left).*--resume"):
        resume(url)
    (disk / "filler").unlink()
    assert assert_whole(url) == seen[-1]

    enlarge(disk, "64m")
    assert resume(url) == undisturbed


def fill(folder: Path) -> None:
    """Take what room is left."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass


# PostgreSQL restarts


@pytest.mark.parametrize("cleanly", [True, False], ids=["restart", "crash"])
def test_a_server_that_restarts_stops_the_season_which_goes_on_after_it(
    postgres_url: str,
    restart_postgres: Callable[[bool], None],
    undisturbed: str,
    cleanly: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(StorageError, match="--resume") as stopped:
        SETUP.play_stored(postgres_url, on_commit=at_fault(lambda: restart_postgres(cleanly)))
    assert "postgresql" in str(stopped.value)
    assert not caplog.records  # of SQLAlchemy, with a traceback

    left = assert_whole(postgres_url)
    # A crash may take the last commits, which are not waited for; never a part of one.
    assert left == FAULT_CYCLE if cleanly else left <= FAULT_CYCLE
    assert resume(postgres_url) == undisturbed


def test_a_store_whose_server_restarted_never_writes_without_its_lock(
    postgres_url: str, restart_postgres: Callable[[bool], None]
) -> None:
    with open_season(postgres_url, a_season(), resume=False) as store:
        play(store, cycles=2, close=False)
        restart_postgres(True)
        with open_season(postgres_url, a_season(), resume=True) as other:
            for _ in range(3):
                store.journal(3, START_NS, "ema", "approved", None, b"{}")
                with pytest.raises(StorageError, match="--resume"):
                    store.commit(3, START_NS)
            play(other, cycles=3)
    assert assert_whole(postgres_url) == 3
