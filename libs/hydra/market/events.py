"""What a live market tells: quotes, trades, changes of the book, and what is amiss with them.

Prices and sizes are whole numbers on the grid of a `Listing`, so that they are exact. Each
event has two instants, int ns since 1970 UTC: `at_ns`, when it reached Hydra (what engines may
know by), and `venue_ns`, when the venue says that it happened.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum

import msgspec

Levels = tuple[tuple[int, int], ...]  # (ticks, steps); 0 steps: the level is gone

_LONGEST_NUMBER = 40  # characters; more is no price


class Side(IntEnum):
    """Who crossed the spread: the buyer or the seller."""

    BUY = 1
    SELL = -1


class Listing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One symbol at one venue, and the grid of its prices and sizes.

    A price is `ticks` × 10^-price_decimals of the quote currency, a size is `steps` ×
    10^-size_decimals of the base currency. Take the precision in which the venue writes them
    (Binance: 8 and 8), not the tick and the step of new orders: books still hold orders from
    before a tick was made coarser, and their sums.
    """

    source: str  # the venue: coinbase, binance, ...
    symbol: str  # as Hydra spells it
    venue_symbol: str  # as the venue spells it
    price_decimals: int
    size_decimals: int
    has_trades: bool = True  # False: the venue tells quotes alone, and volume is unknown

    def ticks(self, text: str) -> int:
        """The price in ticks. Raises ValueError unless it is above zero and on the grid."""
        ticks = fixed(text, self.price_decimals)
        if ticks == 0:
            raise ValueError("a price of zero")
        return ticks

    def steps(self, text: str) -> int:
        """The size in steps. Raises ValueError when it is no number, negative or off the grid."""
        return fixed(text, self.size_decimals)

    def price(self, ticks: int) -> Decimal:
        return Decimal(ticks).scaleb(-self.price_decimals)

    def size(self, steps: int) -> Decimal:
        return Decimal(steps).scaleb(-self.size_decimals)


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Best bid and ask; the bid is below the ask. Holds until the next, or NoQuote or Resync."""

    listing: Listing
    bid_ticks: int
    bid_steps: int
    ask_ticks: int
    ask_steps: int
    at_ns: int
    venue_ns: int


class NoQuote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """There is no best bid and ask at present: a side is empty, or trading is halted."""

    listing: Listing
    reason: str
    at_ns: int


class Trade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One trade, and who wanted it."""

    listing: Listing
    trade_id: str
    price_ticks: int
    size_steps: int
    aggressor: Side
    at_ns: int
    venue_ns: int


class BookChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """New sizes of price levels, in the venue's order; a snapshot replaces the whole book."""

    listing: Listing
    bids: Levels
    asks: Levels
    snapshot: bool
    at_ns: int
    venue_ns: int


class Resync(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The book and the quote of a listing are void until its next snapshot, which is asked for."""

    listing: Listing
    reason: str
    at_ns: int


class BadMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that could not be understood: its beginning, and why."""

    source: str
    reason: str
    text: str
    at_ns: int


class Down(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A connection to a venue ended; it is made anew."""

    source: str
    reason: str
    at_ns: int


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A venue says what time it is and no more: nothing from before is still on its way."""

    source: str
    at_ns: int
    venue_ns: int


Event = Quote | NoQuote | Trade | BookChange | Resync | BadMessage | Down | Heartbeat


def fixed(text: str, decimals: int) -> int:
    """A plain decimal number (12.340) times 10^decimals, exactly.

    Raises ValueError on anything but ASCII digits with at most one point among them, and when
    digits other than zero stand beyond `decimals`.
    """
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isdecimal() or not digits.isascii() or len(text) > _LONGEST_NUMBER or not whole:
        raise ValueError(f"{text[:_LONGEST_NUMBER]!r} is no plain number")
    missing = decimals - len(fraction)
    if missing >= 0:
        return int(digits + "0" * missing)
    if point and fraction[decimals:].strip("0"):
        raise ValueError(f"{text} has more than {decimals} decimals")
    return int(digits[:missing])
