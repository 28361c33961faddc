"""An account, a market and a guardian by hand, for the guardian's tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from hydra.clock import NS_PER_S, to_ns
from hydra.guardian.guardian import Guardian
from hydra.guardian.profiles import Profile, profile
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.portfolio.account import AccountState, Touch
from hydra.portfolio.intents import Open, OrderType, Side, Ticket
from tests.support.bars import an_instrument

NOW_NS = to_ns(datetime(2026, 1, 14, 12, tzinfo=UTC))  # a Wednesday, 13:00 in Prague
XAU = an_instrument("XAUUSD", tick_size="0.01", lot_step="0.01", contract_size="100", max_lots="50")
EUR = an_instrument(
    "EURUSD", tick_size="0.00001", lot_step="0.01", contract_size="100000", max_lots="50"
)


def usd(amount: float | str) -> int:
    """Dollars in money units."""
    return int(Decimal(str(amount)) * UNITS_PER_USD)


@dataclass(kw_only=True)
class FakeMarket:
    """`MarketState` with every answer set by the test. Gold stands at 2000.00 / 2000.20."""

    now_ns: int = NOW_NS
    instruments: dict[str, Instrument] = field(
        default_factory=lambda: {"XAUUSD": XAU, "EURUSD": EUR}
    )
    touches: dict[str, Touch | None] = field(
        default_factory=lambda: {
            "XAUUSD": Touch(bid_ticks=200_000, ask_ticks=200_020, at_ns=NOW_NS),
            "EURUSD": Touch(bid_ticks=110_000, ask_ticks=110_010, at_ns=NOW_NS),
        }
    )
    correlations: dict[frozenset[str], float | None] = field(default_factory=dict)
    unfits: dict[str, str] = field(default_factory=dict)
    max_age_s: int = 180
    slip_ticks: int = 0  # of any order

    def instrument(self, symbol: str) -> Instrument | None:
        return self.instruments.get(symbol)

    def touch(self, symbol: str) -> Touch | None:
        return self.touches[symbol]

    def unfit(self, symbol: str) -> str:
        return self.unfits.get(symbol, "")

    def max_quote_age_ns(self, symbol: str) -> int:
        return self.max_age_s * NS_PER_S

    def slippage_ticks(self, symbol: str, steps: int) -> int:
        return self.slip_ticks

    def correlation(self, a: str, b: str) -> float | None:
        return self.correlations.get(frozenset((a, b)))

    def after(self, seconds: float) -> FakeMarket:
        """The same market later, its prices as fresh as before."""
        now_ns = self.now_ns + int(seconds * NS_PER_S)
        touches = {
            symbol: None
            if touch is None
            else Touch(bid_ticks=touch.bid_ticks, ask_ticks=touch.ask_ticks, at_ns=now_ns)
            for symbol, touch in self.touches.items()
        }
        return FakeMarket(
            now_ns=now_ns,
            instruments=self.instruments,
            touches=touches,
            correlations=self.correlations,
            max_age_s=self.max_age_s,
        )


def always_open(instrument: Instrument, at_ns: int) -> bool:
    """A calendar without holidays."""
    return True


def a_guardian(
    rules: str | Profile = "ftmo-2step",
    *,
    initial: float = 100_000,
    at_ns: int = NOW_NS,
    is_scalper: bool = False,
) -> Guardian:
    """A guardian that keeps the account "a"."""
    chosen = profile(rules) if isinstance(rules, str) else rules
    guardian = Guardian(chosen, is_open=always_open)
    guardian.open_account("a", usd(initial), at_ns, is_scalper=is_scalper)
    return guardian


def an_account(
    *tickets: Ticket,
    initial: float = 100_000,
    balance: float | None = None,
    equity: float | None = None,
    name: str = "a",
) -> AccountState:
    """An account; balance defaults to the initial balance, equity to the balance."""
    held = initial if balance is None else balance
    return AccountState(
        name=name,
        initial_units=usd(initial),
        balance_units=usd(held),
        equity_units=usd(held if equity is None else equity),
        margin_units=0,
        tickets=tickets,
    )


def a_ticket(
    number: int = 1,
    symbol: str = "XAUUSD",
    side: Side = Side.BUY,
    *,
    lots: str = "1",
    entry: str | None = "2000",
    stop: str | None = "1990",
    target: str | None = None,
    entry_ns: int = NOW_NS - 3_600 * NS_PER_S,
) -> Ticket:
    """A ticket, pending where `entry` is None."""
    return Ticket(
        id=number,
        symbol=symbol,
        side=side,
        lots=Decimal(lots),
        stop=None if stop is None else Decimal(stop),
        target=None if target is None else Decimal(target),
        is_open=entry is not None,
        entry=None if entry is None else Decimal(entry),
        entry_ns=entry_ns,
    )


def buy(
    symbol: str = "XAUUSD",
    *,
    stop: str | None = "1990.20",
    target: str | None = None,
    lots: str | None = None,
    risk: str | None = None,
    order: OrderType = OrderType.MARKET,
    price: str | None = None,
    side: Side = Side.BUY,
    expires_s: float | None = None,
) -> Open:
    """A wish to buy (or, by `side`, to sell)."""
    return Open(
        symbol=symbol,
        side=side,
        stop=None if stop is None else Decimal(stop),
        target=None if target is None else Decimal(target),
        order=order,
        price=None if price is None else Decimal(price),
        risk_frac=None if risk is None else Decimal(risk),
        lots=None if lots is None else Decimal(lots),
        expires_s=expires_s,
    )


def tuned(base: str, **changes: object) -> Profile:
    """A named profile with other figures."""
    return msgspec.structs.replace(profile(base), **changes)
