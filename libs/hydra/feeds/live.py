"""Live feeds ready to run: each venue's protocol on its wire. `await feed.run(deliver)`.

Every address is an argument, the real one its default. An `http` client given belongs to the
caller, who closes it after the feed has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import httpx2

from hydra.clock import Clock
from hydra.feeds.access import OandaAccess, check_encrypted
from hydra.feeds.binance import BINANCE_REST_URL, BINANCE_WS_URL, Binance
from hydra.feeds.bybit import BYBIT_WS_URL, Bybit
from hydra.feeds.coinbase import COINBASE_WS_URL, Coinbase, CoinbaseKey
from hydra.feeds.connector import Backoff, Connector
from hydra.feeds.oanda import OANDA_STREAM_URL, Oanda
from hydra.feeds.wires import HttpFetcher, HttpLinesWire, WebSocketWire
from hydra.market.events import Listing


def coinbase_feed(
    listings: Sequence[Listing],
    *,
    clock: Clock,
    rng: Random,
    key: CoinbaseKey | None = None,
    url: str = COINBASE_WS_URL,
    backoff: Backoff | None = None,
) -> Connector:
    """Books and trades of Coinbase Advanced Trade. Raises ConfigError as `Coinbase`."""
    return Connector(
        Coinbase(listings, key=key), WebSocketWire(url), clock=clock, rng=rng, backoff=backoff
    )


def binance_feed(
    listings: Sequence[Listing],
    *,
    clock: Clock,
    rng: Random,
    http: httpx2.AsyncClient,
    ws_url: str = BINANCE_WS_URL,
    rest_url: str = BINANCE_REST_URL,
    backoff: Backoff | None = None,
) -> Connector:
    """Books and trades of Binance spot. Raises ConfigError as `Binance`."""
    return Connector(
        Binance(listings),
        WebSocketWire(ws_url),
        clock=clock,
        rng=rng,
        fetcher=HttpFetcher(http, rest_url),
        backoff=backoff,
    )


def bybit_feed(
    listings: Sequence[Listing],
    *,
    clock: Clock,
    rng: Random,
    depth: int = 50,
    url: str = BYBIT_WS_URL,
    backoff: Backoff | None = None,
) -> Connector:
    """Books and trades of one category of Bybit's, which `url` names: spot, linear or inverse.

    Raises ConfigError as `Bybit`.
    """
    return Connector(
        Bybit(listings, depth=depth), WebSocketWire(url), clock=clock, rng=rng, backoff=backoff
    )


def oanda_feed(
    listings: Sequence[Listing],
    *,
    clock: Clock,
    rng: Random,
    http: httpx2.AsyncClient,
    access: OandaAccess,
    url: str = OANDA_STREAM_URL,
    backoff: Backoff | None = None,
) -> Connector:
    """Prices of OANDA v20. Neither account nor token gets into messages.

    Raises ConfigError as `Oanda` and `check_encrypted`.
    """
    check_encrypted(url, "OANDA_STREAM_URL")
    wire = HttpLinesWire(
        http,
        f"{url.rstrip('/')}/v3/accounts/{access.account}/pricing/stream",
        name=url,
        denied="OANDA_API_TOKEN or OANDA_ACCOUNT_ID is wrong, or of the other kind of account than"
        " OANDA_STREAM_URL",
        params={"instruments": ",".join(listing.venue_symbol for listing in listings)},
        headers={"Authorization": f"Bearer {access.token}", "Accept-Datetime-Format": "RFC3339"},
    )
    return Connector(Oanda(listings), wire, clock=clock, rng=rng, backoff=backoff)
