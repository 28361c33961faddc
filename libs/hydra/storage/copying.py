"""A season carried from one database to another: all of its rows, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from hashlib import sha256

import msgspec
from sqlalchemy import Connection, Table, func, insert, select, text

from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.storage import tables
from hydra.storage.bulk import Appender
from hydra.storage.database import place, reading, storage_errors, writing
from hydra.storage.queries import AnyRow, find_season
from hydra.storage.schema import HEAD, check, ensure
from hydra.storage.verify import Verdict, verify_season

SEASON_TABLES = tuple(table for table in tables.metadata.sorted_tables if "season_id" in table.c)
"""Every table that holds rows of a season."""

OnRows = Callable[[int, int], None]
"""Is told (rows copied so far, rows of the season)."""

_PAGE_ROWS = 2_000
_ANALYZE = text("ANALYZE journal, tickets, equity_points, model_calls")
_WHOLE = 1 << 256

Values = tuple[object, ...]


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What `copy_season` brought over."""

    season: str  # its name there
    state: str  # playing: it was not finished when it was copied
    cycle: int  # the last one committed; -1: none
    at_ns: int  # the market's time at that cycle
    digest: str
    rows: dict[str, int]  # by table
    is_current: bool  # the views of its new database show it


def copy_season(
    source: str,
    target: str,
    name: str | None = None,
    *,
    new_name: str | None = None,
    on_rows: OnRows = lambda done, total: None,
) -> Copied:
    """Copy the season `name` (None: the current one) of `source` to `target`, both URLs.

    The source is only read, in one snapshot: of a season that is being played, what was
    committed when the copy began. The target's tables are made or upgraded if need be; the rows
    then go in by one transaction, which ends only when the copy was read back and found equal.
    The copy becomes the current season where there is none yet.

    Raises ConfigError when there is no such season, or its name is taken at the target;
    JournalFault when the season does not verify before it is copied; StorageError when either
    database cannot be used, or the copy is not equal. In every case the target has no row of it.
    """
    here, there = place(source), place(target)
    state = check(source)
    if not state.is_current:
        raise StorageError(
            f"{here} is at schema {state.revision}, not {HEAD}: run hydra db upgrade"
        )
    with reading(source) as origin:
        row = find_season(origin, name)
        before = verify_season(origin, row.name)
        if not before.is_sound:
            raise JournalFault(
                f"season {row.name} in {here} does not verify and was not copied:"
                f" {'; '.join(before.faults[:3])}"
            )
        ensure(target)
        with writing(target) as goal:
            return _Copy(origin, here, goal, there, on_rows).carry(row, new_name, before)


