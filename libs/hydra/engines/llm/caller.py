"""All gladiators' questions, put to their providers: with patience, in turn, and within budget.

A question waits for its turn (`calls_at_once`, `calls_per_minute`), is refused where its provider
failed too often just now or the day's money is spent, is repeated after what may pass, and ends
at its deadline whatever happens. Each provider has its own queue: a slow one delays nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Literal, Self

import msgspec
import stamina
from aiolimiter import AsyncLimiter

from hydra.clock import NS_PER_S, Clock, monotonic_ns
from hydra.engines.llm.budget import Budget, Reservation
from hydra.engines.llm.calls import Outcome, Question, Reply
from hydra.engines.llm.line import Attempt, Line, Wire, http_client
from hydra.engines.llm.pricing import Price, cost_units, most_units, price
from hydra.engines.llm.providers import (
    PROVIDERS,
    FindSecret,
    base_url_of,
    key_of,
    key_variable_of,
    why_benched,
)  # fmt: skip
from hydra.engines.llm.roster import Gladiator
from hydra.settings import secret

# How often a question was repeated is in its reply; where nobody keeps logs it is not printed.
logging.getLogger("stamina").addHandler(logging.NullHandler())

# Gateways cut connections that are silent for minutes: what may take longer is streamed.
STREAM_ABOVE_S = 120.0
# What may pass, and is asked again.
PASSING = frozenset({Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.UNREACHABLE})
# What speaks against the provider rather than the question.
FAULTS = frozenset({Outcome.OVERLOADED, Outcome.UNREACHABLE, Outcome.LATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and after which pauses a question is repeated, and when a provider is left alone.

    The pause before the n-th repetition is `first_pause_s` · 2^(n-1), at most `longest_pause_s`,
    of which a random half is taken off; where the provider says how long to wait, it is that.
    """

    tries: int = 3
    first_pause_s: float = 0.5
    longest_pause_s: float = 8.0
    most_faults: int = 5  # in a row; then the provider is not asked
    leave_alone_s: float = 30.0

    def longest_s(self, tries: int) -> float:
        """The longest pause after so many tries."""
        doublings = min(tries - 1, 60)
        return min(self.first_pause_s * 2.0**doublings, self.longest_pause_s)

    def pause_s(self, tries: int, jitter: Random) -> float:
        """A pause after so many tries: from half the longest to all of it."""
        return self.longest_s(tries) * (1 - jitter.random() / 2)


PATIENCE = Patience()


class Breaker:
    """Stops asking a provider that failed `most_faults` times in a row.

    After `leave_alone_ns` one request may try; its success lets all others in again. Instants
    are given, of a clock that only goes forward.
    """

    def __init__(self, most_faults: int, leave_alone_ns: int) -> None:
        self._most_faults = most_faults
        self._leave_alone_ns = leave_alone_ns
        self._faults = 0
        self._next_try_ns = 0
        self._is_trying = False

    def is_open(self, now_ns: int) -> bool:
        """Whether a request would be refused now."""
        if self._faults < self._most_faults:
            return False
        return self._is_trying or now_ns < self._next_try_ns

    def admit(self, now_ns: int) -> bool:
        """Whether a request may go; the caller then says what came of it by `note` or `forget`."""
        if self.is_open(now_ns):
            return False
        self._is_trying = self._faults >= self._most_faults
        return True

    def note(self, is_fault: bool, now_ns: int) -> None:
        self._is_trying = False
        self._faults = self._faults + 1 if is_fault else 0
        self._next_try_ns = now_ns + self._leave_alone_ns

    def forget(self) -> None:
        """The request ended without a word on the provider."""
        self._is_trying = False


@dataclass(frozen=True, slots=True)
class _Gate:
    """What all who use one provider at one address share."""

    title: str
    turns: asyncio.Semaphore
    pace: AsyncLimiter
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class _Seat:
    """A gladiator that plays, all replicas of it."""

    gladiator: Gladiator
    price: Price | None
    gate: _Gate
    line: Line


@dataclass(slots=True)
class _Call:
    """One question on its way."""

    question: Question
    ends_ns: int  # monotonic
    is_streamed: bool
    phase: Literal["opening", "waiting", "asking", "pausing"] = "opening"
    tries: int = 0
    cost_units: int | None = 0  # so far; None: some of it is unknown
    failed: Reply | None = None  # what came of the try before

    def left_s(self) -> float:
        return (self.ends_ns - monotonic_ns()) / NS_PER_S


