"""The report of a guardian's day, and the clean-up: as files, and as commands."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from apps.cli.daily import DailyReports, encoded, markdown, write_days
from apps.cli.main import run
from hydra.errors import ConfigError
from hydra.storage.copying import copy_season
from hydra.storage.database import reading
from tests.support.shared_data import ROOT

pytest_plugins = ["tests.support.postgres"]
pytestmark = pytest.mark.slow
CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a replay of some weeks; its last day is cut short."""
    home = tmp_path_factory.mktemp("daily")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_HOME", str(home))
        patch.delenv("HYDRA_DB_URL", raising=False)
        words = ["--engines", "donchian_breakout,previous_day_breakout,mean_reversion,flat"]
        assert run(["replay", "--bars", CRYPTO, *words, "--to", "2024-02-10", "--quiet"]) == 0
    return home


@pytest.fixture
def home(played: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(played))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    return played


def url(home: Path) -> str:
    return f"sqlite:///{home}/data/hydra/hydra.db"


def reports(home: Path) -> list[dict[str, Any]]:
    with reading(url(home)) as connection:
        found = DailyReports(connection)
        return [json.loads(encoded(found.of(day))) for day in found.days]


def shown(home: Path, day: str) -> str:
    with reading(url(home)) as connection:
        return markdown(DailyReports(connection).of(day))


def test_there_is_one_of_each_guardians_day(home: Path) -> None:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as connection:
        days = connection.execute("SELECT DISTINCT day FROM guardian_days ORDER BY day").fetchall()

    assert [report["day"] for report in reports(home)] == [day for (day,) in days]
    assert len(days) > 40


def test_its_counts_are_the_guardians_on_every_day(home: Path) -> None:
    refused, known = 0, set()
    for report in reports(home):
        new = [trade["engine"] for trade in report["trades"] if trade["trade_id"] not in known]
        known |= {trade["trade_id"] for trade in report["trades"]}
        for account in report["accounts"]:
            engine = account["engine"]
            refusals = [one["count"] for one in report["refusals"] if one["engine"] == engine]
            assert (sum(refusals), new.count(engine)) == (account["refused"], account["opened"])
            refused += account["refused"]
    assert refused > 10
    assert len(known) > 30


def test_the_days_add_up_to_the_season(home: Path) -> None:
    found = reports(home)
    pnl: dict[str, float] = {}
    closed: dict[str, int] = {}
    for report in found:
        for account in report["accounts"]:
            engine = account["engine"]
            pnl[engine] = pnl.get(engine, 0.0) + account["closed_pnl_usd"]
        for trade in report["trades"]:
            closed[trade["engine"]] = closed.get(trade["engine"], 0) + (trade["status"] == "CLOSED")
    last = {row["engine"]: row for row in found[-1]["standings"]}

    for engine, row in last.items():
        assert pnl[engine] == pytest.approx(row["net_pnl_usd"], abs=1e-6)
        assert closed.get(engine, 0) == row["trades"]
    assert sum(closed.values()) > 30


def test_a_ticket_is_told_as_it_stood_when_the_day_was_over(home: Path) -> None:
    by_ticket: dict[int, list[dict[str, Any]]] = {}
    for report in reports(home):
        for trade in report["trades"]:
            by_ticket.setdefault(trade["trade_id"], []).append(trade)
    held = [told for told in by_ticket.values() if len(told) > 1]

    assert held  # over a midnight
    for told in held:
        assert [one["status"] for one in told] == ["OPEN", "CLOSED"]
        assert told[0]["pnl_usd"] is None and told[0]["exit_price"] is None
        assert told[1]["pnl_usd"] is not None


def test_standings_are_those_of_the_days_end(home: Path) -> None:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as connection:
        ends = connection.execute(
            "SELECT at_ns, max(trades) FROM scores GROUP BY at_ns ORDER BY at_ns"
        ).fetchall()

    trades = [max(row["trades"] for row in report["standings"]) for report in reports(home)]
    assert trades[:-1] == [most for _, most in ends]  # the last is the season's own


def test_a_copy_on_postgres_tells_the_same(home: Path, postgres_url: str) -> None:
    copy_season(url(home), postgres_url)

    with reading(postgres_url) as connection:
        found = DailyReports(connection)
        told = [json.loads(encoded(found.of(day))) for day in found.days]
    assert told == reports(home)


def test_days_that_were_missed_are_written_and_no_other(home: Path, tmp_path: Path) -> None:
    with reading(url(home)) as connection:
        days = list(DailyReports(connection).days)
        written = write_days(connection, "season-1", tmp_path, after=days[-4])
        assert write_days(connection, "season-1", tmp_path, after=days[-1]) == []

    assert written == days[-3:]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{day}.{kind}" for day in written for kind in ("json", "md")
    )
    for report in reports(home)[-3:]:
        assert json.loads((tmp_path / f"{report['day']}.json").read_bytes()) == report
        assert (tmp_path / f"{report['day']}.md").read_text() == shown(home, report["day"])


def test_a_folder_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with reading(url(home)) as connection, pytest.raises(ConfigError, match="cannot be written"):
        write_days(connection, "season-1", tmp_path / "file")


def test_the_command_prints_the_last_day_or_the_one_that_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = reports(home)

    assert run(["daily"]) == 0
    assert capsys.readouterr().out == shown(home, found[-1]["day"])
    assert run(["daily", "--day", found[7]["day"], "--season", "season-1"]) == 0
    assert capsys.readouterr().out == shown(home, found[7]["day"])
    assert run(["daily", "--day", found[7]["day"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [found[7]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--day", "2030-01-01"], "no day 2030-01-01 that is over; its days are 2023-12-30 to"),
        (["--day", "yesterday"], "no day; write 2024-01-31"),
        (["--season", "gone"], "no season gone"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    home: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["daily", *words]) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_text_from_outside_cannot_break_a_table() -> None:
    row = {"engine": "a|b\n\x1b[31mc", "rule": "x", "count": 1}
    parts = ("standings", "accounts", "trades", "limits", "troubles", "models", "feed")
    report: dict[str, Any] = {part: [] for part in parts}
    report |= {"season": "s", "day": "d", "from": "", "to": "", "profile": "p"}

    told = markdown(report | {"refusals": [row]})

    (line,) = [line for line in told.splitlines() if "| x" in line]
    assert "a\\|b" in line
    assert "\x1b" not in told


def test_clean_says_first_and_deletes_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    logs = tmp_path / "data" / "hydra" / "logs"
    logs.mkdir(parents=True)
    old, new = logs / "live.log.2", logs / "live.log.1"
    for path in (old, new):
        path.write_text("x" * 10)
    os.utime(old, (0, 0))

    assert run(["clean", "--dry-run", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {"kind": "log", "path": str(old), "size_bytes": 10, "deleted": False}
    assert old.exists()

    monkeypatch.setenv("HYDRA_KEEP_LOGS_DAYS", "0")
    assert run(["clean"]) == 0
    assert "nothing" in capsys.readouterr().err
    assert old.exists()

    monkeypatch.setenv("HYDRA_KEEP_LOGS_DAYS", "-1")
    assert run(["clean"]) == 2
    assert "HYDRA_KEEP_LOGS_DAYS" in capsys.readouterr().err

    monkeypatch.delenv("HYDRA_KEEP_LOGS_DAYS")
    assert run(["clean"]) == 0
    assert "live.log.2" in capsys.readouterr().out
    assert not old.exists()
    assert new.exists()
