"""`hydra data fetch`: its options, its progress, and what is said when it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.failures import INTERRUPTED, complain, plain, warn
from apps.cli.options import Json, instant_ns
from apps.cli.tables import Column, minute, show_rows, whole
from hydra.errors import ConfigError, VenueDown, VenueFault

if TYPE_CHECKING:
    from hydra.feeds.history.fetch import Progress
    from hydra.feeds.history.output import FetchedSymbol

VENUES = "coinbase, binance, bybit or oanda."
_NOTED_S = 2.0  # a pause that is worth a word

FETCHED = (
    Column("symbol", is_key=True),
    Column("bar"),
    Column("rows", whole),
    Column("first", minute),
    Column("last", minute),
    Column("gaps", whole),
    Column("missing_bars", whole),
    Column("missing_before", whole),
    Column("missing_after", whole),
    Column("faulty_rows", whole),
    Column("largest_gap", part=0),
    Column("faults", part=0),
    Column("examples", part=0),
    Column("file", part=0),
)


def fetch(
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOL...", help="As --symbols.", show_default=False),
    ] = None,
    venue: Annotated[
        str | None,
        typer.Option("--venue", metavar="NAME", help=VENUES),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbols",
            metavar="a,b,…",
            help="BTC-USD,ETH-USD; or several words, or the option again.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="The first bar opens then or later (ISO, UTC)."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="T", help="The last bar closes then or earlier; default: now."
        ),
    ] = None,
    bar: Annotated[
        str, typer.Option("--bar", metavar="LENGTH", help="Of one bar: 1m, 5m, 1h, 4h, 1d, …")
    ] = "1m",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Written: .parquet or .csv.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a venue's history of candles into a price file.

    Coinbase, Binance and Bybit need no key; OANDA does (OANDA_API_TOKEN), and gives bid and ask.

    What is fetched is kept beside the file until all of it is there: when a fetch is interrupted,
    give the same command again. Faulty rows are left out and counted, gaps are never filled.

    \b
    [bold]Examples[/bold]
      hydra data fetch --venue coinbase --symbols BTC-USD ETH-USD --from 2024-01-01 \
--to 2024-02-01 --bar 1h --out crypto_1h.parquet
      hydra data fetch EURUSD US30.cash --venue oanda --from 2024-03-01 --bar 5m --out fx.csv
  hydra data fetch BTC-USDT --venue binance --from 2024-03-01 --bar 1m --out btc.csv
    """
    if venue is None or start is None or out is None:
        raise ConfigError("give --venue, --symbols, --from and --out (see hydra data fetch --help)")
    from_ns, to_ns = instant_ns(start, "--from"), instant_ns(end, "--to")
    assert from_ns is not None
    import stamina

    from hydra.clock import SystemClock
    from hydra.feeds.history.fetch import fetch, plan
    from hydra.feeds.history.partial import partial_path
    from hydra.feeds.history.rest import Rest
    from hydra.feeds.history.venue import pair_of
    from hydra.feeds.history.venues import address_of, bar_of, token_of, venue_named
    from hydra.settings import load_settings

    clock, chosen = SystemClock(), venue_named(venue)
    named = [one for text in [*(symbols or ()), *(more or ())] for one in text.split(",") if one]
    pairs = [pair_of(one, chosen) for one in named]
    bar_ns = bar_of(bar, chosen)
    planned = plan(chosen, pairs, bar_ns=bar_ns, from_ns=from_ns, to_ns=to_ns, clock=clock)
    for one, pair in zip(named, pairs, strict=True):
        if pair.quote != "USD" and one.strip().upper().endswith("USD"):
            warn(f"{one}: {chosen.name} quotes dollars in {pair.quote}; fetched as {pair.symbol}")
    address, token = address_of(chosen, load_settings()), token_of(chosen)

    async def work(progress: Progress) -> tuple[FetchedSymbol, ...]:
        async with Rest(chosen, address, clock=clock, token=token, waiting=_note_pause) as rest:
            return await fetch(rest, chosen, pairs, planned, out, progress=progress)

    # Where structlog is installed stamina would tell standard output, which is the JSON's.
    stamina.instrumentation.set_on_retry_hooks(())
    kept = partial_path(out)
    hint = f"what was fetched is kept in {kept}: the same command goes on"
    try:
        with _shown(planned.symbols) as progress:
            facts = asyncio.run(work(progress))
    except (VenueDown, VenueFault) as error:
        raise type(error)(f"{error}; {hint}" if kept.exists() else str(error)) from error
    except KeyboardInterrupt:
        complain("interrupted", hint=hint if kept.exists() else "")
        raise typer.Exit(INTERRUPTED) from None
    _say(facts, out, as_json=as_json)


def _note_pause(why: str, seconds: float) -> None:
    if seconds >= _NOTED_S:
        warn(f"{why}; again in {seconds:.0f} s")


def _say(facts: Sequence[FetchedSymbol], out: Path, *, as_json: bool) -> None:
    import msgspec

    rows: list[dict[str, object]] = [
        {**msgspec.to_builtins(one), "file": str(out)} for one in facts
    ]
    show_rows(rows, FETCHED, as_json=as_json, title=str(out), empty="no rows")
    for one in facts:
        if not one.rows:
            warn(f"the venue has no candles of {one.symbol} in that time; the file has none")
        if as_json:
            continue
        for reason, count in one.faults.items():
            print(plain(f"{one.symbol}: {count} rows: {reason}"))
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


@contextmanager
def _shown(symbols: Sequence[str]) -> Iterator[Progress]:
    """A bar for each symbol where standard error is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda index, share, rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%  {task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = [bars.add_task(symbol, total=1.0, rows=0, start=False) for symbol in symbols]

        def update(index: int, share: float, rows: int) -> None:
            bars.start_task(tasks[index])
            bars.update(tasks[index], completed=share, rows=rows)

        yield update
