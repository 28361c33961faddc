"""`hydra config` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.cli.main import run
from hydra.variables import SETTINGS, Kind
from tests.support.shared_data import ROOT

CANARY = "sk-canary-4711"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))


def test_every_setting_is_a_row_and_no_secret_is_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in SETTINGS:
        if setting.kind is Kind.SECRET:
            monkeypatch.setenv(setting.name, CANARY)
    monkeypatch.setenv("HYDRA_DB_URL", f"postgresql://me:{CANARY}@host/x")

    assert run(["config", "--json"]) == 0
    as_json = capsys.readouterr()
    assert run(["config"]) == 0
    as_table = capsys.readouterr()

    rows = json.loads(as_json.out)
    assert [row["setting"] for row in rows] == [setting.name for setting in SETTINGS]
    assert all(row["value"] == "set" for row in rows if row["secret"])
    for setting in SETTINGS:
        assert setting.name in as_table.out
        assert setting.about in as_table.out
    assert CANARY not in as_json.out + as_json.err + as_table.out + as_table.err


def test_a_slip_is_a_warning_and_a_wrong_value_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_HOM", "x")
    assert run(["config"]) == 0
    assert "HYDRA_HOM (environment); did you mean HYDRA_HOME?" in capsys.readouterr().err

    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    assert run(["config"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: OPENAI_BASE_URL='localhost:8000' (environment)")


def test_keys_that_gladiators_of_ones_own_name_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roster = tmp_path / "mine.toml"
    roster.write_text(
        '[gladiators.mine]\nprovider="openai"\nmodel="x"\nkey_env="HYDRA_MY_KEY"\n'
        'only_with="HYDRA_MINE_PLAYS"\n'
    )
    monkeypatch.setenv("HYDRA_GLADIATORS", str(roster))
    monkeypatch.setenv("HYDRA_MY_KEY", CANARY)

    assert run(["config", "--json"]) == 0

    shown = capsys.readouterr()
    rows = {row["setting"]: row for row in json.loads(shown.out)}
    assert rows["HYDRA_MY_KEY"]["value"] == "set"
    assert rows["HYDRA_MINE_PLAYS"]["value"] == "not set"
    assert shown.err == ""
    assert CANARY not in shown.out


def test_the_example_can_be_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "--example"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # Every line that names a setting, with the sign before it taken away.
    uncommented = [line[1:] if line[:1] == "#" and line[1:2] != " " else line for line in lines]
    (tmp_path / ".env").write_text("\n".join(uncommented))
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))

    assert run(["config", "--json"]) == 0

    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["DEEPSEEK_BASE_URL"]["source"] == ".env"
    assert rows["HYDRA_DB_PASSWORD"]["value"] == "not set"


def test_a_program_of_its_own_finds_them_too(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}",
        "XAI_API_KEY": CANARY,
    }
    done = subprocess.run(
        [sys.executable, "-m", "apps.cli.main", "config"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "XAI_API_KEY" in done.stdout
    assert CANARY not in done.stdout + done.stderr
