"""The lines of the standings, as a finished season wrote them or as a playing one stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from apps.cli.tables import (
    Column,
    change,
    gain,
    money,
    ratio,
    share,
    text,
    whole,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hydra.tournament.season import EngineRow, EquityRow

HOUSE = "house"
UNITS_PER_USD = 100_000_000

COLUMNS = (
    Column("rank", whole),
    Column("engine", is_key=True),
    Column("net_pnl_usd", gain),
    Column("return_frac", change),
    Column("low_frac", change),
    Column("high_frac", change),
    Column("p_first", ratio),
    Column("luck_percentile", whole),
    Column("sharpe", ratio),
    Column("max_drawdown_frac", share),
    Column("trades", whole),
    Column("win_rate_frac", share),
    Column("costs_usd", whole),
    Column("weight_frac", share),
    Column("points", whole),
    Column("state", text, 2),
    Column("reason", text, 0),
    Column("rank_low", whole, 0),
    Column("rank_high", whole, 0),
    Column("shadow_pnl_usd", gain, 0),
    Column("sortino", ratio, 0),
    Column("calmar", ratio, 0),
    Column("profit_factor", ratio, 0),
    Column("expectancy_usd", gain, 0),
    Column("turnover", ratio, 0),
    Column("exposure_frac", share, 0),
    Column("wins", whole, 0),
    Column("best_trade_usd", gain, 0),
    Column("worst_trade_usd", gain, 0),
    Column("equity_usd", money, 0),
    Column("luck_p5_usd", gain, 0),
    Column("luck_p50_usd", gain, 0),
    Column("luck_p95_usd", gain, 0),
    Column("observations", whole, 0),
    Column("note", text, 0),
)

# Columns whose name in the table differs from that of the season's metrics.
_RENAMED = {"return_frac": "total_return_frac", "weight_frac": "weight"}


def standing_rows(connection: Connection, season: str | None) -> list[dict[str, object]]:
    """Every engine's line, best first, then the house account's.

    A season that still plays has its newest scores; what only its end can tell is missing.
    """
    from hydra.storage import queries

    engines = {row.engine: row for row in queries.engines(connection, season)}
    initial_units = queries.season(connection, season).season.initial_units
    final = queries.standings(connection, season)
    if final:
        rows = [_final(line.engine, line.rank, line.metrics, engines) for line in final]
    else:
        rows = [
            {
                "rank": line.rank,
                "engine": line.engine,
                "net_pnl_usd": line.net_pnl_units / UNITS_PER_USD,
                "return_frac": line.net_pnl_units / initial_units,
                "trades": line.trades,
                "wins": line.wins,
                "win_rate_frac": line.wins / line.trades if line.trades else None,
                "weight_frac": line.weight,
                "points": line.total_points,
                **_state(line.engine, engines),
            }
            for line in queries.scores(connection, season)
        ]
    rows.sort(key=_place)
    house = queries.equity(connection, season, engine=HOUSE)
    return [*rows, _house(house, initial_units)] if house else rows


def _place(row: Mapping[str, object]) -> tuple[bool, float, str]:
    """As the tournament ranks: breached last, then by P&L; references where theirs puts them."""
    pnl = row["net_pnl_usd"]
    best_first = -pnl if isinstance(pnl, int | float) else 0.0
    return row["state"] == "breached", best_first, str(row["engine"])


def _final(
    engine: str,
    rank: int | None,
    metrics: Mapping[str, object],
    engines: Mapping[str, EngineRow],
) -> dict[str, object]:
    values = {
        column.name: metrics.get(_RENAMED.get(column.name, column.name)) for column in COLUMNS
    }
    return values | {"rank": rank, "engine": engine} | _state(engine, engines)


def _state(engine: str, engines: Mapping[str, EngineRow]) -> dict[str, object]:
    row = engines.get(engine)
    if row is None:
        return {"state": "", "reason": ""}
    is_plain_reference = row.is_reference and row.state == "playing"
    return {"state": "reference" if is_plain_reference else row.state, "reason": row.reason}


def _house(points: Sequence[EquityRow], opening: int) -> dict[str, object]:
    closing = points[-1].equity_units
    peak, drawdown = opening, 0.0
    for point in points:
        peak = max(peak, point.equity_units)
        drawdown = max(drawdown, 1 - point.equity_units / peak)
    return {
        "rank": None,
        "engine": HOUSE,
        "net_pnl_usd": (closing - opening) / UNITS_PER_USD,
        "return_frac": closing / opening - 1,
        "max_drawdown_frac": drawdown,
        "equity_usd": closing / UNITS_PER_USD,
        "state": "house",
        "reason": "",
    }


def remarks(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """What a reader of the table must know beside it: who is out and why, what is too early."""
    said = [
        f"{row['engine']} is {row['state']}: {row['reason']}"
        for row in rows
        if row.get("state") in ("benched", "breached")
    ]
    notes = {str(row["note"]) for row in rows if row.get("note")}
    return said + sorted(notes)
