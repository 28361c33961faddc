"""Rows as the tables hold them (tuples in column order), and back.

Exact decimals go in as text: SQLite keeps it, PostgreSQL reads it as NUMERIC.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from hydra.tournament.season import (
    EngineRow,
    EquityRow,
    GuardianDayRow,
    LatchRow,
    LessonRow,
    ModelCallRow,
    PromptRow,
    ScoreRow,
    SeasonRow,
    StandingRow,
    TicketRow,
)

Values = tuple[object, ...]
_json = msgspec.json.Encoder(order="sorted")


def season(row: SeasonRow) -> dict[str, object]:
    return {
        "name": row.name,
        "mode": row.mode,
        "profile": row.profile,
        "seed": row.seed,
        "initial_units": row.initial_units,
        "settings": _json.encode(row.settings).decode(),
        "inputs": _json.encode(row.inputs).decode(),
    }


class StoredSeason(Protocol):
    """A row of `seasons`."""

    name: str
    mode: str
    profile: str
    seed: int
    initial_units: int
    settings: str
    inputs: str


def season_row(row: StoredSeason) -> SeasonRow:
    return SeasonRow(
        name=row.name,
        mode=row.mode,
        profile=row.profile,
        seed=row.seed,
        initial_units=row.initial_units,
        settings=msgspec.json.decode(row.settings, type=dict[str, object]),
        inputs=msgspec.json.decode(row.inputs, type=tuple[tuple[str, str], ...]),
    )


def engine(season_id: int, row: EngineRow) -> Values:
    return (
        season_id,
        row.engine,
        row.title,
        _json.encode(row.params).decode(),
        int(row.is_reference),
        row.state,
        row.reason,
        row.since_ns,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def ticket(season_id: int, row: TicketRow) -> Values:
    return (
        season_id,
        row.ticket,
        row.engine,
        row.asset,
        row.direction,
        row.status,
        row.decided_ns,
        row.opened_ns,
        row.closed_ns,
        str(row.lots),
        _text(row.entry_price),
        _text(row.exit_price),
        _text(row.stop_price),
        _text(row.target_price),
        row.pnl_units,
        row.pnl_frac,
        row.gross_units,
        row.commission_units,
        row.swap_units,
        row.spread_units,
        row.outcome,
        row.exit_reason,
        row.confidence,
        row.thesis,
        row.target_first,
        row.tag,
    )


def equity(season_id: int, row: EquityRow) -> Values:
    return (
        season_id,
        row.engine,
        row.at_ns,
        row.equity_units,
        row.balance_units,
        row.shadow_units,
        row.weight,
    )


def score(season_id: int, row: ScoreRow) -> Values:
    return (
        season_id,
        row.engine,
        row.at_ns,
        row.scoring_cycle,
        row.rank,
        row.total_points,
        row.weight,
        row.net_pnl_units,
        row.trades,
        row.wins,
    )


def day(season_id: int, row: GuardianDayRow) -> Values:
    return (
        season_id,
        row.engine,
        row.day,
        row.start_balance_units,
        row.daily_floor_units,
        row.total_floor_units,
        row.worst_equity_units,
        row.end_balance_units,
        row.opened,
        row.refused,
        row.resized,
        row.breach,
    )


def latch(season_id: int, row: LatchRow) -> Values:
    return (
        season_id,
        row.engine,
        row.rule,
        row.at_ns,
        row.until_ns,
        row.limit_units,
        row.figure_units,
        row.text,
    )


def model_call(season_id: int, row: ModelCallRow) -> Values:
    return (
        season_id,
        row.engine,
        row.at_ns,
        row.attempt,
        row.provider,
        row.model,
        row.model_said,
        row.prompt_version,
        row.prompt_sha256,
        row.system_sha256,
        row.prompt,
        _json.encode(row.params).decode(),
        row.outcome,
        row.error,
        row.reply,
        row.finish,
        row.input_tokens,
        row.output_tokens,
        row.cached_tokens,
        row.cost_units,
        row.latency_ns,
        row.tries,
        row.called_ns,
    )


def prompt(season_id: int, row: PromptRow) -> Values:
    return (season_id, row.sha256, row.version, row.text)


def lesson(season_id: int, row: LessonRow) -> Values:
    return (season_id, row.engine, row.at_ns, row.ticket, row.text, row.words)


def standing(season_id: int, row: StandingRow) -> Values:
    return (season_id, row.engine, row.rank, _json.encode(row.metrics).decode())
