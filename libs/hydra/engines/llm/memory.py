"""What a gladiator knows of its own past: lessons from tickets that are over, and its calibration.

Built from `view.account.closed` alone, so it knows nothing that is not known at that moment, and
the same tickets give the same memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from hydra.engines.llm.writing import data, plain, quoted, stamp, usd
from hydra.engines.view import ClosedTicket
from hydra.market.instruments import UNITS_PER_USD
from hydra.portfolio.intents import Side
from hydra.tournament.calibration import base_rate, base_rate_brier, brier, reliability, resolved
from hydra.tournament.season import LessonRow

NEWEST = 8
BEST = 2  # of all tickets there were, by their share of the balance
WORST = 2
MOST_LESSONS = NEWEST + BEST + WORST
MOST_GROUPS = 6  # lines of the record for assets and sides, and for endings
MOST_THESIS = 300  # characters of a thesis in a lesson
MOST_WORDS = 300  # characters of a reflection
FEW = 10  # tickets; fewer say little of a probability

REFLECTION_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "lesson": {
            "type": "string",
            "description": f"What to do differently or to keep doing; {MOST_WORDS} characters at"
            " most.",
        }
    },
    "required": ["lesson"],
    "additionalProperties": False,
}

_ENDINGS = {
    "stop": "stop hit",
    "target": "target reached",
    "engine": "closed by your own decision",
    "invalidation": "closed because your invalidation came true",
    "expiry": "expired",
    "season end": "closed at the end of the season",
}


@dataclass(slots=True)
class _Tally:
    """Of a group of tickets."""

    count: int = 0
    wins: int = 0
    net_units: int = 0
    net_frac: float = 0.0  # sum

    def add(self, ticket: ClosedTicket) -> None:
        units = _units(ticket)
        self.count += 1
        self.wins += units > 0
        self.net_units += units
        self.net_frac += ticket.net_frac

    def __str__(self) -> str:
        return (
            f"{self.count} closed, {self.wins} with a gain, mean"
            f" {100 * self.net_frac / self.count:+z.2f} % of the balance, together"
            f" {usd(self.net_units, sign=True)}"
        )


@dataclass(slots=True)
class _Lesson:
    place: int  # among all closed tickets
    net_frac: float
    row: LessonRow


class Memory:
    """A gladiator's memory of its own tickets.

    Bounded: the newest NEWEST lessons, the BEST and the WORST of all there were, a tally for each
    asset and side and each way to end, and two numbers a ticket for the calibration.
    """

    def __init__(self, engine: str) -> None:
        """`engine`: the gladiator's name in the rows, replica included."""
        self._engine = engine
        self._taken = 0
        self._lessons: list[_Lesson] = []  # oldest first
        self._all = _Tally()
        self._by_side: dict[tuple[str, Side], _Tally] = {}
        self._by_ending: dict[str, _Tally] = {}
        self._stated: list[float] = []  # of tickets that ended at target or stop
        self._came: list[bool] = []
        self._untested = 0  # stated, but the ticket ended otherwise
        self._calibration: tuple[str, ...] = ()
        self.newest_ns: int | None = None  # when the newest ticket closed

    def take(self, closed: Sequence[ClosedTicket], at_ns: int) -> tuple[LessonRow, ...]:
        """Learn from the tickets that closed since the last call; a lesson for each.

        `closed`: all of them, as `view.account.closed` has them; `at_ns`: the market's time now.
        """
        new = []
        for place in range(self._taken, len(closed)):
            ticket = closed[place]
            row = LessonRow(
                engine=self._engine, at_ns=at_ns, ticket=ticket.id, text=_fact(ticket), words=""
            )
            self._lessons.append(_Lesson(place, ticket.net_frac, row))
            self._count(ticket)
            new.append(row)
        if new:
            self._taken = len(closed)
            self._forget()
            self._calibration = self._calibrate()
        return tuple(new)

    def _count(self, ticket: ClosedTicket) -> None:
        self.newest_ns = ticket.closed_ns
        self._all.add(ticket)
        self._by_side.setdefault((ticket.symbol, ticket.side), _Tally()).add(ticket)
        self._by_ending.setdefault(ticket.reason, _Tally()).add(ticket)
        if ticket.target_first is None:
            return
        came = resolved(ticket.reason)
        if came is None:
            self._untested += 1
        else:
            self._stated.append(ticket.target_first)
            self._came.append(came)

    def _forget(self) -> None:
        """Keep the newest, the best and the worst. Who drops out could not come back later."""
        ranked = sorted(self._lessons, key=lambda one: (one.net_frac, one.place))
        kept = {one.place for one in (*self._lessons[-NEWEST:], *ranked[:WORST], *ranked[-BEST:])}
        self._lessons = [one for one in self._lessons if one.place in kept]

    def add_words(self, at_ns: int, ticket: int, text: str) -> LessonRow | None:
        """Put the model's own words to the lesson of a ticket; the row as it is now.

        `at_ns`: the market's time at which they were said. None where the lesson is forgotten.
        """
        for lesson in self._lessons:
            if lesson.row.ticket == ticket:
                words = plain(text, MOST_WORDS)
                lesson.row = msgspec.structs.replace(lesson.row, at_ns=at_ns, words=words)
                return lesson.row
        return None

    # For the brief

    @property
    def count(self) -> int:
        """Tickets that are over."""
        return self._taken

    def lines(self) -> tuple[str, ...]:
        """The lessons that are kept, oldest first, foreign text in quotes."""
        return tuple(
            quoted(one.row.text, _MOST_FACT)
            + (f"; your words on it: {quoted(one.row.words)}" if one.row.words else "")
            for one in self._lessons
        )

    def record(self) -> tuple[str, ...]:
        """What came of all tickets; nothing before the first.

        Of assets and sides, and of the ways to end, the MOST_GROUPS with the most tickets.
        """
        if not self._taken:
            return ()
        sides = [
            (tally, f"{quoted(symbol, 40)} {_side(side)}")
            for (symbol, side), tally in self._by_side.items()
        ]
        endings = [(t, f"ended by {quoted(reason, 40)}") for reason, t in self._by_ending.items()]
        lines = [f"all: {self._all}"]
        for groups in (sides, endings):
            groups.sort(key=lambda group: (-group[0].count, group[1]))
            lines += [f"{name}: {tally}" for tally, name in groups[:MOST_GROUPS]]
        return tuple(lines)

    def calibration(self) -> tuple[str, ...]:
        """How what was stated compares with what came; nothing before the first ticket."""
        return self._calibration

    def _calibrate(self) -> tuple[str, ...]:
        count = len(self._came)
        if not count:
            return ()
        share = base_rate(self._came)
        lines = [
            f"{count} tickets ended at the target or at the stop after you had stated a"
            f" probability; ended otherwise and not counted: {self._untested}",
            f"the target came first in {share:.2f} of them",
            f"Brier score, lower is better: {brier(self._stated, self._came):.3f}; always stating"
            f" {share:.2f} would have scored {base_rate_brier(self._came):.3f}, always stating"
            " 0.50 0.250",
        ]
        if count < FEW:
            lines.append(f"fewer than {FEW} tickets: this says little yet")
        lines += [
            f"stated {one.low:.1f} to {one.high:.1f}: {one.cases} tickets; you said"
            f" {one.stated:.2f} on average, it came true for {one.came:.2f}"
            for one in reliability(self._stated, self._came)
        ]
        return tuple(lines)


