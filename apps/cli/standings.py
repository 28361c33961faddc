"""The lines of the standings, as a finished season wrote them or as a playing one stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from apps.cli.failures import plain
from apps.cli.gladiator_lines import (
    FAMILY_COLUMNS,
    GLADIATOR_COLUMNS,
    MODEL_METRICS,
    TAG_CUTOFF,
    UNKNOWN,
    counting,
    family_rows,
    gladiator_rows,
    seat_of,
    so_far,
)
from apps.cli.remarks import remarks, unranked
from apps.cli.tables import (
    Column,
    change,
    gain,
    make_console,
    money,
    print_json,
    print_tables,
    ratio,
    share,
    text,
    whole,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hydra.tournament.season import EngineRow, EquityRow, ScoreRow

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
    Column("counted_pnl_usd", gain, 0),
    Column("tag", text, 0),
    Column("provider", text, 0),
    Column("model", text, 0),
    Column("family", text, 0),
    *(Column(name, text, 0) for name in MODEL_METRICS),
)

# Columns whose name in the table differs from that of the season's metrics.
_RENAMED = {"return_frac": "total_return_frac", "weight_frac": "weight"}
# What is drawn from the curve of what counts; it says nothing where nothing counts.
_OF_WHAT_COUNTS = (
    "low_frac", "high_frac", "p_first", "rank_low", "rank_high", "sharpe", "sortino", "calmar",
)  # fmt: skip


def standing_rows(connection: Connection, season: str | None) -> list[dict[str, object]]:
    """Every engine's line, best first, then those that never played, then the house account's.

    A season that still plays has its newest scores; what only its end can tell is missing.
    """
    from hydra.storage import queries

    engines = {row.engine: row for row in queries.engines(connection, season)}
    one = queries.season(connection, season).season
    plan = one.settings.get("plan")
    counts_all = isinstance(plan, dict) and bool(plan.get("counts_tagged"))
    final = queries.standings(connection, season)
    if final:
        rows = [_final(line.engine, line.rank, line.metrics, engines) for line in final]
    else:
        scores = queries.scores(connection, season)
        figures = so_far(connection, season, scores, one.initial_units)
        rows = [
            _playing(line, one.initial_units, engines) | figures.get(line.engine, {})
            for line in scores
        ]
    for row in rows:
        _tell_what_counts(row, one.initial_units / UNITS_PER_USD, counts_all=counts_all)
    rows.sort(key=_place)
    if rows:
        played = {row["engine"] for row in rows}
        rows += [
            {column.name: None for column in COLUMNS}
            | {"engine": engine.engine}
            | _state(engine.engine, engines)
            for engine in engines.values()
            if engine.state == "benched" and engine.engine not in played
        ]
    house = queries.equity(connection, season, engine=HOUSE)
    return [*rows, _house(house, one.initial_units)] if house else rows


def _place(row: Mapping[str, object]) -> tuple[bool, float, str]:
    """As the tournament ranks: breached last, then by the P&L that counts.

    References, and whoever has nothing that counts, stand where their P&L puts them.
    """
    pnl = row["net_pnl_usd"] if row["rank"] is None else row.get("counted_pnl_usd")
    if pnl is None:
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
    state = _state(engine, engines)
    # Replicas are told by the season where it says so, else by how the engine was entered.
    state |= {"family": metrics["family"]} if metrics.get("family") else {}
    return values | {"rank": rank, "engine": engine} | state


def _playing(
    line: ScoreRow, initial_units: int, engines: Mapping[str, EngineRow]
) -> dict[str, object]:
    return {
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


def _state(engine: str, engines: Mapping[str, EngineRow]) -> dict[str, object]:
    row = engines.get(engine)
    if row is None:
        return {"state": "", "reason": ""}
    is_plain_reference = row.is_reference and row.state == "playing"
    return {
        "state": "reference" if is_plain_reference else row.state,
        "reason": row.reason,
        **seat_of(row),
    }


def _tell_what_counts(row: dict[str, object], opening: float, *, counts_all: bool) -> None:
    """Say of a gladiator which of its decisions its rank is made of; of none, say why."""
    pnl, cost = row.get("net_pnl_usd"), row.get("model_cost_usd")
    if isinstance(pnl, int | float):
        # What is counted of the curve may be less.
        row["all_frac"] = pnl / opening
        if isinstance(cost, int | float) and row.get("net_of_models_usd") is None:
            row["net_of_models_usd"] = None if row.get("model_unknown_costs") else pnl - cost
    row["counting"] = counting(row, counts_all=counts_all)
    if row["counting"] != "none":
        return
    row |= dict.fromkeys(_OF_WHAT_COUNTS)
    row["return_frac"] = row.get("all_frac")
    row["tag"] = TAG_CUTOFF
    if row["state"] == "playing":
        row |= {"state": TAG_CUTOFF, "reason": unranked(str(row.get("cutoff", UNKNOWN)))}


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


def show_standings(rows: Sequence[Mapping[str, object]], *, as_json: bool, title: str) -> None:
    """Print the standings on standard output; below them what the gladiators cost and said,
    what lies between replicas, and what a reader must know beside the figures."""
    from rich.text import Text

    if as_json:
        print_json([{column.name: row.get(column.name) for column in COLUMNS} for row in rows])
        return
    console = make_console()
    print_tables(console, rows, COLUMNS, title)
    for found, columns, heading in (
        (gladiator_rows(rows), GLADIATOR_COLUMNS, "language models"),
        (family_rows(rows), FAMILY_COLUMNS, "replicas of one model: how far luck reaches"),
    ):
        if found:
            console.print()
            print_tables(console, found, columns, heading)
    said = remarks(rows)
    if said:
        console.print()
    for remark in said:
        console.print(Text(plain(remark), style="yellow"))
