"""A connector against a Coinbase on the loopback interface that misbehaves on command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from random import Random
from typing import Any

import pytest

from hydra.clock import SystemClock
from hydra.feeds.coinbase import Coinbase
from hydra.feeds.connector import Connector
from hydra.feeds.wires import WebSocketWire
from hydra.market.events import BadMessage, Down, Resync, Trade
from tests.support.captures import coinbase_listings, coinbase_messages
from tests.support.connected import QUICK, agree, running
from tests.support.listener import Listener, until
from tests.support.venues import CoinbaseServer, Fault, Session

PRODUCTS = ("SKL-USD", "DASH-BTC")
STEPS = 300


def recorded() -> tuple[dict[str, Any], list[Any]]:
    """Snapshots of two products, and their next 300 updates and trades."""
    snapshots: dict[str, Any] = {}
    steps: list[Any] = []
    for message in islice(coinbase_messages(), 2_000):
        raw = message.raw
        if raw.get("product_id") not in PRODUCTS:
            continue
        if raw["type"] == "snapshot":
            snapshots[raw["product_id"]] = raw
        elif raw["type"] in ("l2update", "match") and raw["product_id"] in snapshots:
            steps.append(raw)
    return snapshots, steps[:STEPS]


@asynccontextmanager
async def connected(
    faults: Mapping[int, Fault] | None = None, server: CoinbaseServer | None = None, **options: Any
) -> AsyncIterator[tuple[CoinbaseServer, Listener, Connector]]:
    server = server or CoinbaseServer(*recorded(), faults=faults)
    listings = [listing for listing in coinbase_listings() if listing.symbol in PRODUCTS]
    venue = Coinbase(
        listings,
        silence_s=options.pop("silence_s", 2.0),
        snapshot_s=options.pop("snapshot_s", 2.0),
    )
    async with running(server, venue, **options) as (listener, connector):
        yield server, listener, connector


async def test_a_well_behaved_venue_is_followed_to_the_last_level_and_trade() -> None:
    async with connected() as (server, listener, connector):
        await until(lambda: agree(server, listener))

    matches = [step["trade_id"] for step in server.steps if step["type"] == "match"]
    trades = [e.trade_id for e in listener.events if isinstance(e, Trade)]
    assert trades == [str(trade_id) for trade_id in matches]
    assert len(trades) > 2
    assert connector.connects == 1
    assert not [e for e in listener.events if isinstance(e, Resync | Down | BadMessage)]
    assert [message["channel"] for message in server.received] == [
        "heartbeats", "level2", "market_trades",
    ]  # fmt: skip


@pytest.mark.parametrize("fault", [Fault.GAP, Fault.REORDER, Fault.SPOILT])
async def test_what_is_lost_or_out_of_order_is_asked_for_anew_on_the_same_connection(
    fault: Fault,
) -> None:
    async with connected({100: fault}) as (server, listener, connector):
        await until(lambda: agree(server, listener))

    reasons = listener.reasons(Resync)
    assert len(reasons) == len(PRODUCTS)  # a gap may have hit either
    assert all(reason.startswith("sequence_num ") for reason in reasons)
    assert connector.connects == 1
    bad = [e.reason for e in listener.events if isinstance(e, BadMessage)]
    assert bool(bad) is (fault is Fault.SPOILT)
    assert [m["type"] for m in server.received] == [*["subscribe"] * 3, "unsubscribe", "subscribe"]


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.DELAY, Fault.MALFORMED])
async def test_what_is_repeated_late_or_garbage_beside_the_stream_does_no_harm(
    fault: Fault,
) -> None:
    async with connected({100: fault}) as (server, listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Resync) == []
    assert connector.connects == 1
    bad = [e for e in listener.events if isinstance(e, BadMessage)]
    assert len(bad) == (fault is Fault.MALFORMED)


async def test_a_broken_connection_is_made_anew_and_its_books_are_void_meanwhile() -> None:
    async with connected({100: Fault.DROP, 200: Fault.DROP}) as (server, listener, connector):
        await until(lambda: agree(server, listener))

    assert connector.connects == 3
    assert len(listener.reasons(Down)) == 2
    assert len(listener.reasons(Resync)) == 2 * len(PRODUCTS)


async def test_silence_is_a_fault_though_the_connection_stands() -> None:
    async with connected({100: Fault.SILENCE}, silence_s=0.1) as (server, listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Down) == ["nothing heard for 0.1 s"]
    assert connector.connects == 2


async def test_a_snapshot_that_never_comes_is_a_reason_to_connect_anew() -> None:
    server = CoinbaseServer(*recorded())
    server.withheld = 1
    async with connected(server=server, snapshot_s=0.05) as (_, listener, connector):
        await until(lambda: agree(server, listener) and connector.connects == 2)

    assert listener.reasons(Down) == ["no snapshot of SKL-USD within 0.05 s"]


async def test_a_refused_subscription_is_retried_later_and_later() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0.001)

    server = CoinbaseServer(*recorded())
    server.refusal = "rate limit"
    async with connected(server=server, sleep=sleep) as (_, listener, _connector):
        await until(lambda: len(pauses) >= 4)
        server.refusal = None
        await until(lambda: agree(server, listener))

    assert set(listener.reasons(Down)) == {"coinbase refused: rate limit"}
    # 5, 10, 20, 20 ms, each less a jitter of up to half, drawn from the generator given.
    assert all(
        whole / 2 <= pause <= whole
        for whole, pause in zip((0.005, 0.01, 0.02, 0.02), pauses, strict=False)
    )
    rng = Random(7)
    rng.random()  # the first connection's age
    assert pauses[0] == QUICK.pause_s(1, rng)


async def test_nobody_there_is_told_and_retried_until_somebody_is() -> None:
    server = CoinbaseServer(*recorded())
    async with server.open():
        address = server.url
    listener = Listener()
    connector = Connector(
        Coinbase(coinbase_listings()), WebSocketWire(address), clock=SystemClock(),
        rng=Random(1), backoff=QUICK,
    )  # fmt: skip
    task = asyncio.create_task(connector.run(listener.deliver))
    await until(lambda: len(listener.reasons(Down)) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert connector.connects == 0
    assert all(reason.startswith(address) for reason in listener.reasons(Down))


async def test_a_connection_is_replaced_before_the_venue_ends_it() -> None:
    async with connected(rotate_s=0.06) as (server, listener, connector):
        await until(lambda: connector.connects >= 3 and agree(server, listener))

    assert set(listener.reasons(Down)) == {"rotated"}


async def test_an_error_of_the_listener_ends_the_run_and_closes_the_connection() -> None:
    def deliver(_: object) -> None:
        raise ZeroDivisionError("a fault of whoever listens")

    server = CoinbaseServer(*recorded())
    async with server.open():
        connector = Connector(
            Coinbase(coinbase_listings()[:1]), WebSocketWire(server.url, close_s=0.05),
            clock=SystemClock(), rng=Random(1),
        )  # fmt: skip
        with pytest.raises(ExceptionGroup) as caught:
            await connector.run(deliver)
        await until(lambda: server.sessions[0].is_closed)

    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_the_servers_messages_are_the_recorded_ones() -> None:
    """The loopback venue sends a step as the recording has it: the same levels, word for word."""
    snapshots, steps = recorded()
    server = CoinbaseServer(snapshots, steps)
    session = Session(None, topics={"level2 SKL-USD"})  # type: ignore[arg-type]
    step = next(s for s in steps if s["type"] == "l2update" and s["product_id"] == "SKL-USD")
    (text,) = server.messages(session, step)
    (update,) = json.loads(text)["events"][0]["updates"]
    assert [update["price_level"], update["new_quantity"]] == step["changes"][0][1:]
