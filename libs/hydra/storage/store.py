"""A season in SQLite or PostgreSQL.

Rows are buffered as they come and written with one `executemany` a table, in one transaction
a commit. A replay's commits are not fsynced one by one (SQLite synchronous=NORMAL): they
survive the process, and what a loss of power takes is played again by `resume`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec
from sqlalchemy import Connection, Engine, Table, insert, select, text, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from hydra.clock import Clock, SystemClock
from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.storage import rows, tables
from hydra.storage.buffer import Batch, BufferedSeasonStore
from hydra.storage.bulk import Appender, update_sql, upsert_sql
from hydra.storage.database import (
    open_engine,
    parse_url,
    place,
    reading,
    sqlite_path,
    storage_error,
    storage_errors,
    writing,
)
from hydra.storage.journal import GENESIS, Chain, read_chain
from hydra.storage.locks import FileLock, Lock, PostgresLock
from hydra.storage.schema import ensure
from hydra.tournament.season import SeasonRow, StandingRow

_KILL_SWITCH = "SELECT kill_switch FROM guardian_state WHERE id = 1"


class SqlSeasonStore(BufferedSeasonStore):
    """The `SeasonStore` of one season; `open_season` makes it, `release` (or `with`) ends it."""

    def __init__(
        self,
        *,
        where: str,
        connection: Connection,
        reader: Connection,
        lock: Lock,
        clock: Clock,
        name: str,
        season_id: int,
        stored: Chain | None,
        committed_cycle: int,
    ) -> None:
        super().__init__(
            name=name, season_id=season_id, stored=stored, committed_cycle=committed_cycle
        )
        self._where = where
        self._connection = connection
        self._reader = reader
        self._switch: DBAPICursor | None = reader.connection.cursor()
        self._lock = lock
        self._clock = clock
        self._append = Appender(connection, tables.journal, where)
        # Built once: building statements was a third of a live commit's computing.
        self._progress_sql = update_sql(
            tables.seasons, ("cycle", "at_ns", "journal_count", "digest"), connection.dialect
        )
        self._sql = {
            table.name: upsert_sql(table, connection.dialect)
            for table in (
                tables.engines,
                tables.tickets,
                tables.equity_points,
                tables.scores,
                tables.guardian_days,
                tables.guardian_latches,
                tables.standings,
                tables.prompts,
                tables.model_calls,
                tables.lessons,
            )
        }

    def kill_switch(self) -> bool:
        """On a connection of its own, without a transaction: it sees what others committed.

        A missing row counts as set: the guardian fails closed. Raises StorageError.
        """
        if self._switch is None:
            raise StorageError(f"{self._where}: season {self.name} is closed")
        try:
            self._switch.execute(_KILL_SWITCH)
            row = self._switch.fetchall()
        except self._reader.dialect.loaded_dbapi.Error as error:
            raise storage_error(self._where, error) from error
        return not row or row[0][0] != 0

    def close(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...]) -> str:
        """As the protocol says, and `release`."""
        digest = super().close(cycle, at_ns, standings)
        self.release()
        return digest

    def release(self) -> None:
        """Close the connections and free the season for other writers; rows not committed are
        dropped. Safe to repeat."""
        if self._switch is None:
            return
        self._switch = None
        # What fails here (a server that is gone) cannot lose anything that was committed.
        # Taking a connection back, SQLAlchemy lets the driver's own errors through.
        for connection in (self._reader, self._connection):
            with suppress(SQLAlchemyError, connection.dialect.loaded_dbapi.Error):
                connection.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _write(self, batch: Batch) -> None:
        if self._switch is None:
            raise StorageError(f"{self._where}: season {self.name} is closed")
        self._need_lock()
        season_id = self.season_id
        with storage_errors(self._where), self._connection.begin():
            self._append(batch.journal)
            self._many(tables.engines, [rows.engine(season_id, row) for row in batch.engines])
            self._many(tables.tickets, [rows.ticket(season_id, row) for row in batch.tickets])
            self._many(tables.equity_points, [rows.equity(season_id, row) for row in batch.equity])
            self._many(tables.scores, [rows.score(season_id, row) for row in batch.scores])
            self._many(tables.guardian_days, [rows.day(season_id, row) for row in batch.days])
            self._many(
                tables.guardian_latches, [rows.latch(season_id, row) for row in batch.latches]
            )
            self._many(tables.prompts, [rows.prompt(season_id, row) for row in batch.prompts])
            self._many(
                tables.model_calls, [rows.model_call(season_id, row) for row in batch.model_calls]
            )
            self._many(tables.lessons, [rows.lesson(season_id, row) for row in batch.lessons])
            if batch.standings is not None:
                self._many(
                    tables.standings, [rows.standing(season_id, row) for row in batch.standings]
                )
                self._connection.execute(
                    update(tables.seasons)
                    .where(tables.seasons.c.id == season_id)
                    .values(state="finished", finished_ns=self._clock.now_ns())
                )
            self._connection.exec_driver_sql(
                self._progress_sql,
                (batch.cycle, batch.at_ns, batch.journal_count, batch.digest, season_id),
            )

    def _need_lock(self) -> None:
        """SQLAlchemy would replace a lost connection by a new one, which holds no lock."""
        if self._connection.invalidated:
            raise StorageError(
                f"{self._where}: the connection was lost, and the lock on season {self.name} with"
                " it (what was committed is safe: go on with --resume)"
            )

    def _many(self, table: Table, values: list[tuple[object, ...]]) -> None:
        if values:
            self._connection.exec_driver_sql(self._sql[table.name], values)

    def _stored_fields(self, seq: int) -> dict[str, int | str | None]:
        self._need_lock()
        journal = tables.journal.c
        with storage_errors(self._where), self._connection.begin():
            row = self._connection.execute(
                select(
                    journal.cycle,
                    journal.at_ns,
                    journal.engine,
                    journal.kind,
                    journal.amount_units,
                    journal.body,
                ).where(journal.season_id == self.season_id, journal.seq == seq)
            ).first()
        return dict(row._mapping) if row else {}


def open_season(
    url: str,
    row: SeasonRow,
    *,
    resume: bool,
    durable: bool = False,
    clock: Clock | None = None,
) -> SqlSeasonStore:
    """Start the season `row`, or with `resume` go on with the stored one of its name.

    Makes or upgrades the database if need be; the season becomes the current one. Resuming
    verifies the whole journal first. `durable`: see `open_engine`. `clock` stamps creation and
    end, which enter no hash.

    Raises ConfigError when a new season's name is taken, or a resumed one is absent or was
    set up differently; JournalFault when its journal is torn or altered; StorageError when the
    database cannot be used or another process plays the season.
    """
    clock = clock or SystemClock()
    where = place(url)
    ensure(url)
    with storage_errors(where):
        connection = open_engine(url, writes=True, durable=durable).connect()
        opened = _Opened(url, where, connection)
        try:
            return opened.resume(row, clock) if resume else opened.create(row, clock)
        except BaseException:
            opened.abandon()
            raise


class _Opened:
    """A season while it is being opened: what must be given back if that fails."""

    def __init__(self, url: str, where: str, connection: Connection) -> None:
        self._url = url
        self._where = where
        self._connection = connection
        self._lock: Lock | None = None
        self._reader: Connection | None = None

    def abandon(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def create(self, row: SeasonRow, clock: Clock) -> SqlSeasonStore:
        taken = ConfigError(
            f"{self._where} already has a season {row.name}: go on with it by --resume, "
            "or give another name by --season"
        )
        seasons = tables.seasons
        values = rows.season(row) | {
            "is_current": 0,
            "state": "playing",
            "created_ns": clock.now_ns(),
            "cycle": -1,
            "at_ns": 0,
            "journal_count": 0,
            "digest": GENESIS.hex(),
        }
        with self._connection.begin():
            if self._connection.dialect.name == "postgresql":
                # A server that crashes may forget commits that nobody waited for. Were the
                # season itself among them, there would be nothing to resume.
                wait = text("SELECT set_config('synchronous_commit', 'on', true)")
                self._connection.execute(wait)
            if self._connection.execute(
                select(seasons.c.id).where(seasons.c.name == row.name)
            ).first():
                raise taken
            try:
                season_id = self._connection.execute(
                    insert(seasons).values(values).returning(seasons.c.id)
                ).scalar_one()
            except IntegrityError as error:
                raise taken from error
            _make_current(self._connection, season_id)
        return self._store(row.name, season_id, None, -1, clock)

    def resume(self, row: SeasonRow, clock: Clock) -> SqlSeasonStore:
        seasons = tables.seasons
        with self._connection.begin():
            found = self._connection.execute(
                select(seasons.c.id).where(seasons.c.name == row.name)
            ).first()
            if found is None:
                names = self._connection.execute(
                    select(seasons.c.name).order_by(seasons.c.id.desc()).limit(10)
                ).scalars()
                raise ConfigError(
                    f"{self._where} has no season {row.name} to resume; "
                    f"it has: {', '.join(names) or 'none'}"
                )
        season_id = found.id
        # Only under the lock does the season stand still.
        self._take_lock(season_id, row.name)
        # On a connection that only reads: others may set the kill switch meanwhile.
        with reading(self._url) as look:
            state = look.execute(select(seasons).where(seasons.c.id == season_id)).one()
            _refuse_other_setup(row, rows.season_row(state))
            chain = read_chain(look, season_id, count=state.journal_count, digest=state.digest)
        if chain.fault:
            raise JournalFault(
                f"season {row.name} in {self._where} cannot be resumed: {chain.fault}. "
                "Restore the database from a copy, or play a new season"
            )
        with self._connection.begin():
            _make_current(self._connection, season_id)
        return self._store(row.name, season_id, chain, state.cycle, clock)

    def _take_lock(self, season_id: int, name: str) -> Lock:
        if self._lock is None:
            path = sqlite_path(parse_url(self._url))
            self._lock = (
                PostgresLock(self._connection, season_id, name)
                if path is None
                else FileLock(path.with_name(f"{path.name}.season-{season_id}.lock"), name)
            )
        return self._lock

    def _store(
        self, name: str, season_id: int, stored: Chain | None, cycle: int, clock: Clock
    ) -> SqlSeasonStore:
        lock = self._take_lock(season_id, name)
        self._reader = _autocommit(open_engine(self._url)).connect()
        return SqlSeasonStore(
            where=self._where,
            connection=self._connection,
            reader=self._reader,
            lock=lock,
            clock=clock,
            name=name,
            season_id=season_id,
            stored=stored,
            committed_cycle=cycle,
        )


def _autocommit(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _make_current(connection: Connection, season_id: int) -> None:
    seasons = tables.seasons
    connection.execute(update(seasons).where(seasons.c.is_current == 1).values(is_current=0))
    connection.execute(update(seasons).where(seasons.c.id == season_id).values(is_current=1))


def _refuse_other_setup(new: SeasonRow, stored: SeasonRow) -> None:
    # Compared as JSON, as which both enter the journal: 1 and 1.0, tuples and lists look alike.
    before, after = (
        msgspec.json.decode(msgspec.json.encode(row), type=dict[str, object])
        for row in (stored, new)
    )
    changed = [
        f"{field} was {before[field]!r}, now {after[field]!r}"
        for field in before
        if before[field] != after[field]
    ]
    if changed:
        raise ConfigError(
            f"season {new.name} was set up differently and cannot go on like this: "
            f"{'; '.join(changed)}. Give the same arguments, or another name by --season"
        )


def next_season_name(url: str, stem: str = "season") -> str:
    """The first free name of the form `season-1`, `season-2`, ... after the highest in use."""
    path = sqlite_path(parse_url(url))
    if path is not None and not path.exists():
        return f"{stem}-1"
    ensure(url)
    pattern = re.compile(re.escape(stem) + r"-(\d+)")
    with reading(url) as connection:
        names: Sequence[str] = connection.execute(select(tables.seasons.c.name)).scalars().all()
    numbers = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
    return f"{stem}-{max(numbers, default=0) + 1}"


def try_writing(url: str, season: str) -> None:
    """Write to the season's row what it holds already. Raises StorageError where that fails."""
    seasons = tables.seasons
    with writing(url) as connection:
        connection.execute(
            update(seasons).where(seasons.c.name == season).values(cycle=seasons.c.cycle)
        )
