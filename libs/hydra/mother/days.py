"""The turn of the guardian's day: baselines, floors, what has to close, the day's row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hydra.guardian.guardian import Guardian
from hydra.mother.desk import Desk
from hydra.portfolio.columns import BY_DAILY_LOSS


class Days:
    """Keeps the guardian's day of all accounts; `clock` is the guardian whose resets count.

    `on_day` is called once a day has ended for every account. Bars that close exactly at the
    reset belong to the old day; bars that began before it and close after it are judged by
    the higher of both days' floors, since nobody knows which part of them fell on which day.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        guardians: Sequence[Guardian],
        clock: Guardian,
        start_ns: int,
        on_day: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._guardians = guardians  # one for each account
        self._clock = clock
        self._on_day = on_day
        self.end_ns = clock.next_reset_ns(start_ns)
        self.is_strict = False  # the newest bars are judged by two days' floors

    def roll(self, at_ns: int) -> None:
        """One day ends at `at_ns` and another begins; `on_day` is for the caller."""
        desk = self._desk
        for account in desk.accounts:
            guardian = self._guardians[account.index]
            row = desk.book.accounts[account.index]
            balance, equity, peak = int(row["balance"]), int(row["equity"]), int(row["peak"])
            trail = guardian.trail(account.name)
            if trail is not None and trail.on == "equity":
                guardian.on_peak(account.name, peak)
            roll = guardian.roll_day(
                account.name, at_ns, balance, equity, worst_units=int(row["day_worst"])
            )
            row["day_worst"] = equity
            desk.day(roll.finished)
            desk.floors.set(account)
            if roll.breaches:
                desk.close_all(account, BY_DAILY_LOSS, at_ns)
                desk.floors.latch(account, roll.breaches)
                desk.floors.set(account)
            elif account.live:
                desk.shed_risk(account)
        self.end_ns = self._clock.next_reset_ns(at_ns)

    def roll_at_close(self, at_ns: int) -> None:
        """The day ends with the bars that have just been played."""
        self.roll(at_ns)
        self._on_day()

    def roll_inside_bars(self, now_ns: int) -> None:
        """The bars that are about to be played began on another day than they end on.

        The day is rolled before them, by what is known then. Days on which nothing traded are
        passed over.
        """
        accounts = self._desk.book.accounts
        before = accounts["daily_floor"].copy()
        start_ns = self._clock.day_start_ns(now_ns)
        self.roll(start_ns if start_ns < now_ns else self._clock.day_start_ns(now_ns - 1))
        accounts["daily_floor"] = before.clip(min=accounts["daily_floor"])
        self.is_strict = True

    def loosen(self) -> None:
        """The bars of two days are played: from here on only the new day's floors count."""
        self.is_strict = False
        self._on_day()
        for account in self._desk.accounts:
            self._desk.floors.set(account)

    def close(self) -> None:
        """The season ends within a day: its row."""
        for account in self._desk.accounts:
            row = self._desk.book.accounts[account.index]
            self._desk.day(
                self._guardians[account.index].day_so_far(
                    account.name, int(row["balance"]), int(row["day_worst"])
                )
            )
