"""Where settings come from: the environment, else the file of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydra.settings import load_settings, secret, variable


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.env"
    path.write_text("KILL_SWITCH=true\nXAI_API_KEY=canary-of-the-file\nEMPTY=\n")
    monkeypatch.setenv("HYDRA_ENV_FILE", str(path))
    for name in ("KILL_SWITCH", "XAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_hydra_env_file_names_the_file_that_is_read_instead_of_env(env_file: Path) -> None:
    assert load_settings().kill_switch is True
    assert variable("XAI_API_KEY") == "canary-of-the-file"
    assert variable("EMPTY") == "" == variable("NOT_THERE")


def test_the_environment_wins_over_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILL_SWITCH", "false")
    monkeypatch.setenv("XAI_API_KEY", "canary-of-the-environment")

    assert load_settings().kill_switch is False
    assert variable("XAI_API_KEY") == "canary-of-the-environment"


def test_a_secret_is_not_in_what_is_printed_of_it(env_file: Path) -> None:
    key = secret("XAI_API_KEY")

    assert key is not None and key.get_secret_value() == "canary-of-the-file"
    assert "canary" not in f"{key!r} {key}"
    assert secret("NOT_THERE") is None
