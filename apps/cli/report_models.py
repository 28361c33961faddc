"""The report's section on language models: what they cost, what they said, how far it was true.

Everything in it is bounded, whatever a model has said and however many of them play.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from sqlalchemy import Connection

from apps.cli.calibration_plot import LEAST_CASES, Cases, Diagram, diagram, frame
from apps.cli.curves import nice_ticks
from apps.cli.gladiator_lines import (
    abstentions_of,
    counts_part,
    families,
    family_rows,
    is_gladiator,
)
from apps.cli.page import clip
from hydra.clock import NS_PER_S, iso
from hydra.engines.llm.calls import Outcome
from hydra.engines.llm.gladiator import REFLECTION, REPAIR
from hydra.engines.llm.memory import parse_reflection
from hydra.engines.llm.reply import parse_reply
from hydra.market.instruments import UNITS_PER_USD
from hydra.storage import queries
from hydra.storage.call_figures import CallFigures, call_figures
from hydra.tournament.season import EngineRow, LessonRow, ModelCallRow, TicketRow

LAST_CALLS = 100
LAST_LESSONS = 60
MOST_PLAYERS = 60  # lines of a table
MOST_DIAGRAMS = 12
MOST_REPLY = 1_500  # characters of a raw reply
MOST_SAID = 240  # of a thesis, a lesson or an error
MOST_NAME = 60  # of a model or an asset
MOST_DECISIONS = 6  # of a reply
MOST_REASONS = 8  # of abstaining
_STRIP_WIDTH, _STRIP_EDGE = 380, 20

Row = Mapping[str, object]


def models_section(
    connection: Connection,
    season: str,
    *,
    rows: Sequence[Row],
    engines: Sequence[EngineRow],
    tickets: Sequence[TicketRow],
    looks: Mapping[str, str],
) -> dict[str, object] | None:
    """What the template shows; None where no gladiator was entered."""
    by_name = {row.engine: row for row in engines}
    playing = [row for row in rows if row.get("model_calls") is not None]
    bench = [row for row in engines if is_gladiator(row) and row.state == "benched"]
    asked = {str(row["engine"]) for row in playing}
    absent = [row for row in bench if row.engine not in asked]
    if not playing and not any(is_gladiator(row) for row in engines):
        return None
    figures = call_figures(connection, season)
    calls = queries.model_calls(connection, season, limit=LAST_CALLS)
    lessons = queries.lessons(connection, season)
    newest = sorted(lessons, key=lambda one: (one.at_ns, one.ticket), reverse=True)
    return {
        "players": [_player(row, by_name, figures) for row in playing[:MOST_PLAYERS]],
        "player_count": len(playing),
        "answers": [_answers(row) for row in playing[:MOST_PLAYERS]],
        "absent": [_absent(row) for row in absent[:MOST_PLAYERS]],
        "absent_count": len(absent),
        "diagrams": _diagrams(rows, tickets, looks),
        "least_cases": LEAST_CASES,
        "frame": frame(),
        "families": _families(rows),
        "calls": [_call(row) for row in calls[::-1]],
        "call_count": sum(sum(one.outcomes.values()) for one in figures.values()),
        "most_reply": MOST_REPLY,
        "lessons": [_lesson(row) for row in newest[:LAST_LESSONS]],
        "lesson_count": len(lessons),
    }


def _player(
    row: Row, engines: Mapping[str, EngineRow], figures: Mapping[str, CallFigures]
) -> dict[str, object]:
    name = str(row["engine"])
    one, engine = figures.get(name), engines.get(name)
    params = engine.params if engine is not None else {}
    asked = clip(row.get("model") or "", MOST_NAME)
    said = [clip(model, MOST_NAME) for model in (one.models if one else ())]
    return {
        "engine": name,
        "model": asked,
        "provider": clip(row.get("provider") or "", MOST_NAME),
        # Where the provider names the model in more detail than it was asked for.
        "said": ", ".join(model for model in said[:2] if model != asked),
        "every": clip(params.get("every") or "", MOST_NAME),
        "prompt": clip(params.get("prompt") or "", MOST_NAME),
        "calls": row["model_calls"],
        "repairs": row["model_repairs"],
        "tokens_in": row["model_input_tokens"],
        "tokens_out": row["model_output_tokens"],
        "cost": row["model_cost_usd"],
        "unknown": row["model_unknown_costs"],
        "net": row["net_pnl_usd"],
        "net_of_models": row.get("net_of_models_usd"),
        "counted": row.get("counted_pnl_usd") if counts_part(row) else None,
        "p50": _seconds(one.latency_p50_ns if one else None),
        "p95": _seconds(one.latency_p95_ns if one else None),
        "tag": row.get("tag"),
        "cutoff": row.get("cutoff", ""),
    }


def _seconds(ns: int | None) -> str:
    return "" if ns is None else f"{ns / NS_PER_S:,.2f} s"


def _answers(row: Row) -> dict[str, object]:
    """Its answers, cut into those that decided, held and abstained, and why it abstained.

    How many there were is known at the season's end only.
    """
    reasons = abstentions_of(row)
    abstained, total = sum(reasons.values()), row.get("model_answers")
    parts: list[tuple[str, int]] = []
    if isinstance(total, int):
        held = _int(row["model_holds"])
        parts = [("decided", max(0, total - held - abstained)), ("held", held)]
    parts.append(("abstained", abstained))
    whole = max(1, sum(count for _, count in parts))
    shown = [(clip(reason, MOST_NAME), count) for reason, count in reasons.items()]
    return {
        "engine": row["engine"],
        "total": total,
        "counts": {"decided": None, "held": None} | dict(parts),
        "refused": row.get("model_refused"),
        "parts": [(kind, round(100 * count / whole, 2)) for kind, count in parts if total],
        "reasons": shown[:MOST_REASONS],
        "other_reasons": sum(count for _, count in shown[MOST_REASONS:]),
        "says": ", ".join(f"{kind} {count}" for kind, count in parts),
    }


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _absent(row: EngineRow) -> dict[str, object]:
    return {
        "engine": row.engine,
        "model": clip(row.params["model"], MOST_NAME),
        "provider": clip(row.params["provider"], MOST_NAME),
        "reason": clip(row.reason, MOST_SAID),
    }


# How far it was true


def _diagrams(
    rows: Iterable[Row], tickets: Sequence[TicketRow], looks: Mapping[str, str]
) -> list[Diagram]:
    """Replicas are one model and share a diagram; most cases first."""
    members: dict[str, list[str]] = {}
    for row in rows:
        if row.get("model_calls") is not None:
            name = str(row["engine"])
            members.setdefault(str(row.get("family") or name), []).append(name)
    found = []
    for name, engines in members.items():
        mine = set(engines)
        title = clip(name, MOST_NAME)
        title += f" ({len(engines)} replicas)" if len(engines) > 1 else ""
        cases = Cases.of(ticket for ticket in tickets if ticket.engine in mine)
        found.append(diagram(title, looks.get(engines[0], ""), cases))
    found.sort(key=lambda one: -one.cases)
    return found[:MOST_DIAGRAMS]


def _families(rows: Sequence[Row]) -> dict[str, object]:
    """Replicas on one scale, so that the spread within a model is seen beside its mean."""
    members = families(rows)
    returns = [value for found in members.values() for _, value in found]
    low, high = min([0.0, *returns]), max([0.0, *returns])
    room = (high - low) * 0.04 or 0.01
    low, high = low - room, high + room

    def x(value: float) -> float:
        width = _STRIP_WIDTH - 2 * _STRIP_EDGE
        return round(_STRIP_EDGE + width * (value - low) / (high - low), 1)

    lines = [
        {
            **one,
            "family": clip(one["family"], MOST_NAME),
            "dots": [(name, value, x(value)) for name, value in members[str(one["family"])]],
            "mean_x": x(fmean(value for _, value in members[str(one["family"])])),
        }
        for one in family_rows(rows)
    ]
    ticks = [(value, x(value)) for value in nice_ticks(low, high, 4)]
    return {"lines": lines, "width": _STRIP_WIDTH, "zero": x(0.0), "ticks": ticks}


# What was said


def _call(row: ModelCallRow) -> dict[str, object]:
    kinds = {REPAIR: "repair", REFLECTION: "reflection"}
    return {
        "at": iso(row.at_ns),
        "engine": row.engine,
        "kind": kinds.get(row.attempt, "question"),
        "outcome": clip(row.outcome, MOST_NAME),
        "error": clip(row.error, MOST_SAID),
        "latency": _seconds(row.latency_ns) if row.tries else "",
        "tries": row.tries,
        "tokens_in": row.input_tokens,
        "tokens_out": row.output_tokens,
        "cost": None if row.cost_units is None else row.cost_units / UNITS_PER_USD,
        "said": said_in(row),
        "reply": clip(row.reply, MOST_REPLY),
        "size": len(row.reply),
    }


def said_in(row: ModelCallRow) -> list[tuple[str, str]]:
    """(what it decided, why) of a reply, equal ones together; or why it cannot be used."""
    if not row.reply:
        return []
    if row.attempt == REFLECTION:
        return [("lesson", clip(parse_reflection(row.reply), MOST_SAID))]
    parsed = parse_reply(row.reply)
    alike: dict[tuple[str, str], list[str]] = {}
    for one in parsed.decisions:
        key = (one.action.value.replace("_", " "), clip(one.thesis, MOST_SAID))
        alike.setdefault(key, []).append(clip(one.asset, MOST_NAME))
    said = [(f"{action} {', '.join(assets)}", why) for (action, why), assets in alike.items()]
    if row.outcome == Outcome.ANSWERED and not parsed.decisions:
        faults = parsed.faults[:1]
        said = [("not understood:", fault) for fault in faults] or [("no change", "")]
    else:
        said += [("not taken:", fault) for _, fault in parsed.rejected]
    return [
        (clip(what, 2 * MOST_NAME), clip(why, MOST_SAID)) for what, why in said[:MOST_DECISIONS]
    ]


def _lesson(row: LessonRow) -> dict[str, object]:
    return {
        "at": iso(row.at_ns),
        "engine": row.engine,
        "ticket": row.ticket,
        "text": clip(row.text, 2 * MOST_SAID),
        "words": clip(row.words, MOST_SAID),
    }
