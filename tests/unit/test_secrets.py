"""Where a secret comes from: environment, file, `.env`, vault, in this order."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from hydra.errors import ConfigError
from hydra.operations.secrets import Secrets
from hydra.operations.vault import MAX_SECRET_BYTES, Contents, Vault
from tests.support.shared_data import ROOT
from tests.support.vaults import CANARY, CHEAP, PASSWORD, a_filled_vault

NAME = "DEEPSEEK_API_KEY"
OPENED = {"TRADING_VAULT_PASSWORD": PASSWORD.get_secret_value()}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return a_filled_vault(tmp_path / "vault.json", DEEPSEEK_API_KEY="from the vault")


def a_file(path: Path, data: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    return path


def lookup(secrets: Secrets, name: str = NAME) -> tuple[str, str] | None:
    found = secrets.find(name)
    return None if found is None else (found.value.get_secret_value(), found.source)


def test_the_first_place_that_has_it_wins(tmp_path: Path, vault: Vault) -> None:
    file = a_file(tmp_path / "key", "from a file\n")
    other = a_file(tmp_path / "other", "from .env's file\n")
    env_file = tmp_path / ".env"
    environment = {**OPENED, NAME: "from the environment", f"{NAME}_FILE": str(file)}

    def found(env: str = "") -> tuple[str, str] | None:
        env_file.write_text(env)
        return lookup(Secrets(environment=environment, env_file=env_file, vault=vault))

    both = f"{NAME}=from .env\n{NAME}_FILE={other}\n"
    assert found(both) == ("from the environment", "the environment")
    del environment[NAME]
    assert found(both) == ("from a file", f"the file {file} ({NAME}_FILE)")
    del environment[f"{NAME}_FILE"]
    assert found(both) == ("from .env", str(env_file))
    assert found(f"{NAME}_FILE={other}\n") == (
        "from .env's file",
        f"the file {other} ({NAME}_FILE)",
    )
    assert found() == ("from the vault", f"the vault {vault.path}")
    del environment["TRADING_VAULT_PASSWORD"]
    assert found() is None


def test_what_is_empty_is_not_set(tmp_path: Path, vault: Vault) -> None:
    env_file = a_file(tmp_path / ".env", f"{NAME}=\n")
    environment = {**OPENED, NAME: "", f"{NAME}_FILE": ""}
    secrets = Secrets(environment=environment, env_file=env_file, vault=vault)

    assert lookup(secrets) == ("from the vault", f"the vault {vault.path}")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain", "plain"),
        ("one newline\n", "one newline"),
        ("of windows\r\n", "of windows"),
        ("two\n\n", "two\n"),
        ("  spaces stay  \n", "  spaces stay  "),
        (
            "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
            "-----BEGIN KEY-----\nabc\n-----END KEY-----",
        ),
        ("carriage\r", "carriage\r"),
    ],
)
def test_a_file_loses_one_newline_at_its_end(tmp_path: Path, written: str, read: str) -> None:
    file = a_file(tmp_path / "key", written)
    secrets = Secrets(environment={f"{NAME}_FILE": str(file)}, env_file=tmp_path / ".env")

    found = secrets.find(NAME)

    assert found is not None
    assert found.value.get_secret_value() == read


def test_a_secret_of_env_is_taken_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME_OF_A_TEST", "replaced")
    env_file = a_file(tmp_path / ".env", f"{NAME}='a$HOME_OF_A_TEST${{HOME_OF_A_TEST}}b'\n")

    found = Secrets(environment={}, env_file=env_file).find(NAME)

    assert found is not None
    assert found.value.get_secret_value() == "a$HOME_OF_A_TEST${HOME_OF_A_TEST}b"


def test_files_that_cannot_be_used_are_named_and_not_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    bad = {
        "which is not there": tmp_path / "nowhere",
        "which is empty": a_file(tmp_path / "empty", "\n"),
        "not UTF-8": a_file(tmp_path / "binary", CANARY.encode() + b"\xff"),
        "chmod 600": a_file(tmp_path / "open", CANARY, 0o644),
        "larger than": a_file(tmp_path / "large", CANARY + "x" * MAX_SECRET_BYTES),
        "not a regular file": tmp_path / "pipe",
        "cannot read": tmp_path / "loop",
    }
    for said, path in bad.items():
        secrets = Secrets(environment={f"{NAME}_FILE": str(path)}, env_file=tmp_path / ".env")
        with pytest.raises(ConfigError, match=said) as caught:
            secrets.find(NAME)
        assert f"{NAME}_FILE" in str(caught.value)
        assert str(path) in str(caught.value)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_container_s_secrets_may_be_links_and_read_by_others_but_not_written(
    tmp_path: Path,
) -> None:
    mounted = tmp_path / "run" / "secrets"
    mounted.mkdir(parents=True)
    file = a_file(mounted / "..data", "mounted", 0o444)
    (mounted / "key").symlink_to(file)
    outside = tmp_path / "key"
    outside.symlink_to(a_file(tmp_path / "open", "not mounted", 0o444))

    def found(path: Path) -> tuple[str, str] | None:
        environment = {f"{NAME}_FILE": str(path)}
        return lookup(Secrets(environment=environment, env_file=tmp_path / ".env", mounted=mounted))

    assert found(mounted / "key") == ("mounted", f"the file {mounted / 'key'} ({NAME}_FILE)")
    file.chmod(0o464)
    with pytest.raises(ConfigError, match="chmod 600"):
        found(mounted / "key")
    with pytest.raises(ConfigError, match="chmod 600"):
        found(outside)
    (mounted / "out").symlink_to(tmp_path / "open")
    with pytest.raises(ConfigError, match="chmod 600"):
        found(mounted / "out")


def test_an_unreadable_env_file_is_named_and_not_shown(tmp_path: Path) -> None:
    env_file = a_file(tmp_path / ".env", f"{NAME}={CANARY}".encode() + b"\xff")

    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        Secrets(environment={}, env_file=env_file).find(NAME)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


class CountingVault(Vault):
    """Says how often it was opened."""

    opened = 0

    def read(self, password: SecretStr) -> Contents:
        CountingVault.opened += 1
        return super().read(password)


def test_the_vault_is_opened_once_and_only_when_it_is_asked(tmp_path: Path, vault: Vault) -> None:
    CountingVault.opened = 0
    environment = {**OPENED, "XAI_API_KEY": "x"}
    counting = CountingVault(path=vault.path, cost=CHEAP)
    secrets = Secrets(environment=environment, env_file=tmp_path / ".env", vault=counting)

    assert lookup(secrets, "XAI_API_KEY") == ("x", "the environment")
    assert CountingVault.opened == 0
    for _ in range(3):
        assert lookup(secrets) == ("from the vault", f"the vault {vault.path}")
        assert lookup(secrets, "NO_SUCH_KEY") is None
    assert CountingVault.opened == 1


def test_the_vault_s_password_may_come_from_a_file_or_env(tmp_path: Path, vault: Vault) -> None:
    file = a_file(tmp_path / "password", PASSWORD.get_secret_value() + "\n")
    from_file = {"TRADING_VAULT_PASSWORD_FILE": str(file)}
    nothing = tmp_path / "none"
    env_file = a_file(tmp_path / ".env", f"TRADING_VAULT_PASSWORD='{PASSWORD.get_secret_value()}'")

    for secrets in (
        Secrets(environment=from_file, env_file=nothing, vault=vault),
        Secrets(environment={}, env_file=env_file, vault=vault),
    ):
        assert lookup(secrets) == ("from the vault", f"the vault {vault.path}")


def test_a_password_without_its_vault_is_an_error_and_so_is_a_wrong_one(
    tmp_path: Path, vault: Vault
) -> None:
    no_vault = Vault(path=tmp_path / "no.json")
    env_file = tmp_path / ".env"

    with pytest.raises(ConfigError, match=r"no vault at .* is set \(the environment\): unset it"):
        Secrets(environment=OPENED, env_file=env_file, vault=no_vault).find(NAME)
    wrong = {"TRADING_VAULT_PASSWORD": "not the password"}
    with pytest.raises(ConfigError, match="does not open"):
        Secrets(environment=wrong, env_file=env_file, vault=vault).find(NAME)


@pytest.mark.parametrize("name", ["", CANARY, "a_key", "TRADING_VAULT_PASSWORD"])
def test_what_cannot_name_a_secret_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Secrets(environment={}, env_file=tmp_path / ".env").find(name)
    assert CANARY not in str(caught.value)


def test_a_process_finds_its_secrets_by_its_own_environment(tmp_path: Path, vault: Vault) -> None:
    code = (
        "from hydra.operations.secrets import secret, where;"
        f"print(secret('{NAME}'), repr(secret('{NAME}')), where('{NAME}'), where('NO_SUCH_KEY'),"
        f" secret('{NAME}').get_secret_value() == 'from the vault', secret('NO_SUCH_KEY'))"
    )
    environment = {
        **OPENED,
        "HYDRA_VAULT": str(vault.path),
        "PYTHONPATH": str(ROOT / "libs"),
        "PATH": os.environ["PATH"],
    }

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )

    assert done.stderr == ""
    assert done.stdout == (
        f"********** SecretStr('**********') the vault {vault.path} None True None\n"
    )
