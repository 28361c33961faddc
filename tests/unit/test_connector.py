"""The connector's own share, on a scripted wire: pauses, fetches, and how a session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from hydra.clock import ManualClock
from hydra.errors import ConfigError, VenueDown
from hydra.feeds.binance import Binance
from hydra.feeds.bybit import Bybit
from hydra.feeds.connector import Backoff, Connector
from hydra.feeds.venue import Fetch
from hydra.feeds.wires import Line
from hydra.market.events import Down, Listing
from tests.support.listener import Listener, until

X = Listing(source="binance", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0)
B = Listing(source="bybit", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0)
CHANGE = (
    b'{"stream":"x@depth@100ms","data":{"e":"depthUpdate","s":"X","E":1,"U":5,"u":5,'
    b'"b":[["9","1"]],"a":[["11","1"]]}}'
)
SNAPSHOT = b'{"lastUpdateId":5,"bids":[["9","1"]],"asks":[["11","1"]]}'


class ScriptedWire:
    """Each connection sends its messages and then stays silent, or breaks."""

    def __init__(self, *scripts: Sequence[bytes], breaks: bool = False) -> None:
        self._scripts = list(scripts)
        self._breaks = breaks
        self.sent: list[str] = []
        self.open_now = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        self.open_now += 1
        try:
            yield self
        finally:
            self.open_now -= 1

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def messages(self) -> AsyncIterator[bytes]:
        for message in self._scripts.pop(0) if self._scripts else ():
            yield message
        if self._breaks:
            raise VenueDown("hung up")
        await asyncio.Event().wait()


def test_pauses_double_up_to_a_limit_each_shortened_by_chance() -> None:
    backoff = Backoff(first_s=1, longest_s=10, jitter_frac=0.5)
    rng, same = Random(3), Random(3)

    pauses = [backoff.pause_s(failures, rng) for failures in (1, 2, 3, 4, 5, 1_000)]

    chances = [same.random() for _ in pauses]
    wholes = [1, 2, 4, 8, 10, 10]
    assert pauses == [w * (1 - 0.5 * c) for w, c in zip(wholes, chances, strict=True)]
    assert all(w / 2 <= p <= w for w, p in zip(wholes, pauses, strict=True))


async def test_a_fetch_waits_its_pause_and_is_answered() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    replies: list[bytes | None] = [None, SNAPSHOT]  # refused once

    async def fetcher(fetch: Fetch) -> bytes:
        reply = replies.pop(0)
        if reply is None:
            raise VenueDown("status 429")
        return reply

    listener = Listener()
    wire = ScriptedWire([CHANGE])
    connector = Connector(
        Binance([X]), wire, clock=ManualClock(7), rng=Random(1), fetcher=fetcher, sleep=sleep
    )
    task = asyncio.create_task(connector.run(listener.deliver))
    await until(lambda: "X" in listener.quotes)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert pauses == [0.0, 0.5]
    assert {event.at_ns for event in listener.events} == {7}
    assert wire.open_now == 0


async def test_a_venue_that_fetches_without_a_fetcher_is_a_mistake_of_whoever_built_it() -> None:
    connector = Connector(Binance([X]), ScriptedWire([CHANGE]), clock=ManualClock(), rng=Random(1))

    with pytest.raises(ExceptionGroup) as caught:
        await connector.run(lambda _: None)
    assert isinstance(caught.value.exceptions[0], ConfigError)


async def test_a_connection_that_lasted_starts_the_backoff_afresh() -> None:
    """`steady_s` 0: each connection counts as steady, so each pause is a first one."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    connector = Connector(
        Bybit([B]), ScriptedWire(breaks=True), clock=ManualClock(), rng=Random(1),
        backoff=Backoff(jitter_frac=0.0), steady_s=0.0, sleep=sleep,
    )  # fmt: skip
    task = asyncio.create_task(connector.run(lambda _: None))
    await until(lambda: len(pauses) >= 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert set(pauses) == {0.5}


@pytest.mark.parametrize("turns", range(6))
async def test_cancelling_at_any_time_leaves_no_connection_open(turns: int) -> None:
    wire = ScriptedWire([CHANGE] * 3)
    listener = Listener()

    async def fetcher(fetch: Fetch) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    connector = Connector(Binance([X]), wire, clock=ManualClock(), rng=Random(1), fetcher=fetcher)
    before = asyncio.all_tasks()
    task = asyncio.create_task(connector.run(listener.deliver))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert wire.open_now == 0
    assert asyncio.all_tasks() == before
    assert not [event for event in listener.events if isinstance(event, Down)]


async def test_a_ping_goes_out_though_nothing_comes_in() -> None:
    snapshot = (
        b'{"topic":"orderbook.50.X","type":"snapshot","ts":1,'
        b'"data":{"s":"X","b":[["9","1"]],"a":[["11","1"]],"u":5,"seq":7}}'
    )
    clock = ManualClock()
    wire = ScriptedWire([snapshot])
    listener = Listener()
    connector = Connector(Bybit([B]), wire, clock=clock, rng=Random(1), tick_s=0.002)
    task = asyncio.create_task(connector.run(listener.deliver))
    await until(lambda: "X" in listener.quotes)
    clock.set_ns(20_000_000_000)
    await until(lambda: len(wire.sent) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert '"op":"subscribe"' in wire.sent[0]
    assert wire.sent[1] == '{"op":"ping"}'
