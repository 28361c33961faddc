"""What a season's questions to models add up to, without reading prompts and replies again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from hydra.storage import tables
from hydra.storage.queries import find_season


class CallFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one engine. Questions that never went out are counted in `outcomes` alone."""

    calls: int  # that went out
    repairs: int  # of all: requests to repair an answer
    input_tokens: int
    output_tokens: int
    cost_units: int  # 1e-8 USD, of the calls whose cost is known
    unknown_costs: int  # calls that went out and whose cost nobody knows
    latency_p50_ns: int | None  # of the calls that went out; None: none did
    latency_p95_ns: int | None
    outcomes: dict[str, int]
    models: tuple[str, ...]  # as the provider named what answered


class _Sum(msgspec.Struct, kw_only=True):
    repairs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_units: int = 0
    unknown_costs: int = 0
    latencies: list[int] = []
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    models: set[str] = set()


class _Abstained(msgspec.Struct):
    reason: str = "unknown"


def call_figures(connection: Connection, season: str | None = None) -> dict[str, CallFigures]:
    """By engine. Raises ConfigError when there is no such season."""
    c = tables.model_calls.c
    statement = select(
        c.engine, c.attempt, c.tries, c.outcome, c.model_said, c.input_tokens, c.output_tokens,
        c.cost_units, c.latency_ns,
    ).where(c.season_id == find_season(connection, season).id)  # fmt: skip
    sums: dict[str, _Sum] = {}
    for row in connection.execute(statement.order_by(c.engine, c.at_ns, c.attempt)):
        found = sums.setdefault(row.engine, _Sum())
        found.outcomes[row.outcome] += 1
        found.repairs += row.attempt == 2
        found.input_tokens += row.input_tokens or 0
        found.output_tokens += row.output_tokens or 0
        found.cost_units += row.cost_units or 0
        if row.model_said:
            found.models.add(row.model_said)
        if row.tries:
            found.latencies.append(row.latency_ns)
            found.unknown_costs += row.cost_units is None
    return {engine: _figures(found) for engine, found in sums.items()}


def _figures(found: _Sum) -> CallFigures:
    latencies = sorted(found.latencies)
    return CallFigures(
        calls=len(latencies),
        repairs=found.repairs,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        cost_units=found.cost_units,
        unknown_costs=found.unknown_costs,
        latency_p50_ns=nearest_rank(latencies, 50),
        latency_p95_ns=nearest_rank(latencies, 95),
        outcomes=dict(found.outcomes),
        models=tuple(sorted(found.models)),
    )


def nearest_rank(rising: Sequence[int], percent: int) -> int | None:
    """The smallest value that so many percent of the values do not exceed; None without any."""
    return rising[-(-percent * len(rising) // 100) - 1] if rising else None


def abstentions(connection: Connection, season: str | None = None) -> dict[str, dict[str, int]]:
    """How often each engine abstained, by reason. Raises ConfigError: there is no such season."""
    table = tables.journal
    statement = select(table.c.engine, table.c.body).where(
        table.c.season_id == find_season(connection, season).id, table.c.kind == "abstained"
    )
    decode = msgspec.json.Decoder(_Abstained).decode
    found: dict[str, Counter[str]] = {}
    for engine, body in connection.execute(statement):
        found.setdefault(engine, Counter())[decode(body).reason] += 1
    return {engine: dict(sorted(counts.items())) for engine, counts in found.items()}
