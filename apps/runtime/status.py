"""What a running season tells others: a small file beside the database, written whole or not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from hydra.errors import ConfigError

RUNNING = ("starting", "recovering", "playing", "waiting")
STATES = (*RUNNING, "stopped", "finished", "failed")


class VenueFeed(msgspec.Struct, frozen=True, kw_only=True):
    """One venue, since the start of the program."""

    connected: bool  # it has told something since its latest connection ended
    reconnects: int
    bad: int  # messages not understood
    resyncs: int  # books declared void
    down: str  # why the latest connection, or attempt at one, ended; "": none has


class AssetFeed(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol, since the start of the program."""

    source: str  # the venue of its bars
    late: int  # trades and quotes that came after their bar was closed
    switches: int  # changes of venue


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """What the venues told."""

    venues: dict[str, VenueFeed]
    assets: dict[str, AssetFeed]
    restarts: int  # how often nobody listened for the length of a bar or more


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one of the daemon's jobs stands."""

    ran_ns: int | None  # when it last ended well
    next_ns: int | None  # of a job by the market in the market's time; None: the daemon ends
    error: str = ""  # of its last failure since the start of the program
    failed_ns: int | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a season stands. Instants are ns, UTC."""

    season: str
    state: str  # of STATES; waiting: for its database
    pid: int
    db: str  # where its rows are, without a password
    started_ns: int
    updated_ns: int
    cycle: int = 0
    at_ns: int = 0  # the market's time
    unfit: dict[str, str] = msgspec.field(default_factory=dict)  # by symbol, why
    feed: Feed | None = None  # None: recorded prices, or nothing is heard yet
    jobs: dict[str, JobStatus] = msgspec.field(default_factory=dict)
    alarms: list[str] = []
    text: str = ""  # why it failed, or what it waits for

    @property
    def runs(self) -> bool:
        """Whether its process says that it goes on, and is there."""
        return self.state in RUNNING and is_alive(self.pid)


class Board:
    """The status of this process, and its file. Two threads may tell of different things."""

    def __init__(self, path: Path, status: Status) -> None:
        self._path = path
        self._lock = Lock()
        self.status = status
        self.fault = ""  # why the file could not be written the last time

    def tell(self, **changes: object) -> None:
        """Change the status and write it. That it cannot be written must not end a season."""
        with self._lock:
            self.status = msgspec.structs.replace(self.status, **changes)
            try:
                write(self._path, self.status)
            except OSError as error:
                self.fault = f"the status in {self._path} cannot be written: {error.strerror}"
            else:
                self.fault = ""


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
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(status), indent=1))
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


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
