"""The commands that look: standings, trades, decisions, equity, engines, seasons."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli import standings as lines
from apps.cli.decision_text import KINDS, summary_of
from apps.cli.gladiator_lines import shown_params
from apps.cli.options import Db, Engine, Json, Limit, Season, database_url, instant_ns
from apps.cli.tables import (
    Column,
    change,
    gain,
    minute,
    money,
    percent,
    prose,
    ratio,
    share,
    show_rows,
    text,
    whole,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hydra.tournament.season import TicketRow

UNITS_PER_USD = 100_000_000


def standings(season: Season = None, db: Db = None, as_json: Json = False) -> None:
    """Who stands where, with the interval of the return and the chance of being first.

    \b
    [bold]Examples[/bold]
      hydra standings
      hydra standings --season season-1 --json
    """
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        summary = queries.season(connection, season)
        rows = lines.standing_rows(connection, season)
    if not rows and not as_json:
        print("no scores yet: they come with the first guardian's day that ends", file=sys.stderr)
        return
    lines.show_standings(
        rows,
        as_json=as_json,
        title=f"{summary.season.name}: {summary.season.profile}, {summary.state}",
    )


TRADES = (
    Column("trade_id", whole, is_key=True),
    Column("timestamp", minute),
    Column("engine", is_key=True),
    Column("asset"),
    Column("direction"),
    Column("status"),
    Column("pnl_percent", percent),
    Column("outcome", part=0),
    Column("lots"),
    Column("entry_price"),
    Column("exit_price"),
    Column("stop_price", part=0),
    Column("target_price", part=0),
    Column("pnl_usd", gain),
    Column("gross_usd", gain, 0),
    Column("costs_usd", money),
    Column("commission_usd", money, 0),
    Column("swap_usd", money, 0),
    Column("spread_usd", money, 0),
    Column("exit_reason"),
    Column("closed_at", minute, 0),
    Column("confidence", ratio, 0),
    Column("target_first", ratio, 0),
    Column("tag", part=2),
    Column("thesis", part=0),
)


def trades(
    season: Season = None,
    engine: Engine = None,
    limit: Limit = 20,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """The newest tickets, oldest first. A ticket of the house account is its own.

    \b
    [bold]Examples[/bold]
      hydra trades --limit 50
      hydra trades --engine ema_trend --json
    """
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        check_engine(connection, season, engine)
        found = queries.trades(connection, season, engine=engine, limit=limit)
        show_rows(
            [trade_row(row) for row in found],
            TRADES,
            as_json=as_json,
            title=f"newest {len(found)} trades",
            empty="no trades yet",
        )


def trade_row(row: TicketRow) -> dict[str, object]:
    """A ticket as tables and JSON show it, under the names of `hydra_trades`."""
    costs = row.commission_units + row.swap_units + row.spread_units
    return {
        "trade_id": row.ticket,
        "timestamp": _time(row.opened_ns if row.opened_ns is not None else row.decided_ns),
        "engine": row.engine,
        "asset": row.asset,
        "direction": row.direction,
        "status": row.status,
        "pnl_percent": None if row.pnl_frac is None else 100 * row.pnl_frac,
        "outcome": row.outcome,
        "lots": row.lots,
        "entry_price": row.entry_price,
        "exit_price": row.exit_price,
        "stop_price": row.stop_price,
        "target_price": row.target_price,
        "pnl_usd": _usd(row.pnl_units),
        "gross_usd": _usd(row.gross_units),
        "costs_usd": _usd(costs),
        "commission_usd": _usd(row.commission_units),
        "swap_usd": _usd(row.swap_units),
        "spread_usd": _usd(row.spread_units),
        "exit_reason": row.exit_reason,
        "closed_at": _time(row.closed_ns),
        "confidence": row.confidence,
        "target_first": row.target_first,
        "tag": row.tag,
        "thesis": row.thesis,
    }


DECISIONS = (
    Column("seq", whole, is_key=True),
    Column("timestamp", minute),
    Column("engine"),
    Column("kind"),
    Column("what", prose),
    Column("cycle", whole, 0),
    Column("amount_usd", gain, 0),
    Column("body", part=0),
)


def decisions(
    season: Season = None,
    engine: Engine = None,
    limit: Limit = 20,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only records of this kind: approved, refused, failed, benched, latch, …",
        ),
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """What engines asked for, and what the guardian said: the journal's newest records.

    \b
    [bold]Examples[/bold]
      hydra decisions --engine ema_trend
      hydra decisions --kind refused --limit 100 --json
    """
    from hydra.errors import ConfigError
    from hydra.storage import queries
    from hydra.storage.database import reading

    if kind and not set(kind) <= set(KINDS):
        unknown = ", ".join(sorted(set(kind) - set(KINDS)))
        raise ConfigError(f"--kind {unknown} is none of: {', '.join(KINDS)}")
    with reading(database_url(db)) as connection:
        check_engine(connection, season, engine)
        found = queries.decisions(
            connection,
            season,
            engine=engine,
            limit=limit,
            kinds=kind or queries.DECISION_KINDS,
        )
    show_rows(
        [
            {
                "seq": one.seq,
                "timestamp": _time(one.at_ns),
                "engine": one.engine,
                "kind": one.kind,
                "what": summary_of(one.kind, one.body),
                "cycle": one.cycle,
                "amount_usd": _usd(one.amount_units),
                "body": one.body,
            }
            for one in found
        ],
        DECISIONS,
        as_json=as_json,
        title=f"newest {len(found)} decisions",
        empty="no decisions yet",
    )


EQUITY = (
    Column("timestamp", minute, is_key=True),
    Column("engine", is_key=True),
    Column("equity_usd", money),
    Column("balance_usd", money),
    Column("return_frac", change),
    Column("shadow_usd", money),
    Column("weight_frac", share, 2),
)


def equity(
    season: Season = None,
    engine: Engine = None,
    limit: Limit = 20,
    start: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Leave out earlier samples.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="T", help="Leave out later samples.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Samples of the accounts' equity; house is what following the weights has made.

    \b
    [bold]Examples[/bold]
      hydra equity --engine house --limit 100
      hydra equity --from 2024-02-01 --limit 1000 --json
    """
    from hydra.storage import queries
    from hydra.storage.database import reading

    start_ns, end_ns = instant_ns(start, "--from"), instant_ns(end, "--to")
    with reading(database_url(db)) as connection:
        if engine != lines.HOUSE:
            check_engine(connection, season, engine)
        opening = queries.season(connection, season).season.initial_units
        found = [
            row
            for row in queries.equity(connection, season, engine=engine)
            if (start_ns is None or row.at_ns >= start_ns)
            and (end_ns is None or row.at_ns <= end_ns)
        ]
    found.sort(key=lambda row: (row.at_ns, row.engine))
    newest = found[-limit:]
    show_rows(
        [
            {
                "timestamp": _time(row.at_ns),
                "engine": row.engine,
                "equity_usd": _usd(row.equity_units),
                "balance_usd": _usd(row.balance_units),
                "return_frac": row.equity_units / opening - 1,
                "shadow_usd": _usd(row.shadow_units),
                "weight_frac": row.weight,
            }
            for row in newest
        ],
        EQUITY,
        as_json=as_json,
        title=f"newest {len(newest)} samples",
        empty="no samples yet",
    )


