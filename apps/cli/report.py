"""One self-contained page on a season: everything in it comes from the database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from apps.cli import tables
from apps.cli.curves import Curve, chart, drawdowns
from apps.cli.failures import plain
from apps.cli.gladiator_lines import is_gladiator, shown_params
from apps.cli.page import clip, environment
from apps.cli.read_commands import trade_row
from apps.cli.remarks import OUT, remarks
from apps.cli.report_guardian import day_map, day_rows, latch_line, place
from apps.cli.report_models import MOST_SAID, models_section
from apps.cli.standings import HOUSE, standing_rows
from hydra.clock import to_datetime
from hydra.errors import ConfigError
from hydra.market.instruments import UNITS_PER_USD
from hydra.storage import queries
from hydra.storage.verify import Verdict, verify_season
from hydra.tournament.season import EngineRow, EquityRow, GuardianDayRow, TicketRow

if TYPE_CHECKING:
    from hydra.settings import Settings

LAST_TRADES = 500
COLOURS = 8  # in the style sheet

Row = Mapping[str, object]


def default_path(settings: Settings, season: str) -> Path:
    """Where a season's report lies when nobody says."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", season).lstrip(".") or "season"
    return settings.home.expanduser().resolve() / "data" / "hydra" / "reports" / f"{safe}.html"


def write_report(connection: Connection, season: str, path: Path) -> Path:
    """Write the page, whole or not at all. Raises ConfigError when the path cannot be written."""
    page = render(connection, season)
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder; name a file in it")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigError(f"the report cannot be written to {path}: {error.strerror}") from error
    return path


def render(connection: Connection, season: str | None = None) -> str:
    """The page as text. Raises ConfigError when there is no such season."""
    return environment().get_template("report.html").render(_gather(connection, season))


def _gather(connection: Connection, season: str | None) -> dict[str, object]:
    summary = queries.season(connection, season)
    name = summary.season.name
    opening = summary.season.initial_units / UNITS_PER_USD
    rows = standing_rows(connection, name)
    verdict = verify_season(connection, name)
    points = queries.equity(connection, name)
    tickets = queries.trades(connection, name)
    days = queries.guardian_days(connection, name)
    latches = queries.latches(connection, name)
    engines = queries.engines(connection, name)
    order = list(
        dict.fromkeys(
            [
                *(str(row["engine"]) for row in rows),
                *(row.engine for row in engines),
                *(point.engine for point in points),
            ]
        )
    )
    competitors = [str(row["engine"]) for row in rows if _competes(row)]
    looks = _looks(order, competitors)
    charts = _charts(points, order, opening, _level_floor(days, opening))
    return {
        "name": name,
        "summary": summary,
        "state": summary.state,
        "facts": _facts(summary, verdict, points, tickets),
        "verdict": verdict,
        "says": _says(rows),
        "rows": rows,
        "forest": _forest(rows, opening),
        "remarks": remarks(rows),
        "out": OUT,
        "looks": looks,
        "charts": charts,
        "curves": _pointer_data(charts),
        "opening": opening,
        "trades": _trades(tickets),
        "trade_count": len(tickets),
        "costs": _costs(tickets, order),
        "refusals": _refusals(queries.refusals_by_rule(connection, name), order),
        "day_map": day_map(days, order),
        "day_rows": day_rows(days),
        "day_count": len(days),
        "latches": [latch_line(latch) for latch in latches],
        "models": models_section(
            connection, name, rows=rows, engines=engines, tickets=tickets, looks=looks
        ),
        "engines": _engines(sorted(engines, key=lambda row: place(row.engine, order))),
        "inputs": summary.season.inputs,
    }


def _competes(row: Row) -> bool:
    """Whether its curve has a colour of its own, which references and the house do without."""
    return row["net_pnl_usd"] is not None and row["state"] not in ("reference", "house")


def _facts(
    summary: queries.SeasonSummary,
    verdict: Verdict,
    points: Sequence[EquityRow],
    tickets: Sequence[TicketRow],
) -> list[tuple[str, str]]:
    season = summary.season
    settings = season.settings
    instants = [point.at_ns for point in points]
    plan = settings.get("plan")
    plan = plan if isinstance(plan, dict) else {}
    costs = plan.get("costs")
    since = plan.get("start_ns")
    start = since if isinstance(since, int) else min(instants, default=None)
    end = max(instants, default=None)
    streams = settings.get("streams")
    if isinstance(streams, list):
        symbols = [f"{one['symbol']} {one['resolution']}" for one in streams]
    else:
        symbols = sorted({ticket.asset for ticket in tickets})
    facts = [
        ("period", f"{_day(start)} to {_day(end)}" if start and end else tables.NOTHING),
        ("markets", ", ".join(symbols)),
        ("cycles", f"{max(0, summary.cycle):,}"),
        ("guardian", season.profile),
        ("costs", str(costs.get("name", "")) if isinstance(costs, dict) else tables.NOTHING),
        ("mode", season.mode),
        ("opening balance", f"{season.initial_units / UNITS_PER_USD:,.0f} USD each"),
        ("seed", str(season.seed)),
        ("journal", f"{verdict.records:,} records"),
    ]
    return [(label, plain(value)) for label, value in facts]


