"""`hydra replay --audit` and `hydra audit` as a user types them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apps.cli.main import run
from tests.support.shared_data import ROOT

CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
PLAY = [
    "replay", "--bars", CRYPTO, "--engines", "ema_trend,mean_reversion", "--to", "2024-03-01",
    "--quiet", "--audit",
]  # fmt: skip


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HYDRA_DB_URL", "HYDRA_AUDIT", "KILL_SWITCH", "LOG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    return tmp_path


def trail_in(home: Path) -> Path:
    return home / "data" / "hydra" / "trade_audit_log.jsonl"


def test_a_season_with_its_trail_is_sound_and_altering_either_is_found(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PLAY) == 0
    assert capsys.readouterr().out == ""

    assert run(["audit", "verify"]) == 0
    assert "sound: " in capsys.readouterr().out
    assert run(["audit", "verify", "--season", "season-1", "--json"]) == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    lines = trail_in(home).read_bytes().splitlines(keepends=True)
    assert (row["lines"], row["missing"], row["state"]) == (len(lines), 0, "finished")

    whole = trail_in(home).read_bytes()
    trail_in(home).write_bytes(whole.replace(b'"opened"', b'"closed"', 1))
    assert run(["audit", "verify"]) == 3
    first = next(n for n, line in enumerate(lines, 1) if b'"opened"' in line)
    assert f"fault: audit trail, line {first} " in capsys.readouterr().err
    assert run(["audit", "export", "--season", "season-1", "--out", str(home / "x")]) == 3
    assert not (home / "x").exists()

    trail_in(home).write_bytes(whole)
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as database:
        database.execute("UPDATE journal SET amount_units = 5 WHERE kind = 'closed'")
    database.close()
    assert run(["audit", "verify"]) == 3
    assert "differs from record" in capsys.readouterr().err


def test_without_the_flag_there_is_none_until_it_is_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PLAY[:-1]) == 0
    assert not trail_in(home).exists()
    assert run(["audit", "verify"]) == 0
    assert run(["audit", "verify", "--season", "season-1"]) == 3
    capsys.readouterr()

    assert run(["audit", "sync"]) == 0
    assert "lines added to" in capsys.readouterr().out
    assert run(["audit", "verify", "--season", "season-1"]) == 0


def test_the_setting_moves_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_AUDIT", str(tmp_path / "elsewhere" / "trail.jsonl"))

    assert run(PLAY) == 0

    assert not trail_in(home).exists()
    assert (tmp_path / "elsewhere" / "trail.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_copy_of_a_season_is_its_lines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(PLAY) == 0
    assert run(PLAY) == 0
    out = home / "season-2.jsonl"

    assert run(["audit", "export", "--season", "season-2", "--out", str(out)]) == 0

    assert f"in {out}" in capsys.readouterr().out
    copied = out.read_bytes()
    assert trail_in(home).read_bytes().endswith(copied)
    assert {json.loads(line)["season"] for line in copied.splitlines()} == {"season-2"}
    assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir() if ".tmp" in path.name] == []


BAD = [
    ("audit", 2, ""),
    ("audit verify --season zz", 2, "no season zz"),
    ("audit verify --db sqlite:///nope.db", 3, "no database"),
    ("audit sync --season zz", 2, "no season zz"),
    ("audit export --season season-1", 2, "--out"),
    ("audit export --season zz --out x", 2, "no season zz"),
    ("audit export --season season-1 --out /proc/x", 2, "cannot be written"),
    ("audit export --season season-1 --out x", 2, "no line of this season"),
]


def test_bad_input_is_one_message_and_a_code(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PLAY[:-1]) == 0
    monkeypatch.chdir(home)
    for line, code, said in BAD:
        capsys.readouterr()
        assert run(line.split()) == code, line
        shown = capsys.readouterr()
        assert said in shown.err, line
        assert "Traceback" not in shown.err
    assert not (home / "x").exists()


def test_a_trail_that_cannot_be_kept_stops_the_season(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PLAY) == 0
    trail_in(home).chmod(0o644)

    assert run(PLAY) == 3
    assert "chmod 600" in capsys.readouterr().err

    trail_in(home).chmod(0o600)
    assert run(["replay", "--resume", "--quiet", "--audit"]) == 0
    assert run(["audit", "verify"]) == 0


def test_a_killed_replay_goes_on_with_its_trail(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PLAY) == 0  # so that there is a trail, and a database
    words = [sys.executable, "-m", "apps.cli.main", "replay", "--audit", "--quiet"]
    eurusd = str(ROOT / "data" / "sample" / "eurusd_1h.csv")
    words += [
        "--bars",
        eurusd,
        "--season",
        "killed",
        "--engines",
        "ema_trend",
        "--from",
        "2017-09-01",
    ]
    process = subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}"}, cwd=ROOT
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if b'"killed"' in trail_in(home).read_bytes():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # The worst moment: in the middle of the last line.
    os.truncate(trail_in(home), trail_in(home).stat().st_size - 20)

    assert run(["audit", "verify"]) == 3
    assert "torn" in capsys.readouterr().err
    assert run(["replay", "--resume", "--quiet", "--audit"]) == 0

    assert "was torn, and is completed from the journal" in capsys.readouterr().err
    assert run(["audit", "verify", "--season", "killed"]) == 0
    assert run(["audit", "verify"]) == 0
