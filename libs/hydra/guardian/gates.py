"""The guardian's gates: rules that refuse an intent for what the account is, not for its size.

Limits come from SPEC.md, section 3; docs/guardian.md has them in a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hydra.clock import NS_PER_S
from hydra.guardian.memory import NS_PER_MINUTE, Memory
from hydra.guardian.verdicts import Refused, usd
from hydra.portfolio.account import AccountState, MarketState
from hydra.portfolio.intents import Amend, Open

Opening = Open | Amend


class Gate(Protocol):
    """Refuses an intent for what the account is, whatever its size."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None: ...


@dataclass(frozen=True, slots=True)
class Latched:
    """No new risk for an account that is benched or reached a limit."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        for latch in memory.latches.values():
            return Refused(
                intent, "latched", latch.limit_units, latch.figure_units,
                f"latched by {latch.rule}: {latch.text}",
            )  # fmt: skip
        return None


@dataclass(frozen=True, slots=True)
class StopRequired:
    """Every ticket has a stop."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        if intent.stop is None:
            return Refused(intent, "stop-required", None, None, "a ticket must have a stop")
        return None


@dataclass(frozen=True, slots=True)
class KnownEquity:
    """No new risk while equity is unknown."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        if account.equity_units is None:
            text = "equity is unknown: an open ticket has no fresh price"
            return Refused(intent, "equity-unknown", None, None, text)
        return None


@dataclass(frozen=True, slots=True)
class DailyLoss:
    """No new risk once equity is at the day's floor or below, or the floor is out of date."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        equity, floor = account.equity_units, memory.daily_floor
        if market.now_ns >= memory.day_end_ns:
            text = f"the day {memory.day} is over and the new day's floor is not yet known"
            return Refused(intent, "daily-loss", floor, equity, text)
        if equity is None or equity > floor:
            return None
        text = f"equity {usd(equity)} is at or below the day's floor {usd(floor)}"
        return Refused(intent, "daily-loss", floor, equity, text)


@dataclass(frozen=True, slots=True)
class MaxLoss:
    """No new risk once equity is at the account's floor or below."""

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        equity, floor = account.equity_units, memory.total_floor
        if equity is None or equity > floor:
            return None
        text = f"equity {usd(equity)} is at or below the account's floor {usd(floor)}"
        return Refused(intent, "max-loss", floor, equity, text)


@dataclass(frozen=True, slots=True)
class MaxPositions:
    """At most so many tickets at once; pending orders count."""

    most: int

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        there = len(account.tickets) + len(memory.unseen)
        if isinstance(intent, Amend) or there < self.most:
            return None
        text = f"{there} tickets are open or pending, at most {self.most} may be"
        return Refused(intent, "max-positions", self.most, there, text)


@dataclass(frozen=True, slots=True)
class TradesPerDay:
    """At most so many tickets opened in one day; pending orders count."""

    most: int

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        if isinstance(intent, Amend):
            return None
        there = memory.opened + len(memory.unseen)
        for ticket in account.tickets:
            there += not ticket.is_open
        if there < self.most:
            return None
        text = f"{there} tickets opened or pending today, at most {self.most} may be"
        return Refused(intent, "trades-per-day", self.most, there, text)


@dataclass(frozen=True, slots=True)
class OrderRate:
    """At most so many orders and changes in any 60 s."""

    most: int

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        recent = memory.recent_ns
        if len(recent) < self.most:
            return None
        since_ns = market.now_ns - NS_PER_MINUTE
        there = sum(at_ns > since_ns for at_ns in recent)
        if there < self.most:
            return None
        text = f"{there} orders in the last minute, at most {self.most} may be"
        return Refused(intent, "order-rate", self.most, there, text)


@dataclass(frozen=True, slots=True)
class OrdersPerDay:
    """At most so many orders and changes in one day."""

    most: int

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        if memory.orders < self.most:
            return None
        text = f"{memory.orders} orders today, at most {self.most} may be"
        return Refused(intent, "orders-per-day", self.most, memory.orders, text)


@dataclass(frozen=True, slots=True)
class Cooldown:
    """No second ticket of one symbol and side within so many seconds: a duplicate."""

    cooldown_s: int

    def judge(
        self, intent: Opening, account: AccountState, market: MarketState, memory: Memory
    ) -> Refused | None:
        if isinstance(intent, Amend):
            return None
        last_ns = memory.last_open_ns.get(cooldown_key(intent))
        if last_ns is None:
            return None
        passed_ns = market.now_ns - last_ns
        if passed_ns >= self.cooldown_s * NS_PER_S:
            return None
        passed_s = passed_ns // NS_PER_S
        text = (
            f"the same symbol and side was ordered {passed_s} s ago, {self.cooldown_s} s must pass"
        )
        return Refused(intent, "cooldown", self.cooldown_s, passed_s, text)


def cooldown_key(intent: Open) -> str:
    """What makes two intents the same trade."""
    return f"{intent.symbol} {'BUY' if intent.side == 1 else 'SELL'}"
