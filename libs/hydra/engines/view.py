"""What an engine sees: closed bars up to now, its own account, and nothing else.

Mother keeps one `View` for each engine and symbol and moves it from cycle to cycle; nothing
in it holds a bar that has not closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from math import nan
from types import MappingProxyType
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.clock import to_datetime
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.portfolio.intents import Amend, Close, Invalidation, Open, OrderType, Side, Ticket

Float64 = NDArray[np.float64]
LOOK_BACK_BARS = 1_000  # how far back an engine may look
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(slots=True, kw_only=True)
class History:
    """The closed bars of one stream. `at` is the newest; later rows are not to be read.

    Mother replaces the arrays chunk by chunk, keeping a tail of earlier bars in front.
    """

    instrument: Instrument
    resolution_ns: int
    open_ns: NDArray[np.int64]
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64
    bid_close: NDArray[np.int64]  # ticks
    ask_close: NDArray[np.int64]  # ticks
    at: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """The last n closed bars, oldest first; each array (n,), read-only."""

    open_ns: NDArray[np.int64]
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64  # base units, NaN where unknown


class Terms(TypedDict, total=False):
    """What an order may say beside symbol and side: see `Open`."""

    stop: float | Decimal | None
    target: float | Decimal | None
    order: OrderType
    price: float | Decimal | None
    risk_frac: Decimal | None
    lots: Decimal | None
    confidence: float | None
    thesis: str
    expires_s: float | None
    target_first: float | None
    hold_s: float | None
    invalidation: Invalidation | None


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """A wish of the engine's that was not granted as it was made."""

    at_ns: int
    symbol: str
    kind: str  # refused or resized
    rule: str
    text: str  # why, with limit and figure


