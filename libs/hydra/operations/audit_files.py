"""The files of the audit trail: older ones, the one that grows, and the lock beside them.

`trade_audit_log.jsonl` grows; when it is full it becomes `trade_audit_log-000001.jsonl`, then
`-000002`, and so on. None is ever written again after that, and none is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hydra.clock import NS_PER_S, monotonic_ns
from hydra.errors import StorageError

MODE = 0o600
_OTHERS = 0o077
_RETRY_S = 0.005  # between two tries for the lock
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the trail, as long as it was when the list was made."""

    path: Path
    size: int  # bytes
    inode: int  # the file that grows may take another name before it is read


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line as it stands; without its newline it is torn."""

    path: Path
    data: bytes

    @property
    def is_torn(self) -> bool:
        return not self.data.endswith(b"\n")


def rotated(path: Path) -> list[Path]:
    """The older files of the trail, oldest first."""
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d{{6,}}){re.escape(path.suffix)}")
    found = [
        (int(match[1]), one) for one in path.parent.glob(f"{path.stem}-*{path.suffix}")
        if (match := pattern.fullmatch(one.name))
    ]  # fmt: skip
    return [one for _, one in sorted(found)]


def next_rotated(path: Path) -> Path:
    """The name that the file takes when it is full."""
    older = rotated(path)
    last = int(older[-1].stem.rsplit("-", 1)[1]) if older else 0
    return path.with_name(f"{path.stem}-{last + 1:06d}{path.suffix}")


def parts(path: Path) -> list[Part]:
    """All files of the trail, oldest first. The caller holds the lock."""
    files = [*rotated(path), *([path] if path.exists() else [])]
    return [Part(one, found.st_size, found.st_ino) for one in files if (found := one.stat())]


def lines(part: Part, start: int = 0) -> Iterator[RawLine]:
    """The lines of a file from the byte `start`, up to the length that it had.

    Raises StorageError where it cannot be read.
    """
    left = part.size - start
    try:
        with _opened(part) as file:
            file.seek(start)
            while left > 0 and (data := file.readline(left)):
                left -= len(data)
                yield RawLine(part.path, data)
    except OSError as error:
        raise StorageError(f"cannot read the audit trail {part.path}: {error.strerror}") from error


def _opened(part: Part) -> BinaryIO:
    """The file of a part, under the name that it has now."""
    for path in (part.path, *rotated(part.path)):
        file = path.open("rb")
        if os.fstat(file.fileno()).st_ino == part.inode:
            return file
        file.close()
    raise StorageError(f"the audit trail {part.path} was replaced while it was read: try again")


def open_to_append(path: Path) -> int:
    """A descriptor of the file that grows; makes it, mode 600, and its folder.

    Raises StorageError where it cannot be written or others may open it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)
        except FileNotFoundError:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS
            descriptor = os.open(path, flags, MODE)
            os.fchmod(descriptor, MODE)  # a umask may have taken the owner's own bits
            sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot open the audit trail {path}: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_mode & _OTHERS:
        os.close(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        raise StorageError(
            f"others may open the audit trail {path} (mode {mode:03o}), or it is no regular file:"
            f" chmod 600 {path}"
        )
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait_s: float, shared: bool = False) -> Iterator[None]:
    """One writer, or several readers, of the trail at a time. A dead holder's lock is free.

    A reader of a trail that nobody has written yet needs no lock. Raises StorageError.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        if shared:
            if not lock.exists():
                yield
                return
            descriptor = os.open(lock, os.O_RDONLY | _FLAGS)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | _FLAGS, MODE)
    except OSError as error:
        raise StorageError(f"cannot lock the audit trail by {lock}: {error.strerror}") from error
    try:
        _take(descriptor, lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait_s)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, lock: Path, how: int, wait_s: float) -> None:
    deadline_ns = monotonic_ns() + int(wait_s * NS_PER_S)
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic_ns() > deadline_ns:
                raise StorageError(
                    f"another process has held the audit trail for {wait_s:g} s: `fuser {lock}`"
                    " names it"
                ) from None
            time.sleep(_RETRY_S)
        except OSError as error:
            raise StorageError(
                f"cannot lock {lock}: {error.strerror}; the trail needs a file system with locks"
            ) from error
