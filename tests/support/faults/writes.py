"""What may happen to a season at each of its writes: death, or a database that fails.

A write is watched where every one of them passes: at the beginning of its transaction, before
and after each statement, before its commit and after it, when nobody has been told yet. Death
is an exception that nobody catches, after which all objects are thrown away; the database is
left as a SIGKILL leaves it, which it may be as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from tests.support.processes import die

MOMENTS = ("begin", "before", "after", "commit", "committed")


class Killed(BaseException):
    """The process died here."""


class Blow(Enum):
    DEATH = "the process is killed"
    LOCKED = "another program holds SQLite's write lock"
    FULL = "there is no room left"
    READ_ONLY = "the database may only be read"
    IO = "the disk fails"


@dataclass
class Writes:
    """Strikes once, at the so many-th of a moment; counts moments of all kinds."""

    path: Path
    at: tuple[str, int] | None = None  # which of MOMENTS, and its number from 1
    blow: Blow = Blow.DEATH
    is_real: bool = False  # death is a SIGKILL
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MOMENTS, 0))
    struck: bool = False
    _other: sqlite3.Connection | None = None

    def next(self, moment: str, after: int, blow: Blow) -> None:
        """Strike at the `after`-th such moment from now."""
        self.at, self.blow, self.struck = (moment, self.seen[moment] + after), blow, False

    def heal(self) -> None:
        """Whoever disturbed has gone: the lock is free, there is room."""
        if self._other is not None:
            self._other.close()
            self._other = None

    def _pass(self, moment: str, connection: Connection) -> None:
        self.seen[moment] += 1
        if self.at == (moment, self.seen[moment]):
            self.struck = True
            self._strike(connection, moment)

    def _strike(self, connection: Connection, moment: str) -> None:
        raw: Any = connection.connection.driver_connection
        if moment == "committed":
            raw.execute("COMMIT").close()
        if self.blow is Blow.DEATH:
            if self.is_real:
                die()
            if raw.in_transaction:
                raw.execute("ROLLBACK").close()  # as whoever opens the file next does
            raise Killed
        if self.blow is Blow.LOCKED:
            self._other = sqlite3.connect(self.path, isolation_level=None, timeout=0)
            try:
                self._other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return  # the season holds the lock itself
        elif self.blow is Blow.FULL:
            ((pages,),) = raw.execute("PRAGMA page_count").fetchall()
            raw.execute(f"PRAGMA max_page_count={pages}").close()
        elif self.blow is Blow.READ_ONLY:
            raw.execute("PRAGMA query_only=ON").close()
        else:
            raise sqlite3.OperationalError("disk I/O error")

    @contextmanager
    def watched(self) -> Iterator[Writes]:
        """Watch every connection of this process that is opened for this database."""

        def of_it(connection: Connection) -> bool:
            return connection.engine.url.database == str(self.path)

        def begin(connection: Connection) -> None:
            if of_it(connection):
                self._pass("begin", connection)

        def before(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if of_it(connection) and statement.startswith(("INSERT", "UPDATE")):
                self._pass("before", connection)

        def after(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if of_it(connection) and statement.startswith(("INSERT", "UPDATE")):
                self._pass("after", connection)

        def commit(connection: Connection) -> None:
            if of_it(connection):
                self._pass("commit", connection)
                self._pass("committed", connection)

        listeners = (
            ("begin", begin), ("before_cursor_execute", before),
            ("after_cursor_execute", after), ("commit", commit),
        )  # fmt: skip
        for name, listener in listeners:
            event.listen(Engine, name, listener)
        try:
            yield self
        finally:
            self.heal()
            for name, listener in listeners:
                event.remove(Engine, name, listener)
