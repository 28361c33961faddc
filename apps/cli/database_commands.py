"""`hydra db`: make, check, verify, copy and back up the database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.failures import STORAGE, complain, warn
from apps.cli.options import Db, Json, Season, database_url, season_name
from apps.cli.tables import Column, gain, minute, money, prose, ratio, show_rows, text, whole

app = typer.Typer(no_args_is_help=True, help="Make, check, verify, copy, back up the database.")
UNITS_PER_USD = 100_000_000


@app.command()
def upgrade(
    db: Db = None,
    revision: Annotated[
        str, typer.Option("--revision", metavar="ID", help="Up to this migration.")
    ] = "head",
) -> None:
    """Make the database, or bring its tables up to date.

    Where a PostgreSQL server has TimescaleDB, the tables that grow become hypertables.

    \b
    [bold]Example[/bold]
      hydra db upgrade
    """
    from hydra.storage import schema
    from hydra.storage.database import place
    from hydra.storage.hypertables import make_hypertables

    url = database_url(db)
    schema.upgrade(url, revision)
    state = schema.check(url)
    print(f"{place(url)} is at {state.revision}")
    if state.is_current and (said := make_hypertables(url)):
        print(said)


CHECK = (
    Column("database", prose, is_key=True),
    Column("revision"),
    Column("newest"),
    Column("current"),
    Column("seasons"),
    Column("kill_switch"),
)


@app.command()
def check(db: Db = None, as_json: Json = False) -> None:
    """Can the database be used, and is it up to date? Exit code 3 when not.

    \b
    [bold]Example[/bold]
      hydra db check
    """
    from hydra.storage import queries, schema
    from hydra.storage.database import place, reading

    url = database_url(db)
    state = schema.check(url)
    row: dict[str, object] = {
        "database": place(url),
        "revision": state.revision,
        "newest": state.head,
        "current": state.is_current,
    }
    if state.is_current:
        with reading(url) as connection:
            row["seasons"] = len(queries.seasons(connection))
            row["kill_switch"] = queries.guardian_state(connection).kill_switch
    show_rows([row], CHECK, as_json=as_json, title="", empty="")
    if not state.is_current:
        complain(f"{place(url)} is not up to date", hint="run: hydra db upgrade")
        raise typer.Exit(STORAGE)


ACCOUNTS = (
    Column("engine", is_key=True),
    Column("opening_usd", money),
    Column("postings_usd", gain),
    Column("closing_usd", money),
    Column("tickets_usd", gain),
    Column("sound", text),
    Column("season", part=0),
    Column("faults", part=0),
)


@app.command()
def verify(season: Season = None, db: Db = None, as_json: Json = False) -> None:
    """Recompute a season from its journal: the hash chain, every balance, every ticket.

    Exit code 3 when anything does not agree. The season is still good to read after that,
    but not to be trusted.

    \b
    [bold]Examples[/bold]
      hydra db verify
      hydra db verify --season season-1 --json
    """
    from hydra.storage.database import reading
    from hydra.storage.verify import verify_season

    with reading(database_url(db)) as connection:
        verdict = verify_season(connection, season)
    rows: list[dict[str, object]] = [
        {
            "engine": one.engine,
            "opening_usd": one.opening_units / UNITS_PER_USD,
            "postings_usd": one.postings_units / UNITS_PER_USD,
            "closing_usd": None if one.closing_units is None else one.closing_units / UNITS_PER_USD,
            "tickets_usd": None if one.tickets_units is None else one.tickets_units / UNITS_PER_USD,
            "sound": not one.faults,
            "season": verdict.season,
            "faults": list(one.faults),
        }
        for one in verdict.accounts
    ]
    show_rows(
        rows,
        ACCOUNTS,
        as_json=as_json,
        title=f"{verdict.season}: {verdict.records:,} records",
        empty="no account to check",
    )
    if not verdict.is_sound:
        for fault in verdict.faults:
            complain(fault, word="fault")
        raise typer.Exit(STORAGE)
    print(
        f"sound: the chain of {verdict.records:,} records ends in {verdict.digest}",
        file=sys.stderr if as_json else sys.stdout,
    )


COPIED = (
    Column("season", is_key=True),
    Column("state"),
    Column("cycle", whole),
    Column("at", minute),
    Column("rows", whole),
    Column("elapsed_s", ratio),
    Column("current", text),
    Column("digest", part=0),
    Column("database", part=0),
)


@app.command()
def copy(
    target: Annotated[
        str, typer.Option("--to", metavar="URL", help="The database that gets the season.")
    ],
    season: Season = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help="The database that has it; default: HYDRA_DB_URL, else the project's.",
        ),
    ] = None,
    new_name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Its name there; default: the same."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a season, with all that belongs to it, to another database, of either kind.

    All of it arrives, verified, or nothing. A season that is being played is copied as it
    stands, and can be resumed there.

    \b
    [bold]Examples[/bold]
      hydra db copy --season season-1 --to postgresql://hydra@localhost/hydra
      hydra db copy --from postgresql://hydra@localhost/hydra --to sqlite:///hydra.db --as again
    """
    from hydra.clock import iso, monotonic_ns
    from hydra.storage.copying import copy_season
    from hydra.storage.database import place

    if new_name is not None:
        season_name(new_name, "--as")
    started_ns = monotonic_ns()
    with _progress("copying", "rows") as on_rows:
        done = copy_season(
            database_url(source), database_url(target), season, new_name=new_name, on_rows=on_rows
        )
    if done.state == "playing":
        reached = f"cycle {done.cycle} ({iso(done.at_ns)})" if done.cycle >= 0 else "its start"
        warn(
            f"season {done.season} was not finished: the copy holds what was committed up to"
            f" {reached}; hydra replay --resume --season {done.season} --db (the URL of --to)"
            " goes on with it"
        )
    row: dict[str, object] = {
        "season": done.season,
        "state": done.state,
        "cycle": done.cycle,
        "at": iso(done.at_ns) if done.cycle >= 0 else None,
        "rows": sum(done.rows.values()),
        "elapsed_s": (monotonic_ns() - started_ns) / 1e9,
        "current": done.is_current,
        "digest": done.digest,
        "database": place(target),
    }
    show_rows([row], COPIED, as_json=as_json, title=f"copied to {place(target)}", empty="")
    print(
        f"sound: the copy's digest is that of its source, {done.digest}",
        file=sys.stderr if as_json else sys.stdout,
    )


@app.command()
def backup(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file that becomes the backup.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there.")
    ] = False,
    db: Db = None,
) -> None:
    """Back up the whole database into a file, also while seasons are being played.

    For SQLite; of PostgreSQL it says which command to run, and exits with code 2.

    \b
    [bold]Example[/bold]
      hydra db backup --out backup.db
    """
    from hydra.storage import backup as backups

    with _progress("backing up", "pages") as on_pages:
        done = backups.backup(database_url(db), out, force=force, on_pages=on_pages)
    seasons = "1 season" if done.seasons == 1 else f"{done.seasons:,} seasons"
    print(f"{done.path} holds {seasons}, {done.size_bytes / 1e6:,.1f} MB, opened and checked")
    print(f"verify one: hydra db verify --season NAME --db sqlite:///{done.path}")


@contextmanager
def _progress(doing: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while a terminal watches; takes (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
