"""Eliminations from the command line: killed in the middle, shown, and set."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import run
from apps.runtime import status
from hydra.storage.database import reading
from hydra.storage.verify import verify_season
from hydra.tournament.elimination import EliminationRules
from tests.support.processes import Setup, fork, in_child, rows_of, sample_tables
from tests.support.shared_data import ROOT

CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
WHO = (
    "ema_trend,ema_trend:fast=5,slow=15,mean_reversion,mean_reversion:period=10,"
    "donchian_breakout,previous_day_breakout,flat"
)
SETUP = Setup(
    tables=sample_tables(bars=250),
    plan={"elimination": EliminationRules(every_h=24), "poll_ms": 0, "commit_ms": 0},
)


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(statement).fetchall()


def eliminated(path: Path) -> list[tuple[int, str]]:
    """(cycle, engine) of those that had to leave."""
    return sql(path, "SELECT cycle, engine FROM journal WHERE kind = 'eliminated' ORDER BY seq")


# Killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Digest and database of a season in which two engines had to leave."""
    path = tmp_path_factory.mktemp("undisturbed") / "hydra.db"
    return SETUP.play_stored(f"sqlite:///{path}"), path


@pytest.mark.parametrize("after", [-1, 0, 1])
@pytest.mark.parametrize("which", [0, 1])
def test_killed_around_an_elimination_it_is_repeated_as_it_was(
    undisturbed: tuple[str, Path], tmp_path: Path, which: int, after: int
) -> None:
    digest, whole = undisturbed
    assert len(eliminated(whole)) == 2
    cycle = eliminated(whole)[which][0] + after
    path = tmp_path / "hydra.db"
    url = f"sqlite:///{path}"

    child = fork(lambda say: _played(url, say))
    assert len(child.lines(cycle + 1)) == cycle + 1
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert len(eliminated(path)) >= which + (after >= 0)

    (again,) = in_child(lambda say: say(SETUP.play_stored(url, resume=True)))
    assert again == digest
    assert rows_of(url) == rows_of(f"sqlite:///{whole}")
    with reading(url) as connection:
        assert verify_season(connection).is_sound


def _played(url: str, say: Any) -> None:
    SETUP.play_stored(url, on_commit=lambda cycle, now_ns: say(str(cycle)))


def test_another_period_is_another_season(undisturbed: tuple[str, Path]) -> None:
    other = replace(SETUP, plan=SETUP.plan | {"elimination": EliminationRules(every_h=48)})

    assert other.play_in_memory()[0] != undisturbed[0]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    for name in ("HYDRA_DB_URL", "KILL_SWITCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def january(home: Path) -> list[str]:
    """Words of `hydra run` on the sample's first month."""
    lines = Path(CRYPTO).read_text().splitlines()
    bars = home / "january.csv"
    bars.write_text("\n".join([lines[0], *(line for line in lines if "2024-01-0" in line)]))
    return ["run", "--feed", "replay", "--bars", str(bars), "--speed", "0"]


@pytest.mark.slow
def test_a_live_season_eliminates_every_24_hours_and_a_death_changes_nothing(
    home: Path, january: list[str]
) -> None:
    path = home / "data" / "hydra" / "hydra.db"
    assert run([*january, "--engines", WHO, "--season", "whole", "--quiet"]) == 0
    first, *_ = eliminated(path)

    child = subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", *january, "--engines", WHO, "--season", "torn",
         "--speed", "1e6"],
        cwd=ROOT, env={**os.environ, "HYDRA_HOME": str(home)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    told, pause = status.path_of(home, "torn"), threading.Event()
    while not told.exists() or status.read(told).cycle < first[0] + 1:
        assert child.poll() is None, child.communicate()
        pause.wait(0.005)
    child.kill()
    child.wait()
    assert sql(path, "SELECT state FROM seasons WHERE name = 'torn'") == [("playing",)]
    assert run([*january, "--season", "torn", "--quiet"]) == 0

    digests = sql(path, "SELECT DISTINCT digest FROM seasons")
    assert len(digests) == 1
    assert first in eliminated(path)
    # A period is of the market's time, and six bars of four hours are one.
    assert all(cycle % 6 == 0 for cycle, _ in eliminated(path))


# Shown and set


def test_the_standings_and_the_report_say_who_was_eliminated_and_why(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--bars", CRYPTO, "--engines", WHO, "--eliminate-every", "24", "--to", "2024-02-15"]

    assert run(["replay", *words, "--season", "judged"]) == 0

    shown = capsys.readouterr().out
    assert run(["standings", "--json"]) == 0
    lines = {line["engine"]: line for line in json.loads(capsys.readouterr().out)}
    out = [line for line in lines.values() if line["state"] == "eliminated"]
    assert len(out) == 2
    for line in out:
        assert line["reason"].startswith("last of ")
        assert line["net_pnl_usd"] < 0
        assert line["trades"] >= 3
        assert line["weight_frac"] == 0
        assert f"{line['engine']} is eliminated: last of" in " ".join(shown.split())
    assert run(["engines", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    told = {row["engine"]: (row["state"], row["reason"]) for row in rows}
    assert all(told[line["engine"]] == ("eliminated", line["reason"]) for line in out)
    assert run(["report", "--out", str(home / "page.html")]) == 0
    page = (home / "page.html").read_text()
    assert page.count('class="out"') == 2
    assert page.count(">eliminated</span>") == 2
    capsys.readouterr()
    assert run(["decisions", "--kind", "eliminated", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("hours", "says"), [("-1", "between 0 (never) and 8760"), ("8761", "between 0 (never)")]
)
@pytest.mark.parametrize("command", ["replay", "run"])
def test_a_period_that_makes_no_sense_is_refused(
    home: Path, command: str, hours: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--bars", CRYPTO, "--eliminate-every", hours]

    assert run([command, *words, *(["--feed", "replay"] if command == "run" else [])]) == 2

    said = " ".join(capsys.readouterr().err.split())
    assert says in said and "--eliminate-every" in said
    assert "Traceback" not in said
