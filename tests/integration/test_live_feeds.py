"""The four feeds as they are built for use, each on its loopback venue, all at the same time."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import islice
from random import Random
from typing import Any

import httpx2

from hydra.clock import SystemClock
from hydra.feeds.access import OandaAccess
from hydra.feeds.live import binance_feed, bybit_feed, coinbase_feed, oanda_feed
from hydra.market.events import BadMessage, Down, Resync
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
from tests.support.connected import agree
from tests.support.listener import Listener, until
from tests.support.venues import BinanceServer, BybitServer, CoinbaseServer, OandaServer

STEPS = 150


def coinbase() -> CoinbaseServer:
    raws = [m.raw for m in islice(coinbase_messages(), 3_000)]
    gold = [r for r in raws if r.get("product_id") == "SKL-USD"]
    snapshot = next(r for r in gold if r["type"] == "snapshot")
    steps = [r for r in gold[gold.index(snapshot) :] if r["type"] in ("l2update", "match")]
    return CoinbaseServer({"SKL-USD": snapshot}, steps[:STEPS])


def binance() -> BinanceServer:
    raws = [m.raw for m in islice(binance_btcusdt(), 2_000)]
    snapshot = next(r for r in raws if "lastUpdateId" in r)
    steps = [r for r in raws if "data" in r and r["data"].get("e") == "depthUpdate"]
    steps = [r for r in steps if r["data"]["u"] > snapshot["lastUpdateId"]]
    return BinanceServer({"BTCUSDT": snapshot}, steps[:STEPS])


def bybit() -> BybitServer:
    messages: list[Any] = [json.loads(m.message) for m in bybit_messages()]
    books = [m for m in messages if m["topic"].startswith("orderbook.")]
    snapshots = {m["topic"]: m for m in books if m["type"] == "snapshot"}
    return BybitServer(snapshots, [m for m in books if m["type"] == "delta"][:STEPS])


async def test_four_venues_run_side_by_side_until_they_are_told_to_stop() -> None:
    servers = (coinbase(), binance(), bybit(), OandaServer(oanda_gold_prices(STEPS)))
    cb, bn, bb, oa = servers
    listeners = [Listener() for _ in servers]
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient())
        for server in servers:
            await stack.enter_async_context(server.open())
        skl = [listing for listing in coinbase_listings() if listing.symbol == "SKL-USD"]
        feeds = (
            coinbase_feed(skl, clock=clock, rng=Random(1), url=cb.url),
            binance_feed(
                [binance_listing("BTCUSDT")], clock=clock, rng=Random(2), http=http,
                ws_url=bn.url, rest_url=bn.http_url,
            ),
            bybit_feed(bybit_listings(), clock=clock, rng=Random(3), url=bb.url),
            oanda_feed(
                [oanda_listing("XAU_USD")], clock=clock, rng=Random(4), http=http,
                access=OandaAccess("101", "t"), url=oa.http_url,
            ),
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(feed.run(listener.deliver))
                for feed, listener in zip(feeds, listeners, strict=True)
            ]
            await until(lambda: all(map(agree, servers, listeners)))
            for task in tasks:
                task.cancel()

    ((target, headers),) = oa.requests
    assert target == "/v3/accounts/101/pricing/stream?instruments=XAU_USD"
    assert headers["authorization"] == "Bearer t"
    assert headers["accept-datetime-format"] == "RFC3339"
    for listener in listeners:
        assert not [e for e in listener.events if isinstance(e, Resync | Down | BadMessage)]
