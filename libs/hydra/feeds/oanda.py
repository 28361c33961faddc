"""OANDA v20: streamed prices with the liquidity behind them.

A GET whose reply never ends: one JSON object a line, a PRICE or, every 5 s, a HEARTBEAT. Each
price is whole (bids and asks), so nothing can be missed between two of them, but they are at most
four a second for each instrument: not every price there was. There are no trades.
Source: developer.oanda.com, REST v20 pricing: /v3/accounts/{accountID}/pricing/stream. A practice
account's host is stream-fxpractice.oanda.com, a real one's stream-fxtrade.oanda.com.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from hydra.clock import to_ns
from hydra.feeds.venue import UNDECODABLE, BookVenue, VenueBook, words
from hydra.market.events import Event, Heartbeat, Levels, Listing, NoQuote

OANDA_STREAM_URL = "https://stream-fxpractice.oanda.com"
SOURCE = "oanda"
SILENCE_S = 12.0  # two heartbeats and a little
# By the catalogue's canonical spellings of what it knows: how OANDA spells it.
NAMES = {
    "EURUSD": "EUR_USD", "GBPUSD": "GBP_USD", "AUDUSD": "AUD_USD", "NZDUSD": "NZD_USD",
    "XAUUSD": "XAU_USD", "GOLD": "XAU_USD", "XAGUSD": "XAG_USD", "SILVER": "XAG_USD",
    **dict.fromkeys(("US30.CASH", "US30", "DJ30", "WS30", "US30USD"), "US30_USD"),
    **dict.fromkeys(
        ("US100.CASH", "US100", "NAS100", "USTEC", "NDX100", "NAS100USD"), "NAS100_USD"
    ),
    **dict.fromkeys(("US500.CASH", "US500", "SPX500", "SPX500USD"), "SPX500_USD"),
}  # fmt: skip


class _Bucket(msgspec.Struct, gc=False):
    price: str
    liquidity: int | str  # base units


class _Message(msgspec.Struct):
    type: Literal["PRICE", "HEARTBEAT"]
    time: datetime  # the venue's nanoseconds, rounded to microseconds
    instrument: str = ""
    bids: list[_Bucket] = []
    asks: list[_Bucket] = []
    tradeable: bool | None = None
    status: str = ""  # older servers: tradeable, non-tradeable or invalid


class Oanda(BookVenue):
    """The protocol of one price stream. What to stream is in its address."""

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        silence_s: float = SILENCE_S,
        snapshot_s: float = SILENCE_S,
    ) -> None:
        super().__init__(SOURCE, listings, silence_s=silence_s, snapshot_s=snapshot_s)
        self._halted: set[str] = set()
        self._decode = msgspec.json.Decoder(_Message).decode

    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        self.counts.messages += 1
        try:
            read = self._decode(message)
        except UNDECODABLE as error:
            return (self._bad(message, words(error), at_ns),)
        if read.time.tzinfo is None:
            return (self._bad(message, "a time without its zone", at_ns),)
        venue_ns = to_ns(read.time)
        if read.type == "HEARTBEAT":
            return (Heartbeat(source=SOURCE, at_ns=at_ns, venue_ns=venue_ns),)
        book = self._books.get(read.instrument)
        if book is None:
            return (self._bad(message, f"price of {read.instrument!r}", at_ns),)
        if venue_ns < book.last_id:
            self.counts.duplicates += 1
            return ()
        tradeable = read.status == "tradeable" if read.tradeable is None else read.tradeable
        book.last_id = venue_ns
        if not tradeable:
            return self._halt(book, at_ns, venue_ns)
        self._halted.discard(read.instrument)
        try:
            bids, asks = _levels(book, read.bids), _levels(book, read.asks)
        except ValueError as error:
            bad = self._bad(message, words(error), at_ns)
            return (bad, *self._resync((book,), f"unreadable level: {error}", at_ns))
        return self._changed(book, bids, asks, snapshot=True, at_ns=at_ns, venue_ns=venue_ns)

    def _halt(self, book: VenueBook, at_ns: int, venue_ns: int) -> Sequence[Event]:
        """The prices of a halted instrument are there to see, not to trade on: an empty book."""
        name = book.listing.venue_symbol
        if name in self._halted:
            return ()
        self._halted.add(name)
        change, _ = self._changed(book, (), (), snapshot=True, at_ns=at_ns, venue_ns=venue_ns)
        return (change, NoQuote(listing=book.listing, reason="not tradeable", at_ns=at_ns))

    def _subscribe(self, at_ns: int) -> None:
        """The address says it all; the stream begins with each instrument's price."""
        self._halted.clear()
        for book in self._books.values():
            book.last_id = 0

    def _ask_again(self, books: Sequence[VenueBook], at_ns: int) -> None:
        """The next price is whole."""


def _levels(book: VenueBook, buckets: Sequence[_Bucket]) -> Levels:
    return book.levels([(bucket.price, str(bucket.liquidity)) for bucket in buckets])
