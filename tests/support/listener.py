"""One who hears a feed's events and keeps books of them, as engines and features would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

from hydra.market.events import BookChange, Down, Event, NoQuote, Quote, Resync
from tests.support.plain_book import PlainBook, PlainLevel, in_decimals

WAIT_S = 5.0  # far more than a test on the loopback takes


class Listener:
    """Events in order, and the books and quotes that they add up to; void ones are not there."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.books: dict[str, PlainBook] = {}
        self.quotes: dict[str, tuple[PlainLevel, PlainLevel]] = {}

    def deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            self.events.append(event)
            match event:
                case BookChange(listing=listing, snapshot=snapshot):
                    if snapshot:
                        self.books[listing.symbol] = PlainBook()
                    book = self.books[listing.symbol]
                    for side, levels in ((book.bids, event.bids), (book.asks, event.asks)):
                        for price, size in in_decimals(listing, levels):
                            side[price] = size
                            if size == 0:
                                del side[price]
                case Quote(listing=listing):
                    bid, ask = in_decimals(
                        listing,
                        ((event.bid_ticks, event.bid_steps), (event.ask_ticks, event.ask_steps)),
                    )
                    self.quotes[listing.symbol] = bid, ask
                case NoQuote(listing=listing):
                    self.quotes.pop(listing.symbol, None)
                case Resync(listing=listing):
                    self.books.pop(listing.symbol, None)
                    self.quotes.pop(listing.symbol, None)

    def reasons(self, kind: type[Resync | Down | NoQuote]) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, kind)]

    def bests(self, symbol: str) -> tuple[Decimal, Decimal]:
        bid, ask = self.quotes[symbol]
        return bid[0], ask[0]


async def until(told: Callable[[], bool]) -> None:
    """Wait, a millisecond at a time, until something holds. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while not told():
            await asyncio.sleep(0.001)
