"""What reached a season from outside, so that a resumed one hears it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from hydra.mother.answers import be_late
from hydra.mother.seats import Seat
from hydra.tournament.season import SeasonStore

KILL, RELEASE, TIMEOUT = "external.kill", "external.release", "external.timeout"
ANSWER, LOST = "external.answer", "external.lost"


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that overran its deadline, as it is recorded."""

    engine: str
    symbol: str  # on which it was asked
    waited: bool  # it was an answer that was waited for
    text: str


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """When an answer came that was later than its latency says, or was given up for lost: the
    machine was held up, or stopped. As it is recorded."""

    engine: str
    symbol: str  # on which it was asked
    asked_ns: int
    due_ns: int  # of the market: at the end of that cycle


class LateAnswers:
    """The late answers of a season that is resumed or played again; none of a new one."""

    def __init__(self, store: SeasonStore) -> None:
        self.heard_cycle = store.heard_cycle
        told = [
            msgspec.json.decode(body, type=Came)
            for _, kind, body in store.external_inputs()
            if kind in (ANSWER, LOST)
        ]
        self._due_ns = {(one.engine, one.symbol, one.asked_ns): one.due_ns for one in told}

    def due_ns(self, seat: Seat, asked_ns: int) -> int | None:
        """When the answer to a question came; None: when its latency says."""
        if not self._due_ns:
            return None
        return self._due_ns.get((seat.contestant.name, seat.view.symbol, asked_ns))


class Inputs:
    """The recorded inputs of a season that is resumed; none of a new one."""

    def __init__(self, store: SeasonStore) -> None:
        self.heard_cycle = store.heard_cycle
        self._switches: dict[int, list[bool]] = {}
        self.late: dict[int, list[Late]] = {}  # by cycle: decisions that overran a deadline
        for cycle, kind, body in store.external_inputs():
            if kind == TIMEOUT:
                self.late.setdefault(cycle, []).append(msgspec.json.decode(body, type=Late))
            elif kind in (KILL, RELEASE):
                self._switches.setdefault(cycle, []).append(kind == KILL)

    def switches(self, cycle: int) -> list[bool]:
        """How the kill switch was turned at the start of the cycle: on, off."""
        return self._switches.get(cycle, [])

    def was_late(self, cycle: int, seat: Seat, *, waited: bool) -> str | None:
        """What was said of a decision that overran its deadline then; None: it did not."""
        known = (seat.contestant.name, seat.view.symbol, waited)
        for one in self.late.get(cycle, ()):
            if (one.engine, one.symbol, one.waited) == known:
                return one.text
        return None

    def late_answer(self, cycle: int) -> Callable[[Seat], str | None]:
        """Of the seats of this cycle: whether the answer was waited for in vain."""
        return partial(self.was_late, cycle, waited=True)

    def again(self, cycle: int, entries: Sequence[Any]) -> list[Any]:
        """The entries of a repeated cycle; who overran the deadline then is late again."""
        said = [self.was_late(cycle, entry[3], waited=False) for entry in entries]
        return [
            entry if late is None else (partial(be_late, late), *entry[1:])
            for entry, late in zip(entries, said, strict=True)
        ]
