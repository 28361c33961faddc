"""The vault: its cost, its file, what it refuses, and that a failed write changes nothing."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import shutil
import stat
import traceback
import unicodedata
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from argon2.low_level import Type, hash_secret_raw
from argon2.profiles import RFC_9106_LOW_MEMORY
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from hydra.errors import ConfigError
from hydra.operations.private_files import Disk
from hydra.operations.sealing import DEFAULT_COST, Cost
from hydra.operations.vault import MAX_SECRET_BYTES, Vault
from tests.support.shared_data import ROOT
from tests.support.vaults import (
    CANARY,
    CHEAP,
    OTHER_PASSWORD,
    PASSWORD,
    a_filled_vault,
    a_vault,
    doctor,
    values,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault.json"


def salt_and_nonce(path: Path) -> tuple[str, str]:
    header = json.loads(path.read_text())["header"]
    return header["kdf"]["salt"], header["nonce"]


# Cost


def test_a_guess_costs_what_rfc_9106_recommends_and_no_less_than_owasp_asks() -> None:
    rfc = RFC_9106_LOW_MEMORY
    cost = DEFAULT_COST

    assert (cost.memory_kib, cost.passes, cost.lanes) == (65_536, 3, 4)
    assert (cost.memory_kib, cost.passes, cost.lanes) == (
        rfc.memory_cost, rfc.time_cost, rfc.parallelism
    )  # fmt: skip
    assert cost.work >= 19 * 1024 * 2


def test_a_new_vault_has_the_default_cost_in_its_file(path: Path) -> None:
    vault = Vault(path=path)
    vault.create(PASSWORD)

    kdf = json.loads(path.read_text())["header"]["kdf"]
    assert (kdf["name"], kdf["version"]) == ("argon2id", 19)
    assert (kdf["memory_kib"], kdf["passes"], kdf["lanes"]) == (65_536, 3, 4)
    assert len(base64.b64decode(kdf["salt"])) == 16
    assert vault.read(PASSWORD).cost == DEFAULT_COST


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("memory_kib", 104_857_600),
        ("memory_kib", 524_289),
        ("memory_kib", 8),
        ("passes", 0),
        ("passes", 4_000_000_000),
        ("lanes", 0),
        ("lanes", 1_000_000),
    ],
)
def test_a_doctored_cost_is_refused_before_it_is_paid(path: Path, field: str, asked: int) -> None:
    vault = a_filled_vault(path)
    doctor(path, lambda document: document["header"]["kdf"].update({field: asked}))

    with pytest.raises(ConfigError, match=f"asks for {field} = "):
        vault.read(PASSWORD)


def _set(where: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *folders, last = where.split(".")
        for folder in folders:
            document = document[folder]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("header.kdf.passes", 2, "does not open"),
        ("header.kdf.lanes", 2, "does not open"),
        ("header.kdf.memory_kib", 9_000, "does not open"),
        ("header.kdf.salt", base64.b64encode(bytes(16)).decode(), "does not open"),
        ("header.nonce", base64.b64encode(bytes(12)).decode(), "does not open"),
        ("ciphertext", base64.b64encode(bytes(64)).decode(), "does not open"),
        ("header.kdf.salt", "", "wrong length"),
        ("header.nonce", "", "wrong length"),
        ("ciphertext", "AAAA", "wrong length"),
        ("header.version", 2, "version 2"),
        ("header.version", 10**400, "damaged"),
        ("header.cipher", "none", "damaged"),
        ("header.kdf.name", "argon2i", "damaged"),
        ("header.kdf.version", 16, "damaged"),
        ("header.kdf.passes", -1, "damaged"),
        ("header.format", "other", "damaged"),
        ("header.more", 1, "damaged"),
        ("more", 1, "damaged"),
    ],
)
def test_what_somebody_alters_who_knows_the_format(
    path: Path, where: str, value: object, said: str
) -> None:
    vault = a_filled_vault(path, A_KEY=CANARY)
    doctor(path, _set(where, value))

    with pytest.raises(ConfigError, match=said) as caught:
        vault.read(PASSWORD)

    assert str(path) in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


# What it keeps


def test_secrets_come_back_by_name_with_the_time_of_setting(path: Path) -> None:
    a_filled_vault(path, B_KEY="two", A_KEY="one\nline\n")

    assert a_vault(path, at_ns=7).put(PASSWORD, "C_KEY", SecretStr("three")) is False
    assert a_vault(path, at_ns=8).put(PASSWORD, "B_KEY", SecretStr("deux")) is True

    secrets = a_vault(path).read(PASSWORD).secrets
    assert list(secrets) == ["A_KEY", "B_KEY", "C_KEY"]
    assert values(a_vault(path)) == {"A_KEY": "one\nline\n", "B_KEY": "deux", "C_KEY": "three"}
    assert [entry.set_at_ns for entry in secrets.values()] == [0, 8, 7]


def test_a_removed_secret_is_gone_and_the_rest_stays(path: Path) -> None:
    vault = a_filled_vault(path, A_KEY="one", B_KEY="two")

    vault.remove(PASSWORD, "A_KEY")

    assert values(vault) == {"B_KEY": "two"}
    with pytest.raises(ConfigError, match="no secret A_KEY"):
        vault.remove(PASSWORD, "A_KEY")


def test_neither_names_nor_values_nor_times_can_be_read_in_the_file(path: Path) -> None:
    a_filled_vault(path, CANARY_NAME=CANARY)

    text = path.read_text()
    sealed = base64.b64decode(json.loads(text)["ciphertext"])
    for hidden in (CANARY, "CANARY_NAME", "set_at", PASSWORD.get_secret_value()):
        assert hidden not in text
        assert hidden.encode() not in sealed


def test_no_repr_and_no_traceback_shows_a_value(path: Path) -> None:
    vault = a_filled_vault(path, A_KEY=CANARY)
    contents = vault.read(PASSWORD)

    assert CANARY not in f"{contents!r} {contents} {contents.secrets['A_KEY']!r} {vault!r}"
    for bad in (CANARY + "\ud800", CANARY * MAX_SECRET_BYTES):
        with pytest.raises(ConfigError) as caught:
            vault.put(PASSWORD, "A_KEY", SecretStr(bad))
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert values(vault) == {"A_KEY": CANARY}


def test_every_write_has_a_new_nonce_and_a_rotation_a_new_salt(path: Path) -> None:
    vault = a_filled_vault(path)
    seen = [salt_and_nonce(path)]
    for _ in range(5):
        vault.put(PASSWORD, "A_KEY", SecretStr("the same"))
        seen.append(salt_and_nonce(path))
    vault.rotate(PASSWORD, OTHER_PASSWORD)
    rotated = salt_and_nonce(path)

    assert len({nonce for _, nonce in [*seen, rotated]}) == 7
    assert len({salt for salt, _ in seen}) == 1
    assert rotated[0] != seen[0][0]


def test_the_file_is_what_the_format_says(path: Path) -> None:
    """Read by nothing but the libraries: Argon2id, then AES-256-GCM over the header too."""
    a_filled_vault(path, A_KEY=CANARY)
    document = json.loads(path.read_text())
    header, sealed = document["header"], base64.b64decode(document["ciphertext"])
    kdf = header["kdf"]
    key = hash_secret_raw(
        PASSWORD.get_secret_value().encode(),
        base64.b64decode(kdf["salt"]),
        kdf["passes"],
        kdf["memory_kib"],
        kdf["lanes"],
        32,
        Type.ID,
    )
    cipher, nonce = AESGCM(key), base64.b64decode(header["nonce"])
    authenticated = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()

    content = json.loads(cipher.decrypt(nonce, sealed, authenticated))

    assert content == {"A_KEY": {"value": CANARY, "set_at_ns": 0}}
    for other in (None, authenticated + b" "):
        with pytest.raises(InvalidTag):
            cipher.decrypt(nonce, sealed, other)


def test_files_of_version_1_open_in_every_later_hydra(path: Path) -> None:
    shutil.copyfile(ROOT / "tests" / "support" / "vault_version_1.json", path)
    path.chmod(0o600)

    assert values(a_vault(path)) == {"A_KEY": "kept since version 1 — für immer"}


# The master password


def test_rotation_changes_the_password_keeps_the_secrets_and_takes_the_present_cost(
    path: Path,
) -> None:
    a_filled_vault(path, A_KEY=CANARY)
    dearer = Cost(memory_kib=9_000, passes=1, lanes=1)

    Vault(path=path, cost=dearer).rotate(PASSWORD, OTHER_PASSWORD)

    assert values(a_vault(path), OTHER_PASSWORD) == {"A_KEY": CANARY}
    assert a_vault(path).read(OTHER_PASSWORD).cost == dearer
    with pytest.raises(ConfigError, match="does not open"):
        a_vault(path).read(PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "elevenchars", "aaaaaaaaaaaaaaaa", " " * 20])
def test_weak_passwords_are_refused(path: Path, password: str) -> None:
    with pytest.raises(ConfigError, match="random words"):
        a_vault(path).create(SecretStr(password))
    assert not path.exists()

    vault = a_filled_vault(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="random words"):
        vault.rotate(PASSWORD, SecretStr(password))
    with pytest.raises(ConfigError, match="is the old one"):
        vault.rotate(PASSWORD, PASSWORD)
    assert path.read_bytes() == before


@pytest.mark.parametrize("wrong", ["", "correct horse batterz", "correct horse battery "])
def test_a_wrong_password_opens_nothing_and_changes_nothing(path: Path, wrong: str) -> None:
    vault = a_filled_vault(path, A_KEY=CANARY)
    before = path.read_bytes()
    password = SecretStr(wrong)

    for attempt in (
        lambda: vault.read(password),
        lambda: vault.put(password, "A_KEY", SecretStr("x")),
        lambda: vault.remove(password, "A_KEY"),
        lambda: vault.rotate(password, OTHER_PASSWORD),
    ):
        with pytest.raises(ConfigError, match="the master password does not open") as caught:
            attempt()
        assert not wrong or wrong not in str(caught.value)
    assert path.read_bytes() == before


def test_a_password_is_the_same_however_the_keyboard_composes_it(path: Path) -> None:
    password = "é à ü, twelve and more"
    assert unicodedata.normalize("NFD", password) != password
    a_vault(path).create(SecretStr(password))

    a_vault(path).read(SecretStr(unicodedata.normalize("NFD", password)))


def test_a_password_that_is_no_text_is_not_shown(path: Path) -> None:
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        a_vault(path).create(SecretStr(f"{CANARY} \udcff"))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_too_little_memory_for_the_key_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2.exceptions import HashingError

    def fails(**_: object) -> bytes:
        raise HashingError("Memory allocation error")

    vault = a_filled_vault(path)
    monkeypatch.setattr("hydra.operations.sealing.hash_secret_raw", fails)

    with pytest.raises(ConfigError, match=r"Memory allocation error.*8 MiB"):
        vault.read(PASSWORD)


# Names and sizes


@pytest.mark.parametrize(
    "name", ["", "a_key", "A-KEY", "1KEY", "A KEY", "A=b", "A" * 65, "Ä_KEY", "A\n"]
)
def test_a_bad_name_is_refused_and_not_shown(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a secret") as caught:
        a_filled_vault(path).put(PASSWORD, name, SecretStr("x"))
    assert not name.strip("A\n") or name not in str(caught.value)


def test_the_master_password_cannot_lie_in_its_own_vault(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot lie inside it"):
        a_filled_vault(path).put(PASSWORD, "TRADING_VAULT_PASSWORD", SecretStr("x"))


def test_secrets_have_1_to_65536_bytes(path: Path) -> None:
    vault = a_filled_vault(path)
    longest = "ä" * (MAX_SECRET_BYTES // 2)

    vault.put(PASSWORD, "LONGEST", SecretStr(longest))
    with pytest.raises(ConfigError, match="65,537 bytes"):
        vault.put(PASSWORD, "LONGER", SecretStr(longest + "a"))
    with pytest.raises(ConfigError, match="empty"):
        vault.put(PASSWORD, "EMPTY", SecretStr(""))

    assert values(vault) == {"LONGEST": longest}


def test_a_vault_that_could_not_be_read_again_is_not_written(path: Path) -> None:
    vault = a_filled_vault(path)
    with pytest.raises(ConfigError, match=r"larger than 1,048,576 bytes; nothing was changed"):
        for i in range(20):
            vault.put(PASSWORD, f"KEY_{i}", SecretStr("x" * MAX_SECRET_BYTES))
    assert len(values(vault)) == 11


# The file


def test_the_file_and_its_lock_are_the_owner_s_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        a_filled_vault(path, A_KEY="x")
    finally:
        os.umask(before)

    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
    assert sorted(one.name for one in path.parent.iterdir()) == [".vault.json.lock", "vault.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_file_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    vault = a_filled_vault(path)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=rf"mode {mode:o}\): `chmod 600"):
        vault.read(PASSWORD)


def test_a_file_of_another_owner_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = a_filled_vault(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)

    with pytest.raises(ConfigError, match="belongs to user"):
        vault.read(PASSWORD)


def test_links_pipes_and_folders_are_refused(path: Path) -> None:
    real = path.with_name("real.json")
    a_filled_vault(real)
    vault = a_vault(path)

    path.symlink_to(real)
    with pytest.raises(ConfigError, match="symbolic link"):
        vault.read(PASSWORD)
    with pytest.raises(ConfigError, match="symbolic link"):
        vault.put(PASSWORD, "A_KEY", SecretStr("x"))
    with pytest.raises(ConfigError, match="exists already"):
        vault.create(PASSWORD)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        vault.read(PASSWORD)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        vault.read(PASSWORD)
    assert values(a_vault(real)) == {}


def test_a_linked_lock_is_not_followed(path: Path) -> None:
    vault = a_filled_vault(path)
    path.with_name(".vault.json.lock").unlink()
    path.with_name(".vault.json.lock").symlink_to(path.with_name("elsewhere"))

    with pytest.raises(ConfigError, match="cannot lock"):
        vault.put(PASSWORD, "A_KEY", SecretStr("x"))
    assert not path.with_name("elsewhere").exists()


def test_no_vault_is_said_and_no_lock_left(path: Path) -> None:
    vault = a_vault(path)
    for attempt in (
        lambda: vault.read(PASSWORD),
        lambda: vault.put(PASSWORD, "A_KEY", SecretStr("x")),
        lambda: vault.remove(PASSWORD, "A_KEY"),
        lambda: vault.rotate(PASSWORD, OTHER_PASSWORD),
    ):
        with pytest.raises(ConfigError, match=r"no vault at .*hydra vault init"):
            attempt()
    assert list(path.parent.iterdir()) == []


def test_a_vault_is_never_made_over_another(path: Path) -> None:
    vault = a_filled_vault(path, A_KEY=CANARY)
    with pytest.raises(ConfigError, match="exists already"):
        vault.create(PASSWORD)
    assert values(vault) == {"A_KEY": CANARY}


def test_a_file_too_large_to_be_a_vault_is_not_read(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 1 << 40)
    with pytest.raises(ConfigError, match="larger than"):
        a_vault(path).read(PASSWORD)


# Writes that fail


class FailingDisk(Disk):
    """Writes half, then fails in the step of that name."""

    def __init__(self, step: str, code: int = errno.ENOSPC) -> None:
        self._step = step
        self._error = OSError(code, os.strerror(code))

    def write(self, descriptor: int, data: bytes) -> None:
        super().write(descriptor, data[: len(data) // 2])
        self._fail("write")
        super().write(descriptor, data[len(data) // 2 :])

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        self._fail("replace")
        super().replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._fail("sync_folder")
        super().sync_folder(folder)

    def _fail(self, step: str) -> None:
        if step == self._step:
            raise self._error


@pytest.mark.parametrize("step", ["write", "sync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole(path: Path, step: str) -> None:
    a_filled_vault(path, A_KEY=CANARY)
    before = path.read_bytes()
    vault = a_vault(path, FailingDisk(step))

    for attempt in (
        lambda: vault.put(PASSWORD, "A_KEY", SecretStr("new")),
        lambda: vault.remove(PASSWORD, "A_KEY"),
        lambda: vault.rotate(PASSWORD, OTHER_PASSWORD),
    ):
        with pytest.raises(ConfigError, match=r"No space left.*nothing was changed"):
            attempt()
        assert path.read_bytes() == before
        assert not path.with_name(".vault.json.tmp").exists()
    with pytest.raises(ConfigError, match="No space left"):
        a_vault(path.with_name("new.json"), FailingDisk(step)).create(PASSWORD)
    assert not path.with_name("new.json").exists()


def test_a_folder_that_does_not_sync_is_said_to_be_unsure(path: Path) -> None:
    a_filled_vault(path)
    vault = a_vault(path, FailingDisk("sync_folder", errno.EIO))

    with pytest.raises(ConfigError, match="was written, but the disk does not confirm it"):
        vault.put(PASSWORD, "A_KEY", SecretStr("new"))
    assert values(vault) == {"A_KEY": "new"}


def test_what_a_killed_writer_left_is_removed_by_the_next(path: Path) -> None:
    vault = a_filled_vault(path, A_KEY="old")
    left = path.with_name(".vault.json.tmp")
    left.symlink_to(path)  # the worst that could lie there

    vault.put(PASSWORD, "A_KEY", SecretStr("new"))

    assert values(vault) == {"A_KEY": "new"}
    assert not os.path.lexists(left)
    assert not path.is_symlink()


# Two writers


def _put_many(path: Path, writer: int) -> None:
    for i in range(5):
        a_vault(path).put(PASSWORD, f"KEY_{writer}_{i}", SecretStr(f"{writer}{i}"))


def test_writers_at_the_same_time_lose_nothing(path: Path) -> None:
    a_filled_vault(path)
    context = get_context("fork")
    writers = [context.Process(target=_put_many, args=(path, one)) for one in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()

    assert [one.exitcode for one in writers] == [0] * 4
    assert values(a_vault(path)) == {f"KEY_{w}_{i}": f"{w}{i}" for w in range(4) for i in range(5)}


def test_a_writer_that_never_ends_is_not_waited_for_for_ever(path: Path) -> None:
    a_filled_vault(path, A_KEY="old")
    with path.with_name(".vault.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(ConfigError, match=r"another process has been writing .* for 0\.05 s"):
            a_vault(path, wait_s=0.05).put(PASSWORD, "A_KEY", SecretStr("new"))
        assert values(a_vault(path)) == {"A_KEY": "old"}  # readers need no lock

    a_vault(path).put(PASSWORD, "A_KEY", SecretStr("new"))
    assert a_vault(path).read(PASSWORD).cost == CHEAP
