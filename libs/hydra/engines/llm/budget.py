"""Real money of a day: what gladiators may spend, what they have, and what is on the table now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from hydra.clock import NS_PER_DAY, Clock
from hydra.engines.llm.calls import Outcome
from hydra.market.instruments import UNITS_PER_USD


class Reservation:
    """The most that one request may cost, held until it is settled.

    What is never settled stays spent: a request whose end nobody saw may have been billed.
    """

    def __init__(self, budget: Budget, gladiator: str, day: int, units: int) -> None:
        self._budget = budget
        self._place = (gladiator, day)
        self._units = units
        self._open = True

    def settle(self, cost_units: int | None) -> None:
        """Book what it did cost, 1e-8 USD, on the day of the request; None: unknown, so all of it.

        Raises ValueError when it is settled already, or on a negative cost.
        """
        if not self._open:
            raise ValueError("settled twice")
        if cost_units is not None and cost_units < 0:
            raise ValueError(f"a cost of {cost_units}")
        self._open = False
        if cost_units is not None:
            self._budget._booked[self._place] += cost_units - self._units


class Budget:
    """Daily budgets by gladiator; all replicas of one share its budget.

    A day is one of the machine's clock, UTC. Before a request its worst case is reserved, after
    it the true cost takes that place. No method awaits, so tasks of one event loop cannot come
    between a check and its booking.
    """

    def __init__(
        self,
        daily_usd: Mapping[str, Decimal],
        *,
        clock: Clock,
        spent_units: Mapping[str, int] | None = None,
    ) -> None:
        """`spent_units`: what was spent today before, by gladiator, in 1e-8 USD."""
        self._limit = {name: int(usd * UNITS_PER_USD) for name, usd in daily_usd.items()}
        self._clock = clock
        self._booked: defaultdict[tuple[str, int], int] = defaultdict(int)
        for name, units in (spent_units or {}).items():
            self._booked[name, self._today()] = units

    def reserve(self, gladiator: str, most_units: int | None) -> Reservation | Outcome:
        """Hold `most_units`, or say why not: UNPRICED (None: nobody knows), or OVER_BUDGET.

        Raises KeyError on a gladiator without a budget.
        """
        if most_units is None:
            return Outcome.UNPRICED
        day = self._today()
        if self._booked[gladiator, day] + most_units > self._limit[gladiator]:
            return Outcome.OVER_BUDGET
        self._booked[gladiator, day] += most_units
        return Reservation(self, gladiator, day, most_units)

    def spent_today_units(self, gladiator: str) -> int:
        """Spent today, 1e-8 USD, with what is reserved now and what may have been billed."""
        return self._booked.get((gladiator, self._today()), 0)

    def daily_units(self, gladiator: str) -> int:
        """What it may spend on a day, 1e-8 USD. Raises KeyError on one without a budget."""
        return self._limit[gladiator]

    def _today(self) -> int:
        return self._clock.now_ns() // NS_PER_DAY
