"""Answers that are waited for while the market goes on.

In a replay the market stands still until every answer is there; live it does not. A decision
that is not there yet is a task; when the next bars are about to be played, whatever is done by
then is taken in, in the order in which a replay of the same answers takes it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from hydra.mother.answers import Failure, Wishes, in_time, is_awaited
from hydra.mother.seats import Seat


class Asked(NamedTuple):
    """One engine that was asked, and its answer to come."""

    asked_ns: int  # the market's time
    seat: Seat
    task: asyncio.Task[object]


class Answered(NamedTuple):
    """What came of a question: a wish, or why there is none."""

    asked_ns: int
    seat: Seat
    wish: object
    failure: Failure | None


class Questions:
    """Everything that was asked and is not answered yet."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []

    def ask(self, wishes: Wishes, now_ns: int, *, all_of_them: bool) -> None:
        """Take the wishes that are to be awaited out of the list, and begin to wait for them.

        `all_of_them`: those that are there already as well, so that votes are counted together.
        """
        for seat, wish in wishes:
            if is_awaited(wish):
                task = asyncio.ensure_future(in_time(seat, wish, None))
            elif all_of_them:
                task = asyncio.ensure_future(_at_once(wish))
            else:
                continue
            self._asked.append(Asked(now_ns, seat, task))
        wishes[:] = [one for one in wishes if not (all_of_them or is_awaited(one[1]))]

    def is_out(self, account: int) -> bool:
        """Whether the account's engine has not answered yet."""
        return any(one.seat.account == account for one in self._asked)

    def take(self) -> list[Answered]:
        """Remove and return what is done, in the order of asking, then of the accounts."""
        done = [one for one in self._asked if one.task.done()]
        self._asked = [one for one in self._asked if not one.task.done()]
        done.sort(key=lambda one: (one.asked_ns, one.seat.account))
        found = []
        for one in done:
            failure = one.task.exception()
            if failure is not None and not isinstance(failure, Failure):
                raise failure
            wish = None if failure is not None else one.task.result()
            found.append(Answered(one.asked_ns, one.seat, wish, failure))
        return found

    async def settle(self, asked_ns: int) -> None:
        """Wait for the answers to the questions of an instant, each to its own deadline."""
        newest = [one.task for one in self._asked if one.asked_ns == asked_ns]
        await asyncio.gather(*newest, return_exceptions=True)

    async def close(self) -> None:
        """Nobody waits any longer."""
        for one in self._asked:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in self._asked), return_exceptions=True)
        self._asked.clear()


async def _at_once(wish: object) -> object:
    return wish
