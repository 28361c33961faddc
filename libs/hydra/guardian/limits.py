"""A profile's loss limits on one account: where the floors lie, and what an equity breaches."""

from __future__ import annotations

from hydra.guardian.memory import NO_FLOOR, NO_LOCK, Memory, part
from hydra.guardian.profiles import Profile
from hydra.guardian.verdicts import Breach, usd


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

    def watched(self, memory: Memory) -> tuple[int, int]:
        """The (daily, total) equity at or below which there is something new to judge.

        The guardian's own floor; once that was reached, the firm's, so that a failed
        challenge is noticed while positions are still being closed; -2**62 for none.
        """
        latches = memory.latches
        watches_firm = bool(self.profile.firm)
        daily, total = memory.daily_floor, memory.total_floor
        if "daily-loss" in latches:
            hard = watches_firm and self._daily_is_hard and "firm-daily-loss" not in latches
            daily = memory.firm_daily_floor - 1 if hard else NO_FLOOR
        if "max-loss" in latches:
            hard = watches_firm and "firm-max-loss" not in latches
            total = memory.firm_total_floor - 1 if hard else NO_FLOOR
        return daily, total

    def judge(self, memory: Memory, worst: int, at_ns: int) -> tuple[Breach, ...]:
        """Latch every limit that an equity of `worst` units reached, and return the new ones."""
        memory.worst_units = min(memory.worst_units, worst)
        firm = self.profile.firm
        found: list[Breach] = []

        def latch(rule: str, until_ns: int | None, floor: int, text: str) -> None:
            if rule not in memory.latches:
                text = f"equity {usd(worst)} reached {text} {usd(floor)}"
                breach = Breach(rule, at_ns, until_ns, floor, worst, text)
                memory.latches[rule] = breach
                memory.breach = memory.breach or rule
                found.append(breach)

        if worst <= memory.daily_floor:
            latch("daily-loss", memory.day_end_ns, memory.daily_floor, "the day's floor")
        if worst <= memory.total_floor:
            latch("max-loss", None, memory.total_floor, "the account's floor")
        if firm:
            if worst < memory.firm_daily_floor and self._daily_is_hard:
                text = f"{firm}'s daily limit, the challenge is failed:"
                latch("firm-daily-loss", None, memory.firm_daily_floor, text)
            if worst < memory.firm_total_floor:
                text = f"{firm}'s maximum loss, the challenge is failed:"
                latch("firm-max-loss", None, memory.firm_total_floor, text)
        return tuple(found)

    @property
    def _daily_is_hard(self) -> bool:
        return self.profile.daily is not None and self.profile.daily.kind == "hard"