ENGINES = (
    Column("engine", is_key=True),
    Column("state"),
    Column("title", prose),
    Column("reason", prose, 2),
    Column("params", prose),
    Column("reference", part=0),
    Column("since", minute, 0),
)


def engines(
    season: Season = None,
    all_kinds: Annotated[
        bool, typer.Option("--all", help="All engines there are, with their parameters.")
    ] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Who plays in a season and how each stands; with --all, who could play.

    \b
    [bold]Examples[/bold]
      hydra engines --all
      hydra engines --season season-1 --json
    """
    if all_kinds:
        rows = _registered()
    else:
        from hydra.storage import queries
        from hydra.storage.database import reading

        with reading(database_url(db)) as connection:
            rows = [
                {
                    "engine": row.engine,
                    "state": row.state,
                    "title": row.title,
                    "params": row.params if as_json else _params(shown_params(row)),
                    "reference": row.is_reference,
                    "since": _time(row.since_ns),
                    "reason": row.reason,
                }
                for row in queries.engines(connection, season)
            ]
    show_rows(rows, ENGINES, as_json=as_json, title="engines", empty="no engine has joined yet")


def _registered() -> list[dict[str, object]]:
    from hydra.engines import registry

    rows: list[dict[str, object]] = []
    for name, kind in registry.ENGINES.items():
        entrant = registry.build(name, ())
        rows.append(
            {
                "engine": name,
                "state": "reference" if kind.is_reference else "available",
                "title": kind.title,
                "params": _params(entrant.params),
                "reference": kind.is_reference,
            }
        )
    return rows


def _params(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


SEASONS = (
    Column("season", is_key=True),
    Column("current"),
    Column("state"),
    Column("profile"),
    Column("mode", part=2),
    Column("seed", text),
    Column("cycles", whole),
    Column("until", minute),
    Column("digest"),
    Column("opening_usd", money, 0),
    Column("records", whole, 2),
    Column("started_at", minute, 2),
    Column("finished_at", minute, 0),
    Column("files", part=0),
)
SHORT_DIGEST = 12


def seasons(db: Db = None, as_json: Json = False) -> None:
    """All seasons of the database, with their journal's digest.

    The same prices, settings and seed give the same digest.

    \b
    [bold]Examples[/bold]
      hydra seasons
      hydra seasons --json
    """
    from hydra.storage import queries
    from hydra.storage.database import reading

    with reading(database_url(db)) as connection:
        found = queries.seasons(connection)
    rows: list[dict[str, object]] = [
        {
            "season": one.season.name,
            "current": one.is_current,
            "state": one.state,
            "profile": one.season.profile,
            "mode": one.season.mode,
            "seed": one.season.seed,
            "cycles": max(0, one.cycle),
            "until": _time(one.at_ns or None),
            "digest": one.digest,
            "opening_usd": _usd(one.season.initial_units),
            "records": one.journal_count,
            "started_at": _time(one.created_ns),
            "finished_at": _time(one.finished_ns),
            "files": [{"file": name, "sha256": digest} for name, digest in one.season.inputs],
        }
        for one in found
    ]
    show_rows(
        rows,
        SEASONS,
        as_json=as_json,
        title="seasons",
        empty="no season yet: play one with hydra replay",
    )


def check_engine(connection: Connection, season: str | None, engine: str | None) -> None:
    """Raises ConfigError, naming those there are, when no such engine plays in the season."""
    if engine is None:
        return
    from hydra.errors import ConfigError
    from hydra.storage import queries

    known = [row.engine for row in queries.engines(connection, season)]
    if engine not in known and engine != lines.HOUSE:
        raise ConfigError(f"no engine {engine!r} in this season; there are: {', '.join(known)}")


def _time(at_ns: int | None) -> str | None:
    from hydra.clock import iso

    return None if at_ns is None else iso(at_ns)


def _usd(units: int | None) -> float | None:
    return None if units is None else units / UNITS_PER_USD


COMMANDS: tuple[Callable[..., None], ...] = (
    standings,
    trades,
    decisions,
    equity,
    engines,
    seasons,
)
