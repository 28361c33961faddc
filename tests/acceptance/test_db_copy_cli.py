"""`hydra db copy` and `hydra db backup` as a user types them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from apps.cli.main import run
from hydra.storage.store import open_season
from tests.support.processes import CRYPTO
from tests.support.seasons import a_season, play

pytest_plugins = ["tests.support.postgres"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home with a database that holds one finished season and one that is not."""
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, close in (("done", True), ("open", False)):
        url = f"sqlite:///{tmp_path}/data/hydra/hydra.db"
        with open_season(url, a_season(name), resume=False) as store:
            play(store, close=close)
    return tmp_path


def told(line: str, capsys: Capture) -> list[dict[str, object]]:
    assert run([*line.split(), "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_a_copy_says_what_it_did_and_verifies(home: Path, capsys: Capture) -> None:
    assert run(["db", "copy", "--season", "done", "--to", "sqlite:///other.db"]) == 0

    shown = capsys.readouterr()
    assert "finished" in shown.out
    assert "sound: the copy's digest is that of its source" in shown.out
    assert shown.err == ""
    assert run(["db", "verify", "--season", "done", "--db", "sqlite:///other.db"]) == 0
    capsys.readouterr()
    assert told("seasons --db sqlite:///other.db", capsys)[0]["season"] == "done"


def test_a_copy_of_an_unfinished_season_says_so_in_json_too(home: Path, capsys: Capture) -> None:
    assert run(["db", "copy", "--to", "sqlite:///other.db", "--as", "mine", "--json"]) == 0

    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert (row["season"], row["state"], row["cycle"], row["current"]) == (
        "mine",
        "playing",
        3,
        True,
    )
    assert "was not finished: the copy holds what was committed up to cycle 3" in shown.err
    assert "hydra replay --resume --season mine" in shown.err


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("db copy", 2, "--to"),
        ("db copy --season x --to sqlite:///o.db", 2, "no season x; there are: done, open"),
        ("db copy --season done --to sqlite:///data/hydra/hydra.db", 2, "another name by --as"),
        ("db copy --to sqlite:///o.db --as ../x", 2, "--as '../x'"),
        ("db copy --to nonsense", 3, "no database URL"),
        ("db copy --from sqlite:///nope.db --to sqlite:///o.db", 3, "there is no database"),
        ("db copy --to postgresql://u:hush@127.0.0.1:1/x", 3, "is the server running"),
        ("db copy --from sqlite:///junk.db --to sqlite:///o.db", 3, "not a database"),
        ("db backup", 2, "--out"),
        ("db backup --out nowhere/b.db", 2, "there is no folder"),
        ("db backup --out junk.db", 2, "--force"),
        ("db backup --out data/hydra/hydra.db --force", 2, "the database itself"),
        ("db backup --out b.db --db sqlite:///nope.db", 3, "there is no database"),
        ("db backup --out b.db --db postgresql://u:hush@h/x", 2, "pg_dump --format=custom"),
    ],
)
def test_bad_input_is_one_message_and_a_code(
    line: str, code: int, said: str, home: Path, capsys: Capture
) -> None:
    (home / "junk.db").write_bytes(bytes(range(255)) * 9)

    assert run(line.split()) == code

    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("error: ")
    assert "hush" not in shown.err
    assert shown.out == ""
    assert {path.name for path in home.iterdir()} == {"data", "junk.db"}


def test_a_season_goes_to_postgresql_and_back(
    home: Path, postgres_url: str, capsys: Capture
) -> None:
    assert run(["replay", "--bars", str(CRYPTO), "--to", "2024-01-20", "--quiet"]) == 0
    assert run(["db", "copy", "--to", postgres_url]) == 0
    assert run(["db", "copy", "--from", postgres_url, "--to", "sqlite:///back.db"]) == 0
    capsys.readouterr()

    first = told("standings", capsys)
    assert told(f"standings --db {postgres_url}", capsys) == first
    assert told("standings --db sqlite:///back.db", capsys) == first


def test_a_backup_is_made_replaced_by_force_and_can_be_read(home: Path, capsys: Capture) -> None:
    assert run(["db", "backup", "--out", "backup.db"]) == 0
    shown = capsys.readouterr()
    assert "backup.db holds 2 seasons" in shown.out
    assert shown.err == ""
    assert run(["db", "backup", "--out", "backup.db"]) == 2
    assert run(["db", "backup", "--out", "backup.db", "--force"]) == 0
    assert run(["db", "verify", "--season", "done", "--db", "sqlite:///backup.db"]) == 0

    with sqlite3.connect(home / "backup.db") as connection:
        assert connection.execute("SELECT count(*) FROM seasons").fetchone() == (2,)
    connection.close()