def _day(at_ns: int) -> str:
    return to_datetime(at_ns).strftime("%d %b %Y").lstrip("0")


def _says(rows: Sequence[Row]) -> list[str]:
    """The season in a few sentences, with how sure they are."""
    ranked = [row for row in rows if isinstance(row.get("rank"), int)]
    if not ranked:
        return ["No engine holds a rank yet."]
    leader = min(ranked, key=lambda row: int(str(row["rank"])))
    said = [f"{leader['engine']} leads with {tables.change(leader['return_frac'])}"]
    if isinstance(leader.get("low_frac"), float):
        said[0] += (
            f"; resampled, its return lies between {tables.change(leader['low_frac'])} and"
            f" {tables.change(leader['high_frac'])} nine times in ten"
        )
    said[0] += "."
    first = leader.get("p_first")
    if isinstance(first, float):
        said.append(f"The chance that it is truly the best of the field is {first:.0%}.")
    if all(isinstance(row.get("rank_high"), int) for row in ranked):
        could = [row for row in ranked if row["rank_low"] == 1]
        if len(could) == len(ranked):
            said.append("No rank is decided: every engine may still be the best.")
        elif len(could) > 1:
            said.append(f"{len(could)} of {len(ranked)} engines may still be the best.")
    lucky = [
        row
        for row in ranked
        if isinstance(row.get("luck_percentile"), float) and float(str(row["luck_percentile"])) > 95
    ]
    if any(row.get("luck_percentile") is not None for row in ranked):
        said.append(
            f"{len(lucky)} of {len(ranked)} beat 95 % of the traders who entered at random."
        )
    held = next((row for row in rows if row["engine"] == "buy_and_hold"), None)
    if held is not None and held.get("return_frac") is not None:
        said.append(f"Buying and holding made {tables.change(held['return_frac'])}.")
    house = next((row for row in rows if row["engine"] == HOUSE), None)
    if house is not None:
        said.append(f"The house account made {tables.change(house['return_frac'])}.")
    return said


# Standings


def _forest(rows: Sequence[Row], opening: float) -> dict[str, object]:
    """Where each engine's interval and its luck line lie, in percent of the plot's width.

    The scale fits the engines that hold a rank; what goes beyond it is cut with an arrow.
    """
    ranked = [row for row in rows if row["rank"] is not None] or list(rows)
    spans = [value for row in ranked for value in _extent(row, opening)]
    low, high = min([0.0, *spans]), max([0.0, *spans])
    room = (high - low) * 0.06 or 0.01
    low, high = low - room, high + room

    def x(value: object) -> float | None:
        if not isinstance(value, float):
            return None
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)

    plots = {}
    for row in rows:
        ends = [row.get("low_frac"), row.get("high_frac"), row.get("return_frac")]
        known = [end for end in ends if isinstance(end, float)]
        plots[str(row["engine"])] = {
            "low": x(row.get("low_frac")),
            "high": x(row.get("high_frac")),
            "at": x(row.get("return_frac")),
            "luck_low": x(_of(row.get("luck_p5_usd"), opening)),
            "luck_mid": x(_of(row.get("luck_p50_usd"), opening)),
            "luck_high": x(_of(row.get("luck_p95_usd"), opening)),
            "cut_left": any(end < low for end in known),
            "cut_right": any(end > high for end in known),
        }
    return {"plots": plots, "zero": x(0.0), "low": low, "high": high}


def _extent(row: Row, opening: float) -> list[float]:
    values = [row.get("low_frac"), row.get("high_frac"), row.get("return_frac")]
    values += [_of(row.get("luck_p5_usd"), opening), _of(row.get("luck_p95_usd"), opening)]
    return [value for value in values if isinstance(value, float)]


def _of(usd: object, opening: float) -> float | None:
    return float(usd) / opening if isinstance(usd, int | float) else None


def _looks(order: Sequence[str], competitors: Sequence[str]) -> dict[str, str]:
    """The style class of each engine's curve."""
    looks = {
        engine: f"k{i % COLOURS}{' again' * (i >= COLOURS)}" for i, engine in enumerate(competitors)
    }
    references = [engine for engine in order if engine not in looks and engine != HOUSE]
    looks |= {engine: f"ref{i % 2}" for i, engine in enumerate(references)}
    return looks | {HOUSE: "house"}


