"""A connector against a Bybit on the loopback interface that misbehaves on command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hydra.feeds.bybit import Bybit
from hydra.market.events import BadMessage, Down, Resync, Trade
from tests.support.captures import bybit_listings, bybit_messages
from tests.support.connected import agree, running
from tests.support.listener import until
from tests.support.venues import BybitServer, Fault

STEPS = 300


def server_of(faults: dict[int, Fault] | None = None) -> BybitServer:
    """Both recorded snapshots, and the changes and trades that follow them."""
    snapshots: dict[str, Any] = {}
    steps: list[Any] = []
    for recorded in bybit_messages():
        message = json.loads(recorded.message)
        if message["type"] == "snapshot" and message["topic"].startswith("orderbook."):
            snapshots[message["topic"]] = message
        else:
            steps.append(message)
    return BybitServer(snapshots, steps[:STEPS], faults)


def venue(**options: Any) -> Bybit:
    return Bybit(bybit_listings(), **{"silence_s": 2.0, "snapshot_s": 2.0, **options})


def change_after(server: BybitServer, number: int) -> int:
    return next(
        n for n in range(number, STEPS) if server.steps[n]["topic"].startswith("orderbook.")
    )


async def test_a_well_behaved_venue_is_followed_to_the_last_level_and_trade() -> None:
    server = server_of()
    async with running(server, venue()) as (listener, connector):
        await until(lambda: agree(server, listener))

    told = [t["i"] for s in server.steps if s["topic"].startswith("publicTrade") for t in s["data"]]
    assert [e.trade_id for e in listener.events if isinstance(e, Trade)] == told
    assert len(told) > 50
    assert connector.connects == 1
    assert not [e for e in listener.events if isinstance(e, Resync | Down | BadMessage)]


@pytest.mark.parametrize("fault", [Fault.GAP, Fault.SPOILT])
async def test_a_lost_change_subscribes_that_book_anew(fault: Fault) -> None:
    server = server_of()
    at = change_after(server, 100)
    server.faults[at] = fault
    async with running(server, venue()) as (listener, connector):
        await until(lambda: agree(server, listener))

    (lost,) = [e for e in listener.events if isinstance(e, Resync)]
    assert lost.listing.symbol == server.steps[at]["data"]["s"]
    number = server.steps[at]["data"]["u"]
    assert lost.reason == f"change {number + 1} where {number} was due"
    assert connector.connects == 1
    assert [m["op"] for m in server.received] == ["subscribe", "unsubscribe", "subscribe"]


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.DELAY, Fault.MALFORMED])
async def test_what_is_repeated_late_or_garbage_beside_the_stream_does_no_harm(
    fault: Fault,
) -> None:
    server = server_of()
    server.faults[change_after(server, 100)] = fault
    async with running(server, venue()) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Resync) == []
    assert connector.connects == 1
    bad = [e for e in listener.events if isinstance(e, BadMessage)]
    assert len(bad) == (fault is Fault.MALFORMED)


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.SILENCE])
async def test_a_broken_or_silent_connection_is_made_anew(fault: Fault) -> None:
    server = server_of({100: fault, 200: fault})
    async with running(server, venue(silence_s=0.08)) as (listener, connector):
        await until(lambda: server.is_over and agree(server, listener))

    assert connector.connects >= 3
    reasons = listener.reasons(Down)
    assert len([r for r in reasons if ("nothing heard" in r) is (fault is Fault.SILENCE)]) >= 2
