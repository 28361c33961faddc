"""A database that cannot be used is named, with a word on what to do; no driver error escapes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from hydra.errors import ConfigError, StorageError
from hydra.settings import load_settings
from hydra.storage import database
from hydra.storage.database import parse_url, place, reading
from hydra.storage.queries import set_kill_switch
from hydra.storage.schema import HEAD, KNOWN, check, ensure
from hydra.storage.store import SqlSeasonStore, open_season
from tests.support.seasons import START_NS, a_season, play


def open_at(path: Path) -> SqlSeasonStore:
    return open_season(f"sqlite:///{path}", a_season(), resume=False)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("symbol,open_time,open,high,low,close\n" * 100)

    with pytest.raises(StorageError, match=r"prices\.csv: file is not a database \(.*another --db"):
        open_at(path)
    assert path.read_text().startswith("symbol")


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"unable to open database file \(is the folder"):
        open_at(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot make the folder"):
        open_at(tmp_path / "file" / "data" / "hydra.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    open_at(tmp_path / "hydra.db").release()
    (tmp_path / "hydra.db").chmod(0o400)

    with pytest.raises(StorageError, match="readonly database"):
        open_season(f"sqlite:///{tmp_path}/hydra.db", a_season("other"), resume=False)


def test_a_database_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"

    with pytest.raises(StorageError, match=r"there is no database at .*play a season first"):
        check(f"sqlite:///{path}")
    assert not path.exists()


def test_a_database_that_another_program_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "hydra.db"
    with open_at(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.journal(1, START_NS, "ema", "approved", None, b"{}")
        with pytest.raises(StorageError, match=r"database is locked \(another program"):
            store.commit(1, START_NS)
        other.close()

        store.commit(1, START_NS)  # nothing was lost: the same rows go in at the next try
    with reading(f"sqlite:///{path}") as connection:
        assert connection.exec_driver_sql("SELECT journal_count FROM seasons").scalar() == 1


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    with open_at(path) as store:
        play(store, cycles=2, close=False)
        # SQLite reports its own limit of pages as a full disk.
        store._connection.exec_driver_sql("PRAGMA max_page_count=1")
        store._connection.rollback()
        for number in range(500):
            store.journal(3, START_NS, "ema", "approved", None, b'"%s"' % (b"x" * number))
        with pytest.raises(StorageError, match=r"disk is full \(free some space"):
            store.commit(3, START_NS)

    resumed = open_season(f"sqlite:///{path}", a_season(), resume=True)
    assert resumed.stored_cycle == 2
    resumed.release()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_at(tmp_path / "hydra.db")
    store.release()
    store.release()

    with pytest.raises(StorageError, match="season-1 is closed"):
        store.kill_switch()
    with pytest.raises(StorageError, match="season-1 is closed"):
        store.commit(1, START_NS)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hydra.db", "is no database URL"),
        ("mysql://u:secret@h/d", "'mysql' is not supported"),
        ("sqlite://", "give SQLite the path of a file"),
        ("sqlite:///:memory:", "give SQLite the path of a file"),
    ],
)
def test_urls_that_hydra_cannot_use(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        ensure(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match="is the server running") as caught:
        check("postgresql://u:secret@127.0.0.1:9/hydra")
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_common_names_of_postgresql_all_work() -> None:
    for name in ("postgres", "postgresql", "postgresql+psycopg"):
        assert parse_url(f"{name}://u@h/d").drivername == "postgresql+psycopg"
    assert place("postgres://u:secret@h/d") == "postgresql+psycopg://u:***@h/d"


def test_the_program_knows_every_migration_there_is() -> None:
    folder = Path(__file__).resolve().parents[2] / "migrations" / "versions"

    assert sorted(path.name.split("_")[0] for path in folder.glob("*.py")) == list(KNOWN)
    assert KNOWN[-1] == HEAD


def test_settings_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.setenv("KILL_SWITCH", "true")
    settings = load_settings()
    assert settings.db_url == f"sqlite:///{tmp_path}/data/hydra/hydra.db"
    assert settings.kill_switch

    monkeypatch.setenv("KILL_SWITCH", "perhaps")
    with pytest.raises(ConfigError, match="KILL_SWITCH='perhaps'"):
        load_settings()


def test_the_switch_can_be_set_before_any_season_was_played(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    ensure(url)
    with database.writing(url) as connection:
        set_kill_switch(connection, True, "before the start")

    with open_season(url, a_season(), resume=False) as store:
        assert store.kill_switch()
