"""Messages of venues: how many a core takes in, and what the daemon spends on a hundred a second.

`played` and `whole_way` play recordings as fast as they are read. `Pulse` is a venue on this
machine, in a process of its own, that tells a walk at a fixed rate while `hydra run` listens.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from random import Random

import pytest

from hydra.feeds.coinbase import Coinbase
from hydra.feeds.venue_minutes import VenueFeed, VenueMinutes
from hydra.market.catalogue import Catalogue
from hydra.market.events import Event
from tests.integration.test_feed_speed import binance, bybit, coinbase, oanda
from tests.support.captures import coinbase_listings, coinbase_messages
from tests.support.hand_time import HandTime
from tests.support.venues import CoinbaseServer, Session

ROUNDS = 5
VENUES = (coinbase, binance, bybit, oanda)
PRODUCTS = {"BTC-USD": 60_000.0, "ETH-USD": 3_000.0, "SOL-USD": 150.0}


def played(rounds: int = ROUNDS) -> dict[str, float]:
    """Book updates a second by venue, from bytes to events; venues without a recording on this
    machine are left out. The best of some rounds."""
    rates = {}
    for made in VENUES:
        try:
            updates, play = made()
        except pytest.skip.Exception:
            continue
        rates[made.__name__] = updates / min(_seconds(play) for _ in range(rounds))
    return rates


def _seconds(play: Callable[[], object]) -> float:
    began = time.perf_counter()
    play()
    return time.perf_counter() - began


class _Time(HandTime):
    def set(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)


class _Recorded:
    """A feed that tells a recording as fast as it can, at the times that the recording has."""

    connects = 1

    def __init__(self, hand: _Time) -> None:
        self._time = hand
        self._messages = [m for m in coinbase_messages() if m.message]
        self.updates: int = sum(m.raw["type"] == "l2update" for m in self._messages)
        self.seconds = 0.0

    @property
    def began_ns(self) -> int:
        return self._messages[0].at_ns

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        venue = Coinbase(coinbase_listings())
        venue.opened(self.began_ns)
        began = time.perf_counter()
        for message in self._messages:
            self._time.set(message.at_ns)
            deliver(venue.feed(message.message, message.at_ns))
        self.seconds = time.perf_counter() - began
        await asyncio.Event().wait()


def whole_way(rounds: int = ROUNDS) -> float | None:
    """Book updates a second of Coinbase's recording, from bytes over protocol, assets and fitness
    to bars. None where there is no recording on this machine."""
    try:
        return max(asyncio.run(_whole_way()) for _ in range(rounds))
    except pytest.skip.Exception:
        return None


async def _whole_way() -> float:
    hand = _Time()
    feed = _Recorded(hand)
    hand.set(feed.began_ns)
    listings = coinbase_listings()
    model = Catalogue.load().instrument("BTC-USD", 2)
    instruments = [replace(model, symbol=one.symbol) for one in listings]
    source = VenueMinutes(
        instruments, [VenueFeed("coinbase", feed, listings)], clock=hand, timer=hand
    )
    minutes = source.minutes()
    first = asyncio.ensure_future(anext(minutes))
    while not feed.seconds:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await source.aclose()
    return float(feed.updates / feed.seconds)


class Pulse(CoinbaseServer):
    """Tells changes of the best bid and offer, and trades, so many a second of three products."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._rng = Random(1)
        super().__init__({name: _book(price) for name, price in PRODUCTS.items()}, ())
        self.walk = self._walk()

    @property
    def is_over(self) -> bool:
        return False

    @property
    def TIME(self) -> str:  # type: ignore[override]  # noqa: N802, as its base has it
        return datetime.now(UTC).isoformat().replace("+00:00", "Z")

    async def _market(self, session: Session) -> None:
        while not self.is_ready(session):
            await asyncio.sleep(0.001)
        began = time.perf_counter()
        for number, raw in enumerate(self.walk, start=1):
            for text in self.messages(session, raw):
                await session.send(text)
            if not number % self._rate:
                for text in self.heartbeats(session):
                    await session.send(text)
            await asyncio.sleep(max(0.0, began + number / self._rate - time.perf_counter()))

    def _walk(self) -> Iterator[dict[str, object]]:
        for number in itertools.count(1):
            name = list(PRODUCTS)[number % 3]
            # Within the book's second levels, so that it never crosses.
            wave = 0.0004 * math.sin(number / 300) + 0.0001 * self._rng.random()
            price = round(PRODUCTS[name] * (1 + wave), 2)
            if number % 4:
                bids, asks = self.books[name].depth(1)
                changes = [
                    ["buy", f"{bids[0][0]:f}", "0"], ["sell", f"{asks[0][0]:f}", "0"],
                    ["buy", f"{price - 0.01:.2f}", "1"], ["sell", f"{price + 0.01:.2f}", "1"],
                ]  # fmt: skip
                raw: dict[str, object] = {"type": "l2update", "changes": changes}
            else:
                raw = {
                    "type": "match", "trade_id": number, "price": f"{price:.2f}", "size": "0.1",
                    "side": "buy",
                }  # fmt: skip
            step = {**raw, "product_id": name, "time": self.TIME}
            self.move(step)
            yield step


def _book(price: float) -> dict[str, list[list[str]]]:
    return {
        side: [[f"{price * (1 + sign * 0.001 * n):.2f}", "1"] for n in range(1, 21)]
        for side, sign in (("bids", -1), ("asks", 1))
    }


def _serve(pipe: Connection, rate: int) -> None:
    async def serve() -> None:
        async with Pulse(rate).open() as server:
            pipe.send((server.url, server.http_url))
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


@contextmanager
def pulse(rate: int) -> Iterator[dict[str, str]]:
    """The variables that lead Hydra to a Coinbase that tells so much a second."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, rate))
    process.start()
    ws, rest = here.recv()
    try:
        yield {"COINBASE_WS_URL": ws, "COINBASE_REST_URL": rest}
    finally:
        here.send("end")
        process.join()
