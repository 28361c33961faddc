"""`hydra db`: make, check and verify the database."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from apps.cli.failures import STORAGE, complain
from apps.cli.options import Db, Json, Season, database_url
from apps.cli.tables import Column, gain, money, prose, show_rows, text

app = typer.Typer(no_args_is_help=True, help="Make, check and verify the database.")
UNITS_PER_USD = 100_000_000


@app.command()
def upgrade(
    db: Db = None,
    revision: Annotated[
        str, typer.Option("--revision", metavar="ID", help="Up to this migration.")
    ] = "head",
) -> None:
    """Make the database, or bring its tables up to date.

    \b
    [bold]Example[/bold]
      hydra db upgrade
    """
    from hydra.storage import schema
    from hydra.storage.database import place

    url = database_url(db)
    schema.upgrade(url, revision)
    state = schema.check(url)
    print(f"{place(url)} is at {state.revision}")


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
