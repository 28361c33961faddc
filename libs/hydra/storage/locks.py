"""One writer a season: locks that the system frees when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from hydra.errors import StorageError

_POSTGRES_CLASS = 0x48594453  # "HYDS": first half of the advisory lock's key, next to the season
_POSTGRES_WAIT = "5s"  # a killed writer's server process may need a moment to notice


class Lock(Protocol):
    def release(self) -> None: ...


class FileLock:
    """An advisory `flock` on a file beside the database; holds the writer's process id."""

    def __init__(self, path: Path, season: str) -> None:
        """Raises StorageError, naming the process, when another writer holds it."""
        self._path = path
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise StorageError(f"cannot make the lock file {path}: {error}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 32).decode(errors="replace").strip()
                os.close(descriptor)
                raise _busy(season, f"process {holder or 'unknown'}") from error
            except OSError as error:
                os.close(descriptor)
                raise StorageError(f"cannot lock {path}: {error}") from error
            # The last holder may have removed the file between our open and our lock.
            if _is_same_file(path, descriptor):
                break
            os.close(descriptor)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:  # the disk is full
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise StorageError(
                f"cannot write the lock file {path}: {error} (what was committed is safe: go on"
                " with --resume)"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


class PostgresLock:
    """A session's advisory lock on the writer's own connection: it ends with the connection."""

    def __init__(self, connection: Connection, season_id: int, season: str) -> None:
        """Raises StorageError when another writer holds it."""
        try:
            with connection.begin():
                # Of this transaction only, as SET LOCAL, which takes no parameters.
                wait = text("SELECT set_config('lock_timeout', :wait, true)")
                connection.execute(wait, {"wait": _POSTGRES_WAIT})
                lock = text("SELECT pg_advisory_lock(:kind, :season)")
                connection.execute(lock, {"kind": _POSTGRES_CLASS, "season": season_id})
        except OperationalError as error:
            raise _busy(season, "another session of this server") from error

    def release(self) -> None:
        """Nothing to do: the store closes the connection next, and the lock goes with it."""


def _busy(season: str, holder: str) -> StorageError:
    return StorageError(
        f"season {season} is being played by {holder}: wait for it, end it, or take another name"
    )
