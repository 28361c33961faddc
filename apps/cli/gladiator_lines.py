"""What standings say of gladiators beside what they say of everyone: money, answers, replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from apps.cli.tables import Column, change, gain, text, whole

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hydra.tournament.season import EngineRow, ScoreRow

UNITS_PER_USD = 100_000_000
TAG_CUTOFF = "before-cutoff"  # as of the tournament
UNKNOWN = "unknown"
Row = Mapping[str, object]

MODEL_METRICS = (
    "model_answers", "model_calls", "model_repairs", "model_refused", "model_holds",
    "model_abstentions", "model_input_tokens", "model_output_tokens", "model_cost_usd",
    "model_unknown_costs", "net_of_models_usd",
)  # fmt: skip
"""Names of a gladiator's own figures in its standings line."""


def cost(value: object) -> str:
    """Of calls, which cost fractions of a cent: 1.2345"""
    return f"{value:,.4f}" if isinstance(value, int | float) else text(value)


def deviation(value: object) -> str:
    """A fraction as 3.21%"""
    return f"{100 * value:.2f}%" if isinstance(value, int | float) else text(value)


def _or_words(show: Callable[[object], str]) -> Callable[[object], str]:
    return lambda value: value if isinstance(value, str) else show(value)


_TOLD_ELSEWHERE = (
    "name", "provider", "model", "every", "prompt_sha256", "calls_per_minute", "calls_at_once",
)  # fmt: skip
GLADIATOR_COLUMNS = (
    Column("engine", is_key=True),
    Column("model"),
    Column("net_pnl_usd", gain),
    Column("model_cost_usd", cost),
    Column("net_of_models_usd", _or_words(gain)),
    Column("counted_pnl_usd", gain, 2),
    Column("calls", whole),
    Column("abstained", whole),
    Column("answers", whole, 2),
    Column("held", whole, 2),
    Column("refused", whole, 2),
    Column("tag", text, 2),
)
FAMILY_COLUMNS = (
    Column("family", is_key=True),
    Column("replicas", whole),
    Column("mean_frac", change),
    Column("deviation_frac", deviation),
    Column("lowest_frac", change),
    Column("highest_frac", change),
)


def seat_of(engine: EngineRow) -> dict[str, object]:
    """Which model sits there: what an engine's parameters say of it; nothing of a plain engine."""
    params = engine.params
    if not is_gladiator(engine):
        return {}
    replicas = params.get("replicas")
    has_replicas = isinstance(replicas, int) and replicas > 1
    return {
        "provider": str(params["provider"]),
        "model": str(params["model"]),
        "family": str(params.get("name", "")) if has_replicas else "",
        "cutoff": str(params.get("cutoff") or UNKNOWN),
    }


def is_gladiator(engine: EngineRow) -> bool:
    """Whether an engine asks a model."""
    return "provider" in engine.params and "model" in engine.params


def shown_params(engine: EngineRow) -> dict[str, str]:
    """An engine's parameters for people: of a gladiator those that were set and are not in its
    title, and that decide something of its play."""
    skipped = _TOLD_ELSEWHERE if is_gladiator(engine) else ()
    return {
        name: "/".join(map(str, value)) if isinstance(value, list) else text(value)
        for name, value in engine.params.items()
        if name not in skipped and (value not in (None, "") or not skipped)
    }


def so_far(
    connection: Connection, season: str | None, scores: Sequence[ScoreRow], initial_units: int
) -> dict[str, dict[str, object]]:
    """Of the gladiators of a season that still plays: what is known of their lines by now.

    Scores hold the P&L that counts; what they made in all is in the sample of that instant.
    """
    from hydra.storage import queries
    from hydra.storage.call_figures import abstentions, call_figures

    calls = call_figures(connection, season)
    abstained = abstentions(connection, season)
    found = {}
    for line in scores:
        one = calls.get(line.engine)
        if one is None:
            continue
        points = queries.equity(connection, season, engine=line.engine)
        equity = next((p.equity_units for p in points if p.at_ns == line.at_ns), None)
        net_units = line.net_pnl_units if equity is None else equity - initial_units
        counts_part = line.rank is not None and net_units != line.net_pnl_units
        found[line.engine] = {
            "net_pnl_usd": net_units / UNITS_PER_USD,
            "counted_pnl_usd": (0.0 if line.rank is None else line.net_pnl_units / UNITS_PER_USD),
            "tag": TAG_CUTOFF if line.rank is None or counts_part else "",
            "model_calls": one.calls,
            "model_repairs": one.repairs,
            "model_abstentions": abstained.get(line.engine, {}),
            "model_input_tokens": one.input_tokens,
            "model_output_tokens": one.output_tokens,
            "model_cost_usd": one.cost_units / UNITS_PER_USD,
            "model_unknown_costs": one.unknown_costs,
        }
    return found


def counting(row: Row, *, counts_all: bool) -> str:
    """Which decisions of a gladiator make its rank, where not simply all of them do.

    none: all are from before its model's knowledge cutoff; later: those after it; all: even
    those before it, which was asked for; "" where no cutoff is concerned.
    """
    if "cutoff" not in row and not row.get("tag"):
        return ""
    if row["rank"] is None:
        return "none" if row.get("tag") or row["state"] == "playing" else ""
    if not row.get("tag"):
        return ""
    return "all" if counts_all else "later"


def gladiator_rows(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The lines of those that asked a model, for GLADIATOR_COLUMNS."""
    return [
        {
            "engine": row["engine"],
            "model": row.get("model"),
            "net_pnl_usd": row["net_pnl_usd"],
            "model_cost_usd": UNKNOWN if row["model_unknown_costs"] else row["model_cost_usd"],
            "net_of_models_usd": (
                UNKNOWN if row["model_unknown_costs"] else row["net_of_models_usd"]
            ),
            "counted_pnl_usd": row.get("counted_pnl_usd") if counts_part(row) else None,
            "calls": row["model_calls"],
            "answers": row.get("model_answers"),
            "held": row.get("model_holds"),
            "abstained": sum(abstentions_of(row).values()),
            "refused": row.get("model_refused"),
            "tag": row.get("tag"),
        }
        for row in rows
        if row.get("model_calls") is not None
    ]


def counts_part(row: Row) -> bool:
    """Whether some, but not all of its P&L makes its rank."""
    return row.get("counting") == "later"


def abstentions_of(row: Row) -> dict[str, int]:
    """How often it abstained, by reason, most frequent first."""
    found = row.get("model_abstentions")
    counts = {str(k): int(v) for k, v in found.items()} if isinstance(found, dict) else {}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def family_rows(rows: Sequence[Row]) -> list[dict[str, object]]:
    """What lies between replicas: a line for each family, for FAMILY_COLUMNS.

    The deviation is that of a sample. Returns are of all decisions, whichever count for a rank.
    """
    found = []
    for family, members in families(rows).items():
        returns = [value for _, value in members]
        found.append(
            {
                "family": family,
                "replicas": len(returns),
                "mean_frac": fmean(returns),
                "deviation_frac": stdev(returns) if len(returns) > 1 else None,
                "lowest_frac": min(returns),
                "highest_frac": max(returns),
            }
        )
    return found


def families(rows: Sequence[Row]) -> dict[str, list[tuple[str, float]]]:
    """By family: its replicas that play, with their returns, in the order of the standings."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        value = row.get("all_frac")
        if row.get("family") and isinstance(value, float):
            found.setdefault(str(row["family"]), []).append((str(row["engine"]), value))
    return found
