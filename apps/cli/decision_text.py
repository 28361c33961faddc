"""A record of the journal in a few words."""

from __future__ import annotations

from apps.cli.tables import money
from hydra.clock import iso

UNITS_PER_USD = 100_000_000

KINDS = (
    "season",
    "approved",
    "refused",
    "held",
    "abstained",
    "invalidated",
    "model",
    "failed",
    "benched",
    "breached",
    "eliminated",
    "spared",
    "latch",
    "breach",
    "target",
    "opened",
    "closed",
    "cancelled",
    "swap",
    "shed",
    "day",
    "balance",
    "external.kill",
    "external.release",
    "external.timeout",
    "external.answer",
    "external.lost",
)


def summary_of(kind: str, body: dict[str, object]) -> str:
    """A journal record in a few words."""
    intent = body.get("intent")
    decision = body.get("decision")
    wish = _wish(intent) if isinstance(intent, dict) else ""
    if isinstance(decision, dict):
        wish = " ".join(str(decision[k]) for k in ("action", "asset") if decision.get(k))
    if kind == "held" and isinstance(body.get("texts"), list):
        return "; ".join(str(text) for text in body["texts"])  # type: ignore[attr-defined]
    if kind == "abstained":
        return f"{body.get('reason')}: {body.get('text')}"
    if kind == "model":
        return f"{body.get('model')} {body.get('outcome')}, attempt {body.get('attempt')}"
    if kind == "refused" and isinstance(body.get("refused"), dict):
        refused = body["refused"]
        assert isinstance(refused, dict)
        return f"{wish}: {refused.get('text') or refused.get('rule')}"
    if kind == "approved":
        ticket = f" as {body['ticket']}" if "ticket" in body else ""
        lots = f", {body['lots']} lots" if "lots" in body else ""
        changes = body.get("changes")
        shrunk = ""
        if isinstance(changes, list) and changes:
            rules = sorted({str(c.get("rule")) for c in changes if isinstance(c, dict)})
            shrunk = f" (shrunk by {', '.join(rules)})"
        return f"{wish}{ticket}{lots}{shrunk}"
    for name in ("text", "reason", "rule"):
        if body.get(name):
            return str(body[name])
    return ", ".join(_figure(name, value) for name, value in body.items() if name != "engine")


def _figure(name: str, value: object) -> str:
    """A value of a record, in units for people."""
    if name.endswith("_units") and isinstance(value, int):
        return f"{name.removesuffix('_units')} {money(value / UNITS_PER_USD)}"
    if name.endswith("_ns") and isinstance(value, int):
        return f"{name.removesuffix('_ns')} {iso(value)}"
    return f"{name} {value}".replace("_", " ") if not isinstance(value, dict | list) else name


def _wish(intent: dict[str, object]) -> str:
    kind = str(intent.get("type", ""))
    if kind != "open":
        return f"{kind} {intent.get('ticket', '')}".strip()
    side = "buy" if intent.get("side") == 1 else "sell"
    stop = f" stop {intent['stop']}" if intent.get("stop") else ""
    return f"{side} {intent.get('symbol', '')}{stop}"