class _Again(Exception):
    """A try that failed in a way that may pass."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.reply.error)
        self.attempt = attempt


class LiveModels:
    """Answers the questions of all gladiators of a program; a `ModelClient`.

    It lives in one event loop. Use it in `async with`, or call `open`, which may be left out
    (questions then load what they need), and `aclose`.
    """

    def __init__(
        self,
        gladiators: Mapping[str, Gladiator],
        *,
        clock: Clock,
        spent_units: Mapping[str, int] | None = None,
        jitter: Random | None = None,
        patience: Patience = PATIENCE,
        find_secret: FindSecret = secret,
    ) -> None:
        """Reads keys and addresses; asks nobody yet.

        `gladiators` by the name under which they ask, replica included. `spent_units` by the
        gladiator's own name: what it spent today before, in 1e-8 USD. `jitter` draws the pauses
        (without one: seeded with the clock's instant); it moves wall time only, never a reply.
        """
        self._clock = clock
        self._jitter = jitter or Random(clock.now_ns())  # noqa: S311, no secret hangs on it
        self._patience = patience
        self._find_secret = find_secret
        self._client = http_client()
        kinds = {one.name: one for one in gladiators.values()}
        self.budget = Budget(
            {name: one.daily_budget_usd for name, one in kinds.items()},
            clock=clock,
            spent_units=spent_units,
        )
        self._benched = {
            name: why for name, one in kinds.items() if (why := why_benched(one, find_secret))
        }
        self._gates: dict[tuple[str, str], _Gate] = {}
        playing = [one for name, one in kinds.items() if name not in self._benched]
        seats = {one.name: self._seat(one, playing) for one in playing}
        self._seats = {
            replica: seats.get(one.name, one.name) for replica, one in gladiators.items()
        }

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.aclose()

    async def open(self) -> None:
        """Load the SDKs of all who play, lest the first question of each spend a second on it."""
        for seat in self._seats.values():
            if isinstance(seat, _Seat):
                await _load(seat)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        """The reply, within the deadline or LATE. Raises nothing of its own.

        Above STREAM_ABOVE_S the answer is streamed. A refusal by HTTP status costs nothing, as no
        provider bills it; what broke off or is late has an unknown cost.
        """
        called_ns, started_ns = self._clock.now_ns(), monotonic_ns()
        ends_ns = started_ns + round(deadline_s * NS_PER_S)
        call = _Call(question, ends_ns, is_streamed=deadline_s > STREAM_ABOVE_S)
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self._answer(call)
        except TimeoutError:
            reply = self._at_the_deadline(call, deadline_s)
        except Exception as error:  # a fault of ours must not stop a season
            reply = _refused(Outcome.GARBLED, self._scrub(f"unforeseen: {error!r}"))
        return msgspec.structs.replace(
            reply,
            tries=call.tries,
            cost_units=call.cost_units,
            latency_ns=monotonic_ns() - started_ns,
            called_ns=called_ns,
        )

    async def _answer(self, call: _Call) -> Reply:
        question = call.question
        seat = self._seats.get(question.engine)
        if seat is None:
            return _refused(Outcome.REJECTED, f"nobody is called {question.engine}")
        if isinstance(seat, str):
            why = self._benched[seat]
            has_no_key = why.startswith("no key")
            return _refused(Outcome.UNAUTHORISED if has_no_key else Outcome.REJECTED, why)
        plays = f"{seat.gladiator.provider}/{seat.gladiator.model}"
        if (asked := f"{question.provider}/{question.model}") != plays:
            return _refused(Outcome.REJECTED, f"{seat.gladiator.name} plays {plays}, not {asked}")
        if seat.gate.breaker.is_open(monotonic_ns()):
            return _left_alone(seat.gate)
        await _load(seat)
        repeated = stamina.retry_context(
            on=self._pause(call, seat.gate), attempts=self._patience.tries, timeout=None
        )
        try:
            async for attempt in repeated:
                with attempt:
                    return await self._try(call, seat)
        except _Again as again:
            return again.attempt.reply
        raise AssertionError("retry_context ends by a return or by raising")

    async def _try(self, call: _Call, seat: _Seat) -> Reply:
        """One request, in its turn. Raises _Again where it failed in a way that may pass."""
        gate = seat.gate
        call.phase = "waiting"
        async with gate.turns:
            await gate.pace.acquire()
            at_ns = self._clock.now_ns()
            most = most_units(seat.price, call.question, at_ns=at_ns)
            held = self.budget.reserve(seat.gladiator.name, most)
            if isinstance(held, Outcome):
                return call.failed or _unaffordable(held, seat.gladiator)
            if not gate.breaker.admit(monotonic_ns()):
                held.settle(0)
                return call.failed or _left_alone(gate)
            attempt = await self._send(call, seat, held, at_ns)
        if attempt.reply.outcome in PASSING:
            call.failed = attempt.reply
            raise _Again(attempt)
        return attempt.reply

    async def _send(self, call: _Call, seat: _Seat, held: Reservation, at_ns: int) -> Attempt:
        call.phase = "asking"
        spent, call.cost_units = call.cost_units, None  # unknown, should it be cancelled
        wire = Wire()
        try:
            attempt = await seat.line.ask(call.question, wire, is_streamed=call.is_streamed)
        except asyncio.CancelledError:
            seat.gate.breaker.forget()
            raise
        finally:
            call.tries += wire.requests
        call.phase = "pausing"
        seat.gate.breaker.note(attempt.reply.outcome in FAULTS, monotonic_ns())
        cost = 0 if attempt.is_free else cost_units(
            seat.price, attempt.reply.usage,
            at_ns=at_ns, cache_write_tokens=attempt.cache_write_tokens,
        )  # fmt: skip
        held.settle(cost)
        call.cost_units = None if spent is None or cost is None else spent + cost
        return attempt

    def _pause(self, call: _Call, gate: _Gate) -> Callable[[Exception], bool | float]:
        """Seconds until the next try, or False: none would come in time, or be let through."""

        def pause(error: Exception) -> bool | float:
            if not isinstance(error, _Again):
                return False
            pause_s = error.attempt.retry_after_s
            if pause_s is None:
                pause_s = self._patience.pause_s(call.tries, self._jitter)
            if pause_s >= call.left_s() or gate.breaker.is_open(monotonic_ns()):
                return False
            return pause_s

        return pause

    def _at_the_deadline(self, call: _Call, deadline_s: float) -> Reply:
        seat = self._seats.get(call.question.engine)
        if call.phase == "asking" and isinstance(seat, _Seat):
            seat.gate.breaker.note(is_fault=True, now_ns=monotonic_ns())
        elif call.failed is not None:
            return call.failed
        elif call.phase == "waiting" and isinstance(seat, _Seat):
            words = f"no turn within {deadline_s:g} s: see calls_per_minute and calls_at_once"
            return _refused(Outcome.RATE_LIMITED, words)
        return _refused(Outcome.LATE, f"no answer within {deadline_s:g} s")

    def _scrub(self, text: str) -> str:
        for seat in self._seats.values():
            text = seat.line.scrub(text) if isinstance(seat, _Seat) else text
        return text

    def _seat(self, one: Gladiator, playing: Iterable[Gladiator]) -> _Seat:
        url = base_url_of(one)
        place = (one.provider, url)
        if place not in self._gates:
            sharing = [two for two in playing if (two.provider, base_url_of(two)) == place]
            self._gates[place] = self._gate(PROVIDERS[one.provider].title, sharing)
        key = key_of(one, self._find_secret)
        line = Line(one.provider, url, key, key_variable_of(one), self._client)
        return _Seat(one, price(one), self._gates[place], line)

    def _gate(self, title: str, sharing: Sequence[Gladiator]) -> _Gate:
        per_minute = min(one.calls_per_minute for one in sharing)
        # A leaky bucket: so many at once, then evenly. It holds at least the one that leaves.
        at_once = max(1.0, per_minute)
        return _Gate(
            title=title,
            turns=asyncio.Semaphore(min(one.calls_at_once for one in sharing)),
            pace=AsyncLimiter(at_once, 60.0 * at_once / per_minute),
            breaker=Breaker(
                self._patience.most_faults, round(self._patience.leave_alone_s * NS_PER_S)
            ),
        )


async def _load(seat: _Seat) -> None:
    """Load the SDK in a thread: its import takes a second, which must not hold up the others."""
    model = seat.gladiator.model
    if not seat.line.is_open(model):
        with suppress(Exception):  # it fails again in `Line.ask`, which says it in words
            await asyncio.to_thread(seat.line.open, model)


def _refused(outcome: Outcome, why: str) -> Reply:
    return Reply(outcome=outcome, error=why)


def _left_alone(gate: _Gate) -> Reply:
    return _refused(Outcome.BREAKER_OPEN, f"{gate.title} failed too often just now: not asked")


def _unaffordable(why: Outcome, one: Gladiator) -> Reply:
    if why is Outcome.UNPRICED:
        set_them = f"set usd_per_mtok_in and usd_per_mtok_out of {one.name}"
        return _refused(why, f"nobody knows what {one.model} costs: {set_them}")
    left = "with what is reserved and what this could cost"
    return _refused(why, f"above today's {one.daily_budget_usd} USD of {one.name}, {left}")
