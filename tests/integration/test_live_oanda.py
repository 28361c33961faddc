"""A connector against an OANDA price stream on the loopback interface that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from http import HTTPStatus
from random import Random
from typing import Any

import httpx2
import pytest

from hydra.clock import SystemClock
from hydra.feeds.connector import Connector
from hydra.feeds.oanda import Oanda
from hydra.feeds.wires import HttpLinesWire
from hydra.market.events import BadMessage, Down, Quote, Resync
from tests.support.captures import oanda_gold_prices, oanda_listing
from tests.support.connected import QUICK, agree
from tests.support.listener import Listener, until
from tests.support.venues import Fault, OandaServer

STEPS = 200
GOLD = oanda_listing("XAU_USD")


@asynccontextmanager
async def streaming(
    server: OandaServer, silence_s: float = 2.0
) -> AsyncIterator[tuple[Listener, Connector]]:
    async with server.open(), httpx2.AsyncClient() as client:
        address = f"{server.http_url}/v3/accounts/101-004-1234567-001/pricing/stream"
        wire = HttpLinesWire(client, address, name=server.http_url)
        listener = Listener()
        connector = Connector(
            Oanda([GOLD], silence_s=silence_s), wire, clock=SystemClock(), rng=Random(7),
            backoff=QUICK, tick_s=0.005,
        )  # fmt: skip
        task = asyncio.create_task(connector.run(listener.deliver))
        try:
            yield listener, connector
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def server_of(faults: dict[int, Fault] | None = None) -> OandaServer:
    return OandaServer(oanda_gold_prices(STEPS), faults)


def told(steps: list[Any]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(s["bids"][0]["price"]), Decimal(s["asks"][0]["price"])) for s in steps]


async def test_every_price_comes_through_line_by_line() -> None:
    server = server_of()
    async with streaming(server) as (listener, connector):
        await until(lambda: agree(server, listener))

    quotes = [
        (GOLD.price(e.bid_ticks), GOLD.price(e.ask_ticks))
        for e in listener.events
        if isinstance(e, Quote)
    ]
    assert quotes == told(list(server.steps))
    assert connector.connects == 1


@pytest.mark.parametrize(
    "fault", [Fault.GAP, Fault.DUPLICATE, Fault.REORDER, Fault.DELAY, Fault.MALFORMED, Fault.SPOILT]
)
async def test_each_price_is_whole_so_that_none_spoils_the_next(fault: Fault) -> None:
    server = server_of({100: fault})
    async with streaming(server) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert listener.reasons(Resync) == []
    assert connector.connects == 1
    bad = [e for e in listener.events if isinstance(e, BadMessage)]
    assert len(bad) == (fault in (Fault.MALFORMED, Fault.SPOILT))


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.SILENCE])
async def test_a_broken_or_silent_stream_is_made_anew(fault: Fault) -> None:
    server = server_of({100: fault})
    async with streaming(server, silence_s=0.08) as (listener, connector):
        await until(lambda: agree(server, listener))

    assert connector.connects >= 2
    assert len(listener.reasons(Resync)) >= 1
    (reason, *_) = listener.reasons(Down)
    assert ("nothing heard for 0.08 s" in reason) is (fault is Fault.SILENCE)


async def test_a_refusal_is_told_without_account_or_token_and_retried() -> None:
    server = server_of()
    server.status = HTTPStatus.UNAUTHORIZED
    async with streaming(server) as (listener, connector):
        await until(lambda: len(listener.reasons(Down)) >= 2)
        server.status = HTTPStatus.OK
        await until(lambda: agree(server, listener))

    reason = listener.reasons(Down)[0]
    assert reason == f"{server.http_url}: status 401"
    assert connector.connects == 1
