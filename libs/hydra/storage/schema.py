"""Which tables a database has: made, brought up to date and looked at through alembic."""

from __future__ import annotations

from pathlib import Path

import msgspec
from sqlalchemy import Connection, column, inspect, select, table, text

from hydra.errors import StorageError
from hydra.settings import project_root
from hydra.storage.database import open_engine, place, reading, storage_errors, writing

VERSION_TABLE = "hydra_schema"
HEAD = "0004"  # the newest migration; a test holds it equal to the folder's
KNOWN = ("0001", "0002", "0003", "0004")  # oldest first
_UPGRADE_LOCK = 0x48594452  # "HYDR": PostgreSQL's advisory lock while migrations run


class SchemaState(msgspec.Struct, frozen=True):
    """Where a database stands. `revision` None: it is empty."""

    revision: str | None
    head: str

    @property
    def is_current(self) -> bool:
        return self.revision == self.head


def check(url: str) -> SchemaState:
    """Raises StorageError when the database is absent, not Hydra's, or newer than this program."""
    with reading(url) as connection:
        return _state(connection, place(url))


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`, making it first where there is none.

    All in one transaction. Raises StorageError; then nothing has changed.
    """
    with writing(url, create=True) as connection:
        _serialise(connection)
        _state(connection, place(url))
        _alembic(connection, "upgrade", revision)


def downgrade(url: str, revision: str) -> None:
    """Back to `revision`; "base" removes every table of Hydra with its rows."""
    with writing(url) as connection:
        _serialise(connection)
        _state(connection, place(url))
        _alembic(connection, "downgrade", revision)


def ensure(url: str) -> None:
    """Make or upgrade the database if it needs it. Costs one look when it does not."""
    with storage_errors(place(url)):
        engine = open_engine(url, create=True)
        with engine.connect() as connection, connection.begin():
            state = _state(connection, place(url))
    if not state.is_current:
        upgrade(url)


def _state(connection: Connection, where: str) -> SchemaState:
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        if tables:
            some = ", ".join(sorted(tables)[:5])
            raise StorageError(
                f"{where} belongs to another program (its tables: {some}): give another --db"
            )
        return SchemaState(None, HEAD)
    version = table(VERSION_TABLE, column("version_num"))
    revision = connection.execute(select(version.c.version_num)).scalar()
    if revision is not None and revision not in KNOWN:
        raise StorageError(
            f"{where} has schema {revision}, which this Hydra does not know (it knows up to "
            f"{HEAD}): the database is newer, so update the program"
        )
    return SchemaState(revision, HEAD)


def _serialise(connection: Connection) -> None:
    """Two programs that start at once must not both make the tables (SQLite: its write lock)."""
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(lock, {"key": _UPGRADE_LOCK})


def _migrations_folder() -> Path:
    inside = Path(__file__).parent / "migrations"  # where a wheel carries them
    folder = inside if inside.is_dir() else project_root() / "migrations"
    if not (folder / "env.py").is_file():
        raise StorageError(f"the migrations are missing: there is no {folder / 'env.py'}")
    return folder


def _alembic(connection: Connection, action: str, revision: str) -> None:
    # Imported here: a database that is up to date, the common case, needs none of it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        if action == "upgrade":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)
    except CommandError as error:
        raise StorageError(f"cannot {action} the database to {revision!r}: {error}") from error
