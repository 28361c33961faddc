"""Decisions on their way from the engines to the desk: at once, or as late as their answers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from hydra.engines.protocol import Answer, Decision
from hydra.errors import EngineError
from hydra.mother.answers import Failure, Lost, fault_of_wish
from hydra.mother.consensus import Consensus
from hydra.mother.contestants import NEVER
from hydra.mother.desk import Desk
from hydra.mother.inputs import ANSWER, LOST, Came, LateAnswers
from hydra.mother.mail import Letter, Mail
from hydra.mother.questions import Questions
from hydra.mother.seats import Seat
from hydra.tournament.season import SeasonStore

Late = tuple[Seat, Decision | Lost, int]
"""A decision with the ns that its orders take to the market."""


class Arrivals:
    """Puts decisions on the desk when they are there.

    `on_sound` is told of engines that decided as they should, `on_fault` of those that cannot.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        consensus: Consensus | None,
        mail: Mail,
        questions: Questions,
        store: SeasonStore,
        finest_ns: int,
        plays: Callable[[str], bool],
        on_sound: Callable[[Seat], None],
        on_fault: Callable[[Seat, Failure], None],
    ) -> None:
        self._desk = desk
        self._consensus = consensus
        self._mail = mail
        self._questions = questions
        self._late = LateAnswers(store)
        self._finest_ns = finest_ns  # length of the shortest bars: what is later than that waits
        self._plays = plays
        self._on_sound = on_sound
        self._on_fault = on_fault

    def carry_out(self, decisions: Sequence[Late]) -> None:
        """Decisions of this cycle, each with its engine's own latency; answers may add theirs."""
        at_once: list[Late] = []
        now_ns = self._desk.moment.now_ns
        for seat, decision, latency_ns in decisions:
            came_ns = self._late.due_ns(seat, now_ns)
            if came_ns is not None or isinstance(decision, Lost):
                due_ns = NEVER if came_ns is None else came_ns
                self._mail.post(Letter(due_ns, seat, decision, late_since_ns=now_ns))
                continue
            if isinstance(decision, Answer):
                latency_ns += decision.latency_ns
                if latency_ns >= self._finest_ns:
                    self._mail.post(Letter(now_ns + latency_ns, seat, decision))
                    continue
            at_once.append((seat, decision, latency_ns))
        self._arrive(at_once)

    def take_answers(self) -> None:
        """Live: what has been answered by now, before the next bars are played.

        An answer counts from the instant that its latency says and in the order of a replay:
        one to a question of this cycle with the cycle's others, a later one by the mail.
        """
        now_ns = self._desk.moment.now_ns
        at_once: list[Late] = []
        for one in self._questions.take():
            seat, wish = one.seat, one.wish
            fault = one.failure or _fault_of(wish)
            if fault is not None:
                self._on_fault(seat, fault)
            else:
                decision = cast(Decision, wish)
                latency_ns = seat.contestant.latency_ns
                latency_ns += decision.latency_ns if isinstance(decision, Answer) else 0
                if one.asked_ns == now_ns and latency_ns < self._finest_ns:
                    at_once.append((seat, decision, latency_ns))
                elif one.asked_ns + latency_ns >= now_ns:
                    self._mail.post(Letter(one.asked_ns + latency_ns, seat, decision))
                else:
                    self._mail.post(Letter(now_ns, seat, decision, late_since_ns=one.asked_ns))
        if at_once:
            self._arrive(at_once)
        if self._desk.moment.cycle >= self._late.heard_cycle:
            self._mail.give_up(now_ns)

    def deliver(self, before_ns: int) -> None:
        """What arrives before the instant at which the bars close that are played next."""
        now_ns = self._desk.moment.now_ns
        self._arrive(
            [
                (letter.seat, letter.decision, letter.due_ns - now_ns)
                for letter in self._taken(before_ns)
            ]
        )

    def close(self) -> None:
        """The season ends: of what is still on its way, what it cost is kept."""
        for letter in self._taken(NEVER):
            self._pay(letter.seat, letter.decision)

    def _taken(self, before_ns: int) -> list[Letter]:
        """The mail, of which it is recorded what came otherwise than it says itself."""
        letters = self._mail.take(before_ns)
        for letter in letters:
            if letter.late_since_ns is not None:
                came = Came(
                    engine=letter.seat.contestant.name,
                    symbol=letter.seat.view.symbol,
                    asked_ns=letter.late_since_ns,
                    due_ns=letter.due_ns,
                )
                kind = LOST if isinstance(letter.decision, Lost) else ANSWER
                self._desk.record(came.engine, kind, msgspec.structs.asdict(came))
        return letters

    def _pay(self, seat: Seat, decision: Decision | Lost) -> None:
        if isinstance(decision, Answer):
            self._desk.hear(self._desk.accounts[seat.account], decision)

    def _arrive(self, arrived: Sequence[Late]) -> None:
        decisions: list[tuple[Seat, Decision, int]] = []
        for seat, decision, latency_ns in arrived:
            # Who is out by now gets nothing of what it wished for, but it was paid for.
            if isinstance(decision, Lost):
                continue
            if self._plays(seat.contestant.name):
                decisions.append((seat, decision, latency_ns))
            else:
                self._pay(seat, decision)
        if self._consensus is not None:
            self._consensus.hear(decisions, self._desk.accounts)
        for seat, decision, latency_ns in decisions:
            account = self._desk.accounts[seat.account]
            if not isinstance(decision, Answer):
                self._desk.wish(account, decision, latency_ns)
                self._on_sound(seat)
                continue
            self._desk.hear(account, decision)
            self._desk.take(account, decision, latency_ns)
            if decision.abstention is None:
                self._on_sound(seat)
            elif decision.abstention.lasting:
                self._on_fault(seat, EngineError(decision.abstention.text))
        if self._consensus is not None:
            house = self._consensus
            self._desk.wish(house.account, house.decide(), house.latency_ns)


def _fault_of(wish: object) -> EngineError | None:
    fault = fault_of_wish(wish)
    return EngineError(fault) if fault else None
