"""Vaults that open fast: a guess at their password costs 8 MiB and one pass."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from hydra.clock import ManualClock
from hydra.operations.private_files import Disk
from hydra.operations.sealing import Cost
from hydra.operations.vault import Vault

CHEAP = Cost(memory_kib=8_192, passes=1, lanes=1)
PASSWORD = SecretStr("correct horse battery")
OTHER_PASSWORD = SecretStr("staple of another kind")
CANARY = "sk-canary-3f9a1c"


def a_vault(path: Path, disk: Disk | None = None, *, at_ns: int = 0, wait_s: float = 10) -> Vault:
    """A vault object; the file need not be there."""
    return Vault(
        path=path, cost=CHEAP, clock=ManualClock(at_ns), disk=disk or Disk(), wait_s=wait_s
    )


def a_filled_vault(path: Path, **secrets: str) -> Vault:
    """A vault with these secrets in it."""
    vault = a_vault(path)
    vault.create(PASSWORD)
    for name, value in secrets.items():
        vault.put(PASSWORD, name, SecretStr(value))
    return vault


def values(vault: Vault, password: SecretStr = PASSWORD) -> dict[str, str]:
    """What is in it."""
    found = vault.read(password).secrets
    return {name: entry.value.get_secret_value() for name, entry in found.items()}


def doctor(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alter the file as somebody would who knows the format: the checksum fits again."""
    document = json.loads(path.read_text())
    change(document)
    header = json.dumps(document["header"], sort_keys=True, separators=(",", ":")).encode()
    sealed = base64.b64decode(document["ciphertext"])
    document["sha256"] = hashlib.sha256(header + sealed).hexdigest()
    path.write_text(json.dumps(document, indent=2) + "\n")
