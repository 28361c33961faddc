"""Answers from the rows of calls that were made before."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hydra.engines.llm.calls import ModelClient, Outcome, Question, Reply, Usage
from hydra.errors import AnswerLost
from hydra.tournament.season import ModelCallRow


class RecordedModels:
    """`ModelClient` that hears recorded replies again, and asks nobody (or only `otherwise`).

    A reply counts only for the very prompt that it was the reply to. `missed` counts the
    questions that had none.
    """

    def __init__(
        self,
        rows: Iterable[ModelCallRow],
        *,
        otherwise: ModelClient | None = None,
        lost_until_ns: int | None = None,
    ) -> None:
        """`lost_until_ns`: to what was asked live until then, and has no reply, none ever came;
        `ask` raises AnswerLost."""
        self._lost_until_ns = lost_until_ns
        self._rows = {(row.engine, row.at_ns, row.attempt): row for row in rows}
        self._otherwise = otherwise
        self.missed = 0

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        row = self._rows.get((question.engine, question.at_ns, question.attempt))
        if row is None:
            if self._lost_until_ns is not None and question.at_ns <= self._lost_until_ns:
                raise AnswerLost(f"{question.engine} was never answered")
            if self._otherwise is not None:
                return await self._otherwise.ask(question, deadline_s=deadline_s)
            return self._miss("there is no recorded reply to this question")
        if row.prompt_sha256 != question.digest():
            return self._miss(
                "the recorded reply answers another prompt: bars, settings or the program differ"
                " from those of the recording"
            )
        return reply_of(row)

    def _miss(self, why: str) -> Reply:
        self.missed += 1
        return Reply(outcome=Outcome.NOT_RECORDED, error=why)


def row_of(question: Question, reply: Reply, system_sha256: str) -> ModelCallRow:
    """The row of a question and its reply."""
    usage = reply.usage
    return ModelCallRow(
        engine=question.engine,
        at_ns=question.at_ns,
        attempt=question.attempt,
        provider=question.provider,
        model=question.model,
        model_said=reply.model,
        prompt_version=question.prompt_version,
        prompt_sha256=question.digest(),
        system_sha256=system_sha256,
        prompt=msgspec.json.encode([(one.role, one.text) for one in question.messages]).decode(),
        params=question.params(),
        outcome=reply.outcome,
        error=reply.error,
        reply=reply.text,
        finish=reply.finish,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        cost_units=reply.cost_units,
        latency_ns=reply.latency_ns,
        tries=reply.tries,
        called_ns=reply.called_ns,
    )


def reply_of(row: ModelCallRow) -> Reply:
    """The reply that a row keeps."""
    usage = None
    if row.input_tokens is not None and row.output_tokens is not None:
        usage = Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens or 0,
        )
    return Reply(
        outcome=Outcome(row.outcome),
        text=row.reply,
        error=row.error,
        model=row.model_said,
        finish=row.finish,
        usage=usage,
        cost_units=row.cost_units,
        latency_ns=row.latency_ns,
        tries=row.tries,
        called_ns=row.called_ns,
    )
