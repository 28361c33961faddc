"""What the guardian remembers of one account: its day, its floors, its latches, its counts."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hydra.guardian.profiles import Profile
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


class Limits:
    """A profile's loss limits as amounts of one account. Sources: FTMO.md, section 1.

    The guardian's floors lie above the firm's by (limit_frac - guard_frac) of their base, so
    that they move and lock together. Amounts are rounded down, floors thereby up.
    """

    def __init__(self, profile: Profile, initial_units: int) -> None:
        self.profile = profile
        self.initial_units = initial_units
        total = profile.max
        self._total_units = part(initial_units, total.limit_frac) if total else 0
        self._total_guard_units = part(initial_units, total.guard_frac) if total else 0
        self._lock_units = NO_LOCK
        if total is not None and total.mode != "static" and total.lock_at_frac is not None:
            self._lock_units = part(initial_units, total.lock_at_frac)
        self.trails = total is not None and total.mode in ("trailing_closed", "trailing_intraday")

    def set_floors(self, memory: Memory) -> None:
        """Work out the floors from the day's reference and the peak.

        And how much all stops together may lose, whatever the next reset brings: there the
        daily floor becomes the balance then less the daily limit, and a trailing floor may
        rise as far, so that only losses within the limit itself fit under both.
        """
        memory.carry_units = NO_LOCK
        daily, total = self.profile.daily, self.profile.max
        if daily is not None:
            base = self.initial_units if daily.base == "initial" else memory.day_reference_units
            memory.daily_floor = memory.day_reference_units - part(base, daily.guard_frac)
            memory.firm_daily_floor = memory.day_reference_units - part(base, daily.limit_frac)
            if daily.base == "initial":
                memory.carry_units = part(base, daily.guard_frac)
        if total is not None:
            top = self.initial_units if total.mode == "static" else memory.peak_units
            firm = min(top - self._total_units, self._lock_units)
            memory.firm_total_floor = firm
            memory.total_floor = firm + self._total_units - self._total_guard_units
            if total.mode != "static":
                memory.carry_units = min(memory.carry_units, self._total_guard_units)

    @property
    def trail_distance_units(self) -> int:
        """From the peak down to the guardian's total floor."""
        return self._total_guard_units

    @property
    def trail_lock_units(self) -> int:
        """The guardian's total floor never rises above it."""
        if self._lock_units == NO_LOCK:
            return NO_LOCK
        return self._lock_units + self._total_units - self._total_guard_units


def part(units: int, frac: Decimal) -> int:
    """A fraction of an amount, rounded down, without a float on the way."""
    return share(units, frac.as_integer_ratio())


def share(units: int, ratio: tuple[int, int]) -> int:
    """A fraction of an amount, given as numerator and denominator, rounded down."""
    return units * ratio[0] // ratio[1]
