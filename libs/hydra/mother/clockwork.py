"""Engines that are asked by the clock of the market and not at every bar."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.clock import NS_PER_S
from hydra.engines.view import View
from hydra.mother.contestants import NEVER, Contestant
from hydra.mother.seats import Decide, Screen, Seat


class Clockwork:
    """Knows which of them are due. The grid is the epoch's: every 3,600 s is every full hour.

    One is asked once, with the view of its first symbol that has begun; the others are in
    `View.market`.
    """

    def __init__(self, contestants: Sequence[Contestant], start_ns: int) -> None:
        self._next_ns = {
            account: start_ns for account, one in enumerate(contestants) if one.every_s is not None
        }
        self.due_ns = min(self._next_ns.values(), default=NEVER)

    def dismiss(self, account: int) -> None:
        """It is asked no more."""
        self._next_ns.pop(account, None)
        self.due_ns = min(self._next_ns.values(), default=NEVER)

    def due(self, now_ns: int, screens: Sequence[Screen]) -> list[tuple[Decide, View, Seat]]:
        """Whom to ask now. One whose features are cold stays due."""
        for screen in screens:
            screen.show_clock_seats()
        due: dict[int, tuple[Decide, View, Seat]] = {}
        for screen in screens:
            for decide, view, _, seat in screen.on_clock:
                every_s = seat.contestant.every_s
                if every_s is None or seat.account in due or now_ns < self._next_ns[seat.account]:
                    continue
                if screen.history.at < 0:
                    continue  # a symbol that has not begun
                begun = [one for one in view.market.values() if one.now_ns]
                if all(len(one.features) == len(seat.columns) for one in begun):
                    due[seat.account] = (decide, view, seat)
                    step_ns = every_s * NS_PER_S
                    self._next_ns[seat.account] = now_ns - now_ns % step_ns + step_ns
        self.due_ns = min(self._next_ns.values(), default=NEVER)
        return list(due.values())
