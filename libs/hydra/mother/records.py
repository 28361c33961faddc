"""Values as the journal and the engines are told of them."""

from __future__ import annotations

from hashlib import sha256

from hydra.engines.view import Ruling
from hydra.guardian.verdicts import Approved, Refused
from hydra.mother.ledgers import LiveTicket
from hydra.tournament.season import ModelCallRow


def verdict_of(refused: Refused) -> dict[str, object]:
    """A refusal as the journal keeps it."""
    return {
        "rule": refused.rule,
        "limit": refused.limit,
        "figure": refused.figure,
        "text": refused.text,
    }


def resizing_of(verdict: Approved, ticket: LiveTicket, now_ns: int) -> Ruling:
    """What its engine is told of an order that the guardian made smaller."""
    one = ticket.instrument
    changes = [
        f"{one.lots(change.from_steps)} to {one.lots(change.to_steps)} lots by {change.rule}"
        for change in verdict.changes
    ]
    return Ruling(
        at_ns=now_ns,
        symbol=one.symbol,
        kind="resized",
        rule=", ".join(dict.fromkeys(change.rule for change in verdict.changes)),
        text="; ".join(changes),
    )


def facts_of(call: ModelCallRow) -> dict[str, object]:
    """A question to a model as the journal keeps it.

    Only what a repetition with the same replies gives again: texts by their hashes, and
    neither the machine's time nor what the line did. The row has all of it.
    """
    return {
        # The record itself is as late as the answer.
        "asked_ns": call.at_ns,
        "attempt": call.attempt,
        "model": call.model,
        "model_said": call.model_said,
        "prompt_sha256": call.prompt_sha256,
        "reply_sha256": sha256(call.reply.encode()).hexdigest(),
        "outcome": call.outcome,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_units": call.cost_units,
    }
