"""The report's section on the guardian: its map of days, its table of days, its latches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.cli import tables
from apps.cli.failures import plain
from hydra.clock import iso
from hydra.market.instruments import UNITS_PER_USD
from hydra.tournament.season import GuardianDayRow, LatchRow

LAST_DAYS = 370  # columns of the map
MOST_DAY_ROWS = 600  # of the table; days with a breach always stay
_MAP_WIDTH, _MAP_LEFT, _LARGEST_CELL, _MONTH_WIDTH = 1120, 190, 20, 52  # of the map, in its units


@dataclass(frozen=True, slots=True)
class _Cell:
    """A day of the map: how much of its room was used, in tenths; 10 and a rule: breached."""

    column: int
    tenths: int
    breach: str
    title: str


def day_map(days: Sequence[GuardianDayRow], order: Sequence[str]) -> dict[str, object]:
    labels = sorted({day.day for day in days})[-LAST_DAYS:]
    column = {label: i for i, label in enumerate(labels)}
    cell = min(_LARGEST_CELL, (_MAP_WIDTH - _MAP_LEFT) / max(1, len(labels)))
    lines: dict[str, list[_Cell]] = {}
    for day in days:
        has_limits = day.daily_floor_units is not None or day.total_floor_units is not None
        if day.day in column and (has_limits or day.breach):
            lines.setdefault(day.engine, []).append(_cell(day, column[day.day]))
    months: list[tuple[float, str]] = []
    for i, label in enumerate(labels):
        if i == 0 or label[:7] != labels[i - 1][:7]:
            x = round(_MAP_LEFT + i * cell, 1)
            if months and x - months[-1][0] < _MONTH_WIDTH:
                months.pop()  # a first month of a few days leaves its place to the next
            months.append((x, _month(label)))
    return {
        "left": _MAP_LEFT,
        "cell": cell,
        "months": months,
        "lines": sorted(lines.items(), key=lambda item: place(item[0], order)),
    }


def _month(day: str) -> str:
    """2024-01-31 as Jan 24."""
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{names[int(day[5:7]) - 1]} {day[2:4]}"


def _cell(day: GuardianDayRow, column: int) -> _Cell:
    used = _room_used(day)
    worst = tables.money(day.worst_equity_units / UNITS_PER_USD)
    said = f"{day.engine} {day.day}: worst {worst}"
    if used is not None:
        said += f", {used:.0%} of the day's room used"
    if day.breach:
        said += f", breach: {day.breach}"
    tenths = 0 if used is None else min(10, max(0, round(10 * used)))
    return _Cell(column, tenths, day.breach, plain(said))


def _room_used(day: GuardianDayRow) -> float | None:
    """How far the worst equity came from the day's first balance to its nearer floor."""
    floors = [
        floor for floor in (day.daily_floor_units, day.total_floor_units) if floor is not None
    ]
    if not floors or day.start_balance_units <= max(floors):
        return None
    room = day.start_balance_units - max(floors)
    return max(0, day.start_balance_units - day.worst_equity_units) / room


def day_rows(days: Sequence[GuardianDayRow]) -> list[dict[str, object]]:
    newest = sorted(days, key=lambda day: (day.day, day.engine), reverse=True)
    kept = [day for i, day in enumerate(newest) if i < MOST_DAY_ROWS or day.breach]
    return [
        {
            "day": day.day,
            "engine": day.engine,
            "start": day.start_balance_units / UNITS_PER_USD,
            "worst": day.worst_equity_units / UNITS_PER_USD,
            "daily": None
            if day.daily_floor_units is None
            else day.daily_floor_units / UNITS_PER_USD,
            "total": None
            if day.total_floor_units is None
            else day.total_floor_units / UNITS_PER_USD,
            "end": day.end_balance_units / UNITS_PER_USD,
            "used": _room_used(day),
            "opened": day.opened,
            "refused": day.refused,
            "resized": day.resized,
            "breach": day.breach,
        }
        for day in kept
    ]


def latch_line(latch: LatchRow) -> dict[str, object]:
    return {
        "at": iso(latch.at_ns),
        "engine": latch.engine,
        "rule": latch.rule,
        "until": "the end of the season" if latch.until_ns is None else iso(latch.until_ns),
        "limit": latch.limit_units / UNITS_PER_USD,
        "figure": latch.figure_units / UNITS_PER_USD,
        "text": latch.text,
    }


def place(engine: str, order: Sequence[str]) -> int:
    """Where an engine stands in the order; after all others where it does not."""
    return order.index(engine) if engine in order else len(order)
