"""Secrets by name, from where the operator keeps them.

    key = secret("DEEPSEEK_API_KEY")     # SecretStr, or None where nobody set it
    where("DEEPSEEK_API_KEY")            # "the environment", never the value

The first place that has the name gives it:

1. the environment variable NAME;
2. the file that the environment variable NAME_FILE names (Docker's and Kubernetes' way);
3. NAME, then NAME_FILE, in the project's `.env`;
4. the vault, where TRADING_VAULT_PASSWORD is set in one of these ways. It is opened once.

What is empty counts as not set, as it does for settings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from hydra.errors import ConfigError
from hydra.operations.private_files import read_mounted
from hydra.operations.vault import MAX_SECRET_BYTES, Contents, Vault, check_name
from hydra.settings import env_file as default_env_file
from hydra.settings import load_settings

PASSWORD = "TRADING_VAULT_PASSWORD"  # noqa: S105  # the name of a variable
NEW_PASSWORD = "TRADING_VAULT_NEW_PASSWORD"  # noqa: S105
CONTAINER_SECRETS = Path("/run/secrets")  # where Docker and Podman mount them


@dataclass(frozen=True, slots=True)
class Found:
    """A secret and the place that gave it. Its repr hides the value."""

    value: SecretStr
    source: str


class Secrets:
    """Looks names up. What it is given replaces the process's own, for tests."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = os.environ,
        env_file: Path | None = None,
        vault: Vault | None = None,
        mounted: Path = CONTAINER_SECRETS,
    ) -> None:
        self._environment = environment
        self._own_env_file = env_file
        self._vault = vault
        self._mounted = mounted
        self._contents: Contents | None = None
        self._opening = threading.Lock()

    def find(self, name: str) -> Found | None:
        """The secret and its place.

        Raises ConfigError on a name that no variable can have, a file that cannot be used, and
        a vault that does not open although a password is there.
        """
        check_name(name)
        return self.outside(name) or self._inside(name)

    def outside(self, name: str) -> Found | None:
        """The same without the vault: also for the password that opens it."""
        for variables, source in self._places():
            if value := variables.get(name):
                return Found(SecretStr(value), source)
            pointer = f"{name}_FILE"
            if path := variables.get(pointer):
                value = self._read(pointer, path)
                return Found(SecretStr(value), f"the file {path} ({pointer})")
        return None

    def values(self, names: Iterable[str]) -> set[str]:
        """The secrets of these names and all of the vault: what no log may show.

        What cannot be read is left out: nothing of it is in this process.
        """
        found: set[str] = set()
        for name in names:
            with suppress(ConfigError):
                one = self.outside(name)
                found |= set() if one is None else {one.value.get_secret_value()}
        with suppress(ConfigError):
            contents = self._opened()
            entries = () if contents is None else contents.secrets.values()
            found |= {entry.value.get_secret_value() for entry in entries}
        return found

    def vault(self) -> Vault:
        """The vault that the settings name."""
        return self._vault or Vault(path=load_settings().vault_file)

    @property
    def _env_file(self) -> Path:
        return self._own_env_file or default_env_file()

    def _places(self) -> Iterator[tuple[Mapping[str, str | None], str]]:
        yield self._environment, "the environment"
        if self._env_file.exists():
            yield self._dotenv(), str(self._env_file)

    def _dotenv(self) -> Mapping[str, str | None]:
        """`.env` as it is written: a secret with a $ in it is not a reference."""
        try:
            return dotenv_values(self._env_file, interpolate=False, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read {self._env_file}: {error.strerror}") from error
        except UnicodeDecodeError:
            # Without its cause, which holds the file.
            raise ConfigError(
                f"{self._env_file} is not UTF-8 text: write it again, from .env.example"
            ) from None

    def _read(self, pointer: str, path: str) -> str:
        """A secret's file, without one newline at its end, which editors and echo leave."""
        try:
            data = read_mounted(Path(path), MAX_SECRET_BYTES, shown_by=self._mounted)
            text = data.decode()
        except FileNotFoundError as error:
            raise ConfigError(f"{pointer} names {path}, which is not there") from error
        except UnicodeDecodeError:
            # Without its cause, which holds the secret.
            raise ConfigError(f"{pointer} names {path}, which is not UTF-8 text") from None
        except ConfigError as error:
            raise ConfigError(f"{pointer}: {error}") from error
        text = without_newline(text)
        if not text:
            raise ConfigError(f"{pointer} names {path}, which is empty: write the secret into it")
        return text

    def _inside(self, name: str) -> Found | None:
        contents = self._opened()
        entry = None if contents is None else contents.secrets.get(name)
        return None if entry is None else Found(entry.value, f"the vault {self.vault().path}")

    def _opened(self) -> Contents | None:
        """What is in the vault; None where no password is set."""
        password = self.outside(PASSWORD)
        if password is None:
            return None
        with self._opening:
            if self._contents is None:
                vault = self.vault()
                try:
                    vault.must_exist()
                except ConfigError as error:
                    raise ConfigError(
                        f"{error}. It is looked for because {PASSWORD} is set ({password.source}):"
                        " unset it where no vault is meant"
                    ) from None
                self._contents = vault.read(password.value)
        return self._contents


def without_newline(text: str) -> str:
    """The text without one newline at its end, of either kind."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


_of_this_process = Secrets()


def secret(name: str) -> SecretStr | None:
    """The secret of that name, or None where nobody set it. Raises ConfigError as `find`."""
    found = _of_this_process.find(name)
    return None if found is None else found.value


def where(name: str) -> str | None:
    """The place that gives the secret, in words for the operator. Raises ConfigError."""
    found = _of_this_process.find(name)
    return None if found is None else found.source


def values(names: Iterable[str]) -> set[str]:
    """The secrets of these names and all of the vault, as far as they can be read."""
    return _of_this_process.values(names)
