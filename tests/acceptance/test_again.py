"""A season that was played live is played again to the same journal, from either source."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from apps.cli.main import run
from apps.runtime import status
from tests.support.llm_server import Heard, LoopbackModels, Say
from tests.support.minds import lively
from tests.support.shared_data import ROOT

pytestmark = pytest.mark.slow

CRYPTO = ROOT / "data" / "sample" / "crypto_4h.csv"
WHO = "donchian_breakout,ema_trend,flat"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    for name in ("HYDRA_DB_URL", "KILL_SWITCH", "HYDRA_GLADIATORS", "HYDRA_RECORDINGS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def sql(home: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    # Closed each time: copying the file while this process had it open would undo its locks.
    path = home / "data" / "hydra" / "hydra.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def digest(home: Path, season: str) -> str:
    return str(sql(home, "SELECT digest FROM seasons WHERE name = ?", season)[0][0])


def recorded(home: Path, season: str) -> Path:
    return home / "data" / "hydra" / "recordings" / season


def first_bars(home: Path) -> Path:
    """160 cycles of the sample: until 2024-01-25."""
    path = home / "bars.csv"
    head, *lines = CRYPTO.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(one for one in lines if one.split(",")[1] < "2024-01-25T16"))
    return path


def start(home: Path, *words: str, speed: str = "0", who: str = WHO) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "apps.cli.main", "run", "--feed", "replay", "--bars",
        str(first_bars(home)),
        "--engines", who, "--record", "--speed", speed, *words,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE)


def until(home: Path, child: subprocess.Popen[bytes], season: str, cycle: int) -> None:
    """Wait until the season is so far, a minute at most."""
    path, pause = status.path_of(home, season), threading.Event()
    for _ in range(6_000):
        if path.exists() and status.read(path).cycle >= cycle:
            return
        assert child.poll() is None, child.communicate()
        pause.wait(0.01)
    raise AssertionError("it has not come about")


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a recorded live season in which the kill switch was thrown and released, and
    whose process was killed and started again, each in the middle."""
    home = tmp_path_factory.mktemp("troubled")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HYDRA_HOME", str(home))
        for name in ("HYDRA_DB_URL", "KILL_SWITCH", "HYDRA_RECORDINGS"):
            monkeypatch.delenv(name, raising=False)
        child = start(home, "--season", "live", speed="600000")
        until(home, child, "live", 20)
        sql(home, "UPDATE guardian_state SET kill_switch=1")
        until(home, child, "live", 40)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child = start(home, "--season", "live", speed="600000")
        until(home, child, "live", 70)
        sql(home, "UPDATE guardian_state SET kill_switch=0")
        until(home, child, "live", 90)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 0
        shutil.copytree(home / "data", home / "stopped")
        child = start(home, "--season", "live")
        assert child.wait(timeout=60) == 0, child.communicate()
    switches = sql(home, "SELECT kind, cycle FROM journal WHERE kind LIKE 'external.%'")
    assert [kind for kind, _ in switches] == ["external.kill", "external.release"]
    assert switches[0][1] <= 70 <= switches[1][1]
    return home


@pytest.fixture
def copied(troubled: Path, home: Path) -> Path:
    shutil.copytree(troubled / "data", home / "data")
    return home