class _Copy:
    """One copy, between a connection that reads and one that writes."""

    def __init__(
        self, origin: Connection, here: str, goal: Connection, there: str, on_rows: OnRows
    ) -> None:
        self._origin = origin
        self._here = here
        self._goal = goal
        self._there = there
        self._on_rows = on_rows
        self._done = 0
        self._total = 0

    def carry(self, row: AnyRow, new_name: str | None, before: Verdict) -> Copied:
        name: str = new_name or row.name
        season_id, is_current = self._add_season(row, name)
        with storage_errors(self._here):
            counts = {table: _count(self._origin, table, row.id) for table in SEASON_TABLES}
        self._total = sum(counts.values())
        for table in SEASON_TABLES:
            sent = self._carry_table(table, row.id, season_id)
            # The hash chain proves the journal, at half the price of reading it twice.
            if table is not tables.journal and sent != self._found(table, season_id):
                raise StorageError(
                    f"{self._there} does not give back the rows of {table.name} as they were in"
                    f" {self._here}: nothing was kept"
                )
        if self._goal.dialect.name == "postgresql":
            # It knows nothing yet of rows that were never committed, and would sort the whole
            # journal for every page of it.
            self._goal.execute(_ANALYZE)
        after = verify_season(self._goal, name)
        if msgspec.structs.replace(after, season=before.season) != before:
            raise StorageError(
                f"the copy in {self._there} does not verify as season {row.name} in"
                f" {self._here} does: {'; '.join(after.faults[:3]) or after.digest};"
                " nothing was kept"
            )
        return Copied(
            season=name,
            state=row.state,
            cycle=row.cycle,
            at_ns=row.at_ns,
            digest=after.digest,
            rows={table.name: count for table, count in counts.items()},
            is_current=is_current,
        )

    def _add_season(self, row: AnyRow, name: str) -> tuple[int, bool]:
        seasons = tables.seasons
        held = self._goal.execute(select(seasons.c.name, seasons.c.is_current)).all()
        if any(other == name for other, _ in held):
            raise ConfigError(
                f"{self._there} already has a season {name}: give the copy another name by --as"
            )
        is_current = not any(current for _, current in held)
        values = dict(row._mapping) | {"name": name, "is_current": int(is_current)}
        del values["id"]
        season_id = self._goal.execute(
            insert(seasons).values(values).returning(seasons.c.id)
        ).scalar_one()
        return season_id, is_current

    def _carry_table(self, table: Table, old_id: int, new_id: int) -> int:
        """The fingerprint of the rows that were sent."""
        append = Appender(self._goal, table, self._there)
        to_sqlite = self._goal.dialect.name == "sqlite"
        sent = _Fingerprint(table)
        for page in self._pages(table, old_id):
            sent.add(page)
            values = _as_text(page) if to_sqlite else page
            append([(new_id, *row) for row in values])
            self._done += len(page)
            self._on_rows(self._done, self._total)
        return sent.value

    def _pages(self, table: Table, season_id: int) -> Iterator[list[Values]]:
        # An error of the source must not carry the target's name, within whose block it rises.
        with storage_errors(self._here):
            pages = _pages(self._origin, table, season_id)
        while True:
            with storage_errors(self._here):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _found(self, table: Table, season_id: int) -> int:
        """The fingerprint of the rows that arrived."""
        found = _Fingerprint(table)
        for page in _pages(self._goal, table, season_id):
            found.add(page)
        return found.value


def _count(connection: Connection, table: Table, season_id: int) -> int:
    statement = select(func.count()).select_from(table).where(table.c.season_id == season_id)
    return int(connection.execute(statement).scalar_one())


def _pages(connection: Connection, table: Table, season_id: int) -> Iterator[list[Values]]:
    """A season's rows without their season_id, in no particular order; memory stays flat."""
    columns = [column for column in table.c if column.name != "season_id"]
    statement = select(*columns).where(table.c.season_id == season_id)
    result = connection.execute(statement, execution_options={"yield_per": _PAGE_ROWS})
    for page in result.partitions():
        yield [tuple(row) for row in page]


def _as_text(page: Sequence[Values]) -> list[Values]:
    """Exact decimals as SQLite keeps them, in the words of `rows`."""
    return [
        tuple(str(value) if isinstance(value, Decimal) else value for value in row) for row in page
    ]


class _Fingerprint:
    """Of a set of rows, in whatever order they come: the sum of their hashes.

    Databases sort text differently, and one keeps decimals as text, the other as NUMERIC:
    0.10 and 0.1 differ, 1E+3 and 1000 do not.
    """

    def __init__(self, table: Table) -> None:
        columns = [column for column in table.c if column.name != "season_id"]
        self._exact = [i for i, column in enumerate(columns) if column.type is tables.EXACT]
        self.value = 0

    def add(self, page: Sequence[Values]) -> None:
        for row in page:
            if self._exact:
                row = self._plain(row)
            digest = sha256(repr(row).encode()).digest()
            self.value = (self.value + int.from_bytes(digest)) % _WHOLE

    def _plain(self, row: Values) -> Values:
        values = list(row)
        for i in self._exact:
            if values[i] is not None:
                number = Decimal(str(values[i]))
                # NUMERIC has no negative zero.
                values[i] = format(number or number.copy_abs(), "f")
        return tuple(values)
