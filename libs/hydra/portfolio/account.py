"""An account and the market around it, as the guardian is shown them: values only."""

from __future__ import annotations

from typing import Protocol

import msgspec

from hydra.market.instruments import Instrument
from hydra.portfolio.intents import Ticket


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """One account, now. Money in units of 1e-8 USD."""

    name: str
    initial_units: int
    balance_units: int
    equity_units: int | None  # None: an open ticket has no fresh price
    margin_units: int  # margin that open tickets hold
    tickets: tuple[Ticket, ...]  # open and pending, oldest first


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """The best bid and ask of one symbol, in ticks, and when they were true."""

    bid_ticks: int
    ask_ticks: int
    at_ns: int


class MarketState(Protocol):
    """What the guardian may ask of the market."""

    @property
    def now_ns(self) -> int: ...
    def instrument(self, symbol: str) -> Instrument | None: ...
    def touch(self, symbol: str) -> Touch | None:
        """None before the symbol's first bar."""
        ...

    def unfit(self, symbol: str) -> str:
        """Why no new risk may be taken on the symbol's prices now, "" where nothing speaks
        against it."""
        ...

    def max_quote_age_ns(self, symbol: str) -> int:
        """How old a touch may be before it is stale (from the symbol's bar length)."""
        ...

    def slippage_ticks(self, symbol: str, steps: int) -> int:
        """What a market or stop order of that size would slip in the next bar, 0 for nothing."""
        ...

    def correlation(self, a: str, b: str) -> float | None:
        """Of recent returns, -1 to 1; None where there are too few common bars."""
        ...
