"""A copy of a whole SQLite database while others write it; PostgreSQL has its own tools."""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from sqlalchemy import URL

from hydra.errors import ConfigError, StorageError
from hydra.storage.database import BUSY_TIMEOUT_S, parse_url, sqlite_path, storage_errors
from hydra.storage.schema import check

OnPages = Callable[[int, int], None]
"""Is told (pages copied so far, pages in all)."""

_STEP_PAGES = 2_048  # 16 MiB between two calls of OnPages
_SIDE_FILES = ("-wal", "-journal")
_SEASONS = "SELECT id, name, state, cycle, journal_count, digest FROM seasons ORDER BY id"
_LAST_HASH = "SELECT hash FROM journal WHERE season_id = ? AND seq = ?"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made, opened and compared."""

    path: Path
    size_bytes: int
    seasons: int


def backup(
    url: str, out: Path, *, force: bool = False, on_pages: OnPages = lambda done, total: None
) -> Backup:
    """Write all of the SQLite database at `url`, as of its last commit, into the file `out`.

    Readers and writers go on meanwhile. `out` appears whole or not at all, with mode 600, once
    it was opened and its pages and seasons were found good; then it is on the disk, durable. A
    file that is there is replaced only with `force`.

    SQLite's online backup is used rather than VACUUM INTO: it copies page by page, at the price
    of reading once, and can tell how far it is. One read transaction pins the snapshot, so that
    a busy writer cannot make it begin again.

    Raises ConfigError when `out` cannot be used or is PostgreSQL's to write, StorageError when
    the database cannot be read or the copy is not good.
    """
    source = sqlite_path(parse_url(url))
    if source is None:
        raise ConfigError(
            "PostgreSQL makes its own backups; run (it takes the password from ~/.pgpass or"
            f" PGPASSWORD): {pg_dump_line(parse_url(url), out)}"
        )
    check(url)
    out = out.expanduser().absolute()
    _refuse_unfit(out, source, force=force)
    try:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{out.name}.", suffix=".partial", dir=out.parent
        )
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}") from error
    os.close(descriptor)
    partial = Path(name)
    try:
        seasons = _copy(source, partial, on_pages)
        _examine(partial, seasons, source)
        _sync(partial)
        size_bytes = partial.stat().st_size
        _put_in_place(partial, out, force=force)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error}") from error
    finally:
        for path in (partial, *(partial.with_name(partial.name + end) for end in _SIDE_FILES)):
            path.unlink(missing_ok=True)
    return Backup(path=out, size_bytes=size_bytes, seasons=len(seasons))


def pg_dump_line(url: URL, out: Path) -> str:
    """The command that backs a PostgreSQL database up into `out`; it holds no password."""
    # In the query, libpq reads secrets too.
    secrets = [name for name in url.query if "password" in name.lower()]
    plain = url.difference_update_query(secrets).set(drivername="postgresql")
    plain = URL.create(
        plain.drivername, plain.username, None, plain.host, plain.port, plain.database, plain.query
    )
    return shlex.join(
        ["pg_dump", "--format=custom", "--no-owner", f"--file={out}", f"--dbname={plain}"]
    )


def _refuse_unfit(out: Path, source: Path, *, force: bool) -> None:
    if not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"{out} cannot be written: it is a folder")
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out} is the database itself: give another file")
    for end in _SIDE_FILES:
        side = out.with_name(out.name + end)
        # SQLite would take it for the new file's own, and play it into it.
        if side.exists():
            raise ConfigError(f"{side} is there: {out} is a database in use; give another file")
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already: give another file, or --force to replace it")


def _copy(source: Path, partial: Path, on_pages: OnPages) -> list[tuple[object, ...]]:
    """Returns the seasons of the snapshot that was copied."""
    with (
        storage_errors(str(source)),
        closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as origin,
    ):
        origin.execute("BEGIN")
        seasons = origin.execute(_SEASONS).fetchall()
        # Errors of the new file must not carry the name of the database.
        with storage_errors(str(partial)), closing(sqlite3.connect(partial)) as copy:
            origin.backup(
                copy,
                pages=_STEP_PAGES,
                progress=lambda _status, left, total: on_pages(total - left, total),
            )
            # One file that needs no other beside it; Hydra sets WAL again when it opens it.
            copy.execute("PRAGMA journal_mode=DELETE")
    return seasons


def _examine(partial: Path, seasons: list[tuple[object, ...]], source: Path) -> None:
    with (
        storage_errors(str(partial)),
        closing(sqlite3.connect(f"{partial.as_uri()}?mode=ro", uri=True)) as copy,
    ):
        (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise StorageError(
                f"the copy of {source} is damaged, probably as the database is: {said}"
            )
        if copy.execute(_SEASONS).fetchall() != seasons:
            raise StorageError(f"the copy of {source} does not hold its seasons")
        for season_id, name, _, _, count, digest in seasons:
            last = copy.execute(_LAST_HASH, (season_id, count)).fetchone()
            if count and (last is None or last[0].hex() != digest):
                raise StorageError(
                    f"the copy of {source} holds season {name} without its last record,"
                    " probably as the database does: run hydra db verify"
                )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(partial: Path, out: Path, *, force: bool) -> None:
    if force:
        partial.replace(out)
    else:
        try:
            out.hardlink_to(partial)  # unlike a rename, it never replaces what came meanwhile
        except FileExistsError as error:
            raise ConfigError(f"{out} is there already: give --force to replace it") from error
        except OSError:
            partial.rename(out)  # a file system without links
    with suppress(OSError):  # not every file system can sync a folder; the file itself is safe
        _sync(out.parent)
