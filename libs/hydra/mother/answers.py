"""What engines answered: awaited where it is not there yet, and looked at before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, cast

from hydra.clock import NS_PER_DAY
from hydra.engines.protocol import Answer, Refusal
from hydra.engines.view import View
from hydra.errors import AnswerLost
from hydra.mother.seats import Seat
from hydra.mother.watchdog import DecisionTimeout, answer_of
from hydra.portfolio.intents import fault_of
from hydra.tournament.season import LessonRow, ModelCallRow


class Lost:
    """Stands for an answer that was on its way when the program ended."""


LOST = Lost()
Wishes = list[tuple[Seat, object]]
Failure = Exception | SystemExit | DecisionTimeout
MOST_SAID = 500  # characters of an error
MOST_INTENTS = 100  # of one decision; more is no plan, and would hold up everybody else
FAILURES = (Exception, SystemExit, DecisionTimeout)
LONGEST_ANSWER_NS = NS_PER_DAY
_PARTS: dict[str, type] = {
    "intents": object, "refusals": Refusal, "holds": str, "calls": ModelCallRow,
    "lessons": LessonRow,
}  # fmt: skip


async def await_answers(
    wishes: Wishes, was_late: Callable[[Seat], str | None]
) -> list[tuple[Seat, Failure]]:
    """Put the answers of async engines in place of what was to be awaited.

    Each has its own deadline. Returns those that failed, in seat order and not in the order in
    which they came about; they have no wish any more. `was_late` tells of a resumed season
    whose answers were late then: those are not waited for.
    """
    waiting = [i for i, (_, wish) in enumerate(wishes) if is_awaited(wish)]
    if not waiting:
        return []
    answers = await asyncio.gather(
        *(in_time(*wishes[i], was_late(wishes[i][0])) for i in waiting), return_exceptions=True
    )
    failed: list[tuple[Seat, Failure]] = []
    for i, answer in zip(waiting, answers, strict=True):
        seat = wishes[i][0]
        if isinstance(answer, FAILURES):
            failed.append((seat, answer))
        elif isinstance(answer, BaseException):
            raise answer
        wishes[i] = (seat, answer)
    wishes[:] = [wish for wish in wishes if not isinstance(wish[1], BaseException)]
    return failed


def is_awaited(wish: object) -> bool:
    """Whether a wish is not there yet."""
    return hasattr(wish, "__await__")


async def in_time(seat: Seat, wish: object, late: str | None) -> object:
    """The answer, or LOST. Raises DecisionTimeout when it does not come, or did not come then."""
    if late is not None:
        if hasattr(wish, "close"):
            wish.close()  # a coroutine that nobody will wait for
        raise DecisionTimeout(late, waited=True)
    try:
        return await asyncio.wait_for(
            answer_of(cast(Awaitable[object], wish)),
            seat.contestant.answer_s or seat.contestant.deadline_s,
        )
    except TimeoutError:
        raise DecisionTimeout(waited=True) from None
    except AnswerLost:
        return LOST


def fault_of_wish(wish: object) -> str:
    """What is wrong with what an engine returned, "" where nothing is."""
    if isinstance(wish, Answer):
        return _fault_of_answer(wish)
    if wish is LOST:
        return ""
    if not isinstance(wish, (tuple, list)):
        return f"returned {type(wish).__name__}, not a list of intents"
    if len(wish) > MOST_INTENTS:
        return f"wants {len(wish):,} things at once, more than {MOST_INTENTS}"
    for intent in wish:
        fault = fault_of(intent)
        if fault:
            return fault
    return ""


def _fault_of_answer(answer: Answer) -> str:
    for name, kind in _PARTS.items():
        part = getattr(answer, name)
        if type(part) is not tuple or not all(isinstance(one, kind) for one in part):
            return f"gave {name} that are no tuple of {kind.__name__}"
    if type(answer.latency_ns) is not int or not 0 <= answer.latency_ns <= LONGEST_ANSWER_NS:
        return f"took {answer.latency_ns!r:.40} ns to answer"
    if answer.abstention is not None and (answer.intents or answer.holds or answer.refusals):
        return "abstained and decided at once"
    return fault_of_wish(answer.intents)


def be_late(text: str, view: View) -> NoReturn:
    """A decision that overran its deadline when the season was first played."""
    raise DecisionTimeout(text)


def said_by(error: BaseException) -> str:
    """What an engine's error says, short, and as every database can keep it."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "its message cannot be read"
    return f"{kind}: {text[:MOST_SAID]}".encode(errors="replace").decode().replace("\0", "?")
