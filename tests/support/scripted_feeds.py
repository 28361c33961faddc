"""Venues that tell what a test says, and a reader of the minutes made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hydra.clock import NS_PER_S
from hydra.feeds.asset import Switch
from hydra.feeds.listings import listing_of
from hydra.feeds.minutes import Minute
from hydra.feeds.venue_minutes import VenueFeed, VenueMinutes
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from hydra.market.events import BookChange, Event, Listing, NoQuote, Quote, Resync, Side, Trade
from hydra.market.orderbook import OrderBook
from tests.support.hand_time import HandTime, rest

BTC = Catalogue.load().instrument("BTC-USD", 2)
ETH = Catalogue.load().instrument("ETH-USD", 2)
EUR = Catalogue.load().instrument("EURUSD", 2)
EURUSD = listing_of("oanda", "EURUSD")
COINBASE, BINANCE, BYBIT = (
    listing_of(venue, "BTC-USD") for venue in ("coinbase", "binance", "bybit")
)


def a_quote(
    of: Listing, now_ns: int, middle: float = 100.0, lag_s: float = 0, half_spread: float = 0.01
) -> Quote:
    return Quote(
        listing=of, bid_ticks=of.ticks(f"{middle - half_spread:.2f}"), bid_steps=1,
        ask_ticks=of.ticks(f"{middle + half_spread:.2f}"), ask_steps=1, at_ns=now_ns,
        venue_ns=now_ns - round(lag_s * NS_PER_S),
    )  # fmt: skip


class ScriptedFeed:
    """A feed whose events are told by hand while it runs."""

    def __init__(self) -> None:
        self.connects = 1
        self.books: dict[str, OrderBook] = {}  # by symbol; one that is absent is void
        self.deliver: Callable[[Sequence[Event]], None] | None = None
        self._failure: asyncio.Future[None] | None = None

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        self.deliver = deliver
        self._failure = asyncio.get_running_loop().create_future()
        try:
            await self._failure
        finally:
            self.deliver = None

    def book(self, listing: Listing) -> OrderBook | None:
        return self.books.get(listing.symbol)

    def fail(self, error: Exception) -> None:
        assert self._failure is not None
        self._failure.set_exception(error)


class Script:
    """Feeds by listing, time, and the minutes that come: each with the second it came at."""

    def __init__(self, time: HandTime, listings: Sequence[Listing], **options: Any) -> None:
        self.time = time
        self.began_ns = time.now_ns()
        self.switches: list[Switch] = []
        self.feeds = {one.source: ScriptedFeed() for one in listings}
        venues = [
            VenueFeed(source, feed, [one for one in listings if one.source == source], feed.book)
            for source, feed in self.feeds.items()
        ]
        instruments = options.pop("instruments", [BTC])
        self.source = VenueMinutes(
            instruments, venues, clock=time, timer=time, tell=self.switches.append, **options
        )
        self.minutes: list[Minute] = []
        self.came: list[float] = []  # seconds since the beginning
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for minute in self.source.minutes():
            self.minutes.append(minute)
            self.came.append(self.seconds(self.time.now_ns()))

    def seconds(self, at_ns: int) -> float:
        return (at_ns - self.began_ns) / NS_PER_S

    def tell(self, listing: Listing, *events: Event) -> None:
        deliver = self.feeds[listing.source].deliver
        assert deliver is not None
        deliver(events)

    def snapshot(self, *listings: Listing, ago_s: int = 0) -> None:
        now_ns = self.time.now_ns() - ago_s * NS_PER_S
        for of in listings:
            event = BookChange(
                listing=of, bids=(), asks=(), snapshot=True, at_ns=now_ns, venue_ns=now_ns
            )
            self.tell(of, event)

    def show(self, of: Listing, best_steps: int) -> None:
        """A book whose best levels, a dollar apart at 100, hold so many steps of the instrument."""
        book = OrderBook()
        size = of.steps(str(best_steps * BTC.lot_step))
        book.load([(of.ticks("99.5"), size)], [(of.ticks("100.5"), 2 * size)])
        self.feeds[of.source].books[of.symbol] = book

    def quote(
        self, of: Listing, middle: float, lag_s: float = 0, half_spread: float = 0.01
    ) -> None:
        self.tell(of, a_quote(of, self.time.now_ns(), middle, lag_s, half_spread))

    def trade(self, of: Listing, price: float, lag_s: float = 0) -> None:
        now_ns = self.time.now_ns()
        event = Trade(
            listing=of, trade_id="1", price_ticks=of.ticks(f"{price:.2f}"),
            size_steps=of.steps("1"), aggressor=Side.BUY, at_ns=now_ns,
            venue_ns=now_ns - round(lag_s * NS_PER_S),
        )  # fmt: skip
        self.tell(of, event)

    def void(self, of: Listing, reason: str = "gap") -> None:
        self.tell(of, Resync(listing=of, reason=reason, at_ns=self.time.now_ns()))

    def no_quote(self, of: Listing, reason: str = "no asks") -> None:
        self.tell(of, NoQuote(listing=of, reason=reason, at_ns=self.time.now_ns()))

    async def run(self, seconds: int, middles: Mapping[Listing, float] | None = None) -> None:
        """Second by second; those named tell a quote at the start of each."""
        for _ in range(seconds):
            for listing, middle in (middles or {}).items():
                self.quote(listing, middle)
            await self.time.run(1)

    def whys(self) -> list[str]:
        return [minute.fit["BTC-USD"] for minute in self.minutes]

    def sources(self) -> list[str]:
        bars = [minute.bars.get("BTC-USD") for minute in self.minutes]
        return ["" if bar is None else bar.source for bar in bars]


def bids(minutes: Sequence[Minute]) -> list[int | None]:
    """Steps of the best bid that each BTC-USD bar knows; None without a bar, 0 without depth."""
    bars = [minute.bars.get("BTC-USD") for minute in minutes]
    return [
        None if bar is None else 0 if bar.depth is None else int(bar.depth[0, 0, 0, 1])
        for bar in bars
    ]


def closes(bars: Mapping[str, BarTable]) -> dict[str, float]:
    return {symbol: round(float(bar.close[0]), 9) for symbol, bar in bars.items()}


@asynccontextmanager
async def scripted(
    *listings: Listing, start_ns: int = 0, snapshots: bool = True, **options: Any
) -> AsyncIterator[Script]:
    """A script that runs, with snapshots of all books told; nothing of it is left afterwards."""
    before = asyncio.all_tasks()
    time = HandTime(start_ns)
    script = Script(time, listings, **options)
    await rest()
    if snapshots:
        script.snapshot(*listings, ago_s=6)  # so that the first bar may be whole
    try:
        yield script
    finally:
        await script.source.aclose()
        await asyncio.wait({script.reader})
    assert time.asleep == 0
    assert asyncio.all_tasks() == before
