"""`hydra replay`: its options. What they lead to is in `play`, which imports the heavy parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import Audit, Db, EliminateEvery, Json, Log

Bars = Annotated[
    list[Path] | None,
    typer.Option(
        "--bars",
        metavar="FILE",
        help="Prices, CSV or Parquet; give it again for more files.",
        show_default=False,
    ),
]


def replay(
    bars: Bars = None,
    season: Annotated[
        str | None,
        typer.Option("--season", metavar="NAME", help="Its name; default: season-1, -2, …"),
    ] = None,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engines",
            metavar="a,b,…",
            help="Who plays: name[@4h][:parameter=value,…]; default: all.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="The guardian's; default: ftmo-2step."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="Leave out bars that open before (ISO, UTC)."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="T", help="Leave out bars that close after (ISO, UTC)."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Of intervals and luck line; default: 1."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a season that was interrupted; no other option needed."
        ),
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            metavar="MODE",
            help="independent (default), or consensus: the house trades the engines' vote.",
        ),
    ] = None,
    costs: Annotated[
        str | None, typer.Option("--costs", metavar="MODEL", help="real (default) or none.")
    ] = None,
    cash: Annotated[
        str | None,
        typer.Option("--cash", metavar="USD", help="Each account's opening balance; 25000."),
    ] = None,
    latency_ms: Annotated[
        int | None,
        typer.Option(
            "--latency-ms",
            metavar="N",
            help="From a bar's close to the order's arrival; default: 0.",
        ),
    ] = None,
    eliminate_every: EliminateEvery = None,
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz",
            metavar="ZONE",
            help="Clock of files that name none: Europe/Prague, UTC+3, America/New_York+7.",
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave faulty rows out and count them.")
    ] = False,
    instruments: Annotated[
        Path | None,
        typer.Option(
            "--instruments", metavar="FILE", help="TOML or YAML that declares or changes symbols."
        ),
    ] = None,
    profiles: Annotated[
        Path | None,
        typer.Option("--profiles", metavar="FILE", help="TOML that adds or changes profiles."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="HOW",
            help="Of gladiators: live (default) asks their models, recorded hears the replies of"
            " an earlier season again, off benches them.",
        ),
    ] = None,
    recording: Annotated[
        str | None,
        typer.Option(
            "--recording",
            metavar="SEASON",
            help="Whose replies --models recorded hears; default: the newest that has any.",
        ),
    ] = None,
    count_tagged: Annotated[
        bool,
        typer.Option(
            "--count-before-cutoff",
            help="Let decisions on prices from before a model's knowledge cutoff hold ranks.",
        ),
    ] = False,
    gladiators: Annotated[
        Path | None,
        typer.Option(
            "--gladiators",
            metavar="FILE",
            help="TOML that adds or changes gladiators; default: HYDRA_GLADIATORS.",
        ),
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(
            "--again",
            metavar="SEASON",
            help="Play a live season again from the bars that it kept, and compare the journals.",
        ),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            "--recorded",
            metavar="DIR",
            help="The same, from the Parquet that hydra run --record wrote: FOLDER/SEASON.",
        ),
    ] = None,
    audit: Audit = False,
    log: Log = None,
    db: Db = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Play a season: every engine trades its own account over the same bars.

    \b
    [bold]Examples[/bold]
      hydra replay --bars data/sample/crypto_4h.csv
      hydra replay --bars data/sample/eurusd_1h.csv --from 2017-06-01 --profile ftmo-1step
      hydra replay --bars data/sample/crypto_4h.csv --engines ema_trend,ema_trend:fast=5,slow=20
      hydra replay --resume
      hydra replay --models recorded --recording season-1
      hydra replay --again live-1
      hydra replay --recorded data/hydra/recordings/live-1
    """
    from apps.cli.play import Playing, play
    from apps.cli.season import Request, split_engines

    request = Request(
        bars=_absolute(bars) or None,
        engines=split_engines(engines),
        profile=profile,
        profiles=_absolute([profiles])[0] if profiles else None,
        start=start,
        end=end,
        seed=seed,
        tz=tz,
        skip_bad_rows=skip_bad_rows or None,
        instruments=_absolute([instruments])[0] if instruments else None,
        costs=costs,
        mode=mode,
        cash=cash,
        latency_ms=latency_ms,
        models=models or ("recorded" if recording else None),
        recording=recording,
        eliminate_every_h=eliminate_every,
        count_tagged=count_tagged or None,
        gladiators=_absolute([gladiators])[0] if gladiators else None,
    )
    play(
        Playing(
            request=request,
            season=season,
            db=db,
            resume=resume,
            quiet=quiet,
            as_json=as_json,
            audit=audit,
            log=None if log is None else log.expanduser().absolute(),
            again=again,
            recorded=recorded,
        )
    )


def _absolute(paths: list[Path] | None) -> tuple[str, ...]:
    return tuple(str(path.expanduser().absolute()) for path in paths or ())
