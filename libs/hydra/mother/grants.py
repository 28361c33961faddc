"""What becomes of the wishes of a cycle: those that are sound reach the desk, in one order."""

from __future__ import annotations

from typing import cast

from hydra.engines.protocol import Decision
from hydra.errors import EngineError
from hydra.mother.answers import Wishes, await_answers, fault_of_wish, is_awaited
from hydra.mother.arrivals import Arrivals
from hydra.mother.discipline import Discipline
from hydra.mother.inputs import Inputs
from hydra.mother.moment import Moment
from hydra.mother.questions import Questions
from hydra.mother.seats import Seat


class Grants:
    """Grants wishes: live at once, else with what is awaited for them.

    `votes`: the wishes of a cycle are votes, to be counted together.
    """

    def __init__(
        self,
        *,
        is_live: bool,
        votes: bool,
        moment: Moment,
        inputs: Inputs,
        questions: Questions,
        arrivals: Arrivals,
        discipline: Discipline,
    ) -> None:
        self._is_live = is_live
        self._votes = votes
        self._moment = moment
        self._inputs = inputs
        self._questions = questions
        self._arrivals = arrivals
        self._discipline = discipline

    async def grant(self, wishes: Wishes) -> None:
        """Put every sound wish on the desk."""
        if self._is_live and self._moment.cycle > self._inputs.heard_cycle:
            self._questions.ask(wishes, self._moment.now_ns, all_of_them=self._votes)
        elif not self._votes:
            # Who answers at once is first, whoever takes longer comes after: as it is live.
            waiting = [one for one in wishes if is_awaited(one[1])]
            if waiting and len(waiting) < len(wishes):
                self._carry_out([one for one in wishes if not is_awaited(one[1])])
                wishes[:] = waiting
        for seat, failure in await await_answers(
            wishes, self._inputs.late_answer(self._moment.cycle)
        ):
            self._discipline.failed(seat, failure)
        self._carry_out(wishes)

    def _carry_out(self, wishes: Wishes) -> None:
        # In the order of the accounts, so that sleeping does not change who comes first.
        wishes.sort(key=lambda wish: wish[0].account)
        sound: list[tuple[Seat, Decision, int]] = []
        for seat, wish in wishes:
            fault = fault_of_wish(wish)
            if fault:
                self._discipline.failed(seat, EngineError(fault))
            else:
                sound.append((seat, cast(Decision, wish), seat.contestant.latency_ns))
        self._arrivals.carry_out(sound)
