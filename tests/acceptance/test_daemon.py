"""The daemon on recorded prices: what it plays, how it is stopped, and what a death costs it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import run
from apps.runtime import status
from tests.support.shared_data import ROOT

pytestmark = pytest.mark.slow

CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
FEED = ["--feed", "replay", "--bars", CRYPTO]
WHO = ["--engines", "donchian_breakout,ema_trend,flat"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    for name in ("HYDRA_DB_URL", "KILL_SWITCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def sql(home: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as connection:
        return connection.execute(statement).fetchall()


def digest(home: Path, season: str) -> str:
    return str(sql(home, f"SELECT digest FROM seasons WHERE name = '{season}'")[0][0])


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", "run", *FEED, *WHO, *words],
        cwd=ROOT,
        env={**os.environ, "HYDRA_HOME": str(home)},
        stderr=subprocess.PIPE,
    )


def until(true: Callable[[], bool], child: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for something, a minute at most."""
    pause = threading.Event()
    for _ in range(6_000):
        if true():
            return
        assert child is None or child.poll() is None, child and child.communicate()
        pause.wait(0.01)
    raise AssertionError("it has not come about")


def cycle_of(home: Path, season: str) -> int:
    path = status.path_of(home, season)
    return status.read(path).cycle if path.exists() else 0


def reports(home: Path, season: str) -> dict[str, Any]:
    """By day, what the report of it says of all but the season's name."""
    folder = home / "data" / "hydra" / "reports" / season
    found = {path.stem: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    assert {path.stem for path in folder.glob("*.md")} == found.keys()
    return {day: report | {"season": ""} for day, report in found.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a live season has been played undisturbed."""
    home = tmp_path_factory.mktemp("whole")
    child = start(home, "--season", "whole", "--speed", "0")
    assert child.wait(timeout=120) == 0, child.communicate()
    return home


def test_a_live_season_trades_as_a_replay_of_the_same_bars(whole: Path, home: Path) -> None:
    words = ["replay", "--bars", CRYPTO, *WHO, "--season", "replayed", "--quiet"]
    assert run(words) == 0

    trades = (
        "SELECT engine, asset, direction, timestamp, entry_price, exit_price, lots, pnl"
        " FROM hydra_trades ORDER BY trade_id"
    )
    assert sql(home, trades) == sql(whole, trades)
    assert len(sql(whole, trades)) > 40


def test_its_rows_verify_and_its_bars_are_kept(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_HOME", str(whole))

    assert run(["db", "verify"]) == 0
    assert sql(whole, "SELECT count(*) FROM season_bars") == [(2_000,)]
    assert run(["status", "--json"]) == 1  # none runs
    (told,) = json.loads(capsys.readouterr().out.split("\n[", 1)[-1].join(["[", ""]))[-1:]
    assert (told["season"], told["state"], told["cycle"]) == ("whole", "finished", 500)


def test_each_of_its_days_has_a_report_and_its_jobs_are_told(whole: Path) -> None:
    days = [day for (day,) in sql(whole, "SELECT DISTINCT day FROM guardian_days ORDER BY day")]
    jobs = status.read(status.path_of(whole, "whole")).jobs

    assert sorted(reports(whole, "whole")) == days
    assert len(days) == 84
    assert sorted(jobs) == ["checkpoint", "clean-up", "daily report"]
    assert not any(job.error for job in jobs.values())
    assert sql(whole, "SELECT mark FROM jobs WHERE job = 'daily report'") == [(days[-1],)]


def test_its_log_and_its_audit_trail_have_what_happened(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = home / "live.log"
    words = ["run", *FEED, *WHO, "--season", "audited", "--speed", "0", "--quiet"]

    assert run([*words, "--audit", "--log", str(log)]) == 0

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line["event"] for line in lines]
    assert any(event.startswith("season audited in ") for event in told), told
    assert any(event.startswith("season audited is finished, digest") for event in told), told
    assert {"season begins", "season ends"} <= set(told), told
    assert run(["audit", "verify", "--season", "audited", "--json"]) == 0
    (trail,) = json.loads(capsys.readouterr().out)
    assert trail["lines"] > 80
    assert (trail["missing"], trail["state"]) == (0, "finished")


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_digest(
    whole: Path, home: Path
) -> None:
    for deaths, cycle in enumerate((1, 61, 420)):
        child = start(home, "--season", "torn", "--speed", "0")
        until(lambda at=cycle: cycle_of(home, "torn") >= at, child)  # type: ignore[misc]
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert sql(home, "SELECT state FROM seasons") == [("playing",)], deaths
    assert run(["run", *FEED, "--season", "torn", "--speed", "0", "--quiet"]) == 0

    assert digest(home, "torn") == digest(whole, "whole")
    rows = "SELECT count(*), count(DISTINCT ticket) FROM tickets"
    assert sql(home, rows) == sql(whole, rows)
    assert reports(home, "torn") == reports(whole, "whole")


def test_sigterm_ends_it_after_the_minute_and_loses_nothing(
    whole: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = start(home, "--season", "torn", "--speed", "100000")
    until(lambda: cycle_of(home, "torn") >= 30, child)
    assert run(["status"]) == 0
    assert "playing" in capsys.readouterr().out

    assert run(["stop"]) == 0

    assert child.wait(timeout=10) == 0
    _, said = child.communicate()
    assert b"goes on" in said and b"Traceback" not in said
    assert status.read(status.path_of(home, "torn")).state == "stopped"
    assert run(["stop"]) == 2
    assert run(["run", *FEED, "--season", "torn", "--speed", "0", "--quiet"]) == 0
    assert digest(home, "torn") == digest(whole, "whole")


def test_the_kill_switch_by_sql_is_in_force_in_the_next_minute(home: Path) -> None:
    child = start(home, "--season", "switch", "--speed", "100000")
    until(lambda: cycle_of(home, "switch") >= 60, child)
    sql(home, "UPDATE guardian_state SET kill_switch=1")
    at = cycle_of(home, "switch")
    until(lambda: cycle_of(home, "switch") >= at + 4, child)
    child.terminate()
    child.wait(timeout=10)

    (cycle,) = sql(home, "SELECT cycle FROM journal WHERE kind = 'external.kill'")[0]
    assert cycle <= at + 2
    assert not sql(home, "SELECT 1 FROM tickets WHERE status = 'OPEN'")


def test_two_daemons_cannot_play_one_season(home: Path) -> None:
    child = start(home, "--season", "one", "--speed", "1000")
    until(lambda: cycle_of(home, "one") >= 1, child)
    second = start(home, "--season", "one", "--speed", "1000")

    assert second.wait(timeout=60) == 3
    _, said = second.communicate()
    assert b"is being played" in said or b"another process" in said
    assert child.poll() is None
    child.terminate()
    assert child.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--feed", "nowhere"], "none of: venues, replay"),
        (["--feed", "replay"], "--bars FILE"),
        (["--feed", "replay", "--bars", "gone.csv"], "gone.csv"),
        ([*FEED, "--speed", "-1"], "speed"),
        ([*FEED, "--season", "../x"], "--season"),
        ([*FEED, "--engines", "nobody"], "nobody"),
        ([*FEED, "--assets", "BTC-USD,BTC-USD", "--feed", "venues"], "twice"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    home: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", *words]) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_replayed_season_is_no_live_one_and_the_other_way_round(
    whole: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "--bars", CRYPTO, *WHO, "--season", "past", "--quiet"]) == 0
    assert run(["run", *FEED, "--season", "past"]) == 2
    assert "hydra replay" in capsys.readouterr().err
