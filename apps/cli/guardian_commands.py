"""`hydra guardian`: its days, its latches, its kill switch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from apps.cli.options import Db, Engine, Json, Season, database_url
from apps.cli.tables import Column, gain, minute, money, prose, show_rows, whole

app = typer.Typer(invoke_without_command=True, help="The guardian's days, latches, kill switch.")
UNITS_PER_USD = 100_000_000

DAYS = (
    Column("day", is_key=True),
    Column("engine", is_key=True),
    Column("start_usd", money),
    Column("worst_usd", money),
    Column("daily_floor_usd", money),
    Column("total_floor_usd", money),
    Column("breach"),
    Column("opened", whole),
    Column("refused", whole),
    Column("resized", whole),
    Column("end_usd", money, 2),
    Column("change_usd", gain, 2),
)


@app.callback(invoke_without_command=True)
def guardian(
    context: typer.Context,
    season: Season = None,
    engine: Engine = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="The newest N rows; default: 20."),
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """The guardian's days: what each account had, its floors, the worst it came to.

    Below the table stand the limits that were reached and the kill switch.

    \b
    [bold]Examples[/bold]
      hydra guardian --engine ema_trend
      hydra guardian --limit 1000 --json
      hydra guardian kill --reason "leaving for the night"
      hydra guardian release
    """
    if context.invoked_subcommand is not None:
        return
    from apps.cli.read_commands import check_engine
    from hydra.clock import iso
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        check_engine(connection, season, engine)
        days = queries.guardian_days(connection, season, engine=engine)
        latches = queries.latches(connection, season, engine=engine)
        state = queries.guardian_state(connection)
    days.sort(key=lambda row: (row.day, row.engine))
    show_rows(
        [
            {
                "day": row.day,
                "engine": row.engine,
                "start_usd": row.start_balance_units / UNITS_PER_USD,
                "worst_usd": row.worst_equity_units / UNITS_PER_USD,
                "daily_floor_usd": _usd(row.daily_floor_units),
                "total_floor_usd": _usd(row.total_floor_units),
                "breach": row.breach,
                "end_usd": row.end_balance_units / UNITS_PER_USD,
                "change_usd": (row.end_balance_units - row.start_balance_units) / UNITS_PER_USD,
                "opened": row.opened,
                "refused": row.refused,
                "resized": row.resized,
            }
            for row in days[-(limit or 20) :]
        ],
        DAYS,
        as_json=as_json,
        title="the guardian's days",
        empty="no guardian's day is over yet",
    )
    if as_json:
        return
    for latch in latches:
        until = "for the season" if latch.until_ns is None else f"until {iso(latch.until_ns)}"
        print(f"{iso(latch.at_ns)}  {latch.engine}: {latch.rule}, {until}: {latch.text}")
    print(_switch(state.kill_switch, state.reason, state.changed_ns))


@app.command()
def kill(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept beside the switch.")
    ] = "by command",
    db: Db = None,
) -> None:
    """Throw the kill switch: every season closes its tickets and trades no more.

    A season that is being played obeys within one cycle. The switch stays until release.

    \b
    [bold]Example[/bold]
      hydra guardian kill --reason "news at 14:30"
    """
    _set(db, on=True, reason=reason)


@app.command()
def release(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept beside the switch.")
    ] = "by command",
    db: Db = None,
) -> None:
    """Release the kill switch: engines may trade again.

    \b
    [bold]Example[/bold]
      hydra guardian release
    """
    _set(db, on=False, reason=reason)


STATUS = (
    Column("kill_switch"),
    Column("environment"),
    Column("reason", prose),
    Column("changed_at", minute),
)


@app.command()
def status(db: Db = None, as_json: Json = False) -> None:
    """Is the kill switch on? Exit code 0 either way.

    \b
    [bold]Example[/bold]
      hydra guardian status --json
    """
    from hydra.clock import iso
    from hydra.settings import load_settings
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        state = queries.guardian_state(connection)
    changed = None if state.changed_ns is None else iso(state.changed_ns)
    row: dict[str, object] = {
        "kill_switch": state.kill_switch,
        "environment": load_settings().kill_switch,
        "reason": state.reason,
        "changed_at": changed,
    }
    show_rows([row], STATUS, as_json=as_json, title="", empty="")


def _set(db: str | None, *, on: bool, reason: str) -> None:
    from hydra.settings import load_settings
    from hydra.storage import queries
    from hydra.storage.database import writing
    from hydra.storage.schema import ensure

    url = database_url(db)
    ensure(url)
    with writing(url) as connection:
        queries.set_kill_switch(connection, on, reason)
    print(_switch(on, reason, None))
    if not on and load_settings().kill_switch:
        print("KILL_SWITCH is still set in the environment", file=sys.stderr)


def _switch(on: bool, reason: str, changed_ns: int | None) -> str:
    from hydra.clock import iso

    said = f": {reason}" if reason else ""
    since = "" if changed_ns is None else f" since {iso(changed_ns)[:16]}"
    return f"kill switch: {'ON' if on else 'off'}{since}{said}"


def _usd(units: int | None) -> float | None:
    return None if units is None else units / UNITS_PER_USD
