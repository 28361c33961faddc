"""A question to a model and what came of it: plain values, and the protocol of who answers.

Everything that comes from outside (the reply, its tokens, how long it took, that it did not
come) is in one `Reply`; what a gladiator makes of it is computed from the reply alone. So a
season that hears the recorded replies again makes the same decisions.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Literal, Protocol

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


class Outcome(StrEnum):
    """What came of a question. All but ANSWERED end in an abstention of that name."""

    ANSWERED = "answered"
    EMPTY = "empty"  # the model said nothing
    DECLINED = "declined"  # the model, or its provider's filter, would not answer
    CUT_SHORT = "cut-short"  # the answer ran into the limit of output tokens
    GARBLED = "garbled"  # the provider's reply could not be read
    LATE = "late"  # no answer within the deadline
    UNREACHABLE = "unreachable"  # no connection, or it broke
    RATE_LIMITED = "rate-limited"  # 429, or our own limit
    OVERLOADED = "overloaded"  # 5xx and 529
    UNAUTHORISED = "unauthorised"  # 401, 403
    REJECTED = "rejected"  # any other 4xx: the model is not there, the request is not taken
    OVER_BUDGET = "over-budget"  # not asked: today's money is spent
    UNPRICED = "unpriced"  # not asked: nobody knows what it would cost
    BREAKER_OPEN = "breaker-open"  # not asked: the provider failed too often just now
    NOT_RECORDED = "not-recorded"  # recorded replies are heard, and there is none to this


class Message(msgspec.Struct, frozen=True):
    """One turn of the conversation, after the system prompt."""

    role: Literal["user", "assistant"]
    text: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """All that is sent, and for whom. Keys are not part of it."""

    engine: str  # the gladiator, replica included
    at_ns: int  # the market's time at which it is asked
    attempt: int  # 1: the question; 2: the request to repair the answer; 3: the reflection
    provider: str  # a name of `providers.PROVIDERS`
    model: str
    prompt_version: str
    system: str
    messages: tuple[Message, ...]
    schema: dict[str, object]  # JSON schema of the answer
    max_output_tokens: int
    temperature: float | None = None  # None: the model's own
    seed: int | None = None

    def params(self) -> dict[str, object]:
        """The parameters beside the texts, JSON values."""
        return {
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }

    def digest(self) -> str:
        """SHA-256, hex, of all that is sent: what a recorded reply must be the reply to."""
        sent = (
            self.provider,
            self.model,
            self.system,
            [(message.role, message.text) for message in self.messages],
            self.schema,
            self.params(),
        )
        return sha256(_encode(sent)).hexdigest()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them."""

    input_tokens: int  # all of them, cached ones included
    output_tokens: int
    cached_tokens: int = 0  # of the input: read from the provider's cache


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a question."""

    outcome: Outcome
    text: str = ""  # what the model said: the arguments of its tool call, else its text
    error: str = ""  # in words, without secrets; "" where it answered
    model: str = ""  # as the provider names it; "" where it did not
    finish: str = ""  # why the model stopped, as the provider says
    usage: Usage | None = None  # None: the provider did not say
    cost_units: int | None = None  # 1e-8 USD; None: unknown
    latency_ns: int = 0  # of the whole call, tries and pauses between them included
    tries: int = 0  # requests that went out
    called_ns: int = 0  # the machine's time; enters no hash


class ModelClient(Protocol):
    """Whoever answers questions: a provider, the recorded replies, or nobody."""

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        """The reply, within the deadline or LATE. Raises nothing of its own."""
        ...