# Curves


def _charts(
    points: Iterable[EquityRow], order: Sequence[str], opening: float, floor: float | None
) -> dict[str, dict[str, object]]:
    by_engine: dict[str, list[EquityRow]] = {}
    for point in points:
        by_engine.setdefault(point.engine, []).append(point)
    equity, falls = [], []
    for engine in sorted(by_engine, key=lambda name: place(name, order), reverse=True):
        at_ns = [point.at_ns for point in by_engine[engine]]
        values = [point.equity_units / UNITS_PER_USD for point in by_engine[engine]]
        equity.append(Curve(engine, at_ns, values))
        falls.append(Curve(engine, at_ns, drawdowns(values, opening)))
    marks = [opening] if floor is None else [opening, floor]
    drawn = {"equity": chart(equity, include=marks), "drawdown": chart(falls, include=[0.0])}
    drawn["equity"]["opening"], drawn["equity"]["floor"] = opening, floor
    drawn["drawdown"]["opening"], drawn["drawdown"]["floor"] = 0.0, None
    return drawn


def _level_floor(days: Sequence[GuardianDayRow], opening: float) -> float | None:
    """The total floor, where it is the same for all accounts on all days."""
    floors = {day.total_floor_units for day in days if day.total_floor_units is not None}
    return floors.pop() / UNITS_PER_USD if len(floors) == 1 else None


def _pointer_data(charts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """The values of the curves, for the page's script."""
    data: dict[str, object] = {}
    for name, drawn in charts.items():
        lines = drawn["lines"]
        assert isinstance(lines, list)
        data[name] = {
            "start": drawn["start_minute"],
            "span": drawn["span_minutes"],
            "lines": [
                {"name": line["name"], "t": line["minutes"], "v": line["values"]} for line in lines
            ],
        }
    return data


# Trades, costs, refusals


def _trades(tickets: Sequence[TicketRow]) -> list[dict[str, object]]:
    """The last ones, newest first."""
    return [trade_row(ticket) for ticket in tickets[-LAST_TRADES:][::-1]]


def _costs(tickets: Iterable[TicketRow], order: Sequence[str]) -> list[dict[str, object]]:
    totals: dict[str, list[int]] = {}
    for ticket in tickets:
        if ticket.opened_ns is None:
            continue
        kinds = totals.setdefault(ticket.engine, [0, 0, 0])
        kinds[0] += ticket.commission_units
        kinds[1] += ticket.swap_units
        kinds[2] += ticket.spread_units
    largest = max((sum(max(0, k) for k in kinds) for kinds in totals.values()), default=0) or 1
    return [
        {
            "engine": engine,
            "commission": kinds[0] / UNITS_PER_USD,
            "swap": kinds[1] / UNITS_PER_USD,
            "spread": kinds[2] / UNITS_PER_USD,
            "total": sum(kinds) / UNITS_PER_USD,
            "widths": [round(100 * max(0, kind) / largest, 2) for kind in kinds],
        }
        for engine, kinds in sorted(totals.items(), key=lambda item: place(item[0], order))
    ]


def _refusals(counts: Sequence[queries.RefusalCount], order: Sequence[str]) -> dict[str, object]:
    engines = sorted({one.engine for one in counts}, key=lambda name: place(name, order))
    by_rule: dict[str, dict[str, int]] = {}
    for one in counts:
        by_rule.setdefault(one.rule, {})[one.engine] = one.count
    most = max((one.count for one in counts), default=1)
    rules = sorted(by_rule.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return {
        "engines": engines,
        "rules": [
            {
                "rule": rule,
                "total": sum(found.values()),
                "cells": [
                    (found.get(engine, 0), round(found.get(engine, 0) / most, 2))
                    for engine in engines
                ],
            }
            for rule, found in rules
        ],
    }


def _engines(engines: Iterable[EngineRow]) -> list[dict[str, object]]:
    """What they were set to; of gladiators what was set, and of replicas once."""
    told: dict[str, str] = {}
    lines: list[dict[str, object]] = []
    for row in engines:
        said = ", ".join(f"{name} {value}" for name, value in shown_params(row).items())
        first = told.setdefault(f"{row.params.get('name')}: {said}", row.engine)
        if first != row.engine and is_gladiator(row):
            said = f"as {first}"
        is_plain = row.is_reference and row.state == "playing"
        lines.append(
            {
                "engine": row.engine,
                "title": clip(row.title, MOST_SAID),
                "params": clip(said, 2 * MOST_SAID),
                "state": "reference" if is_plain else row.state,
                "reason": clip(row.reason, MOST_SAID),
            }
        )
    return lines
