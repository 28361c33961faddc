"""`hydra replay --log FILE`: what an operator reads there, and what nobody can."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import run
from hydra.operations.logs import configure
from hydra.operations.masking import Mask
from hydra.operations.season_log import SeasonLog
from hydra.settings import Settings
from hydra.storage.database import reading
from hydra.storage.store import open_season
from tests.support.seasons import a_season
from tests.support.shared_data import ROOT

CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
PLAY = ["replay", "--bars", CRYPTO, "--engines", "ema_trend,flat", "--to", "2024-02-01", "--quiet"]
CANARY = "canary-4711-x"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HYDRA_DB_URL", "KILL_SWITCH", "LOG_FILE", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPSEEK_API_KEY", CANARY)
    return tmp_path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_begin_and_end_of_a_season_are_logged_and_nothing_is_printed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = home / "logs" / "replay.log"

    assert run([*PLAY, "--log", str(log)]) == 0

    assert capsys.readouterr() == ("", "")
    first, *_, last = lines_of(log)
    assert (first["event"], last["event"]) == ("season begins", "season ends")
    assert {line["season"] for line in lines_of(log)} == {"season-1"}
    run(["seasons", "--json"])
    (season,) = json.loads(capsys.readouterr().out)
    assert last["digest"] == season["digest"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_setting_names_the_file_and_without_it_there_is_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(PLAY) == 0
    assert not list(home.glob("**/*.log"))

    monkeypatch.setenv("LOG_FILE", str(home / "x.log"))
    monkeypatch.setenv("LOG_FORMAT", "console")
    assert run(PLAY) == 0
    assert (
        " info     season begins  logger=hydra.season season=season-2"
        in (home / "x.log").read_text()
    )


def test_warnings_and_the_kill_switch_are_logged(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KILL_SWITCH", "true")

    assert run([*PLAY, "--log", str(home / "x.log")]) == 0

    said = [(line["level"], line["event"]) for line in lines_of(home / "x.log")]
    assert said[0] == ("warning", "KILL_SWITCH is set in the environment: no engine may trade")
    assert ("error", "kill switch thrown") in said


def test_an_error_that_ends_the_command_is_logged_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*PLAY, "--season", "s1"]) == 0
    assert run([*PLAY, "--season", "s1", "--log", str(home / "x.log")]) == 2

    (line,) = lines_of(home / "x.log")
    assert (line["level"], line["event"]) == ("error", "command failed")
    assert "--resume" in line["reason"]


def test_a_log_that_cannot_be_opened_stops_before_anything_is_played(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*PLAY, "--log", str(home)]) == 2
    assert "log file" in capsys.readouterr().err
    assert not (home / "data" / "hydra" / "hydra.db").exists()


def test_a_resumed_season_is_logged_from_where_it_was(home: Path) -> None:
    log = home / "x.log"
    assert run([*PLAY, "--log", str(log)]) == 0
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as database:
        database.execute("UPDATE seasons SET state = 'playing'")
    database.close()

    assert run(["replay", "--resume", "--quiet", "--log", str(log)]) == 0

    assert [line["event"] for line in lines_of(log)].count("season begins") == 1
    assert lines_of(log)[-2]["event"] == "season resumes"


def test_each_kind_is_said_and_bodies_cannot_take_a_line_s_own_names(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    with open_season(url, a_season("s1"), resume=False) as store:
        for kind in ("benched", "breached", "breach", "latch", "failed", "external.kill"):
            body = b'{"event":"x","level":"y","time":"z","season":"w","engine":"v","text":"t\\n"}'
            store.journal(3, 10**18, "" if "." in kind else "ema", kind, None, body)
        store.journal(3, 10**18, "ema", "approved", None, b"{}")
        store.commit(3, 10**18)
    with configure(Settings(), file=tmp_path / "x.log", mask=Mask()):
        log = SeasonLog()
        for _ in range(2):  # the second time there is nothing new
            with reading(url) as connection:
                log.follow(connection, "s1")

    lines = lines_of(tmp_path / "x.log")
    assert [line["event"] for line in lines] == [
        "engine benched", "account lost for the season", "limit breached", "guardian latched",
        "decision failed", "kill switch thrown",
    ]  # fmt: skip
    for line in lines[:-1]:
        assert (line["season"], line["engine"], line["cycle"]) == ("s1", "ema", 3)
        assert (line["body_event"], line["body_level"], line["body_time"]) == ("x", "y", "z")
        assert line["at"] == "2001-09-09T01:46:40Z"


def test_no_secret_of_the_environment_is_in_the_file_of_a_fault(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(connection: object) -> None:
        raise RuntimeError(f"called with {CANARY}")

    monkeypatch.setattr("hydra.storage.queries.seasons", broken)
    assert run(PLAY) == 0

    assert run(["seasons"]) == 70

    (log,) = home.glob("data/hydra/logs/*.log")
    shown = capsys.readouterr()
    assert "RuntimeError: called with ***" in log.read_text()
    assert "RuntimeError: called with ***" in shown.err
    assert CANARY not in log.read_text() + shown.err + shown.out
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_no_secret_is_in_anything_that_a_season_leaves(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ANTHROPIC_API_KEY", "TELEGRAM_TOKEN", "TRADING_VAULT_NEW_PASSWORD"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("LOG_LEVEL", "debug")

    assert run([*PLAY, "--audit", "--log", str(home / "x.log")]) == 0
    for words in ("config", "config --json", "audit verify", "decisions --json"):
        assert run(words.split()) == 0

    shown = capsys.readouterr()
    assert CANARY not in shown.out + shown.err
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".log", ".jsonl", ".db", ".html"}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert os.environ["DEEPSEEK_API_KEY"] == CANARY
