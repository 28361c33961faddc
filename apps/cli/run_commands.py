"""`hydra run`, `status`, `stop`: a season on a market that goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import Audit, Db, Json, Log
from apps.cli.tables import Column, minute, prose, show_rows, text, whole

STOP_S = 60  # that `hydra stop` waits

STATUS = (
    Column("season", is_key=True),
    Column("state"),
    Column("pid", text),
    Column("cycle", whole),
    Column("market_time", minute),
    Column("updated", minute),
    Column("unfit", prose, 2),
    Column("alarms", prose, 2),
    Column("text", prose, 2),
    Column("db", text, 0),
    Column("feed", part=0),
)


def run(
    assets: Annotated[
        list[str] | None,
        typer.Option(
            "--assets",
            metavar="A,B,…",
            help="What is traded; default: BTC-USD,ETH-USD,SOL-USD.",
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="On paper: the only way there is; said for clarity.")
    ] = True,
    feed: Annotated[
        str,
        typer.Option(
            "--feed", metavar="FEED", help="venues (live, no key needed) or replay (of --bars)."
        ),
    ] = "venues",
    venues: Annotated[
        str,
        typer.Option("--venues", metavar="A,B,…", help="In order of preference."),
    ] = "coinbase,binance,bybit",
    bars: Annotated[
        list[Path] | None,
        typer.Option("--bars", metavar="FILE", help="Recorded prices, for --feed replay."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="N", help="Of --feed replay: 60 is an hour a minute."),
    ] = 60.0,
    bar: Annotated[
        str, typer.Option("--bar", metavar="1m", help="Length of the bars that are built.")
    ] = "1m",
    season: Annotated[
        str | None,
        typer.Option("--season", metavar="NAME", help="Its name; default: live-1, -2, …"),
    ] = None,
    engines: Annotated[
        list[str] | None,
        typer.Option("--engines", metavar="a,b,…", help="Who plays, as in hydra replay."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="The guardian's.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="MODE", help="independent or consensus.")
    ] = None,
    cash: Annotated[
        str | None, typer.Option("--cash", metavar="USD", help="Each account's opening balance.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of intervals and luck line.")
    ] = None,
    warm_bars: Annotated[
        int,
        typer.Option(
            "--warm-bars", metavar="N", min=0, max=1_000, help="Candles before the season."
        ),
    ] = 300,
    models: Annotated[
        str | None, typer.Option("--models", metavar="HOW", help="Of gladiators: live or off.")
    ] = None,
    gladiators: Annotated[
        Path | None,
        typer.Option("--gladiators", metavar="FILE", help="TOML; default: HYDRA_GLADIATORS."),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Keep all that the market tells as Parquet, in HYDRA_RECORDINGS."
        ),
    ] = False,
    audit: Audit = False,
    log: Log = None,
    db: Db = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")
    ] = False,
) -> None:
    """Play a season on live prices, on paper, until it is told to stop.

    A season of that name that was stopped or has died goes on where it was. It ends with
    hydra stop, Ctrl-C, SIGTERM, or the last bar of --bars.

    \b
    [bold]Examples[/bold]
      hydra run --paper --assets BTC-USD,ETH-USD,SOL-USD
      hydra run --feed replay --bars data/sample/crypto_4h.csv --speed 0
    """
    from apps.cli.season import Request, split_engines
    from apps.runtime.hydra_runtime import Running, run_season

    def absolute(path: Path) -> str:
        return str(path.expanduser().absolute())

    request = Request(
        bars=tuple(absolute(path) for path in bars or ()) or None,
        engines=split_engines(engines),
        profile=profile,
        mode=mode,
        cash=cash,
        seed=seed,
        models=models,
        gladiators=absolute(gladiators) if gladiators else None,
    )
    run_season(
        Running(
            request=request,
            season=season,
            assets=tuple(one.strip() for text in assets or () for one in text.split(",") if one),
            feed=feed,
            venues=tuple(one.strip() for one in venues.split(",") if one.strip()),
            bar=bar,
            speed=speed,
            warm_bars=warm_bars,
            db=db,
            quiet=quiet,
            audit=audit,
            log=log.expanduser().absolute() if log else None,
            record=record,
        )
    )


def status(as_json: Json = False) -> None:
    """Which live seasons run, and how they stand. Exit code 1 where none does.

    \b
    [bold]Examples[/bold]
      hydra status
      hydra status --json
    """
    from apps.runtime import status as said
    from hydra.clock import iso
    from hydra.settings import load_settings

    found = said.all_of(load_settings().home)
    show_rows(
        [
            {
                "season": one.season,
                "state": one.state if one.runs or one.state in ("stopped", "finished") else "died",
                "pid": one.pid if one.runs else None,
                "cycle": one.cycle,
                "market_time": iso(one.at_ns) if one.at_ns else None,
                "updated": iso(one.updated_ns),
                "unfit": ", ".join(f"{symbol}: {why}" for symbol, why in one.unfit.items()),
                "alarms": "; ".join(one.alarms),
                "text": one.text,
                "db": one.db,
                "feed": one.feed,
            }
            for one in found
        ],
        STATUS,
        as_json=as_json,
        title="live seasons",
        empty="no season has been run live yet: hydra run",
    )
    if not any(one.runs for one in found):
        raise typer.Exit(1)


def stop(
    season: Annotated[
        str | None,
        typer.Option("--season", metavar="NAME", help="Which; default: the one that runs."),
    ] = None,
) -> None:
    """Tell a live season to stop after its current minute, and wait until it has.

    Its tickets stay open, as they are in the database; hydra run goes on with them.

    \b
    [bold]Examples[/bold]
      hydra stop
      hydra stop --season live-1
    """
    from apps.runtime.hydra_runtime import stop_season

    print(f"season {stop_season(season, wait_s=STOP_S)} has stopped", file=sys.stderr)


COMMANDS = (run, status, stop)
