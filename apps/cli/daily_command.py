"""`hydra daily` and `hydra clean`: what the daemon does each day, by hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from apps.cli.options import Db, Json, Season, database_url
from apps.cli.tables import Column, show_rows, text, whole

CLEANED = (
    Column("kind", is_key=True),
    Column("path", text),
    Column("size_bytes", whole),
    Column("deleted", part=0),
)


def daily(
    season: Season = None,
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="DAY", help="A guardian's day; default: the last one over."),
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Print the report of one guardian's day: standings, accounts, trades, refusals, costs.

    hydra run writes the same of each day to data/hydra/reports/SEASON/DAY.md and .json.

    \b
    [bold]Examples[/bold]
      hydra daily
      hydra daily --season live-1 --day 2026-11-26 --json
    """
    from apps.cli.daily import DailyReports, markdown
    from apps.cli.tables import print_json
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        reports = DailyReports(connection, season)
        if day is None and not reports.days:
            print(f"season {reports.season}: no guardian's day is over yet", file=sys.stderr)
            if as_json:
                print_json([])
            return
        report = reports.of(day or max(reports.days))
    if as_json:
        print_json([report])
    else:
        print(markdown(report), end="")


def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete logs, states of finished seasons and recorded days that were kept long enough.

    HYDRA_KEEP_LOGS_DAYS and HYDRA_KEEP_RECORDINGS_DAYS say how long. hydra run does it each day.
    Seasons, the audit trail, the vault and reports always stay.

    \b
    [bold]Examples[/bold]
      hydra clean --dry-run
      hydra clean
    """
    from hydra.clock import SystemClock
    from hydra.errors import ConfigError
    from hydra.operations import retention
    from hydra.settings import load_settings

    settings = load_settings()
    found = retention.expired_of(settings, SystemClock().now_ns())
    done = retention.Cleaned(deleted=(), faults=()) if dry_run else retention.clean(found)
    shown = found if dry_run else done.deleted
    show_rows(
        [
            {
                "kind": one.kind,
                "path": str(one.path),
                "size_bytes": one.size_bytes,
                "deleted": not dry_run,
            }
            for one in shown
        ],
        CLEANED,
        as_json=as_json,
        title="would be deleted" if dry_run else "deleted",
        empty="nothing has been kept long enough to be deleted",
    )
    if shown and not as_json:
        size = sum(one.size_bytes for one in shown) / 1e6
        print(f"{len(shown):,} in all, {size:,.1f} MB", file=sys.stderr)
    if done.faults:
        raise ConfigError("; ".join(done.faults))
