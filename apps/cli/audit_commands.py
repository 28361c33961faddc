"""`hydra audit`: the trail of all that bears on trades, verified, brought up to date, copied."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.failures import STORAGE, complain, warn
from apps.cli.options import Db, Json, Season, database_url
from apps.cli.tables import Column, show_rows, whole
from hydra.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="The audit trail: verify, bring up to date, copy.")

VERIFY = (
    Column("season", is_key=True),
    Column("started"),
    Column("state"),
    Column("lines", whole),
    Column("missing", whole),
)
OneSeason = Annotated[
    str | None,
    typer.Option("--season", metavar="NAME", help="Only this season's lines; default: all."),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Made, mode 600, or replaced.")]


@app.command()
def verify(season: OneSeason = None, db: Db = None, as_json: Json = False) -> None:
    """Recompute the chain of the whole trail, and compare its lines with the journal.

    Names the first bad line; exit code 3 when there is one. A season that is elsewhere lies in
    another database: of its lines only the chain is checked.

    \b
    [bold]Examples[/bold]
      hydra audit verify
      hydra audit verify --season season-1 --json
    """
    from hydra.operations.audit import check
    from hydra.settings import load_settings
    from hydra.storage.database import reading

    path = load_settings().audit_file
    with reading(database_url(db)) as connection:
        found = check(path, connection, season)
    rows: list[dict[str, object]] = [
        {
            "season": one.season,
            "started": one.started,
            "state": one.state,
            "lines": one.lines,
            "missing": one.missing,
        }
        for one in found.seasons
    ]
    show_rows(rows, VERIFY, as_json=as_json, title=str(path), empty=f"{path} has no line yet")
    if not found.is_sound:
        for fault in found.faults:
            complain(fault, word="fault")
        raise typer.Exit(STORAGE)
    print(
        f"sound: {found.lines:,} lines in {found.files} files end in {found.digest}",
        file=sys.stderr if as_json else sys.stdout,
    )


@app.command()
def sync(season: Season = None, db: Db = None) -> None:
    """Add to the trail what the journal has and it lacks: after a crash, or for a season that
    was played without it.

    Nothing that is there is changed; what differs from the journal is a fault (exit code 3).

    \b
    [bold]Example[/bold]
      hydra audit sync --season season-1
    """
    from hydra.operations.audit import AuditTrail
    from hydra.settings import load_settings
    from hydra.storage.database import reading

    path = load_settings().audit_file
    with reading(database_url(db)) as connection, AuditTrail(path) as trail:
        done = trail.follow(connection, season)
    if done.completed:
        warn(f"{done.completed} was torn, and is completed from the journal")
    print(f"{done.added:,} lines added to {path}")


@app.command()
def export(
    season: Annotated[str, typer.Option("--season", metavar="NAME", help="Which season.")],
    out: Out,
    db: Db = None,
) -> None:
    """Copy a season's lines, as they stand, into a file of their own.

    \b
    [bold]Example[/bold]
      hydra audit export --season season-1 --out season-1.jsonl
    """
    from hydra.operations.audit import season_lines
    from hydra.settings import load_settings
    from hydra.storage.database import reading

    path = load_settings().audit_file
    with reading(database_url(db)) as connection:
        count = _write(out.expanduser().absolute(), season_lines(path, connection, season))
    print(f"{count:,} lines of season {season} in {out}")


def _write(out: Path, lines: Iterator[bytes]) -> int:
    """Put the lines into a file, whole or not at all; returns how many. Raises ConfigError."""
    count = 0
    spare = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(spare, flags, 0o600), "wb") as file:
            try:
                for line in lines:
                    file.write(line)
                    count += 1
                file.flush()
                if count:
                    spare.replace(out)
            finally:
                spare.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from error
    if not count:
        raise ConfigError("the trail has no line of this season: hydra audit sync adds them")
    return count