def reflection_question(lessons: Sequence[LessonRow]) -> str:
    """The text of a further question: what the gladiator learns from these lessons."""
    facts = "\n".join(f"{i}. {quoted(one.text, _MOST_FACT)}" for i, one in enumerate(lessons, 1))
    return (
        "These tickets of yours are over.\n\n"
        + data("closed tickets", "0 s", facts)
        + "\nWhat will you do differently, or keep doing? Name what the data showed at the time,"
        " not what happened afterwards. One ticket proves little: do not overturn a sound rule"
        " for one loss.\nAnswer with the JSON"
        f' {{"lesson": "..."}}, at most {MOST_WORDS} characters, plain text.'
    )


def parse_reflection(text: str) -> str:
    """The model's words, MOST_WORDS characters at most, one line; "" where it said nothing.

    Takes the JSON that was asked for, with or without a fence round it, and else the text itself:
    nothing that a model can say here is a fault.
    """
    inner = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        said = json.loads(inner)
    except (ValueError, RecursionError):
        return plain(inner, MOST_WORDS)
    if isinstance(said, dict):
        said = said.get("lesson", "")
    return plain(said, MOST_WORDS) if isinstance(said, str) else ""


def _fact(ticket: ClosedTicket) -> str:
    stated = ""
    if ticket.target_first is not None:
        stated = f"; stated {ticket.target_first:.2f} that the target comes first"
    thesis = plain(ticket.thesis, MOST_THESIS)
    ending = _ENDINGS.get(ticket.reason, f"ended by {plain(ticket.reason, 40)}")
    return (
        f"{_side(ticket.side)} {plain(ticket.symbol, 40)} {stamp(ticket.entry_ns)} at"
        f" {ticket.entry:f} → {stamp(ticket.closed_ns)} at {ticket.exit:f}, {ending},"
        f" {100 * ticket.net_frac:+z.2f} % of balance ({usd(_units(ticket), sign=True)})"
        f"{stated}" + (f"; thesis: {thesis}" if thesis else "")
    )


_MOST_FACT = 2 * MOST_THESIS + 300  # the facts, and a thesis full of signs that must be escaped


def _units(ticket: ClosedTicket) -> int:
    return int(ticket.net_usd * UNITS_PER_USD)


def _side(side: Side) -> str:
    return "long" if side is Side.BUY else "short"