@pytest.mark.parametrize("source", ["--again", "--recorded"])
def test_it_repeats_from_the_database_and_from_its_recording(
    copied: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "live" if source == "--again" else str(recorded(copied, "live"))

    assert run(["replay", source, what]) == 0

    assert digest(copied, "live-again-1") == digest(copied, "live")
    count = sql(copied, "SELECT journal_count FROM seasons WHERE name = 'live'")[0][0]
    assert f"{count} of {count} records equal those of season live" in capsys.readouterr().err
    assert run(["db", "verify", "--season", "live-again-1"]) == 0
    trades = (
        "SELECT engine, asset, direction, status, lots, entry_price, exit_price, pnl_units"
        " FROM tickets t JOIN seasons s ON s.id = t.season_id WHERE s.name = ? ORDER BY ticket"
    )
    assert sql(copied, trades, "live-again-1") == sql(copied, trades, "live")
    assert len(sql(copied, trades, "live")) > 5


def test_a_season_that_was_stopped_repeats_up_to_there(
    troubled: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(troubled / "stopped", home / "data")
    ((count, cycle),) = sql(home, "SELECT journal_count, cycle FROM seasons")

    for source in (["--again", "live"], ["--recorded", str(recorded(home, "live"))]):
        assert run(["replay", *source, "--json"]) == 0
        told = capsys.readouterr()
        assert f"{count} of {count} records equal" in told.err
        assert f"up to cycle {cycle}" in told.err
        assert json.loads(told.out)


def test_a_season_is_repeated_up_to_a_day(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Behind the kill switch, which is heard again; and before it.
    for day in ("2024-01-18", "2024-01-05"):
        words = ["replay", "--recorded", str(recorded(copied, "live")), "--to", day]
        assert run([*words, "--season", day]) == 0
        assert "records equal those of season live: up to cycle" in capsys.readouterr().err
    (kills,) = sql(
        copied,
        "SELECT count(*) FROM journal j JOIN seasons s ON s.id = j.season_id"
        " WHERE s.name = '2024-01-18' AND kind = 'external.kill'",
    )
    assert kills == (1,)


def test_a_day_in_the_middle_is_a_season_of_its_own_with_the_days_before_to_warm_up(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--recorded", str(recorded(copied, "live")), "--from", "2024-01-15"]
    assert run(["replay", *words, "--to", "2024-01-22", "--season", "part", "--quiet"]) == 0

    assert "begins in the middle" in capsys.readouterr().err
    (first,) = sql(
        copied,
        "SELECT min(t.decided_ns) FROM tickets t JOIN seasons s ON s.id = t.season_id"
        " WHERE s.name = 'part'",
    )
    day_ns = 86_400 * 10**9
    # ema_trend looks 50 bars back, which are more than eight days.
    assert first[0] < 1_705_276_800 * 10**9 + 4 * day_ns
    ((cycles,),) = sql(copied, "SELECT cycle FROM seasons WHERE name = 'part'")
    assert cycles == 7 * 6


def test_what_was_changed_since_is_found_and_named(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = pl.col("^(bid|ask)_.*$")
    for path in (recorded(copied, "live") / "2024-01-20" / "bars").iterdir():
        rows = pl.read_parquet(path)
        dearer = rows.with_columns(ticks * 11 // 10, pl.col("open", "high", "low", "close") * 1.1)
        dearer.write_parquet(path)

    assert run(["replay", "--recorded", str(recorded(copied, "live")), "--quiet"]) == 1

    said = capsys.readouterr().err
    assert " records equal those of season live: record " in said
    assert " was " in said and ", now " in said
    assert run(["replay", "--again", "live", "--quiet"]) == 0


def test_a_recording_needs_no_database_but_has_then_nothing_to_compare_with(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", "--recorded", str(recorded(copied, "live")), "--quiet"]

    assert run([*words, "--db", f"sqlite:///{copied}/other.db"]) == 0

    assert "no journal to compare with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--again", "nobody"], "no season nobody"),
        (["--again", "live", "--engines", "flat"], "as it was"),
        (["--again", "live", "--resume"], "as it was"),
        (["--again", "live", "--from", "2030-01-01"], "no bars to play"),
        (["--recorded", "."], "no recording of a season"),
        (["--resume", "--season", "part"], "repeats another"),
    ],
)
def test_what_cannot_be_repeated_is_said_in_a_line(
    copied: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "--resume":
        child = ["replay", "--again", "live", "--season", "part", "--to", "2024-01-10", "--quiet"]
        assert run(child) == 0
        sql(copied, "UPDATE seasons SET state = 'playing' WHERE name = 'part'")

    assert run(["replay", *words]) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_replay_is_no_live_season(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["replay", "--bars", str(CRYPTO), "--engines", "flat", "--season", "past", "--quiet"]
    assert run([*words, "--to", "2024-01-05"]) == 0

    assert run(["replay", "--again", "past"]) == 2
    assert "hydra replay" in capsys.readouterr().err


def test_what_was_recorded_is_listed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recording", "list", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["season"], one["first_day"]) == ("live", "2023-12-30")

    assert run(["recording", "inspect", "live", "--day", "2024-01-10", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["symbol"], row["rows"], row["largest_gap_s"]) for row in rows} == {
        (symbol, 6, 0.0) for symbol in ("BNB-USDT", "BTC-USDT", "ETH-USDT", "SOL-USDT")
    }
    assert run(["recording", "inspect", "live", "--day", "2019-01-10"]) == 2
    assert run(["recording", "inspect", "nobody"]) == 2


@pytest.mark.nightly
def test_gladiators_whose_answers_are_late_or_lost_repeat_and_nobody_is_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bars come faster than a model answers; the process is killed with a question out."""
    roster = home / "gladiators.toml"
    roster.write_text(
        "[gladiators.mine]\nprovider = 'openai'\nmodel = 'm'\nusd_per_mtok_in = 1\n"
        "usd_per_mtok_out = 2\ncalls_per_minute = 100000\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "canary")

    questions, hangs = count(1), threading.Event()

    def slow(heard: Heard) -> Say:
        is_fifth = next(questions) == 5
        return replace(lively(heard), wait_s=0.15, event=hangs if is_fifth else None)

    with LoopbackModels(slow, key="") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url("openai"))
        words = ["--season", "live", "--gladiators", str(roster)]
        child = start(home, *words, speed="600000", who="mine,ema_trend")
        while len(server.heard) < 5:
            until(home, child, "live", 1)
        until(home, child, "live", status.read(status.path_of(home, "live")).cycle + 5)
        child.kill()
        child.wait()
        hangs.set()
        child = start(home, *words, speed="600000", who="mine,ema_trend")
        assert child.wait(timeout=120) == 0, child.communicate()
        heard = len(server.heard)

        assert run(["replay", "--again", "live", "--quiet"]) == 0
        words = ["replay", "--recorded", str(recorded(home, "live")), "--quiet"]
        assert run(words) == 0

        assert len(server.heard) == heard
    assert digest(home, "live-again-1") == digest(home, "live-again-2") == digest(home, "live")
    kinds = dict(sql(home, "SELECT kind, count(*) FROM journal WHERE season_id = 1 GROUP BY kind"))
    assert kinds["external.answer"] > 5
    assert kinds["external.lost"] == 1
    assert run(["db", "verify", "--season", "live"]) == 0
