"""`hydra data`: fetch price files, and look at them before a season is played on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.failures import UNSOUND, plain
from apps.cli.fetch_command import fetch
from apps.cli.options import Json
from apps.cli.tables import Column, minute, show_rows, whole

app = typer.Typer(no_args_is_help=True, help="Fetch and look at price files.")


@app.callback()
def data() -> None:
    """Fetch and look at price files."""


FACTS = (
    Column("symbol", is_key=True),
    Column("resolution"),
    Column("rows", whole),
    Column("first", minute),
    Column("last", minute),
    Column("gaps", whole),
    Column("missing_bars", whole),
    Column("duplicates", whole),
    Column("faulty_rows", whole),
    Column("time_zone"),
    Column("real_spread"),
    Column("volume"),
    Column("decimals", part=0),
    Column("known"),
    Column("closed_gaps", whole, 2),
    Column("off_step", whole, 0),
    Column("largest_gap", part=0),
    Column("faults", part=0),
    Column("file", part=0),
)


@app.command()
def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet.")],
    tz: Annotated[
        str | None,
        typer.Option("--tz", metavar="ZONE", help="Clock of a file that names none."),
    ] = None,
    instruments: Annotated[
        Path | None, typer.Option("--instruments", metavar="FILE", help="Declares symbols.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Gaps, duplicates, OHLC faults, resolution and time zone of each symbol in a file.

    Exit code 1 when a row is faulty: a season would refuse the file, or leave the rows out
    with --skip-bad-rows. Gaps in closed hours (weekends, nights) are counted apart.

    \b
    [bold]Examples[/bold]
      hydra data inspect data/sample/crypto_4h.csv
      hydra data inspect mine.csv --tz Europe/Prague --json
    """
    import msgspec

    from hydra.feeds.inspect import inspect_file
    from hydra.market.catalogue import Catalogue

    catalogue = Catalogue.load(instruments)
    facts = [one for path in files for one in inspect_file(path, catalogue, tz)]
    rows: list[dict[str, object]] = [
        {
            **msgspec.to_builtins(one),
            "faulty_rows": sum(one.faults.values()),
            "volume": one.has_volume,
        }
        for one in facts
    ]
    show_rows(
        rows,
        FACTS,
        as_json=as_json,
        title=", ".join(dict.fromkeys(one.file for one in facts)),
        empty="no rows",
    )
    if not as_json:
        for one in facts:
            for reason, count in one.faults.items():
                print(plain(f"{one.symbol or 'no symbol'}: {count} rows: {reason}"))
            for example in one.examples:
                print(plain(f"  {example}"))
            if one.largest_gap is not None:
                gap = one.largest_gap
                print(
                    plain(
                        f"{one.symbol}: largest gap {gap.missing_bars} bars,"
                        f" from {gap.last} to {gap.next}"
                    )
                )
    if any(one.faults for one in facts):
        raise typer.Exit(UNSOUND)


app.command()(fetch)
