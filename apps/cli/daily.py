"""The daily report: one guardian's day of a season, short enough to be read every morning.

It comes from the database alone, so that a day can be told again at any time, of seasons that
were played live and of replays alike.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from apps.cli import tables
from apps.cli.failures import plain
from apps.cli.read_commands import trade_row
from apps.cli.report_guardian import latch_line
from hydra.clock import iso
from hydra.errors import ConfigError
from hydra.guardian.days import DayClock
from hydra.guardian.profiles import Reset
from hydra.market.instruments import UNITS_PER_USD
from hydra.storage import days, queries
from hydra.tournament.season import GuardianDayRow, ScoreRow, SeasonRow, TicketRow

MOST_TRADES = 200  # shown; the JSON has all
TROUBLES = (
    "failed", "benched", "abstained", "breach", "breached", "shed", "target",
    "external.kill", "external.release", "external.timeout",
)  # fmt: skip
"""Records that a reader wants to know the number of."""
_FIGURES = ("net_pnl_usd", "points", "weight_frac", "trades", "wins")
_OF_METRICS = {"weight_frac": "weight"}  # where the final standings call it otherwise
_NUMBER = re.compile(r"[0-9][0-9.,:TZ-]*")

Row = Mapping[str, object]


def day_clock(season: SeasonRow) -> DayClock:
    """The guardian's day of a stored season. Raises ConfigError where its profile is unreadable."""
    plan = season.settings.get("plan")
    profile = plan.get("profile") if isinstance(plan, dict) else None
    reset = profile.get("reset") if isinstance(profile, dict) else None
    try:
        found = Reset() if reset is None else msgspec.convert(reset, Reset)
    except msgspec.ValidationError as error:
        raise ConfigError(f"season {season.name}: its guardian's day is {reset!r}") from error
    return DayClock(found.zone, found.at)


