"""What follows from an engine's failures: a record, probation, the bench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from hydra.engines.view import View
from hydra.mother.answers import Failure, said_by
from hydra.mother.bench import Bench
from hydra.mother.desk import Desk
from hydra.mother.inputs import TIMEOUT, Late
from hydra.mother.ledgers import Account
from hydra.mother.seats import Screen, Seat, Wish
from hydra.mother.watchdog import DecisionTimeout


class Discipline:
    """Counts failures; `on_benched` takes the account of one that failed too often."""

    def __init__(
        self,
        *,
        desk: Desk,
        screens: Sequence[Screen],
        bench: Bench,
        on_benched: Callable[[Account, str], None],
    ) -> None:
        self._desk = desk
        self._screens = screens
        self._bench = bench
        self._on_benched = on_benched

    def failed(self, seat: Seat, error: Failure) -> None:
        """Record that an engine failed; bench it when it keeps failing."""
        account = self._desk.accounts[seat.account]
        if isinstance(error, DecisionTimeout | MemoryError):
            # What hangs on the machine: a season that is played again is told of it.
            waited, text = False, "it wanted more memory than there is for a decision"
            if isinstance(error, DecisionTimeout):
                one, waited = seat.contestant, error.waited
                limit_s = one.answer_s if waited and one.answer_s else one.deadline_s
                text = error.text or f"no answer within {limit_s:g} s"
            late = Late(engine=account.name, symbol=seat.view.symbol, waited=waited, text=text)
            self._desk.record(account.name, TIMEOUT, msgspec.structs.asdict(late))
        else:
            text = said_by(error)
            self._desk.record(account.name, "failed", {"text": text})
        if self._bench.failed(account.name):
            self._on_benched(account, text)
        else:
            # Only an engine on probation is looked at when it wants nothing, a good decision.
            for screen in self._screens:
                screen.bind(account.index, partial(self._on_probation, seat))

    def _on_probation(self, seat: Seat, view: View) -> Wish:
        wish = seat.contestant.engine.decide(view)
        if not wish:
            self.trusted(seat)
        return wish

    def trusted(self, seat: Seat) -> None:
        """The engine decided as it should: what it failed before no longer counts."""
        if self._bench.succeeded(seat.contestant.name):
            for screen in self._screens:
                screen.bind(seat.account, seat.contestant.engine.decide)
