"""The goal of the hot path: 100,000 book updates a second on one core, from bytes to events.

An update is one price level of a recorded message; decoding, book, best prices and events are in
the measured time. The best of five rounds counts: what else the machine does is not the feed's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from hydra.feeds.binance import Binance
from hydra.feeds.bybit import Bybit
from hydra.feeds.coinbase import Coinbase
from hydra.feeds.oanda import Oanda
from hydra.feeds.venue import Fetch
from tests.support.captures import (
    binance_btcusdt,
    binance_listing,
    bybit_listings,
    bybit_messages,
    coinbase_listings,
    coinbase_messages,
    oanda_gold_prices,
    oanda_listing,
)

GOAL = 100_000  # updates a second
ROUNDS = 5


def coinbase() -> tuple[int, Callable[[], None]]:
    """Single-level updates: each pays for a whole message. The trades are played, not counted."""
    recorded = [m for m in coinbase_messages() if m.message]

    def play() -> None:
        venue = Coinbase(coinbase_listings())
        venue.opened(0)
        for message in recorded:
            venue.feed(message.message, message.at_ns)
        assert venue.counts.resyncs == 0

    return sum(m.raw["type"] == "l2update" for m in recorded), play


def binance() -> tuple[int, Callable[[], None]]:
    recorded = [
        m
        for m in binance_btcusdt()
        if "lastUpdateId" in m.raw or m.raw["stream"].endswith("depth@100ms")
    ]
    changes = [m.raw["data"] for m in recorded if "data" in m.raw]

    def play() -> None:
        venue = Binance([binance_listing("BTCUSDT")])
        venue.opened(0)
        fetch: Fetch | None = None
        for message in recorded:
            if b"lastUpdateId" in message.message[:20]:
                assert fetch is not None
                venue.answer(fetch, message.message, message.at_ns)
                continue
            venue.feed(message.message, message.at_ns)
            for request in venue.requests():
                fetch = request if isinstance(request, Fetch) else None
        assert venue.counts.resyncs == 0

    return sum(len(change["b"]) + len(change["a"]) for change in changes), play


def bybit() -> tuple[int, Callable[[], None]]:
    recorded = [m for m in bybit_messages() if b'"orderbook.' in m.message[:40]]
    books = [json.loads(m.message)["data"] for m in recorded]

    def play() -> None:
        venue = Bybit(bybit_listings())
        venue.opened(0)
        for message in recorded:
            venue.feed(message.message, message.at_ns)
        assert venue.counts.resyncs == 0

    return sum(len(book["b"]) + len(book["a"]) for book in books), play


def oanda() -> tuple[int, Callable[[], None]]:
    """One level a side: a price counts as two."""
    recorded = [json.dumps(price).encode() for price in oanda_gold_prices(10_000)]

    def play() -> None:
        venue = Oanda([oanda_listing("XAU_USD")])
        venue.opened(0)
        for number, message in enumerate(recorded):
            venue.feed(message, number)
        assert venue.counts.bad == 0

    return 2 * len(recorded), play


@pytest.mark.nightly
@pytest.mark.parametrize("made", [coinbase, binance, bybit, oanda])
def test_a_hundred_thousand_updates_a_second(
    made: Callable[[], tuple[int, Callable[[], None]]], record_property: Callable[..., None]
) -> None:
    updates, play = made()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        play()
        seconds.append(time.perf_counter() - began)

    rate = updates / min(seconds)
    record_property("updates_a_second", rate)
    print(f"\n{made.__name__}: {rate:,.0f} updates a second")
    assert rate >= GOAL
