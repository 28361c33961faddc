"""The guardian's rules: each a small value with one method, and the list a profile makes.

A gate (`gates.py`) looks at an intent and refuses it or not; a rule looks at the sized
proposal and passes it on, smaller or whole, or refuses it. None ever makes anything larger.
Limits come from SPEC.md, section 3; docs/guardian.md has them in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from hydra.clock import NS_PER_S
from hydra.guardian.gates import (
    Cooldown,
    DailyLoss,
    Gate,
    KnownEquity,
    Latched,
    MaxLoss,
    MaxPositions,
    OrderRate,
    OrdersPerDay,
    StopRequired,
    TradesPerDay,
)
from hydra.guardian.memory import Memory, Reservation, share
from hydra.guardian.profiles import Profile
from hydra.guardian.proposal import Proposal
from hydra.guardian.risks import Risks
from hydra.guardian.verdicts import Refused, usd
from hydra.market.instruments import Instrument
from hydra.portfolio.account import AccountState, MarketState
from hydra.portfolio.intents import Ticket

IsOpen = Callable[[Instrument, int], bool]  # (instrument, instant in ns): may it be traded?


class Rule(Protocol):
    """Passes a proposal on, whole or smaller, or refuses it."""

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused: ...


@dataclass(frozen=True, slots=True)
class FreshQuote:
    """The price is no older than the market allows, times a factor, and not of the future."""

    factor: Decimal

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        age_ns = market.now_ns - proposal.touch.at_ns
        if age_ns == 0:
            return proposal
        most_ns = int(self.factor * market.max_quote_age_ns(proposal.symbol))
        if 0 < age_ns <= most_ns:
            return proposal
        text = (
            f"the price of {proposal.symbol} is {age_ns / NS_PER_S:g} s old,"
            f" at most {most_ns / NS_PER_S:g} s is fresh"
        )
        return Refused(proposal.intent, "fresh-quote", most_ns, age_ns, text)


@dataclass(frozen=True, slots=True)
class MarketOpen:
    """The symbol is being traded: its calendar says so, or its price is of this very instant."""

    is_open: IsOpen

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        # A bar that closes with the session, or a daily bar at midnight, is the last word on
        # an open market, though the calendar has already closed.
        now_ns = market.now_ns
        instrument = proposal.grid.instrument
        if proposal.touch.at_ns == now_ns or self.is_open(instrument, now_ns):
            return proposal
        text = f"{proposal.symbol} is closed by its calendar {instrument.calendar}"
        return Refused(proposal.intent, "market-open", instrument.calendar, None, text)


@dataclass(frozen=True, slots=True)
class Correlation:
    """No ticket that would move as another symbol's: correlation x side x side above `most`.

    Pending orders count. An unknown correlation is refused.
    """

    most: float

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        symbol, side = proposal.symbol, proposal.side
        held: Sequence[Ticket | Reservation] = account.tickets
        if memory.unseen:
            held = (*held, *memory.unseen)
        for one in held:
            other, its_side = one.symbol, one.side
            if other == symbol:
                continue
            correlation = market.correlation(symbol, other)
            if correlation is None or correlation != correlation:
                text = f"the correlation of {symbol} with {other}, which is held, is unknown"
                return Refused(proposal.intent, "correlation", self.most, None, text)
            alike = correlation * side * its_side
            if alike > self.most:
                text = (
                    f"moves with the ticket on {other}: correlation {alike:.2f},"
                    f" at most {self.most:g} may be"
                )
                return Refused(proposal.intent, "correlation", self.most, alike, text)
        return proposal


@dataclass(frozen=True, slots=True)
class MaxOrderSize:
    """No order above so many lots: one that names its lots is refused, another made smaller."""

    most_lots: Decimal

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        instrument = proposal.grid.instrument
        most = instrument.steps(self.most_lots)
        if proposal.steps <= most:
            return proposal
        lots = instrument.lots(proposal.steps)
        text = f"{lots} lots asked, an order may have at most {self.most_lots}"
        if proposal.asked_in_lots:
            return Refused(proposal.intent, "order-size", str(self.most_lots), str(lots), text)
        return proposal.shrunk("order-size", most, str(self.most_lots), str(lots), text)


@dataclass(frozen=True, slots=True)
class NetExposure:
    """No more than so many lots net on one symbol; only pending orders of its side count."""

    most_lots: Decimal

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        instrument, side = proposal.grid.instrument, proposal.side
        held = 0
        for ticket in account.tickets:
            if ticket.symbol == proposal.symbol and (ticket.is_open or ticket.side == side):
                held += ticket.side * instrument.steps(ticket.lots)
        for one in memory.unseen:
            if one.symbol == proposal.symbol and one.side == side:
                held += side * one.steps
        room = instrument.steps(self.most_lots) - side * held
        if proposal.steps <= room:
            return proposal
        lots = instrument.lots(side * held + proposal.steps)
        text = f"{proposal.symbol} would come to {lots} lots net, at most {self.most_lots} may be"
        if proposal.asked_in_lots:
            return Refused(proposal.intent, "net-exposure", str(self.most_lots), str(lots), text)
        return proposal.shrunk("net-exposure", max(room, 0), str(self.most_lots), str(lots), text)


@dataclass(frozen=True, slots=True)
class PositionSize:
    """One ticket may lose no more at its stop than a fraction of the initial balance."""

    ratio: tuple[int, int]

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        return _fit("position-size", proposal, share(account.initial_units, self.ratio))


@dataclass(frozen=True, slots=True)
class RiskPerTrade:
    """One ticket may lose no more at its stop than a fraction of equity."""

    ratio: tuple[int, int] | None
    scalper_ratio: tuple[int, int] | None

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        ratio, equity = (
            self.scalper_ratio if memory.is_scalper else self.ratio,
            account.equity_units,
        )
        if ratio is None or equity is None:
            return proposal
        return _fit("risk-per-trade", proposal, share(equity, ratio) if equity > 0 else 0)


@dataclass(frozen=True, slots=True)
class RiskBudget:
    """The account stays above its floors even if every ticket ends at its stop.

    With L the losses at the stops of all open and pending tickets and this one:
    balance - L > today's floor, balance - L > the account's floor, and L inside the daily
    limit (and a trailing maximum's), so that the floors of the next day hold as well.
    """

    risks: Risks
    carry_ratio: tuple[int, int] | None  # the daily limit, where it is a fraction of the balance

    def room_units(
        self,
        account: AccountState,
        market: MarketState,
        memory: Memory,
        without: int | None = None,
    ) -> int | None:
        """What a new ticket may lose, negative when the stops already lose too much.

        `without`: a ticket that is left out. None: a ticket's loss is unknown.
        """
        there = 0
        for ticket in account.tickets:
            if ticket.id != without:
                loss = self.risks.loss_units(ticket, market, memory)
                if loss is None:
                    return None
                there += loss
        for one in memory.unseen:
            if one.risk_units is None:
                return None
            there += one.risk_units
        balance = account.balance_units
        carry = memory.carry_units
        if self.carry_ratio is not None:
            carry = min(carry, share(max(0, balance), self.carry_ratio))
        floor = max(memory.daily_floor, memory.total_floor)
        return min(balance - floor, carry) - 1 - there  # at the floor itself it is a breach

    def judge(
        self, proposal: Proposal, account: AccountState, market: MarketState, memory: Memory
    ) -> Proposal | Refused:
        room = self.room_units(account, market, memory, proposal.ticket)
        if room is None:
            text = "a ticket of the account has no stop or no known entry: its risk is unknown"
            return Refused(proposal.intent, "risk-budget", None, None, text)
        return _fit("risk-budget", proposal, max(0, room))


def _fit(rule: str, proposal: Proposal, room_units: int) -> Proposal | Refused:
    """The proposal with a loss at its stop of at most `room_units`."""
    each = proposal.loss_units
    if each is None:
        text = "without a stop the loss is unlimited"
        return Refused(proposal.intent, rule, room_units, None, text)
    loss = each * proposal.steps
    if loss <= room_units:
        return proposal
    text = f"{usd(loss)} would be lost at the stop, at most {usd(room_units)} may be"
    return proposal.shrunk(rule, room_units // each, room_units, loss, text)


def _ratio(frac: Decimal | None) -> tuple[int, int] | None:
    return None if frac is None else frac.as_integer_ratio()


# What a profile makes of them


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules of one profile, in the order in which they speak."""

    gates: tuple[Gate, ...]  # on every intent that may add risk
    rules: tuple[Rule, ...]  # on every opening intent
    widening: tuple[Rule, ...]  # on a wider stop: what cannot shrink it refuses it
    rates: tuple[Gate, ...]  # on a change that adds no risk
    budget: RiskBudget | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing but latches is ever refused."""
        return len(self.gates) + len(self.rules) <= 1


def rules_of(profile: Profile, risks: Risks, is_open: IsOpen) -> RuleBook:
    """The rule book of a profile."""
    daily = profile.daily
    weighs_loss = daily is not None or profile.max is not None
    weighs_risk = profile.position_risk_frac is not None or profile.risk_per_trade_frac is not None
    rates: list[Gate] = []
    if profile.max_orders_per_minute is not None:
        rates.append(OrderRate(profile.max_orders_per_minute))
    if profile.max_orders_per_day is not None:
        rates.append(OrdersPerDay(profile.max_orders_per_day))
    gates: list[Gate] = [Latched()]
    if profile.stop_required:
        gates.append(StopRequired())
    if weighs_loss or weighs_risk:
        gates.append(KnownEquity())
    if daily is not None:
        gates.append(DailyLoss())
    if profile.max is not None:
        gates.append(MaxLoss())
    if profile.max_positions is not None:
        gates.append(MaxPositions(profile.max_positions))
    if profile.max_trades_per_day is not None:
        gates.append(TradesPerDay(profile.max_trades_per_day))
    if profile.cooldown_s is not None:
        gates.append(Cooldown(profile.cooldown_s))
    rules: list[Rule] = []
    if profile.max_quote_age_factor is not None:
        rules.append(FreshQuote(profile.max_quote_age_factor))
    if profile.market_open_required:
        rules.append(MarketOpen(is_open))
    if profile.max_correlation is not None:
        rules.append(Correlation(float(profile.max_correlation)))
    if profile.max_order_lots is not None:
        rules.append(MaxOrderSize(profile.max_order_lots))
    if profile.max_net_lots is not None:
        rules.append(NetExposure(profile.max_net_lots))
    weights: list[Rule] = []
    if profile.position_risk_frac is not None:
        weights.append(PositionSize(profile.position_risk_frac.as_integer_ratio()))
    if weighs_risk:
        weights.append(
            RiskPerTrade(
                _ratio(profile.risk_per_trade_frac), _ratio(profile.scalper_risk_per_trade_frac)
            )
        )
    budget: RiskBudget | None = None
    if weighs_loss:
        of_balance = daily is not None and daily.base == "reference"
        budget = RiskBudget(risks, _ratio(daily.guard_frac if daily and of_balance else None))
        weights.append(budget)
    return RuleBook(
        gates=(*gates, *rates),
        rules=(*rules, *weights),
        widening=tuple(weights),
        rates=tuple(rates),
        budget=budget,
    )
