"""The tournament's eliminations, by the clock of the market."""

from __future__ import annotations

from hydra.clock import NS_PER_S
from hydra.mother.contestants import NEVER
from hydra.mother.desk import Desk
from hydra.mother.exits import Exits
from hydra.mother.scorekeeper import Scorekeeper
from hydra.portfolio.columns import BY_ELIMINATION
from hydra.tournament.elimination import EliminationRules, judge
from hydra.tournament.ranking import State

NS_PER_H = 3_600 * NS_PER_S


class Eliminations:
    """Judges whenever a period of the season is over. `due_ns`: not before."""

    def __init__(
        self,
        *,
        rules: EliminationRules,
        start_ns: int,
        desk: Desk,
        scores: Scorekeeper,
        exits: Exits,
    ) -> None:
        self._rules = rules
        self._period_ns = rules.every_h * NS_PER_H
        self._desk = desk
        self._scores = scores
        self._exits = exits
        self._said = ""  # why nobody had to leave, the last time
        self.due_ns = start_ns + self._period_ns if self._period_ns else NEVER

    def judge(self, now_ns: int) -> None:
        """One judgement, to be called once it is due, however many periods have passed."""
        self.due_ns = now_ns + self._period_ns - (now_ns - self.due_ns) % self._period_ns
        found = judge(self._scores.standings(), self._rules)
        if found.engine is None:
            if found.text != self._said:  # else nothing has changed for days
                self._said = found.text
                self._desk.record("", "spared", {"text": found.text})
            return
        account = next(one for one in self._desk.accounts if one.name == found.engine)
        self._exits.leave(account, State.ELIMINATED, found.text, BY_ELIMINATION)
        self._scores.reweigh(now_ns)
