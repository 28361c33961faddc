"""TimescaleDB, where a PostgreSQL server has it: the tables that grow become hypertables.

Which can, by TimescaleDB's rules: the dimension is a column that is NOT NULL and a time or an
integer, every unique key contains it, and no other hypertable refers to the table. (A foreign
key to a plain table, here `seasons`, is allowed.) Which should: those with a row for every
record, sample or question. Tickets, latches and lessons are few, `guardian_days` is keyed by a
day in words, and the other tables know no time; they stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Table, text

from hydra.errors import StorageError
from hydra.storage import tables
from hydra.storage.database import parse_url, reading, sqlite_path, writing

_EXTENSION = "timescaledb"
_OLDEST = (2, 13)  # the first with by_range()
_QUARTER_NS = 90 * 24 * 3_600_000_000_000
_AVAILABLE = text(
    "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = :name"
)
_CREATE = text("CREATE EXTENSION IF NOT EXISTS timescaledb")
# Else a season that commits meanwhile and the moving of rows could wait for each other for ever.
_LOCK = text("LOCK TABLE seasons IN SHARE ROW EXCLUSIVE MODE")
_CONVERT = text(
    "SELECT created FROM create_hypertable(CAST(:table AS regclass),"
    " by_range(CAST(:column AS name), CAST(:span AS bigint)),"
    " create_default_indexes => FALSE, if_not_exists => TRUE, migrate_data => TRUE)"
)


class Hypertable(msgspec.Struct, frozen=True):
    """A table that is to be cut into chunks, each `span` wide along `column`."""

    table: Table
    column: str
    span: int


HYPERTABLES: Sequence[Hypertable] = (
    Hypertable(tables.journal, "seq", 1_000_000),
    Hypertable(tables.equity_points, "at_ns", _QUARTER_NS),
    Hypertable(tables.scores, "at_ns", _QUARTER_NS),
    Hypertable(tables.model_calls, "at_ns", _QUARTER_NS),
)


def make_hypertables(url: str) -> str:
    """Use TimescaleDB at `url` if that can be; returns one line that says what came of it.

    "" for SQLite. Safe to repeat; the rows that are there move along. Where the server has no
    TimescaleDB, or may not load it, nothing changes. Raises StorageError when the database
    cannot be reached, or TimescaleDB refuses a table; then no table has changed.
    """
    if sqlite_path(parse_url(url)) is not None:
        return ""
    with reading(url) as connection:
        found = connection.execute(_AVAILABLE, {"name": _EXTENSION}).first()
    if found is None:
        return "plain PostgreSQL: the server has no TimescaleDB, so no table is a hypertable"
    version: str = found.installed_version or found.default_version
    if _numbers(version) < _OLDEST:
        return f"TimescaleDB {version} is too old, the tables stay plain: 2.13 is the oldest"
    if found.installed_version is None:
        try:
            # On a connection of its own, which the server ends where the library is not preloaded.
            with writing(url) as connection:
                connection.execute(_CREATE)
        except StorageError as error:
            return f"TimescaleDB cannot be used, the tables stay plain: {error}"
    with writing(url) as connection:
        made = _convert(connection)
    return (
        f"TimescaleDB {version}: {', '.join(one.table.name for one in HYPERTABLES)} are hypertables"
        f" ({len(made)} new)"
    )


def _convert(connection: Connection) -> list[str]:
    """The tables that have become hypertables, in the transaction of `connection`."""
    connection.execute(_LOCK)
    return [
        one.table.name
        for one in HYPERTABLES
        if connection.execute(
            _CONVERT, {"table": one.table.name, "column": one.column, "span": one.span}
        ).scalar_one()
    ]


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 13) of 2.13.1-dev."""
    parts = version.split("-")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
