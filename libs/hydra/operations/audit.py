"""The audit trail: every event that bears on a trade, a line each, hash-chained over all seasons.

    with AuditTrail(path) as trail:
        trail.follow(connection, "season-1")  # after each commit; the first call reconciles

The database is the truth. A line is written after the commit that made its record durable, and
says what the journal says; lines that a crash kept from being written are added from the journal,
and a torn last line is completed where what is left of it begins as the journal says. Anything
else that differs is a fault, which is named and never repaired.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from sqlalchemy import Connection, select

from hydra.clock import iso
from hydra.errors import JournalFault, StorageError
from hydra.operations import audit_files as files
from hydra.operations.audit_lines import (
    GENESIS,
    KINDS,
    BadLine,
    Line,
    SeasonKey,
    opened,
    payload,
    sealed,
)
from hydra.storage import tables
from hydra.storage.journal import StoredRecord, stored_records
from hydra.storage.queries import find_season

MOST_BYTES = 64 * 1024 * 1024  # of a file; then the next one begins
LOCK_WAIT_S = 15.0
_BATCH_BYTES = 1 << 20


class Followed(msgspec.Struct, frozen=True):
    """What one call of `follow` did."""

    added: int  # lines
    completed: str = ""  # the place of a torn line that was completed; "": none was


class SeasonCheck(msgspec.Struct, kw_only=True):
    """How a season's lines compare with its journal."""

    season: str
    started: str
    state: str  # playing or finished; elsewhere: in another database
    lines: int = 0
    missing: int = 0  # events at the end of the journal that the trail does not have


class TrailCheck(msgspec.Struct, kw_only=True):
    """What `hydra audit verify` reports."""

    lines: int  # good ones, from the start
    digest: str  # hash of the last good line, hex
    files: int
    seasons: tuple[SeasonCheck, ...]
    faults: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.faults


class _Season:
    """A season of the database beside its lines in the trail."""

    def __init__(self, connection: Connection, key: SeasonKey) -> None:
        columns = tables.seasons.c
        self.key = key
        self._next: StoredRecord | None = None
        self._records: Iterator[StoredRecord] = iter(())
        self.check = SeasonCheck(season=key.name, started=key.started, state="elsewhere")
        rows = connection.execute(
            select(columns.id, columns.created_ns, columns.state).where(columns.name == key.name)
        )
        for season_id, created_ns, state in rows:
            if iso(created_ns) == key.started:
                self.check.state = state
                self._records = stored_records(connection, season_id, kinds=KINDS)
                self._next = next(self._records, None)

    def compare(self, line: Line, text: bytes) -> None:
        """Take the next line of this season. Raises BadLine where the journal says otherwise."""
        self.check.lines += 1
        if self.check.state == "elsewhere":
            return
        record = self._next
        if record is None or line.seq < record[0]:
            raise BadLine(
                f"the journal of season {self.key.name} has no such event (record {line.seq})"
            )
        if line.seq > record[0]:
            raise BadLine(
                f"before it, record {record[0]} ({record[4]} of {record[3] or 'all'}) of season"
                f" {self.key.name} is missing"
            )
        if payload(line.n, self.key, record) != text:
            raise BadLine(
                f"it differs from record {line.seq} in the journal of season {self.key.name}"
            )
        self._next = next(self._records, None)

    def rest(self) -> Iterator[StoredRecord]:
        """The records that follow the last line. They can be taken once."""
        if self._next is not None:
            yield self._next
            self._next = None
        yield from self._records


