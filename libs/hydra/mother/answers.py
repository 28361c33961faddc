"""What engines answered: awaited where it is not there yet, and looked at before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from hydra.mother.seats import Seat
from hydra.mother.watchdog import DecisionTimeout
from hydra.portfolio.intents import fault_of

Wishes = list[tuple[Seat, object]]


async def await_answers(wishes: Wishes) -> list[tuple[Seat, Exception]]:
    """Put the answers of async engines in place of what was to be awaited.

    Each has its own deadline. Returns those that failed, in seat order and not in the order in
    which they came about; their wishes are empty.
    """
    waiting = [i for i, (_, wish) in enumerate(wishes) if hasattr(wish, "__await__")]
    if not waiting:
        return []
    answers = await asyncio.gather(
        *(
            asyncio.wait_for(
                cast(Awaitable[object], wishes[i][1]), wishes[i][0].contestant.deadline_s
            )
            for i in waiting
        ),
        return_exceptions=True,
    )
    failed: list[tuple[Seat, Exception]] = []
    for i, answer in zip(waiting, answers, strict=True):
        seat = wishes[i][0]
        if isinstance(answer, TimeoutError):
            failed.append((seat, DecisionTimeout()))
        elif isinstance(answer, Exception):
            failed.append((seat, answer))
        elif isinstance(answer, BaseException):
            raise answer
        wishes[i] = (seat, () if isinstance(answer, Exception) else answer)
    return failed


def fault_of_wish(wish: object) -> str:
    """What is wrong with what an engine returned, "" where nothing is."""
    if not isinstance(wish, (tuple, list)):
        return f"returned {type(wish).__name__}, not a list of intents"
    for intent in wish:
        fault = fault_of(intent)
        if fault:
            return fault
    return ""
