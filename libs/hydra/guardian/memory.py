"""What the guardian remembers of one account: its day, its floors, its latches, its counts."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hydra.guardian.verdicts import Breach
from hydra.portfolio.account import AccountState

NO_FLOOR = -(2**62)
NO_LOCK = 2**62
NS_PER_MINUTE = 60_000_000_000


class Reservation(msgspec.Struct, frozen=True):
    """An approved order: what its ticket may lose, until it is seen to be filled or gone."""

    symbol: str
    side: int
    at_ns: int  # of the decision; the pending ticket carries it as its entry_ns
    worst_entry_ticks: int | None
    steps: int
    risk_units: int | None


class Memory(msgspec.Struct, kw_only=True):
    """Plain values only, so that it can be saved as it is. Money in units, instants in ns."""

    name: str
    initial_units: int
    is_scalper: bool
    day: str
    day_start_ns: int
    day_end_ns: int
    day_start_balance_units: int
    day_reference_units: int  # what the daily floor is measured from
    peak_units: int  # what a trailing maximum is measured from
    worst_units: int  # lowest equity known of the day
    best_day_units: int = 0  # profit of the best day that is over
    trading_days: int = 0
    last_trading_day: str = ""
    opened: int = 0  # of the day, as the next four
    refused: int = 0
    resized: int = 0
    orders: int = 0
    breach: str = ""
    target_ns: int | None = None  # when the target was reached
    latches: dict[str, Breach] = msgspec.field(default_factory=dict)
    recent_ns: list[int] = msgspec.field(default_factory=list)  # orders of the last minute
    last_open_ns: dict[str, int] = msgspec.field(default_factory=dict)  # by "symbol side"
    reservations: list[Reservation] = msgspec.field(default_factory=list)  # oldest first
    daily_floor: int = NO_FLOOR
    total_floor: int = NO_FLOOR
    firm_daily_floor: int = NO_FLOOR
    firm_total_floor: int = NO_FLOOR
    carry_units: int = NO_LOCK  # the most that all stops together may lose
    unseen: tuple[Reservation, ...] = ()  # approved now, not yet among the tickets shown

    def look_at(self, account: AccountState, now_ns: int) -> None:
        """Find the orders approved at this very instant that `account` does not show yet."""
        if not self.reservations or self.reservations[-1].at_ns != now_ns:
            self.unseen = ()
            return
        shown = [(t.symbol, t.side) for t in account.tickets if t.entry_ns == now_ns]
        unseen = []
        for one in self.reservations:
            if one.at_ns == now_ns:
                key = (one.symbol, one.side)
                if key in shown:
                    shown.remove(key)
                else:
                    unseen.append(one)
        self.unseen = tuple(unseen)

    def worst_entry_ticks(self, symbol: str, side: int, at_ns: int) -> int | None:
        """The worst entry that a pending ticket was approved for; None where unknown."""
        worst: int | None = None
        for one in self.reservations:
            if one.at_ns == at_ns and one.symbol == symbol and one.side == side:
                if one.worst_entry_ticks is None:
                    return None
                if worst is None or side * (one.worst_entry_ticks - worst) > 0:
                    worst = one.worst_entry_ticks
        return worst

    def reserve(self, new: Reservation, account: AccountState) -> None:
        """Remember an approved order; forget those whose ticket is no longer pending."""
        if len(self.reservations) >= 8:
            pending = {(t.symbol, t.side, t.entry_ns) for t in account.tickets if not t.is_open}
            self.reservations = [
                one
                for one in self.reservations
                if one.at_ns == new.at_ns or (one.symbol, one.side, one.at_ns) in pending
            ]
        self.reservations.append(new)

    def count_order(self, at_ns: int) -> None:
        """An order or a change goes to the market."""
        self.orders += 1
        recent = self.recent_ns
        while recent and recent[0] <= at_ns - NS_PER_MINUTE:
            del recent[0]
        recent.append(at_ns)


def part(units: int, frac: Decimal) -> int:
    """A fraction of an amount, rounded down, without a float on the way."""
    return share(units, frac.as_integer_ratio())


def share(units: int, ratio: tuple[int, int]) -> int:
    """A fraction of an amount, given as numerator and denominator, rounded down."""
    return units * ratio[0] // ratio[1]
