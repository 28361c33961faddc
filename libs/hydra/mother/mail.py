"""Answers that are longer on their way than a bar lasts.

An order that arrives before the next bars close is laid down with its latency, and the market
does the rest. One that takes longer waits here, and is judged by the last prices that are known
before it arrives, not by those of the question.
"""

from __future__ import annotations

from typing import NamedTuple

from hydra.engines.protocol import Decision
from hydra.mother.answers import Lost
from hydra.mother.contestants import NEVER
from hydra.mother.seats import Seat


class Letter(NamedTuple):
    """An answer on its way."""

    due_ns: int  # when its orders arrive at the market; NEVER: it is lost, nobody knows when
    seat: Seat
    decision: Decision | Lost
    late_since_ns: int | None = None
    # When the question was put, where the answer arrives later than its latency says.


class Mail:
    """What is on its way, of all engines. `due_ns`: nothing arrives before."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self.due_ns = NEVER

    def post(self, letter: Letter) -> None:
        self._letters.append(letter)
        self.due_ns = min(self.due_ns, letter.due_ns)

    def is_out(self, account: int) -> bool:
        """Whether the account's engine has an answer on its way."""
        return any(letter.seat.account == account for letter in self._letters)

    def give_up(self, now_ns: int) -> None:
        """What is lost is waited for until now, and no longer."""
        for i, letter in enumerate(self._letters):
            if letter.due_ns == NEVER:
                self._letters[i] = letter._replace(due_ns=now_ns)
                self.due_ns = min(self.due_ns, now_ns)

    def take(self, before_ns: int) -> list[Letter]:
        """Remove and return what arrives before the instant: by arrival, then by account."""
        due = [letter for letter in self._letters if letter.due_ns < before_ns]
        self._letters = [letter for letter in self._letters if letter.due_ns >= before_ns]
        self.due_ns = min((letter.due_ns for letter in self._letters), default=NEVER)
        return sorted(due, key=lambda letter: (letter.due_ns, letter.seat.account))
