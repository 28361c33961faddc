"""What has been kept long enough: found by age, named before it is deleted, deleted for good.

Only in Hydra's own folder (`data/hydra`), only what is listed here, and never through a symbolic
link: rotated logs, logs of faults, status files of finished seasons, recorded days. Seasons, the
audit trail, the vault and reports are nothing of that.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from hydra.clock import NS_PER_DAY, to_datetime
from hydra.settings import Settings
from hydra.storage.database import parse_url, sqlite_path

LOGS, STATUS, RECORDINGS = "logs", "run", "recordings"  # folders below data/hydra
_FAULT = re.compile(r"fault-[0-9T]+-[0-9]+\.log")
_ROTATED = re.compile(r".+\.[1-9][0-9]?")  # FILE.1, FILE.2, …
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DEEPEST = 4  # folders below `recordings` in which days are looked for


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a folder with all that is in it, whose time is over."""

    kind: str  # log, status, recording
    path: Path
    size_bytes: int


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted, and in words what could not be."""

    deleted: tuple[Expired, ...]
    faults: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.deleted)

    def __str__(self) -> str:
        counts = [
            f"{sum(one.kind == kind for one in self.deleted)} {words}"
            for kind, words in (
                ("log", "logs"), ("status", "states of seasons"), ("recording", "recorded days"),
            )
            if any(one.kind == kind for one in self.deleted)
        ]  # fmt: skip
        return f"{', '.join(counts) or 'nothing'} deleted, {self.size_bytes / 1e6:,.1f} MB"


class _Status(msgspec.Struct):
    """What matters here of a season's status file."""

    state: str
    updated_ns: int


def days_over(names: Iterable[str], today: date, keep_days: int) -> list[str]:
    """Of folder names those that are a day (2024-01-31) more than `keep_days` before `today`.

    0 keeps all. The day itself and the `keep_days` before it stay, and whatever is no day.
    """
    if not keep_days:
        return []
    found = []
    for name in names:
        try:
            day = date.fromisoformat(name) if _DAY.fullmatch(name) else None
        except ValueError:
            continue
        if day is not None and today - day > timedelta(days=keep_days):
            found.append(name)
    return found


def expired(
    folder: Path,
    now_ns: int,
    *,
    keep_logs_days: int,
    keep_recordings_days: int,
    recordings: Path | None = None,
    logs: Sequence[Path] = (),
    never: Sequence[Path] = (),
) -> list[Expired]:
    """What may go from `folder`, which is data/hydra. 0 days keep for ever.

    `recordings` is where days are recorded; None: the folder's own `recordings`. Logs lie in its
    folder `logs`; `logs` names more of them, of which those inside `folder` count.
    `never` are paths that stay whatever they are called. Days are those of UTC.
    """
    folder = folder.resolve()
    kept = {path.absolute() for path in never}
    found: list[Expired] = []
    if keep_logs_days:
        oldest_ns = now_ns - keep_logs_days * NS_PER_DAY
        found += _logs(folder, oldest_ns, logs)
        found += _states(folder / STATUS, oldest_ns)
    if keep_recordings_days:
        found += _recordings(recordings or folder / RECORDINGS, now_ns, keep_recordings_days)
    return [one for one in found if not any(_holds(one.path, path) for path in kept)]


def expired_of(settings: Settings, now_ns: int, *, log: Path | None = None) -> list[Expired]:
    """What may go by the settings; `log` is the log of this process, where it has one."""
    database = sqlite_path(parse_url(settings.db_url))
    return expired(
        settings.data_folder,
        now_ns,
        keep_logs_days=settings.keep_logs_days,
        keep_recordings_days=settings.keep_recordings_days,
        recordings=settings.recordings_folder,
        logs=[path for path in (log, settings.log_file) if path is not None],
        never=[
            path
            for path in (log, settings.log_file, settings.audit_file, settings.vault_file, database)
            if path is not None
        ],
    )


def clean(found: Iterable[Expired]) -> Cleaned:
    """Delete them; one that cannot be deleted does not keep the others."""
    deleted, faults = [], []
    for one in found:
        try:
            if one.kind == "recording":
                shutil.rmtree(one.path)  # follows no link, and refuses to begin at one
            else:
                one.path.unlink()
        except FileNotFoundError:
            continue  # another process was here
        except OSError as error:
            faults.append(f"{one.path} cannot be deleted: {error.strerror or error}")
        else:
            deleted.append(one)
    return Cleaned(deleted=tuple(deleted), faults=tuple(faults))


def _holds(path: Path, other: Path) -> bool:
    return other == path or path in other.parents


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, by name; nothing of a link to one, or where there is none."""
    if folder.is_symlink() or not folder.is_dir():
        return
    with os.scandir(folder) as found:
        yield from sorted(found, key=lambda entry: entry.name)


def _file(kind: str, path: Path, oldest_ns: int) -> Expired | None:
    """The file where it was last written before `oldest_ns`."""
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_mtime_ns >= oldest_ns:
        return None
    return Expired(kind=kind, path=path, size_bytes=found.st_size)


def _logs(folder: Path, oldest_ns: int, more: Sequence[Path]) -> Iterator[Expired]:
    names = [
        folder / LOGS / entry.name
        for entry in _entries(folder / LOGS)
        if _FAULT.fullmatch(entry.name) or _ROTATED.fullmatch(entry.name)
    ]
    for log in {path.absolute() for path in more}:
        # A link on the way would lead elsewhere.
        if folder in log.parents and log.parent.resolve() == log.parent:
            older = re.compile(re.escape(log.name) + r"\.[1-9][0-9]?")
            names += [
                log.parent / entry.name
                for entry in _entries(log.parent)
                if older.fullmatch(entry.name)
            ]
    for path in dict.fromkeys(names):
        found = _file("log", path, oldest_ns)
        if found is not None:
            yield found


def _states(folder: Path, oldest_ns: int) -> Iterator[Expired]:
    for entry in _entries(folder):
        path = folder / entry.name
        found = _file("status", path, oldest_ns) if path.suffix == ".json" else None
        if found is None:
            continue
        try:
            told = msgspec.json.decode(path.read_bytes(), type=_Status)
        except (OSError, msgspec.MsgspecError):
            continue  # not one of ours, or not whole
        if told.state == "finished" and told.updated_ns < oldest_ns:
            yield found


def _recordings(folder: Path, now_ns: int, keep_days: int, *, depth: int = 0) -> Iterator[Expired]:
    inside = [e for e in _entries(folder) if e.is_dir(follow_symlinks=False)]
    today = to_datetime(now_ns).date()
    over = set(days_over([entry.name for entry in inside], today, keep_days))
    for entry in inside:
        path = folder / entry.name
        if entry.name in over:
            size_bytes, written_ns = _contents(path)
            # What was recorded of a replay has days of long ago, and is young all the same.
            if written_ns < now_ns - keep_days * NS_PER_DAY:
                yield Expired(kind="recording", path=path, size_bytes=size_bytes)
        elif depth < _DEEPEST and not _DAY.fullmatch(entry.name):
            yield from _recordings(path, now_ns, keep_days, depth=depth + 1)


def _contents(folder: Path) -> tuple[int, int]:
    """Size of a folder's files in all, and when one was last written; 0: there is none."""
    size_bytes = written_ns = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                found = (Path(where) / name).lstat()
            except OSError:  # it went meanwhile
                continue
            size_bytes += found.st_size
            written_ns = max(written_ns, found.st_mtime_ns)
    return size_bytes, written_ns
