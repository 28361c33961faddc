"""A connector against a Binance on the loopback interface that misbehaves on command."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import pytest

from hydra.feeds.binance import Binance
from hydra.market.events import BadMessage, BookChange, Down, Resync, Trade
from tests.support.captures import binance_btcusdt, binance_listing
from tests.support.connected import agree, running
from tests.support.listener import Listener, until
from tests.support.venues import BinanceServer, Fault

LEVELS = 60  # of the recorded snapshot's 1,000: enough, and quicker
STEPS = 250


async def soon(seconds: float) -> None:
    """What waits for seconds at a venue waits for milliseconds here."""
    await asyncio.sleep(min(seconds, 0.002))


def server_of(faults: dict[int, Fault] | None = None) -> BinanceServer:
    """The recorded snapshot of BTCUSDT, and the depth and trade messages that follow it."""
    snapshot: dict[str, Any] = {}
    steps: list[Any] = []
    for recorded in islice(binance_btcusdt(), 3_000):
        if "lastUpdateId" in recorded.raw:
            raw = recorded.raw
            snapshot = {**raw, "bids": raw["bids"][:LEVELS], "asks": raw["asks"][:LEVELS]}
        elif not recorded.raw["stream"].endswith("bookTicker"):
            steps.append(recorded.raw)
    last = snapshot["lastUpdateId"]
    steps = [s for s in steps if s["data"]["e"] == "trade" or s["data"]["u"] > last]
    return BinanceServer({"BTCUSDT": snapshot}, steps[:STEPS], faults)


def venue(**options: Any) -> Binance:
    return Binance([binance_listing("BTCUSDT")], **{"silence_s": 2.0, **options})


def depth_step(server: BinanceServer, after: int) -> int:
    return next(n for n in range(after, STEPS) if server.steps[n]["data"]["e"] == "depthUpdate")


async def test_a_well_behaved_venue_is_followed_to_the_last_level_and_trade() -> None:
    server = server_of()
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    told = [step["data"]["t"] for step in server.steps if step["data"]["e"] == "trade"]
    trades = [e.trade_id for e in listener.events if isinstance(e, Trade)]
    assert trades == [str(trade_id) for trade_id in told]
    assert len(trades) > 50
    assert set(server.limits) == {"5000"}
    assert connector.connects == 1
    assert not [e for e in listener.events if isinstance(e, Resync | Down | BadMessage)]


@pytest.mark.parametrize("fault", [Fault.GAP, Fault.REORDER, Fault.SPOILT])
async def test_a_lost_change_restarts_the_book_on_the_same_connection(fault: Fault) -> None:
    server = server_of()
    at = depth_step(server, 100)
    server.faults[at] = fault
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: server.cursor > at + 20 and agree(server, listener))

    # A trade may stand between: then the reordered change still comes before its next.
    reordered_harmlessly = fault is Fault.REORDER and not listener.reasons(Resync)
    if not reordered_harmlessly:
        (reason,) = listener.reasons(Resync)
        assert reason.startswith("changes ")
    assert connector.connects == 1


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.DELAY])
async def test_what_is_repeated_or_late_does_no_harm(fault: Fault) -> None:
    server = server_of()
    server.faults[depth_step(server, 100)] = fault
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Resync) == []
    assert connector.connects == 1


async def test_a_late_snapshot_meets_the_changes_that_waited_for_it() -> None:
    server = server_of()
    server.snapshot_after = 120
    async with running(server, venue(), sleep=soon) as (listener, _):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Resync) == []
    assert len(server.limits) == 1


async def test_snapshots_older_than_the_stream_are_fetched_again() -> None:
    server = server_of()
    server.old_snapshots = 2  # of step 0, when the stream is at step 60 already
    for step in server.steps[:60]:
        server.move(step)
    server.cursor = 60
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert connector.connects == 1
    assert len(server.limits) == 3
    assert listener.reasons(Resync) == []


async def test_a_refused_snapshot_is_told_and_fetched_again() -> None:
    server = server_of()
    server.refused_snapshots = 2
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    bad = [e.reason for e in listener.events if isinstance(e, BadMessage)]
    assert len(bad) == 2
    assert all(reason.endswith("status 429") for reason in bad)
    assert connector.connects == 1


async def test_a_broken_connection_is_made_anew_and_its_book_is_void_meanwhile() -> None:
    server = server_of({80: Fault.DROP, 160: Fault.DROP})
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert connector.connects == 3
    assert len(listener.reasons(Down)) == 2
    void_then_snapshot(listener)


async def test_an_announced_shutdown_is_answered_by_a_new_connection() -> None:
    server = server_of()
    server.steps = [
        *server.steps[:100],
        {"stream": "", "data": {"e": "serverShutdown", "E": 1, "s": "BTCUSDT"}},
        *server.steps[100:],
    ]
    async with running(server, venue(), sleep=soon) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Down) == ["the server shuts down"]
    assert connector.connects == 2


async def test_silence_is_a_fault_though_the_connection_stands() -> None:
    server = server_of({100: Fault.SILENCE})
    async with running(server, venue(silence_s=0.08), sleep=soon) as (listener, _):
        await until(lambda: agree(server, listener) and "nothing" in str(listener.reasons(Down)))

    assert set(listener.reasons(Down)) == {"nothing heard for 0.08 s"}


def void_then_snapshot(listener: Listener) -> None:
    """After each Resync the next change of that book is a snapshot."""
    void = True
    for event in listener.events:
        if isinstance(event, Resync):
            void = True
        elif isinstance(event, BookChange):
            assert event.snapshot or not void
            void = False
