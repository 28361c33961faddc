"""What a running season tells others: a small file beside the database, written whole or not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from hydra.errors import ConfigError

STATES = ("starting", "recovering", "playing", "stopped", "finished", "failed")


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a season stands. Instants are ns, UTC."""

    season: str
    state: str  # of STATES
    pid: int
    db: str  # where its rows are, without a password
    started_ns: int
    updated_ns: int
    cycle: int = 0
    at_ns: int = 0  # the market's time
    unfit: dict[str, str] = msgspec.field(default_factory=dict)  # by symbol, why
    feed: dict[str, int | float | str] = msgspec.field(default_factory=dict)
    text: str = ""  # why it failed

    @property
    def runs(self) -> bool:
        """Whether its process says that it goes on, and is there."""
        return self.state in ("starting", "recovering", "playing") and is_alive(self.pid)


def is_alive(pid: int) -> bool:
    """Whether a process of that number is there and is a Python of this user."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    with suppress(OSError):
        return b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return True  # a system without /proc


def path_of(home: Path, season: str) -> Path:
    """Where the status of a season lies."""
    return home.expanduser().resolve() / "data" / "hydra" / "run" / f"{season}.json"


def write(path: Path, status: Status) -> None:
    """Whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(status), indent=1))
    partial.replace(path)


def read(path: Path) -> Status:
    """Raises ConfigError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"the status in {path} cannot be read: {error}") from error


def all_of(home: Path) -> list[Status]:
    """Of every season that was ever run, the newest last."""
    folder = path_of(home, "x").parent
    found = [read(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(found, key=lambda one: one.updated_ns)