class AuditTrail:
    """Appends to the trail. Several processes may, each with a trail of its own on one path."""

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        most_bytes: int = MOST_BYTES,
        write: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        """`durable`: each call that adds lines ends in an fsync; else only `close` does one.

        A season whose own commits survive no loss of power needs no more than its end. `write`
        is the one call that touches the disk, which a test fails, or dies, in.
        """
        self._path = path
        self._write_some = write
        self._durable = durable
        self._most_bytes = most_bytes
        self._descriptor = -1
        self._size = 0  # of the file that grows, as far as it was read
        self._count = 0  # lines of the whole trail
        self._digest = GENESIS
        self._last_seq: dict[SeasonKey, int] = {}
        self._is_reconciled = False
        self._is_unsynced = False

    def follow(self, connection: Connection, season: str | None = None) -> Followed:
        """Append what the journal of a season (None: the current one) has and the trail lacks.

        The first call compares all of the trail with the journals of this database, and adds
        what crashes kept from being written for any of its seasons. `connection` has read
        nothing yet, so that it sees all that was committed before the lines that are compared.

        Raises JournalFault naming the first line that is not as the journal says, ConfigError
        when there is no such season, StorageError when the trail cannot be written.
        """
        with self._at_fault_forgotten():
            if self._descriptor < 0:
                # What is there already is compared before the lock is taken: it may be long.
                self._begin_again()
                with files.locked(self._path, wait_s=LOCK_WAIT_S, shared=True):
                    parts = files.parts(self._path)
                self._read(parts, connection)
            with files.locked(self._path, wait_s=LOCK_WAIT_S):
                return self._follow(connection, season)

    def _follow(self, connection: Connection, season: str | None) -> Followed:
        row = find_season(connection, season)
        key = SeasonKey(row.name, iso(row.created_ns))
        torn = self._catch_up()
        before = self._count
        place = "" if torn is None else self._complete(torn, connection)
        if not self._is_reconciled:
            for one in [*self._last_seq]:
                if (season_id := _season_id(connection, one)) is not None:
                    self._append_rest(connection, one, season_id)
            self._is_reconciled = True
        self._append_rest(connection, key, row.id)
        self._sync(at_once=self._durable)
        return Followed(self._count - before, place)

    def append(self, season: SeasonKey, records: Iterable[StoredRecord]) -> int:
        """Append a season's records that were just committed; returns how many lines that made.

        Records that do not bear on trades, or have their lines already, are left out. Raises
        JournalFault on a torn or altered line, StorageError when the trail cannot be written.
        """
        with self._at_fault_forgotten(), files.locked(self._path, wait_s=LOCK_WAIT_S):
            torn = self._catch_up()
            if torn is not None:
                raise _torn(torn, self._count + 1)
            before = self._count
            self._append(season, (one for one in records if one[4] in KINDS))
            self._sync(at_once=self._durable)
            return self._count - before

    def close(self) -> None:
        """Make all lines survive a loss of power. Safe to repeat. Raises StorageError."""
        self._sync(at_once=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Reading

    @contextmanager
    def _at_fault_forgotten(self) -> Iterator[None]:
        """Whatever goes wrong inside: the next call reads and compares the trail from its start."""
        try:
            yield
        except BaseException:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            self._is_reconciled = False
            raise

    def _catch_up(self) -> files.RawLine | None:
        """Under the lock: read what others have appended since; returns a torn last line."""
        if self._descriptor < 0 or not self._is_same_file():
            self._begin_again()
            return self._read(files.parts(self._path), None)
        found = os.fstat(self._descriptor)
        if found.st_size < self._size:
            raise JournalFault(
                f"{self._path} became shorter while it was followed, from {self._size:,} to"
                f" {found.st_size:,} bytes: run hydra audit verify"
            )
        if found.st_size == self._size:
            return None
        return self._read([files.Part(self._path, found.st_size, found.st_ino)], None, self._size)

    def _is_same_file(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False

    def _begin_again(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = files.open_to_append(self._path)
        self._size, self._count, self._digest = 0, 0, GENESIS
        self._last_seq = {}

    def _read(
        self, parts: list[files.Part], connection: Connection | None, start: int = 0
    ) -> files.RawLine | None:
        """Recompute the chain, and with a connection compare with the journals."""
        seasons: dict[SeasonKey, _Season] = {}
        for part in parts:
            self._size = start
            for raw in files.lines(part, start):
                if raw.is_torn:
                    if part is not parts[-1]:
                        raise _fault(raw, self._count + 1, "it is torn, and others follow")
                    return raw
                try:
                    line, text, digest = opened(raw.data, self._digest, self._count + 1)
                    if connection is not None:
                        if line.key not in seasons:
                            seasons[line.key] = _Season(connection, line.key)
                        seasons[line.key].compare(line, text)
                except BadLine as error:
                    raise _fault(raw, self._count + 1, str(error)) from error
                self._count, self._digest = self._count + 1, digest
                self._size += len(raw.data)
                self._last_seq[line.key] = line.seq
        return None

    # Writing

    def _append_rest(self, connection: Connection, key: SeasonKey, season_id: int) -> None:
        after_seq = self._last_seq.get(key, 0)
        self._append(key, stored_records(connection, season_id, after_seq=after_seq, kinds=KINDS))

    def _append(self, key: SeasonKey, records: Iterable[StoredRecord]) -> None:
        last_seq = self._last_seq.get(key, 0)
        count, digest = self._count, self._digest
        batch = bytearray()
        for record in records:
            if record[0] <= last_seq:
                continue
            line, digest = sealed(digest, payload(count + 1, key, record))
            batch += line
            count, last_seq = count + 1, record[0]
            if len(batch) >= _BATCH_BYTES:
                self._write(bytes(batch))
                self._count, self._digest, self._last_seq[key] = count, digest, last_seq
                batch.clear()
        if batch:
            self._write(bytes(batch))
            self._count, self._digest, self._last_seq[key] = count, digest, last_seq

    def _write(self, data: bytes) -> None:
        if self._size >= self._most_bytes:
            self._rotate()
        try:
            left = memoryview(data)
            while left:
                left = left[self._write_some(self._descriptor, left) :]
        except OSError as error:
            # These bytes are of this very call: nobody has read them, the lock is ours. Where they
            # cannot be taken back they are a torn line, which the next call completes.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise StorageError(
                f"cannot write the audit trail {self._path}: {error.strerror}; what the journal"
                " has is added later"
            ) from error
        self._size += len(data)
        self._is_unsynced = True

    def _rotate(self) -> None:
        self._sync(at_once=True)
        try:
            self._path.rename(files.next_rotated(self._path))
            files.sync_folder(self._path.parent)
        except OSError as error:
            raise StorageError(
                f"cannot give the full audit trail {self._path} its new name: {error.strerror}"
            ) from error
        os.close(self._descriptor)
        self._descriptor = files.open_to_append(self._path)
        self._size = 0

    def _complete(self, torn: files.RawLine, connection: Connection) -> str:
        """Write the rest of a torn last line, as the journal has it; returns its place.

        A loss of power may leave zeros behind what was written; they are cut off.
        """
        place = f"line {self._count + 1} ({torn.path})"
        begun = torn.data.rstrip(b"\0")
        if not begun:
            os.ftruncate(self._descriptor, self._size)
            return place
        columns = tables.seasons.c
        for season_id, name, created_ns in connection.execute(
            select(columns.id, columns.name, columns.created_ns).order_by(columns.id.desc())
        ):
            key = SeasonKey(name, iso(created_ns))
            after_seq = self._last_seq.get(key, 0)
            records = stored_records(connection, season_id, after_seq=after_seq, kinds=KINDS)
            record = next(records, None)
            if record is None:
                continue
            line, digest = sealed(self._digest, payload(self._count + 1, key, record))
            if line.startswith(begun):
                os.ftruncate(self._descriptor, self._size + len(begun))
                self._size += len(begun)
                self._write(line[len(begun) :])
                self._count, self._digest = self._count + 1, digest
                self._last_seq[key] = record[0]
                return place
        raise _torn(torn, self._count + 1)

    def _sync(self, *, at_once: bool) -> None:
        if not at_once or not self._is_unsynced or self._descriptor < 0:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise StorageError(
                f"the disk does not confirm the audit trail {self._path}: {error.strerror}"
            ) from error
        self._is_unsynced = False


def check(path: Path, connection: Connection, season: str | None = None) -> TrailCheck:
    """Recompute the chain of the whole trail and compare it with the journals; writes nothing.

    `season`: compare only this one, which must have its lines; None: every season that has
    lines and lies in this database. Reading ends at the first bad line. `connection` has read
    nothing yet. Raises ConfigError when there is no such season, StorageError when the trail
    cannot be read.
    """
    with files.locked(path, wait_s=LOCK_WAIT_S, shared=True):
        parts = files.parts(path)
    seasons: dict[SeasonKey, _Season] = {}
    wanted = None
    if season is not None:
        row = find_season(connection, season)
        wanted = SeasonKey(row.name, iso(row.created_ns))
        seasons[wanted] = _Season(connection, wanted)
    count, digest = 0, GENESIS
    faults: list[str] = []
    for raw in (raw for part in parts for raw in files.lines(part)):
        try:
            if raw.is_torn:
                raise BadLine("it is torn; hydra audit sync completes it from the journal")
            line, text, digest = opened(raw.data, digest, count + 1)
            if wanted is None or line.key == wanted:
                if line.key not in seasons:
                    seasons[line.key] = _Season(connection, line.key)
                seasons[line.key].compare(line, text)
        except (BadLine, JournalFault) as error:
            faults.append(str(_fault(raw, count + 1, str(error))))
            break
        count += 1
    if not faults:
        faults.extend(_missing(one) for one in seasons.values() if _is_behind(one))
    return TrailCheck(
        lines=count,
        digest=digest.hex(),
        files=len(parts),
        seasons=tuple(one.check for one in seasons.values()),
        faults=tuple(faults),
    )


def _is_behind(season: _Season) -> bool:
    """Whether events are missing at the end. While a season plays, its writer may be about to."""
    season.check.missing = sum(1 for _ in season.rest())
    return season.check.missing > 0 and season.check.state == "finished"


def _missing(season: _Season) -> str:
    one = season.check
    return (
        f"season {one.season} has {one.missing:,} events in its journal that are not in the trail,"
        f" which has {one.lines:,}: lines were taken from its end, or it was played without"
        " --audit; hydra audit sync adds them"
    )


def season_lines(path: Path, connection: Connection, season: str) -> Iterator[bytes]:
    """The lines of a season as they stand. Raises as `check`; check the trail first."""
    row = find_season(connection, season)
    key = SeasonKey(row.name, iso(row.created_ns))
    with files.locked(path, wait_s=LOCK_WAIT_S, shared=True):
        parts = files.parts(path)
    digest = GENESIS
    for n, raw in enumerate((raw for part in parts for raw in files.lines(part)), start=1):
        try:
            line, _, digest = opened(raw.data, digest, n)
        except BadLine as error:
            raise _fault(raw, n, str(error)) from error
        if line.key == key:
            yield raw.data


def _season_id(connection: Connection, key: SeasonKey) -> int | None:
    columns = tables.seasons.c
    rows = connection.execute(
        select(columns.id, columns.created_ns).where(columns.name == key.name)
    )
    return next((season_id for season_id, made_ns in rows if iso(made_ns) == key.started), None)


def _fault(raw: files.RawLine, n: int, why: str) -> JournalFault:
    return JournalFault(f"audit trail, line {n} ({raw.path}): {why}")


def _torn(raw: files.RawLine, n: int) -> JournalFault:
    return _fault(
        raw, n,
        "it is torn, and no season of this database goes on like it: name the database that its"
        " season lies in by --db to hydra audit sync",
    )  # fmt: skip
