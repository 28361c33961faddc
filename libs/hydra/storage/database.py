"""Opening databases: SQLite in WAL or PostgreSQL, by URL, with errors that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from hydra.errors import StorageError
from hydra.settings import without_password

BUSY_TIMEOUT_S = 15.0  # how long SQLite waits for another process's commit
CONNECT_TIMEOUT_S = 10

# A page of 8 KiB holds some 25 journal records; a checkpoint each 32 MiB instead of SQLite's
# 4 MiB copies pages that grow from one commit to the next less often.
_PAGE_SIZE_BYTES = 8192
_CHECKPOINT_PAGES = 4096

_SERVER_LEFT = "the server stopped or restarted; what was committed is safe: go on with --resume"
_HINTS = (
    ("file is not a database", "it is no SQLite file, or it is damaged: give another --db"),
    ("malformed", "the file is damaged: restore it from a copy, or give another --db"),
    ("unable to open database file", "is the folder there, and may this user write in it?"),
    ("readonly database", "this user may not write the file or its folder: change the rights"),
    ("read-only transaction", "this server or role may only read: give another --db"),
    (
        "database is locked",
        "another program holds it: end it or wait for it, then try again; a season goes on with"
        " --resume",
    ),
    ("disk is full", "free some space; what was committed is safe: go on with --resume"),
    ("No space left", "free some space; what was committed is safe: go on with --resume"),
    ("disk I/O error", "the disk failed or is full; what was committed is safe"),
    ("must be preloaded", "add it to shared_preload_libraries and restart the server"),
    ("terminating connection", _SERVER_LEFT),
    ("server closed the connection", _SERVER_LEFT),
    ("the connection is lost", _SERVER_LEFT),
    ("the connection is closed", _SERVER_LEFT),
    ("the database system is", "the server is starting or stopping: try again in a moment"),
    ("cannot contain NUL", "PostgreSQL keeps no text with a NUL: the season can live in SQLite"),
    ("password authentication failed", "check user and password in the URL"),
    ("no password supplied", "put the password into the URL or into ~/.pgpass"),
    ("Connection refused", "is the server running, at that host and port?"),
    ("could not translate host name", "check the host in the URL"),
    ("failed to resolve host", "check the host in the URL"),
    ("does not exist", "create it first, or check the name in the URL"),
    ("no such table", "run: hydra db upgrade"),
)


def parse_url(url: str) -> URL:
    """The URL, its driver filled in. Raises StorageError on what Hydra cannot use."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageError(
            f"{without_password(url)!r} is no database URL: write sqlite:////path/to/hydra.db "
            "or postgresql://user@host/name"
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        return parsed
    raise StorageError(
        f"{parsed.drivername!r} is not supported: Hydra keeps its seasons in SQLite or PostgreSQL"
    )


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL, None for PostgreSQL. Raises StorageError when it has none."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StorageError("a season outlives its process: give SQLite the path of a file")
    return Path(url.database).expanduser().absolute()


def place(url: str) -> str:
    """How messages name the database: a path, or a URL without its password."""
    parsed = parse_url(url)
    return str(sqlite_path(parsed) or parsed.render_as_string(hide_password=True))


def open_engine(
    url: str, *, create: bool = False, writes: bool = False, durable: bool = False
) -> Engine:
    """An engine without a pool: each `connect()` opens, each close closes.

    `create` makes a missing SQLite file and its folder; without it a missing file is an error.
    `writes` takes SQLite's write lock when a transaction begins, so that none fails half-way;
    without it, a transaction on PostgreSQL sees one snapshot, as it does on SQLite.
    `durable` makes each commit survive a loss of power, not only the death of the process
    (SQLite synchronous FULL, PostgreSQL synchronous_commit on); a replay can do without,
    since its lost tail is played again.
    """
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is None:
        return _postgres_engine(parsed, writes=writes, durable=durable)
    if not path.exists():
        if not create:
            raise StorageError(f"there is no database at {path}: play a season first")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder {path.parent}: {error}") from error
    return _sqlite_engine(path, writes=writes, durable=durable)


def _sqlite_engine(path: Path, *, writes: bool, durable: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    synchronous = "FULL" if durable else "NORMAL"
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions leave out DDL and reads: Hydra begins them itself.
        connection.isolation_level = None
        for pragma in (
            f"PRAGMA page_size={_PAGE_SIZE_BYTES}",  # counts only for a new file
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={synchronous}",
            "PRAGMA foreign_keys=ON",
            f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(pragma).close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres_engine(url: URL, *, writes: bool, durable: bool) -> Engine:
    try:
        return create_engine(
            url,
            poolclass=NullPool,
            # Closing rolls back. A reset before it would only fail, and be logged, on a
            # connection that the server has ended.
            pool_reset_on_return=None,
            isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "hydra",
                "options": f"-c synchronous_commit={'on' if durable else 'off'} -c TimeZone=UTC",
            },
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            "PostgreSQL needs a driver: pip install 'hydra-arena[postgres]'"
        ) from error


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turns what the driver raises inside into StorageError, with a word on what to do."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise storage_error(where, error) from error


def storage_error(where: str, error: Exception) -> StorageError:
    """The StorageError that a driver's error at the database `where` becomes."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(cause).split())
    hint = next((hint for sign, hint in _HINTS if sign in text), None)
    return StorageError(f"{where}: {text}" + (f" ({hint})" if hint else ""))


def checkpoint(url: str) -> None:
    """Move what lies in SQLite's write-ahead log into its file, as far as nobody is in the way.

    It waits for nobody and holds nobody up. PostgreSQL does this by itself. Raises StorageError.
    """
    path = sqlite_path(parse_url(url))
    if path is None:
        return
    address = f"{path.as_uri()}?mode=rw"  # a file that is gone is not made anew
    with (
        storage_errors(str(path)),
        closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """One consistent look at the database. Raises StorageError."""
    with storage_errors(place(url)):
        engine = open_engine(url)
        with engine.connect() as connection, connection.begin():
            yield connection


@contextmanager
def writing(url: str, *, create: bool = False) -> Iterator[Connection]:
    """One durable transaction, committed at the end. Raises StorageError."""
    with storage_errors(place(url)):
        engine = open_engine(url, create=create, writes=True, durable=True)
        with engine.connect() as connection, connection.begin():
            yield connection
