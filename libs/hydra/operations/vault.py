"""The vault: secrets by name in one encrypted file, under one master password.

    vault = Vault(path=load_settings().vault_file)
    vault.create(password)
    vault.put(password, "DEEPSEEK_API_KEY", SecretStr(...))
    vault.read(password).secrets["DEEPSEEK_API_KEY"].value

Names, values and times are encrypted; `sealing.py` has the format. Every method raises
ConfigError with what is wrong and what to do, and never with a value in it. Python cannot wipe
memory: a process that opened the vault holds its secrets until it ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec
from pydantic import SecretStr

from hydra.clock import Clock, SystemClock
from hydra.errors import ConfigError
from hydra.operations.private_files import Disk, locked, read_private, replace_private
from hydra.operations.sealing import (
    DEFAULT_COST,
    Cost,
    Damaged,
    DoesNotOpen,
    Key,
    Refused,
    Sealed,
    check_strength,
)

MAX_FILE_BYTES = 1_048_576
MAX_SECRET_BYTES = 65_536
MASTER_PREFIX = "TRADING_VAULT_"  # of the variables that open the vault
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One secret. Its repr hides the value."""

    value: SecretStr
    set_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """An opened vault as it was at that moment."""

    secrets: Mapping[str, Entry]  # by name, in order
    cost: Cost  # of a guess at its password


@dataclass(frozen=True, kw_only=True)
class Vault:
    """The vault at `path`. Each call opens the file anew; changes are made one at a time."""

    path: Path
    cost: Cost = DEFAULT_COST  # of new keys
    clock: Clock = field(default_factory=SystemClock)
    disk: Disk = field(default_factory=Disk)
    wait_s: float = 10.0  # for another writer

    def must_exist(self) -> None:
        """Raises ConfigError where there is no vault."""
        if not self._is_there():
            raise self._missing()

    def must_be_free(self) -> None:
        """Raises ConfigError where something is in the place of a new vault."""
        if self._is_there():
            raise ConfigError(
                f"{self.path} exists already: `hydra vault rotate` changes its password; to begin"
                " anew, move it away first"
            )

    def create(self, password: SecretStr) -> None:
        """Make an empty vault, and its folder where that is missing."""
        self.must_be_free()
        check_strength(password)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the folder {self.path.parent} of the vault: {error.strerror}; let"
                " HYDRA_VAULT name another place"
            ) from error
        with locked(self.path, self.wait_s):
            self.must_be_free()
            self._write(Key.fresh(password, self.cost), {})

    def read(self, password: SecretStr) -> Contents:
        """What is in it."""
        key, entries = self._open(password)
        in_order = {name: entries[name] for name in sorted(entries)}
        return Contents(secrets=MappingProxyType(in_order), cost=key.cost)

    def put(self, password: SecretStr, name: str, value: SecretStr) -> bool:
        """Set a secret to any text of 1 to 65,536 bytes; True where it replaced another."""
        check_name(name)
        _check_value(value)
        with self._changing(password) as (key, entries):
            was_there = name in entries
            entries[name] = Entry(value=value, set_at_ns=self.clock.now_ns())
            self._write(key, entries)
        return was_there

    def remove(self, password: SecretStr, name: str) -> None:
        """Take a secret out."""
        check_name(name)
        with self._changing(password) as (key, entries):
            if name not in entries:
                raise no_such_secret(self.path, name)
            del entries[name]
            self._write(key, entries)

    def rotate(self, password: SecretStr, new_password: SecretStr) -> None:
        """Encrypt anew under another password, a new salt and this object's cost."""
        check_strength(new_password)
        if new_password == password:
            raise ConfigError("the new master password is the old one: take another")
        with self._changing(password) as (_, entries):
            self._write(Key.fresh(new_password, self.cost), entries)

    def _is_there(self) -> bool:
        """Whether anything has its name, a broken link too."""
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise ConfigError(f"cannot look for the vault {self.path}: {error.strerror}") from error
        return True

    def _missing(self) -> ConfigError:
        return ConfigError(
            f"there is no vault at {self.path}: make one with `hydra vault init`, or let"
            " HYDRA_VAULT name the one you have"
        )

    @contextmanager
    def _changing(self, password: SecretStr) -> Iterator[tuple[Key, dict[str, Entry]]]:
        self.must_exist()  # before a lock file appears where there is no vault
        with locked(self.path, self.wait_s):
            yield self._open(password)

    def _open(self, password: SecretStr) -> tuple[Key, dict[str, Entry]]:
        try:
            sealed = Sealed.decode(read_private(self.path, MAX_FILE_BYTES))
            key = Key(password, salt=sealed.salt, cost=sealed.cost)
            content = key.unseal(sealed)
        except Damaged as damage:
            raise ConfigError(
                f"the vault {self.path} is damaged ({damage}): restore a copy of it, or move it"
                " away and make a new one with `hydra vault init`"
            ) from None
        except Refused as refusal:
            raise ConfigError(f"the vault {self.path} {refusal}") from None
        except DoesNotOpen:
            raise ConfigError(
                f"the master password does not open {self.path}: check TRADING_VAULT_PASSWORD or"
                " what was typed. If it is surely right, the file was replaced or altered:"
                " restore a copy"
            ) from None
        except FileNotFoundError:
            raise self._missing() from None
        return key, _entries(content)

    def _write(self, key: Key, entries: Mapping[str, Entry]) -> None:
        data = key.seal(msgspec.json.encode(entries, enc_hook=_reveal))
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"the vault would be larger than {MAX_FILE_BYTES:,} bytes; nothing was changed:"
                " remove what is not needed with `hydra vault remove`"
            )
        replace_private(self.path, data, self.disk)


def check_name(name: str) -> None:
    """Raises ConfigError on what cannot name a secret; it is not shown, as it may be one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "that cannot name a secret (what was typed is not shown, as it may be one): names are"
            " those of environment variables, capital letters, digits and _, as DEEPSEEK_API_KEY"
        )
    if name.startswith(MASTER_PREFIX):
        raise ConfigError(
            f"{name} opens the vault, so it cannot lie inside it: keep it in the environment or"
            " in a file that TRADING_VAULT_PASSWORD_FILE names"
        )


def no_such_secret(path: Path, name: str) -> ConfigError:
    return ConfigError(
        f"there is no secret {name} in {path}: `hydra vault list` shows what there is,"
        f" `hydra vault set {name}` adds it"
    )


def _check_value(value: SecretStr) -> None:
    try:
        length = len(value.get_secret_value().encode())
    except UnicodeEncodeError:
        # Without its cause, which holds the secret.
        raise ConfigError("the secret is not UTF-8 text, so it was not kept") from None
    if not length:
        raise ConfigError("the secret is empty, so it was not kept; `hydra vault remove` removes")
    if length > MAX_SECRET_BYTES:
        raise ConfigError(
            f"the secret has {length:,} bytes, and {MAX_SECRET_BYTES:,} are allowed: was it the"
            " right file?"
        )


def _entries(content: bytes) -> dict[str, Entry]:
    return msgspec.json.decode(content, type=dict[str, Entry], dec_hook=_conceal)


def _reveal(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise NotImplementedError(type(value).__name__)


def _conceal(kind: type, value: object) -> SecretStr:
    if kind is SecretStr and isinstance(value, str):
        return SecretStr(value)
    raise NotImplementedError(kind.__name__)
