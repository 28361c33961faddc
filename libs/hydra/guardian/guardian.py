"""The guardian: judges every intent, watches every floor, remembers across restarts.

Pure and deterministic: it reads no clock and touches nothing outside; whoever holds it hands
it instants and amounts, and carries out what it says. Money is in units of 1e-8 USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, overload

import msgspec

from hydra.errors import ConfigError
from hydra.guardian.changes import killed, review_amend, review_close
from hydra.guardian.days import DayClock
from hydra.guardian.gates import cooldown_key
from hydra.guardian.limits import Limits
from hydra.guardian.memory import NO_FLOOR, Memory, Reservation, part
from hydra.guardian.profiles import Profile
from hydra.guardian.proposal import Former
from hydra.guardian.risks import Risks
from hydra.guardian.rules import IsOpen, rules_of
from hydra.guardian.verdicts import (
    Allowed,
    Approved,
    Breach,
    Change,
    DayRoll,
    GuardianDay,
    Refused,
    TargetReached,
    Trail,
)
from hydra.market.sessions import is_open as calendar_is_open
from hydra.portfolio.account import AccountState, MarketState
from hydra.portfolio.intents import Amend, Close, Intent, Open

__all__ = [
    "NO_FLOOR", "Allowed", "Approved", "Breach", "Change", "DayRoll", "Guardian", "GuardianDay",
    "Refused", "TargetReached", "Trail",
]  # fmt: skip


class Guardian:
    """Keeps the accounts of one profile. One guardian may keep any number of accounts.

    Raises ConfigError when a profile other than `none` has no rule at all.
    """

    def __init__(self, profile: Profile, *, is_open: IsOpen = calendar_is_open) -> None:
        self.profile = profile
        self._days = DayClock(profile.reset.zone, profile.reset.at)
        self._risks = Risks(profile.slippage_allowance_bps)
        self._book = rules_of(profile, self._risks, is_open)
        if profile.name != "none" and self._book.is_empty:
            raise ConfigError(
                f"guardian profile {profile.name} has no rule left; turn at least one limit on,"
                ' or take the profile "none"'
            )
        self._gates = tuple([gate.judge for gate in self._book.gates])
        self._rules = tuple([rule.judge for rule in self._book.rules])
        self._former = Former(
            default_risk_frac=profile.default_risk_frac,
            max_entry_deviation_frac=profile.max_entry_deviation_frac,
        )
        self._memories: dict[str, Memory] = {}
        self._limits: dict[str, Limits] = {}
        self._trails_equity = profile.max is not None and profile.max.mode == "trailing_intraday"
        self._trails = self._trails_equity or (
            profile.max is not None and profile.max.mode == "trailing_closed"
        )
        self._kill_reason: str | None = None

    # Accounts and their days

    def open_account(
        self, name: str, initial_units: int, at_ns: int, *, is_scalper: bool = False
    ) -> None:
        """Begin to keep an account; its first day is measured from the initial balance.

        `is_scalper`: a high-frequency scalper, which may risk less in a trade. Raises
        ValueError on an account that is kept already or has no money.
        """
        if name in self._memories:
            raise ValueError(f"the guardian keeps the account {name} already")
        if initial_units <= 0:
            raise ValueError(f"account {name} opens with {initial_units} units, not above 0")
        memory = Memory(
            name=name,
            initial_units=initial_units,
            is_scalper=is_scalper,
            day=self._days.day_of(at_ns),
            day_start_ns=self._days.day_start_ns(at_ns),
            day_end_ns=self._days.next_reset_ns(at_ns),
            day_start_balance_units=initial_units,
            day_reference_units=initial_units,
            peak_units=initial_units,
            worst_units=initial_units,
        )
        self._keep(memory)

    def _keep(self, memory: Memory) -> None:
        limits = Limits(self.profile, memory.initial_units)
        limits.set_floors(memory)
        self._memories[memory.name] = memory
        self._limits[memory.name] = limits

    def day_of(self, at_ns: int) -> str:
        """The label of the guardian's day: 2024-01-31."""
        return self._days.day_of(at_ns)

    def day_start_ns(self, at_ns: int) -> int:
        """The reset at or before the instant."""
        return self._days.day_start_ns(at_ns)

    def next_reset_ns(self, at_ns: int) -> int:
        """The first reset after the instant."""
        return self._days.next_reset_ns(at_ns)

    def roll_day(
        self,
        name: str,
        at_ns: int,
        balance_units: int,
        equity_units: int,
        *,
        worst_units: int | None = None,
    ) -> DayRoll:
        """End the account's day and begin the one that holds `at_ns`.

        The new baseline is the balance now; daily latches are released; the equity now is
        judged at once. `worst_units` is the lowest equity of the day that ended, where the
        caller knows it better. Raises ValueError while the account's day is not over.
        """
        memory = self._memories[name]
        if at_ns < memory.day_end_ns:
            raise ValueError(
                f"account {name}: the day {memory.day} ends at {memory.day_end_ns} ns,"
                f" it cannot be rolled at {at_ns} ns"
            )
        lowest = equity_units if worst_units is None else min(worst_units, equity_units)
        finished = self.day_so_far(name, balance_units, lowest)
        profit = balance_units - memory.day_start_balance_units
        memory.best_day_units = max(memory.best_day_units, profit)
        memory.day = self._days.day_of(at_ns)
        memory.day_start_ns = self._days.day_start_ns(at_ns)
        memory.day_end_ns = self._days.next_reset_ns(at_ns)
        memory.day_start_balance_units = balance_units
        memory.day_reference_units = balance_units
        daily, total = self.profile.daily, self.profile.max
        if daily is not None and daily.reference == "max(balance, equity)":
            memory.day_reference_units = max(balance_units, equity_units)
        if total is not None and total.mode != "static":
            top = max(balance_units, equity_units) if self._trails_equity else balance_units
            memory.peak_units = max(memory.peak_units, top)
        memory.opened = memory.refused = memory.resized = memory.orders = 0
        memory.breach = ""
        memory.worst_units = equity_units
        memory.latches = {
            rule: latch
            for rule, latch in memory.latches.items()
            if latch.until_ns is None or latch.until_ns > at_ns
        }
        self._limits[name].set_floors(memory)
        breaches = self._limits[name].judge(memory, equity_units, at_ns)
        return DayRoll(
            day=memory.day,
            daily_floor_units=_known(memory.daily_floor),
            total_floor_units=_known(memory.total_floor),
            firm_daily_floor_units=_known(memory.firm_daily_floor),
            firm_total_floor_units=_known(memory.firm_total_floor),
            breaches=breaches,
            finished=finished,
        )

    def day_so_far(self, name: str, balance_units: int, worst_units: int) -> GuardianDay:
        """The account's day up to now, as a season ends within it."""
        memory = self._memories[name]
        return GuardianDay(
            engine=name,
            day=memory.day,
            start_balance_units=memory.day_start_balance_units,
            daily_floor_units=_known(memory.daily_floor),
            total_floor_units=_known(memory.total_floor),
            worst_equity_units=min(memory.worst_units, worst_units),
            end_balance_units=balance_units,
            opened=memory.opened,
            refused=memory.refused,
            resized=memory.resized,
            breach=memory.breach,
        )

    # Floors

    def floors(self, name: str) -> tuple[int, int]:
        """The (daily, total) equity at or below which `on_worst_equity` is to be called next.

        The guardian's own floor; once that was reached, the firm's, so that a failed
        challenge is noticed while positions are still being closed; -2**62 for none.
        """
        return self._limits[name].watched(self._memories[name])

    def trail(self, name: str) -> Trail | None:
        """How the total floor moves between resets; None where it does not."""
        if not self._trails:
            return None
        limits = self._limits[name]
        on: Literal["equity", "balance"] = "equity" if self._trails_equity else "balance"
        return Trail(on, limits.trail_distance_units, limits.trail_lock_units)

    def on_peak(self, name: str, peak_units: int) -> None:
        """The closed balance (or, trailing intraday, the equity) has been this high.

        To be called before a reset and before a snapshot where `trail` is not None: whoever
        moves the floor between resets knows the peak, the guardian only what it was shown.
        """
        memory = self._memories[name]
        if self._trails and peak_units > memory.peak_units:
            memory.peak_units = peak_units
            self._limits[name].set_floors(memory)

    def headroom_units(self, name: str, equity_units: int) -> tuple[int | None, int | None]:
        """What may still be lost before the firm's (daily, total) limit is broken."""
        memory = self._memories[name]
        daily, total = _known(memory.firm_daily_floor), _known(memory.firm_total_floor)
        return (
            None if daily is None else equity_units - daily,
            None if total is None else equity_units - total,
        )

    def room_units(self, name: str, equity_units: int) -> tuple[int | None, int | None]:
        """What may still be lost before the guardian itself stops the account (today, in all)."""
        memory = self._memories[name]
        daily, total = _known(memory.daily_floor), _known(memory.total_floor)
        return (
            None if daily is None else max(0, equity_units - daily),
            None if total is None else max(0, equity_units - total),
        )

    def excess_risk_units(self, account: AccountState, market: MarketState) -> int | None:
        """By how much the stops of all tickets together break the risk budget; 0: they fit.

        None: a ticket's risk is unknown. It may grow without an intent, by swap and, where
        the day is measured from max(balance, equity), by a reset with open gains.
        """
        budget = self._book.budget
        if budget is None:
            return 0
        memory = self._memories[account.name]
        memory.look_at(account, market.now_ns)
        room = budget.room_units(account, market, memory)
        return None if room is None else max(0, -room)

    def on_worst_equity(
        self, name: str, worst_units: int, equity_units: int, at_ns: int
    ) -> tuple[Breach, ...]:
        """Judge the lowest equity of a step; to be called when it reached one of `floors`.

        Returns what was not known before. `daily-loss` latches until the next reset,
        everything else for the season; positions are the caller's to close.
        """
        memory = self._memories[name]
        return self._limits[name].judge(memory, min(worst_units, equity_units), at_ns)

    # Intents

    @overload
    def review(
        self, intent: Open, account: AccountState, market: MarketState
    ) -> Approved | Refused: ...
    @overload
    def review(
        self, intent: Close | Amend, account: AccountState, market: MarketState
    ) -> Allowed | Refused: ...
    @overload
    def review(
        self, intent: Intent, account: AccountState, market: MarketState
    ) -> Approved | Allowed | Refused: ...

    def review(
        self, intent: Intent, account: AccountState, market: MarketState
    ) -> Approved | Allowed | Refused:
        """May it be done, and how large? What cannot be known is refused.

        An approval is remembered: it counts for rates, cooldown and the risk budget. Closing
        and tightening a stop pass under every latch and under the kill switch.
        """
        memory = self._memories.get(account.name)
        if memory is None:
            text = f"the guardian keeps no account {account.name}"
            return Refused(intent, "unknown-account", None, account.name, text)
        verdict: Approved | Allowed | Refused
        if isinstance(intent, Open):
            verdict = self._review_open(intent, account, market, memory)
        elif isinstance(intent, Close):
            verdict = review_close(intent, account, market)
        else:
            verdict = review_amend(
                intent,
                account,
                market,
                memory=memory,
                book=self._book,
                risks=self._risks,
                kill_reason=self._kill_reason,
            )
        if isinstance(verdict, Refused):
            memory.refused += 1
        else:
            memory.count_order(market.now_ns)
        return verdict

    def _review_open(
        self, intent: Open, account: AccountState, market: MarketState, memory: Memory
    ) -> Approved | Refused:
        if self._kill_reason is not None:
            return killed(intent, self._kill_reason)
        now_ns = market.now_ns
        memory.look_at(account, now_ns)
        if self._trails:
            equity = account.equity_units
            top = equity if self._trails_equity and equity is not None else account.balance_units
            self.on_peak(memory.name, top)
        for judge in self._gates:
            refused = judge(intent, account, market, memory)
            if refused is not None:
                return refused
        symbol = intent.symbol
        instrument = market.instrument(symbol)
        if instrument is None:
            text = f"{symbol!r} is not traded in this season"
            return Refused(intent, "instrument", None, str(symbol), text)
        why = market.unfit(symbol)
        if why:
            return Refused(intent, "unfit-market", None, None, f"{symbol}: {why}")
        touch = market.touch(symbol)
        if touch is None:
            return Refused(intent, "fresh-quote", None, None, f"{symbol} has no price yet")
        proposal = self._former.form(intent, account, self._risks.grid(instrument), touch, market)
        if isinstance(proposal, Refused):
            return proposal
        for weigh in self._rules:
            verdict = weigh(proposal, account, market, memory)
            if isinstance(verdict, Refused):
                return verdict
            proposal = verdict
        steps, loss = proposal.steps, proposal.loss_units
        risk_units = None if loss is None else loss * steps
        if proposal.changes:
            memory.resized += 1
        memory.last_open_ns[cooldown_key(intent)] = now_ns
        if self._book.budget is not None:
            worst = proposal.worst_entry_ticks
            memory.reserve(
                Reservation(symbol, proposal.side, now_ns, worst, steps, risk_units), account
            )
        return Approved(intent, steps, proposal.worst_entry_ticks, risk_units, proposal.changes)

    # What happened

    def on_opened(self, name: str, at_ns: int) -> None:
        """A ticket was filled: it counts for its day, which is a trading day."""
        memory = self._memories[name]
        memory.opened += 1
        day = self._days.day_of(at_ns)
        if day != memory.last_trading_day:
            memory.last_trading_day = day
            memory.trading_days += 1

    def on_flat(self, name: str, balance_units: int, at_ns: int) -> TargetReached | None:
        """No ticket is open or pending: is the target reached? Told once.

        Asks for the profile's trading days and its consistency as well; missing either is
        no failure. Source: FTMO.md, section 1.
        """
        memory, profile = self._memories[name], self.profile
        self.on_peak(name, balance_units)
        if profile.target_frac is None or memory.target_ns is not None:
            return None
        target_units = memory.initial_units + part(memory.initial_units, profile.target_frac)
        if balance_units < target_units or memory.trading_days < profile.min_trading_days:
            return None
        if profile.consistency is not None:
            best = max(memory.best_day_units, balance_units - memory.day_start_balance_units)
            whole = balance_units if profile.consistency.denominator == "profit" else target_units
            if best > part(whole - memory.initial_units, profile.consistency.best_day_frac):
                return None
        memory.target_ns = at_ns
        return TargetReached(name, at_ns, balance_units, target_units, memory.trading_days)

    # Switches

    def kill(self, reason: str) -> None:
        """No new risk on any account until `release`."""
        self._kill_reason = reason

    def release(self) -> None:
        """Undo `kill`. Latches of accounts stay."""
        self._kill_reason = None

    @property
    def killed(self) -> bool:
        """Whether the kill switch is on."""
        return self._kill_reason is not None

    def bench(self, name: str, reason: str, at_ns: int) -> None:
        """No new risk on this account for the season."""
        self._memories[name].latches["benched"] = Breach("benched", at_ns, None, 0, 0, reason)

    def is_halted(self, name: str) -> bool:
        """Whether the account may take no new risk now."""
        return self._kill_reason is not None or bool(self._memories[name].latches)

    def latches(self, name: str) -> tuple[Breach, ...]:
        """What the account is latched by, oldest first."""
        return tuple(self._memories[name].latches.values())

    # Across restarts

    def snapshot(self) -> dict[str, object]:
        """All that is remembered, as plain JSON values."""
        accounts: dict[str, object] = {}
        for name, memory in self._memories.items():
            saved: dict[str, object] = msgspec.to_builtins(memory)
            del saved["unseen"]  # found anew at every review
            accounts[name] = saved
        return {
            "profile": self.profile.name, "killed": self._kill_reason, "accounts": accounts,
        }  # fmt: skip

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Take up where `snapshot` left off. Floors are worked out anew from the profile.

        Raises ConfigError on a snapshot of another profile or one that cannot be read.
        """
        try:
            saved = msgspec.convert(snapshot, _Saved)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the guardian's saved state cannot be read: {error}") from error
        if saved.profile != self.profile.name:
            raise ConfigError(
                f"the guardian's saved state is of the profile {saved.profile}, not"
                f" {self.profile.name}; go on with {saved.profile} or begin a new season"
            )
        self._kill_reason = saved.killed
        self._memories.clear()
        self._limits.clear()
        for memory in saved.accounts.values():
            self._keep(memory)


class _Saved(msgspec.Struct, frozen=True):
    profile: str
    killed: str | None
    accounts: dict[str, Memory]


def _known(floor: int) -> int | None:
    return None if floor == NO_FLOOR else floor
