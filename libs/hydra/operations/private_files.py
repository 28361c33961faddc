"""Files that their owner alone may read: opened with checks, replaced whole, locked.

Checks are made on the open file, so that nothing can be put in its place between check and read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.clock import NS_PER_S, monotonic_ns
from hydra.errors import ConfigError

ROOT_UID = 0
_RETRY_S = 0.02  # between two tries for a lock


class Disk:
    """The calls that a write is made of, one by one: a test fails, or dies, in any of them."""

    def write(self, descriptor: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_private(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file that only this user may open.

    Raises FileNotFoundError, and ConfigError where it is a symbolic link, no regular file, of
    another owner, open to others (any bit of 077), larger than `most_bytes`, or unreadable.
    """
    return _read(path, most_bytes, os.O_NOFOLLOW, owners={os.geteuid()}, closed=0o077)


def read_mounted(path: Path, most_bytes: int, *, shown_by: Path) -> bytes:
    """The same for a file that somebody else may have put there for us, as containers do.

    It may be a symbolic link (Kubernetes makes them) and belong to root. Below `shown_by`, the
    folder in which a container sees its secrets, others may read it (Docker's mode is 444) but
    not write it.
    """
    is_shown = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(shown_by))
    closed = 0o022 if is_shown else 0o077
    return _read(path, most_bytes, 0, owners={os.geteuid(), ROOT_UID}, closed=closed)


def _read(path: Path, most_bytes: int, flags: int, *, owners: set[int], closed: int) -> bytes:
    try:
        # Without O_NONBLOCK the open of a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise ConfigError(
                f"{path} is a symbolic link, which could be turned elsewhere: name the file itself"
            ) from error
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        _check(path, os.fstat(descriptor), owners, closed)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise ConfigError(
            f"{path} is larger than the {most_bytes:,} bytes allowed: is it the file?"
        )
    return data


def _check(path: Path, found: os.stat_result, owners: set[int], closed: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is not a regular file: name one")
    if found.st_uid not in owners:
        raise ConfigError(
            f"{path} belongs to user {found.st_uid}, and this program runs as user"
            f" {os.geteuid()}: run it as the owner, or as root `chown {os.geteuid()} {path}`"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & closed:
        raise ConfigError(f"others may open {path} (mode {mode:03o}): `chmod 600 {path}`")


def replace_private(path: Path, data: bytes, disk: Disk) -> None:
    """Put `data` in the place of the file, mode 600, so that a crash leaves the old or the new.

    The caller holds the lock. Raises ConfigError, saying which of the two is there.
    """
    spare = path.with_name(f".{path.name}.tmp")
    try:
        spare.unlink(missing_ok=True)  # of a writer that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(spare, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # a umask may have taken the owner's own bits
            disk.write(descriptor, data)
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        disk.replace(spare, path)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; nothing was changed: make room or give this"
            f" user the right to write in {path.parent}, then try again"
        ) from error
    finally:
        _remove(spare)
    try:
        disk.sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path} was written, but the disk does not confirm it ({error.strerror}): look at"
            " the disk, then whether the change is there"
        ) from error


def _remove(spare: Path) -> None:
    try:
        spare.unlink(missing_ok=True)
    except OSError:
        # What kept us from writing may keep us from this; the next writer removes it, and only
        # its owner can read it until then. The error under way matters more.
        return


@contextmanager
def locked(path: Path, wait_s: float) -> Iterator[None]:
    """One writer of `path` at a time, on this machine. The system frees a dead holder's lock.

    The lock is a file beside it, which stays: `path` itself is replaced with every write.
    Raises ConfigError when it is not free within `wait_s` seconds.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(lock, flags, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot lock {path} with {lock}: {error.strerror}; this user must be able to write"
            f" in {path.parent}"
        ) from error
    try:
        deadline_ns = monotonic_ns() + int(wait_s * NS_PER_S)
        while not _try_lock(descriptor, lock):
            if monotonic_ns() > deadline_ns:
                raise ConfigError(
                    f"another process has been writing {path} for {wait_s:g} s: end it (`fuser"
                    f" {lock}` names it) or try again"
                )
            time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, lock: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ConfigError(
            f"cannot lock {lock}: {error.strerror}; the vault needs a file system with locks"
        ) from error
    return True
