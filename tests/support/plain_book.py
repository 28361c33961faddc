"""The slow, plain order book that the fast one must agree with: two dicts of Decimal."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from hydra.market.events import Levels, Listing
from hydra.market.orderbook import OrderBook

PlainLevel = tuple[Decimal, Decimal]


class PlainBook:
    """Price to size for each side; best prices by looking at all of them."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}

    def load(self, bids: Iterable[Iterable[str]], asks: Iterable[Iterable[str]]) -> None:
        self.bids.clear()
        self.asks.clear()
        self.change(bids, asks)

    def change(self, bids: Iterable[Iterable[str]], asks: Iterable[Iterable[str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for text, size in levels:
                side[Decimal(text)] = Decimal(size)
                if side[Decimal(text)] == 0:
                    del side[Decimal(text)]

    def best_bid(self) -> PlainLevel | None:
        return max(self.bids.items(), default=None)

    def best_ask(self) -> PlainLevel | None:
        return min(self.asks.items(), default=None)

    def depth(self, levels: int) -> tuple[list[PlainLevel], list[PlainLevel]]:
        return sorted(self.bids.items(), reverse=True)[:levels], sorted(self.asks.items())[:levels]


def in_decimals(listing: Listing, levels: Levels) -> list[PlainLevel]:
    return [(listing.price(ticks), listing.size(steps)) for ticks, steps in levels]


def depth_of(
    listing: Listing, book: OrderBook, levels: int = 1_000_000
) -> tuple[list[PlainLevel], list[PlainLevel]]:
    """A fast book as the plain one shows itself."""
    bids, asks = book.depth(levels)
    return in_decimals(listing, bids), in_decimals(listing, asks)
