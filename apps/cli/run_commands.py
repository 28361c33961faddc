"""`hydra run`, `status`, `stop`: a season on a market that goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options import Audit, Db, EliminateEvery, Json, Log
from apps.cli.tables import Column, minute, prose, second, show_parts, show_rows, text, whole

if TYPE_CHECKING:
    from apps.runtime.status import Status

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
    Column("jobs", part=0),
)
JOBS = (
    Column("season", is_key=True),
    Column("job", is_key=True),
    Column("last_run", second),
    Column("next_run", second),
    Column("failed_at", second, 2),
    Column("error", prose, 2),
)
VENUES = (
    Column("season", is_key=True),
    Column("venue", is_key=True),
    Column("connected"),
    Column("reconnects", whole),
    Column("bad_messages", whole),
    Column("void_books", whole),
    Column("prices_of"),
    Column("down", prose, 2),
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
        typer.Option("--feed", metavar="FEED", help="venues (live) or replay (of --bars)."),
    ] = "venues",
    venues: Annotated[
        str | None,
        typer.Option(
            "--venues",
            metavar="A,B,…",
            help="In order of preference, oanda too; default: coinbase,binance,bybit.",
        ),
    ] = None,
    bars: Annotated[
        list[Path] | None,
        typer.Option("--bars", metavar="FILE", help="Recorded prices, for --feed replay."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="N", help="Of --feed replay: 60 is an hour a minute."),
    ] = 60.0,
    bar: Annotated[
        str | None,
        typer.Option("--bar", metavar="1m", help="Length of the bars that are built; default: 1m."),
    ] = None,
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
    eliminate_every: EliminateEvery = None,
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
        hydra run --venues oanda --assets EURUSD,XAUUSD,US30.cash
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
        eliminate_every_h=eliminate_every,
        models=models,
        gladiators=absolute(gladiators) if gladiators else None,
    )
    run_season(
        Running(
            request=request,
            season=season,
            assets=tuple(one.strip() for text in assets or () for one in text.split(",") if one),
            feed=feed,
            venues=tuple(one.strip() for one in (venues or "").split(",") if one.strip()),
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
    import msgspec

    from apps.runtime import status as said
    from hydra.clock import iso
    from hydra.settings import load_settings

    def time(at_ns: int | None) -> str | None:
        return iso(at_ns) if at_ns else None

    found = said.all_of(load_settings().home)
    rows: list[dict[str, Any]] = [
        {
            "season": one.season,
            "state": one.state if one.runs or one.state in ("stopped", "finished") else "died",
            "pid": one.pid if one.runs else None,
            "cycle": one.cycle,
            "market_time": time(one.at_ns),
            "updated": iso(one.updated_ns),
            "unfit": ", ".join(f"{symbol}: {why}" for symbol, why in one.unfit.items()),
            "alarms": "; ".join(one.alarms),
            "text": one.text,
            "db": one.db,
            "feed": None if one.feed is None else msgspec.to_builtins(one.feed),
            "jobs": [
                {
                    "job": name,
                    "last_run": time(job.ran_ns),
                    "next_run": time(job.next_ns) if one.runs else None,
                    "failed_at": time(job.failed_ns),
                    "error": job.error,
                }
                for name, job in one.jobs.items()
            ],
        }
        for one in found
    ]
    show_rows(
        rows,
        STATUS,
        as_json=as_json,
        title="live seasons",
        empty="no season has been run live yet: hydra run",
    )
    playing = [(one, row) for one, row in zip(found, rows, strict=True) if one.runs]
    if not as_json and playing:
        jobs = [{"season": one.season} | job for one, row in playing for job in row["jobs"]]
        show_parts(jobs, JOBS, "jobs")
        show_parts([line for one, _ in playing for line in _venues(one)], VENUES, "venues")
    if not any(one.runs for one in found):
        raise typer.Exit(1)


def _venues(one: Status) -> list[dict[str, object]]:
    """What each venue of a season told, and whose prices are taken of it."""
    if one.feed is None:
        return []
    return [
        {
            "season": one.season,
            "venue": name,
            "connected": venue.connected,
            "reconnects": venue.reconnects,
            "bad_messages": venue.bad,
            "void_books": venue.resyncs,
            "prices_of": ", ".join(s for s, a in one.feed.assets.items() if a.source == name),
            "down": venue.down,
        }
        for name, venue in one.feed.venues.items()
    ]


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
