"""`hydra report`: one self-contained page on a season."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import Db, Season, database_url


def report(
    season: Season = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.html", help="Default: data/hydra/reports/NAME.html."),
    ] = None,
    db: Db = None,
) -> None:
    """Write one self-contained HTML page on a season: standings, curves, trades, guardian.

    \b
    [bold]Examples[/bold]
      hydra report --season season-1 --out season-1.html
      hydra report
    """
    from apps.cli.report import default_path, write_report
    from hydra.settings import load_settings
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        name = queries.season(connection, season).season.name
        path = out if out is not None else default_path(load_settings(), name)
        print(write_report(connection, name, path))
