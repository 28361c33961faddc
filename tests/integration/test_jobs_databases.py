"""What jobs remember, on both databases; and the checkpoint, which only SQLite needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete

from hydra.errors import StorageError
from hydra.storage import tables
from hydra.storage.database import checkpoint, writing
from hydra.storage.jobs import JobRun, SeasonJobs
from hydra.storage.schema import ensure
from hydra.storage.store import open_season
from tests.support.seasons import a_season, play

pytest_plugins = ["tests.support.postgres"]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hydra.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def a_season_of(url: str, name: str) -> int:
    ensure(url)
    with open_season(url, a_season(name), resume=False) as store:
        return store.season_id


def test_the_last_run_is_kept_by_season_and_job(url: str) -> None:
    one, other = (SeasonJobs(url, a_season_of(url, name)) for name in ("one", "other"))
    assert one.last("report") is None

    one.keep("report", JobRun(1, "2024-01-30"))
    one.keep("report", JobRun(2**62, "2024-01-31"))
    one.keep("clean-up", JobRun(3))

    assert one.last("report") == JobRun(2**62, "2024-01-31")
    assert one.last("clean-up") == JobRun(3, "")
    assert other.last("report") is None


def test_it_goes_with_its_season(url: str) -> None:
    season_id = a_season_of(url, "one")
    memory = SeasonJobs(url, season_id)
    memory.keep("report", JobRun(1, "2024-01-30"))

    with writing(url) as connection:
        connection.execute(delete(tables.seasons).where(tables.seasons.c.id == season_id))

    assert memory.last("report") is None


def test_a_checkpoint_moves_the_log_into_the_file_while_a_season_is_played(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    url = f"sqlite:///{path}"
    ensure(url)
    with open_season(url, a_season(), resume=False) as store:
        play(store, cycles=50, close=False)
        before = path.read_bytes()

        checkpoint(url)

        assert path.read_bytes() != before
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as alone:
            # Without the log beside it.
            assert alone.execute("SELECT cycle FROM seasons").fetchall() == [(50,)]


def test_a_checkpoint_waits_for_no_reader_and_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    url = f"sqlite:///{path}"
    a_season_of(url, "one")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE seasons SET name = 'two'")
        checkpoint(url)
        other.execute("COMMIT")
        assert other.execute("SELECT name FROM seasons").fetchall() == [("two",)]


def test_a_checkpoint_makes_no_database_and_names_the_one_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.db"):
        checkpoint(f"sqlite:///{tmp_path}/gone.db")
    assert not list(tmp_path.iterdir())


def test_postgres_needs_none(postgres_url: str) -> None:
    checkpoint(postgres_url)