class ClosedTicket(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket of the engine's that is over."""

    id: int
    symbol: str
    side: Side
    entry: Decimal
    exit: Decimal
    entry_ns: int
    closed_ns: int
    net_usd: Decimal  # after every cost
    net_frac: float  # of the balance at entry
    reason: str  # stop, target, engine, invalidation, expiry, …
    stop: Decimal | None  # as it stood at the end
    target: Decimal | None
    thesis: str
    confidence: float | None
    target_first: float | None  # the probability that the engine had stated


class TradingCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What trading one symbol costs now, in basis points of the price."""

    spread_bps: float  # full
    commission_bps: float  # each side
    slippage_bps: float  # each side, of a small order

    @property
    def least_move_bps(self) -> float:
        """The move in one's favour that pays for opening and closing."""
        return self.spread_bps + 2 * (self.commission_bps + self.slippage_bps)


class OwnAccount(Protocol):
    """The part of an engine's own account that it may look at."""

    @property
    def equity_units(self) -> int: ...
    @property
    def balance_units(self) -> int: ...
    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """All own tickets, every symbol, oldest first."""
        ...

    @property
    def now_ns(self) -> int:
        """The market's time: bars of a symbol that is silent may have closed long before."""
        ...

    @property
    def initial_units(self) -> int: ...
    @property
    def room_units(self) -> tuple[int | None, int | None]:
        """What may still be lost (today, in all) before the guardian stops the account.

        None: its profile has no such limit.
        """
        ...

    @property
    def rules(self) -> tuple[str, ...]:
        """The guardian's limits on single orders, a sentence each."""
        ...

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        """The last refusals and resizings, oldest first; a few."""
        ...

    @property
    def closed(self) -> Sequence[ClosedTicket]:
        """All tickets that are over, in the order in which they closed.

        Kept for engines with `keeps_history`; empty for the others.
        """
        ...

    @property
    def place(self) -> tuple[int | None, int]:
        """(rank now, how many hold one); the rank is None for who holds none."""
        ...

    def costs(self, symbol: str) -> TradingCosts:
        """Raises KeyError for a symbol that is not in the season."""
        ...


def _copy(values: NDArray[Scalar]) -> NDArray[Scalar]:
    """A read-only copy: nobody holds on to what is not his."""
    copy = values.copy()
    copy.flags.writeable = False
    return copy


def _still(view: View) -> View:
    """A view of its newest bar alone, which does not move on."""
    history = view._history
    newest = slice(history.at, history.at + 1) if history.at >= 0 else slice(0)
    rows: dict[str, Any] = {
        one.name: _copy(values[newest])
        for one in fields(history)
        if isinstance(values := getattr(history, one.name), np.ndarray)
    }
    return replace(view, _history=replace(history, **rows, at=min(history.at, 0)))


@dataclass(slots=True, kw_only=True)
class View:
    """One engine's sight of one symbol, now."""

    symbol: str
    instrument: Instrument
    _history: History
    account: OwnAccount
    features: tuple[float, ...] = ()  # the engine's own, in its order, none of them NaN
    tickets: tuple[Ticket, ...] = ()  # own tickets on this symbol, oldest first
    market: Mapping[str, View] = field(default_factory=lambda: MappingProxyType({}))
    wider: Mapping[str, View] = field(default_factory=lambda: MappingProxyType({}))
    # The same symbols in coarser bars, for engines that look at two resolutions; no features.

    def still(self) -> View:
        """The newest bar of each symbol as it is now, for who looks again when the market has
        gone on. The account still moves."""
        market = {symbol: _still(view) for symbol, view in self.market.items()}
        return replace(_still(self), market=MappingProxyType(market))

    def _newest(self, values: Float64) -> float:
        """NaN before the symbol's first bar: what lies at -1 is not to be seen."""
        return float(values[self._history.at]) if self._history.at >= 0 else nan

    def _touch(self, ticks: NDArray[np.int64]) -> Decimal:
        if self._history.at < 0:
            return Decimal("NaN")
        return self.instrument.price(int(ticks[self._history.at]))

    @property
    def resolution_ns(self) -> int:
        """How long a bar is."""
        return self._history.resolution_ns

    @property
    def now_ns(self) -> int:
        """The instant at which the newest bar closed; 0 before the symbol's first bar."""
        if self._history.at < 0:
            return 0
        return int(self._history.open_ns[self._history.at]) + self._history.resolution_ns

    @property
    def now(self) -> datetime:
        return to_datetime(self.now_ns)

    @property
    def open(self) -> float:
        return self._newest(self._history.open)

    @property
    def high(self) -> float:
        return self._newest(self._history.high)

    @property
    def low(self) -> float:
        return self._newest(self._history.low)

    @property
    def close(self) -> float:
        return self._newest(self._history.close)

    @property
    def volume(self) -> float:
        """Base units traded in the newest bar, NaN where unknown."""
        return self._newest(self._history.volume)

    @property
    def bid(self) -> Decimal:
        return self._touch(self._history.bid_close)

    @property
    def ask(self) -> Decimal:
        return self._touch(self._history.ask_close)

    @property
    def equity(self) -> Decimal:
        """Balance and open P&L, USD."""
        return Decimal(self.account.equity_units) / UNITS_PER_USD

    @property
    def balance(self) -> Decimal:
        return Decimal(self.account.balance_units) / UNITS_PER_USD

    def bars(self, n: int) -> Bars:
        """The last `n` closed bars, 1,000 at most (fewer at the start of a season)."""
        h = self._history
        window = slice(max(0, h.at + 1 - min(n, LOOK_BACK_BARS)), h.at + 1)

        return Bars(
            open_ns=_copy(h.open_ns[window]),
            open=_copy(h.open[window]),
            high=_copy(h.high[window]),
            low=_copy(h.low[window]),
            close=_copy(h.close[window]),
            volume=_copy(h.volume[window]),
        )

    def _price(self, price: float | Decimal | None) -> Decimal | None:
        if price is None:
            return None
        return self.instrument.price(self.instrument.ticks(price))

    def _open(self, side: Side, terms: Terms) -> Open:
        return Open(
            symbol=self.symbol,
            side=side,
            stop=self._price(terms.get("stop")),
            target=self._price(terms.get("target")),
            order=terms.get("order", OrderType.MARKET),
            price=self._price(terms.get("price")),
            risk_frac=terms.get("risk_frac"),
            lots=terms.get("lots"),
            confidence=terms.get("confidence"),
            thesis=terms.get("thesis", ""),
            expires_s=terms.get("expires_s"),
            target_first=terms.get("target_first"),
            hold_s=terms.get("hold_s"),
            invalidation=terms.get("invalidation"),
        )

    def buy(self, **terms: Unpack[Terms]) -> Open:
        """An intent to buy this symbol; prices are put on the tick grid."""
        return self._open(Side.BUY, terms)

    def sell(self, **terms: Unpack[Terms]) -> Open:
        """An intent to sell this symbol; prices are put on the tick grid."""
        return self._open(Side.SELL, terms)

    def close_ticket(
        self, ticket: Ticket, *, lots: Decimal | None = None, thesis: str = ""
    ) -> Close:
        return Close(ticket=ticket.id, lots=lots, thesis=thesis)

    def amend(
        self,
        ticket: Ticket,
        *,
        stop: float | Decimal | None = None,
        target: float | Decimal | None = None,
        thesis: str = "",
    ) -> Amend:
        return Amend(
            ticket=ticket.id, stop=self._price(stop), target=self._price(target), thesis=thesis
        )
