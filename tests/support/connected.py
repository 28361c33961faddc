"""A connector on a loopback venue, running for the length of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import httpx2
import pytest

from hydra.clock import SystemClock
from hydra.feeds.connector import Backoff, Connector
from hydra.feeds.venue import Venue
from hydra.feeds.wires import HttpFetcher, WebSocketWire, Wire
from tests.support.listener import Listener
from tests.support.venues import LoopbackVenue

QUICK = Backoff(first_s=0.005, longest_s=0.02)


@asynccontextmanager
async def running(
    server: LoopbackVenue, venue: Venue, **options: Any
) -> AsyncIterator[tuple[Listener, Connector]]:
    """The connector's `options` are given on; the server is opened and closed here."""
    async with server.open(), httpx2.AsyncClient() as client:
        wire: Wire = options.pop("wire", None) or WebSocketWire(server.url, close_s=0.05)
        listener = Listener()
        connector = Connector(
            venue,
            wire,
            clock=SystemClock(),
            rng=Random(7),
            fetcher=HttpFetcher(client, server.http_url),
            backoff=QUICK,
            tick_s=0.005,
            **options,
        )
        task = asyncio.create_task(connector.run(listener.deliver))
        try:
            yield listener, connector
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def agree(server: LoopbackVenue, listener: Listener) -> bool:
    """The market is over, and the listener's books are the venue's."""
    return server.is_over and all(
        symbol in listener.books and listener.books[symbol].depth(9_999) == book.depth(9_999)
        for symbol, book in server.books.items()
    )
