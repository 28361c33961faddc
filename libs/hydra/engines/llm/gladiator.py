"""A gladiator: an engine that asks a language model what to do.

It puts what it sees into words, asks, reads the answer, asks once more where the answer cannot
be read, and turns what is left into intents. All of it but the model's replies is computed from
what it was shown, so the same replies give the same decisions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from hydra.clock import NS_PER_S
from hydra.engines.llm.brief import compose
from hydra.engines.llm.calls import Message, ModelClient, Outcome, Question, Reply
from hydra.engines.llm.decisions import SCHEMA, UNSTORABLE, clean
from hydra.engines.llm.judge import Judged, judge
from hydra.engines.llm.memory import (
    REFLECTION_SCHEMA,
    Memory,
    parse_reflection,
    reflection_question,
)
from hydra.engines.llm.recorded import row_of
from hydra.engines.llm.reply import MOST_BYTES, Parsed, parse_reply, repair_request
from hydra.engines.llm.roster import Gladiator
from hydra.engines.protocol import Abstention, Answer, Refusal
from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.tournament.season import LessonRow, ModelCallRow, PromptRow

QUESTION, REPAIR, REFLECTION = 1, 2, 3
LEAST_REPAIR_S = 1.0  # with less of the deadline left nothing is repaired
SCHEMA_TEXT = msgspec.json.encode(SCHEMA).decode()  # it costs tokens like the prompt
MOST_SAID = 500  # characters of what a provider says beside the answer
MOST_QUOTED = 8_000  # characters of its own answer that a model is shown again
# What does not pass by itself: somebody has to change a setting.
LASTING = frozenset({Outcome.UNAUTHORISED, Outcome.REJECTED, Outcome.UNPRICED})


class _Asked:
    """What was seen when a question was put, which does not move on with the market."""

    __slots__ = ("at_ns", "tickets", "view")

    def __init__(self, view: View) -> None:
        self.at_ns = view.account.now_ns
        self.view = view.still()
        self.tickets = view.account.tickets


@dataclass(slots=True, kw_only=True)
class GladiatorEngine:
    """One gladiator of a season. Raises EngineError where its prompt cannot be made to fit."""

    name: str  # in the season: claude, or claude#2
    settings: Gladiator
    client: ModelClient
    prompt: PromptRow  # the system prompt
    features: Sequence[Feature] = ()
    _memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self._memory = Memory(self.name)

    async def decide(self, view: View) -> Answer:
        """Ask, once for all symbols. Never raises for what a model or a network does."""
        # When the answer is there the market may have gone on: it is an answer to what was seen.
        asked = _Asked(view)
        lessons = self._memory.take(view.account.closed, asked.at_ns)
        brief = compose(view, self.settings, self._memory)
        seen = brief.text(self.settings.prompt_tokens, self.prompt.text + SCHEMA_TEXT)
        question = self._question(asked, QUESTION, Message("user", seen))
        if not (self.settings.reflect and lessons):
            return await self._ask(asked, question, lessons)
        answer, (call, lessons) = await asyncio.gather(
            self._ask(asked, question, ()), self._reflect(asked, lessons)
        )
        return msgspec.structs.replace(answer, calls=(*answer.calls, call), lessons=lessons)

    def _question(
        self,
        asked: _Asked,
        attempt: int,
        *messages: Message,
        schema: dict[str, object] = SCHEMA,
    ) -> Question:
        one = self.settings
        return Question(
            engine=self.name,
            at_ns=asked.at_ns,
            attempt=attempt,
            provider=one.provider,
            model=one.model,
            prompt_version=self.prompt.version,
            system=self.prompt.text,
            messages=messages,
            schema=schema,
            max_output_tokens=one.max_output_tokens,
            temperature=one.temperature,
            seed=one.seed,
        )

    async def _ask(
        self, asked: _Asked, question: Question, lessons: tuple[LessonRow, ...]
    ) -> Answer:
        deadline_s = self.settings.deadline_s
        reply = _storable(await self.client.ask(question, deadline_s=deadline_s))
        calls = [self._row(question, reply)]
        took_ns = reply.latency_ns
        parsed = parse_reply(reply.text) if reply.outcome is Outcome.ANSWERED else None
        if parsed is not None and parsed.faults:
            left_s = deadline_s - took_ns / NS_PER_S
            if left_s >= LEAST_REPAIR_S:
                again = self._question(
                    asked,
                    REPAIR,
                    *question.messages,
                    Message("assistant", reply.text[:MOST_QUOTED]),
                    Message("user", repair_request(parsed)),
                )
                repaired = _storable(await self.client.ask(again, deadline_s=left_s))
                calls.append(self._row(again, repaired))
                took_ns += repaired.latency_ns
                if repaired.outcome is Outcome.ANSWERED:
                    parsed = _better(parsed, parse_reply(repaired.text))
        decided = _abstained(reply) if parsed is None else self._decided(parsed, asked)
        return msgspec.structs.replace(
            decided, calls=tuple(calls), lessons=lessons, latency_ns=self._latency_ns(took_ns)
        )

    def _row(self, question: Question, reply: Reply) -> ModelCallRow:
        return row_of(question, reply, self.prompt.sha256)

    def _latency_ns(self, took_ns: int) -> int:
        """From the question to the orders: as set, else as measured, in whole seconds (up).

        Whole seconds, since nobody's figure is good to the millisecond, and so that two plays
        against the same models need not differ by a jitter of the line.
        """
        if self.settings.latency_s is not None:
            return int(self.settings.latency_s * NS_PER_S)
        return -(-took_ns // NS_PER_S) * NS_PER_S

    def _decided(self, parsed: Parsed, asked: _Asked) -> Answer:
        if parsed.faults and not parsed.decisions:
            return Answer(abstention=Abstention(reason="unparseable", text=parsed.faults[0]))
        judged: Judged = judge(
            parsed.decisions,
            asked.view,
            timeframes=_timeframes(asked.view),
            tickets=asked.tickets,
        )
        faulty = tuple(
            Refusal(
                symbol=str(raw.get("asset", ""))[:40],
                rule="schema",
                limit="a decision of the schema",
                figure="",
                text=fault,
                decision=raw,
            )
            for raw, fault in parsed.rejected
        )
        return Answer(
            intents=judged.intents, refusals=(*judged.refusals, *faulty), holds=judged.holds
        )

    async def _reflect(
        self, asked: _Asked, lessons: tuple[LessonRow, ...]
    ) -> tuple[ModelCallRow, tuple[LessonRow, ...]]:
        """Ask what the model learns from its newest tickets; its next prompt has the words."""
        text = reflection_question(lessons)
        question = self._question(
            asked, REFLECTION, Message("user", text), schema=REFLECTION_SCHEMA
        )
        asking = self.client.ask(question, deadline_s=self.settings.deadline_s)
        reply = _storable(await asking)
        call = self._row(question, reply)
        words = parse_reflection(reply.text) if reply.outcome is Outcome.ANSWERED else ""
        *others, newest = lessons
        told = self._memory.add_words(newest.at_ns, newest.ticket, words) if words else None
        return call, (*others, told or newest)


def _storable(reply: Reply) -> Reply:
    """The reply as every store can keep it: what is read now is what is read again later.

    A text that is too long to be read stays so, but is not kept to its end.
    """
    return msgspec.structs.replace(
        reply,
        text=UNSTORABLE.sub("\ufffd", reply.text[: MOST_BYTES + 1]),
        error=clean(reply.error, MOST_SAID),
        model=clean(reply.model, MOST_SAID),
        finish=clean(reply.finish, MOST_SAID),
    )


def _better(first: Parsed, repaired: Parsed) -> Parsed:
    """The repaired answer, unless nothing in it can be read and something in the first can."""
    return first if first.decisions and not repaired.decisions and repaired.faults else repaired


def _abstained(reply: Reply) -> Answer:
    return Answer(
        abstention=Abstention(
            reason=reply.outcome.value,
            text=reply.error or f"the model's answer is {reply.outcome.value}",
            lasting=reply.outcome in LASTING,
        )
    )


def _timeframes(view: View) -> dict[str, tuple[int, ...]]:
    """Lengths in ns of the bars that it sees of each symbol."""
    return {
        symbol: tuple(
            shown[symbol].resolution_ns for shown in (view.market, view.wider) if symbol in shown
        )
        for symbol in view.market
    }