class DailyReports:
    """Of one season, through one look at the database. Raises ConfigError: no such season."""

    def __init__(self, connection: Connection, season: str | None = None) -> None:
        self._connection = connection
        self._summary = queries.season(connection, season)
        self.season = self._summary.season.name
        self._clock = day_clock(self._summary.season)
        self._cuts = days.cuts(connection, self.season)
        self._rows = queries.guardian_days(connection, self.season)
        self._final = queries.standings(connection, self.season)
        self._scores: dict[int, list[ScoreRow]] = {}
        for row in queries.score_history(connection, self.season):
            self._scores.setdefault(row.at_ns, []).append(row)
        self._tickets = queries.trades(connection, self.season)

    @property
    def days(self) -> Sequence[str]:
        """The days that are over, oldest first; those without a bar are none."""
        return tuple(self._cuts)

    def of(self, day: str) -> dict[str, object]:
        """All of one day, JSON values. Raises ConfigError where no such day is over."""
        if day not in self._cuts:
            self._refuse(day)
        start_ns, end_ns = self._clock.bounds_ns(day)
        happened = days.happened(self._connection, self.season, self._cuts[day])
        calls = days.calls_of(self._connection, self.season, start_ns, end_ns)
        bars = days.bars_of(self._connection, self.season, start_ns, end_ns)
        return {
            "season": self.season,
            "day": day,
            "from": iso(start_ns),
            "to": iso(end_ns),
            "profile": self._summary.season.profile,
            "standings": self._standings(day, end_ns),
            "accounts": [self._account(row) for row in self._rows if row.day == day],
            "trades": [
                _trade(
                    row,
                    is_over=row.ticket in happened.closed
                    and row.closed_ns is not None
                    and row.closed_ns <= end_ns,
                )
                for row in self._tickets
                if row.ticket in happened.opened or row.ticket in happened.closed
            ],
            "refusals": [
                {"engine": engine, "rule": rule, "count": count}
                for (engine, rule), count in happened.refusals.items()
            ],
            "limits": [latch_line(latch) for latch in happened.latches],
            "troubles": [
                {"engine": engine, "kind": kind, "count": count}
                for (engine, kind), count in happened.kinds.items()
                if kind in TROUBLES
            ],
            "models": [
                {
                    "engine": engine,
                    "calls": one.calls,
                    "input_tokens": one.input_tokens,
                    "output_tokens": one.output_tokens,
                    "cost_usd": one.cost_units / UNITS_PER_USD,
                    "unknown_costs": one.unknown_costs,
                }
                for engine, one in calls.items()
            ],
            "feed": [
                {
                    "symbol": symbol,
                    "bars": one.bars,
                    "unfit": one.unfit.total(),
                    "sources": dict(one.sources.most_common()),
                    "reasons": dict(_alike(one.unfit).most_common()),
                }
                for symbol, one in bars.items()
            ],
        }

    def _refuse(self, day: str) -> None:
        self._clock.bounds_ns(day)  # says where it is no date
        if not self._cuts:
            raise ConfigError(f"season {self.season}: no guardian's day is over yet")
        first, last = self.days[0], self.days[-1]
        raise ConfigError(
            f"season {self.season} has no day {day} that is over; its days are {first} to {last}"
        )

    def _standings(self, day: str, end_ns: int) -> list[dict[str, object]]:
        """As they were scored when the day was over; of a season's last day its final ones."""
        if day == self.days[-1] and self._final:
            return [
                {"rank": row.rank, "engine": row.engine}
                | {name: row.metrics.get(_OF_METRICS.get(name, name)) for name in _FIGURES}
                for row in self._final
            ]
        rows = self._scores.get(min((at for at in self._scores if at >= end_ns), default=0), [])
        return [
            {
                "rank": row.rank,
                "engine": row.engine,
                "net_pnl_usd": row.net_pnl_units / UNITS_PER_USD,
                "points": row.total_points,
                "weight_frac": row.weight,
                "trades": row.trades,
                "wins": row.wins,
            }
            for row in sorted(rows, key=lambda row: (row.rank is None, row.rank or 0, row.engine))
        ]

    @staticmethod
    def _account(row: GuardianDayRow) -> dict[str, object]:
        def usd(units: int | None) -> float | None:
            return None if units is None else units / UNITS_PER_USD

        return {
            "engine": row.engine,
            "start_usd": usd(row.start_balance_units),
            "end_usd": usd(row.end_balance_units),
            "closed_pnl_usd": usd(row.end_balance_units - row.start_balance_units),
            "worst_usd": usd(row.worst_equity_units),
            "daily_floor_usd": usd(row.daily_floor_units),
            "total_floor_usd": usd(row.total_floor_units),
            "opened": row.opened,
            "refused": row.refused,
            "resized": row.resized,
            "breach": row.breach,
        }


def _trade(row: TicketRow, *, is_over: bool) -> dict[str, object]:
    """A ticket as it stood when the day was over, whatever became of it later."""
    shown = trade_row(row)
    later = ("exit_price", "pnl_usd", "pnl_percent", "costs_usd", "exit_reason", "closed_at")
    kept = ("trade_id", "engine", "asset", "direction", "timestamp", "lots", "entry_price")
    return {
        **{name: shown[name] for name in kept},
        "status": "CLOSED" if is_over else "OPEN",
        **{name: shown[name] if is_over else None for name in later},
    }


def _alike(reasons: Counter[str]) -> Counter[str]:
    """Reasons that differ in their figures alone are one."""
    found: Counter[str] = Counter()
    for reason, count in reasons.items():
        found[_NUMBER.sub("…", reason)] += count
    return found


def markdown(report: Mapping[str, object]) -> str:
    """The report for people: Markdown that reads well as it is."""
    parts = [
        f"# {report['season']}, {report['day']}",
        f"{report['from']} to {report['to']}, guardian {report['profile']}. In USD; the P&L of the"
        " day is that of closed tickets and costs.",
    ]
    for heading, name, columns, empty in _PARTS:
        rows = report[name]
        assert isinstance(rows, list)
        if not rows and not empty:
            continue
        parts.append(f"## {heading}")
        parts.append(_table(rows[-MOST_TRADES:], columns) if rows else empty)
        if len(rows) > MOST_TRADES:
            parts.append(f"The last {MOST_TRADES} of {len(rows):,}.")
    return "\n\n".join(parts) + "\n"


def _counts(value: object) -> str:
    """{"a": 2} as a: 2"""
    found = value if isinstance(value, dict) else {}
    return ", ".join(f"{name}: {count}" for name, count in found.items())


