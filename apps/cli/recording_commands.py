"""`hydra recording`: what was recorded, day by day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import Json
from apps.cli.tables import Column, minute, show_rows, whole

app = typer.Typer(no_args_is_help=True, help="Look at what hydra run --record keeps.")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Where recordings lie; default: HYDRA_RECORDINGS."
    ),
]

SEASONS = (
    Column("season", is_key=True),
    Column("days", whole),
    Column("first_day"),
    Column("last_day"),
    Column("files", whole),
    Column("bytes", whole),
    Column("folder", part=0),
)
PARTS = (
    Column("day", is_key=True),
    Column("kind", is_key=True),
    Column("source"),
    Column("symbol"),
    Column("rows", whole),
    Column("files", whole),
    Column("bytes", whole),
    Column("first", minute),
    Column("last", minute),
    Column("largest_gap_s"),
    Column("dropped", whole),
)


@app.callback()
def recording() -> None:
    """Look at what hydra run --record keeps."""


@app.command(name="list")
def list_(folder: Folder = None, as_json: Json = False) -> None:
    """Every recorded season: its days, files and bytes.

    \b
    [bold]Examples[/bold]
      hydra recording list
      hydra recording list --json
    """
    from hydra.feeds.recording import recordings

    found = []
    for one in recordings(_folder(folder)):
        days = one.days()
        files = [path for day in days for path in (one.folder / day).rglob("*.parquet")]
        found.append(
            {
                "season": one.folder.name,
                "days": len(days),
                "first_day": min(days, default=None),
                "last_day": max(days, default=None),
                "files": len(files),
                "bytes": sum(path.stat().st_size for path in files),
                "folder": str(one.folder),
            }
        )
    show_rows(
        found, SEASONS, as_json=as_json, title="recordings",
        empty="nothing has been recorded: hydra run --record",
    )  # fmt: skip


@app.command()
def inspect(
    season: Annotated[str, typer.Argument(metavar="SEASON", help="Whose recording.")],
    day: Annotated[
        str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Of this day alone.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What a recording has of each day, kind, venue and symbol: rows, span, gaps, bytes.

    Rows of a book are levels. A gap of ticks is the longest silence; of bars, the time between
    the end of one and the open of the next. `dropped` counts events that could not be written.

    \b
    [bold]Examples[/bold]
      hydra recording inspect live-1
      hydra recording inspect live-1 --day 2024-01-31 --json
    """
    from hydra.clock import NS_PER_S, iso
    from hydra.errors import ConfigError
    from hydra.feeds.recording import Recording

    one = Recording(_folder(folder) / season)
    days = one.days()
    if day is not None and day not in days:
        raise ConfigError(f"{one.folder} has no day {day}; it has: {', '.join(days) or 'none'}")
    rows = [
        {
            "day": part.day,
            "kind": part.kind,
            "source": part.source or None,
            "symbol": part.symbol or None,
            "rows": part.rows,
            "files": part.files,
            "bytes": part.bytes,
            "first": iso(part.first_ns),
            "last": iso(part.last_ns),
            "largest_gap_s": part.largest_gap_ns / NS_PER_S,
            "dropped": part.dropped,
        }
        for each in ([day] if day else days)
        for part in one.inspect(each)
    ]
    show_rows(rows, PARTS, as_json=as_json, title=f"recording of {season}", empty="no rows")


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser().absolute()
    from hydra.settings import load_settings

    return load_settings().recordings_folder