_PARTS: tuple[tuple[str, str, tuple[tables.Column, ...], str], ...] = (
    ("Standings", "standings", (
        tables.Column("rank", tables.whole), tables.Column("engine"),
        tables.Column("net_pnl_usd", tables.gain), tables.Column("points", tables.whole),
        tables.Column("weight_frac", tables.share), tables.Column("trades", tables.whole),
        tables.Column("wins", tables.whole),
    ), "None yet."),
    ("The day's accounts", "accounts", (
        tables.Column("engine"), tables.Column("closed_pnl_usd", tables.gain),
        tables.Column("end_usd", tables.money), tables.Column("worst_usd", tables.money),
        tables.Column("daily_floor_usd", tables.money),
        tables.Column("total_floor_usd", tables.money), tables.Column("opened", tables.whole),
        tables.Column("refused", tables.whole), tables.Column("resized", tables.whole),
        tables.Column("breach"),
    ), "None."),
    ("Trades", "trades", (
        tables.Column("trade_id", tables.whole), tables.Column("engine"), tables.Column("asset"),
        tables.Column("direction"), tables.Column("timestamp", tables.minute),
        tables.Column("status"),
        tables.Column("lots"), tables.Column("entry_price"), tables.Column("exit_price"),
        tables.Column("pnl_usd", tables.gain), tables.Column("exit_reason"),
    ), "None was opened or closed."),
    ("Refusals", "refusals", (
        tables.Column("engine"), tables.Column("rule"), tables.Column("count", tables.whole),
    ), ""),
    ("Limits reached", "limits", (
        tables.Column("at", tables.minute), tables.Column("engine"), tables.Column("rule"),
        tables.Column("until", tables.minute), tables.Column("text"),
    ), ""),
    ("Troubles", "troubles", (
        tables.Column("engine"), tables.Column("kind"), tables.Column("count", tables.whole),
    ), ""),
    ("Language models", "models", (
        tables.Column("engine"), tables.Column("calls", tables.whole),
        tables.Column("input_tokens", tables.whole), tables.Column("output_tokens", tables.whole),
        tables.Column("cost_usd", tables.money), tables.Column("unknown_costs", tables.whole),
    ), ""),
    ("Prices", "feed", (
        tables.Column("symbol"), tables.Column("bars", tables.whole),
        tables.Column("unfit", tables.whole), tables.Column("sources", _counts),
        tables.Column("reasons", _counts),
    ), ""),
)  # fmt: skip


def _table(rows: Iterable[Row], columns: Sequence[tables.Column]) -> str:
    cells = [[column.heading for column in columns]]
    cells += [[_cell(column, row) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if column.is_text or column.show is _counts else text.rjust(width)
            for text, width, column in zip(texts, widths, columns, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if column.is_text or column.show is _counts else "-" * (width - 1) + ":"
        for width, column in zip(widths, columns, strict=True)
    ]
    return "\n".join([line(cells[0]), line(rule), *(line(one) for one in cells[1:])])


def _cell(column: tables.Column, row: Row) -> str:
    shown = plain(column.cell(row)).replace("\n", " ").replace("\t", " ")
    return (shown or tables.NOTHING).replace("|", "\\|")


def write_days(connection: Connection, season: str, folder: Path, *, after: str = "") -> list[str]:
    """Write a report of each day later than `after` that is over, as DAY.json and DAY.md.

    Returns the days, oldest first. A file is there whole or not at all. Raises ConfigError where
    one cannot be written, or there is no such season.
    """
    reports = DailyReports(connection, season)
    written = []
    for day in sorted(reports.days):
        if day > after:
            report = reports.of(day)
            _put(folder / f"{day}.json", encoded(report))
            _put(folder / f"{day}.md", markdown(report).encode())
            written.append(day)
    return written


def encoded(report: Mapping[str, object]) -> bytes:
    """As JSON, exact decimals as numbers."""
    encoder = msgspec.json.Encoder(decimal_format="number")
    return msgspec.json.format(encoder.encode(report), indent=2) + b"\n"


def folder_of(data_folder: Path, season: str) -> Path:
    """Where the daily reports of a season lie."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", season).lstrip(".") or "season"
    return data_folder / "reports" / safe


def _put(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
