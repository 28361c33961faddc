"""Recorded venue traffic as the bytes that the venues send today.

Binance's recordings are replayed as they are. Coinbase's and Bybit's are of interfaces that have
ended (Coinbase Pro; Bybit's v2 `realtime`): their products, prices, sizes, order and times are
kept, and only the envelope is rewritten into the present one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.market.events import Listing
from tests.support.shared_data import shared_data

NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class Recorded:
    """One message: when it came, as it was recorded, and as the venue sends it today."""

    at_ns: int
    raw: Any
    message: bytes


def _lines(path: str) -> Iterator[tuple[int, Any]]:
    """The JSON messages of a cryptofeed recording (epoch seconds, colon, JSON) and their times."""
    with gzip.open(shared_data(path), "rt") as file:
        for line in file:
            stamp, colon, text = line.partition(": ")
            if colon and stamp.replace(".", "", 1).isdigit():
                yield int(Decimal(stamp) * 1_000_000_000), json.loads(text)


COINBASE_CAPTURE = "captures/cryptofeed/COINBASE.ws.28.0.txt.gz"
COINBASE_GRIDS = {  # decimals of quote_increment and base_increment, from the recorded REST reply
    "SKL-USD": (4, 1), "SKL-BTC": (8, 1), "BAND-GBP": (4, 2), "NMR-EUR": (4, 3),
    "BAND-BTC": (8, 2), "YFI-BTC": (5, 6), "DASH-BTC": (8, 3), "NU-GBP": (4, 6),
    "CRV-EUR": (4, 2), "SKL-GBP": (4, 1),
}  # fmt: skip


def coinbase_listings() -> list[Listing]:
    return [
        Listing(
            source="coinbase", symbol=name, venue_symbol=name,
            price_decimals=price, size_decimals=size,
        )
        for name, (price, size) in COINBASE_GRIDS.items()
    ]  # fmt: skip


def coinbase_messages() -> Iterator[Recorded]:
    """Snapshots, updates and trades of ten products, numbered from 0; the tickers keep their own
    form (`raw` alone counts) and take no number."""
    number = 0
    for at_ns, raw in _lines(COINBASE_CAPTURE):
        body = coinbase_event(raw) if raw["type"] != "ticker" else None
        if body is None:
            yield Recorded(at_ns, raw, b"")
            continue
        channel, event, time = body
        envelope = {
            "channel": channel, "client_id": "", "timestamp": time, "sequence_num": number,
            "events": [event],
        }  # fmt: skip
        number += 1
        yield Recorded(at_ns, raw, json.dumps(envelope).encode())


def coinbase_event(raw: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Channel, event and time of the present interface for a message of Coinbase Pro."""
    kind = raw["type"]
    if kind == "snapshot":
        time = "2021-04-17T16:43:37Z"  # the old snapshots carried none
        rows = [("bid", *level) for level in raw["bids"]]
        rows += [("offer", *level) for level in raw["asks"]]
    elif kind == "l2update":
        time = raw["time"]
        side = {"buy": "bid", "sell": "offer"}
        rows = [(side[change[0]], change[1], change[2]) for change in raw["changes"]]
    elif kind in ("match", "last_match"):
        trade = {
            "trade_id": str(raw["trade_id"]), "product_id": raw["product_id"],
            "price": raw["price"], "size": raw["size"], "side": raw["side"].upper(),
            "time": raw["time"],
        }  # fmt: skip
        event_type = "update" if kind == "match" else "snapshot"
        return "market_trades", {"type": event_type, "trades": [trade]}, raw["time"]
    elif kind == "subscriptions":
        named = {channel["name"]: channel["product_ids"] for channel in raw["channels"]}
        return "subscriptions", {"subscriptions": named}, "2021-04-17T16:43:37Z"
    else:
        raise ValueError(f"no message of today's for {kind}")
    updates = [
        {"side": side, "event_time": time, "price_level": price, "new_quantity": size}
        for side, price, size in rows
    ]
    event_type = "snapshot" if kind == "snapshot" else "update"
    event = {"type": event_type, "product_id": raw["product_id"], "updates": updates}
    return "l2_data", event, time


HFT_CAPTURE = "captures/hftbacktest_binance_spot_btcusdt_20240808.jsonl.gz"


def binance_listing(name: str) -> Listing:
    return Listing(
        source="binance", symbol=name, venue_symbol=name,
        price_decimals=8, size_decimals=8,
    )  # fmt: skip


def binance_snapshots() -> dict[str, tuple[int, bytes]]:
    """By symbol: when the REST depth snapshot came, and its body."""
    out: dict[str, tuple[int, bytes]] = {}
    with gzip.open(shared_data("captures/cryptofeed/BINANCE.http.0.0.txt.gz"), "rt") as file:
        for line in file:
            url, arrow, rest = line.rstrip("\n").partition(" -> ")
            if arrow:
                stamp, _, body = rest.partition(": ")
                name = url.split("symbol=")[1].split("&")[0]
                out[name] = int(Decimal(stamp) * 1_000_000_000), body.encode()
    return out


def binance_messages() -> Iterator[Recorded]:
    """All that the socket sent for four symbols in 2021: depth, book tickers, trades, klines."""
    for at_ns, raw in _lines("captures/cryptofeed/BINANCE.ws.1.0.txt.gz"):
        yield Recorded(at_ns, raw, json.dumps(raw).encode())


def binance_btcusdt() -> Iterator[Recorded]:
    """Five minutes of BTCUSDT in 2024, word for word; the REST snapshot stands among them."""
    with gzip.open(shared_data(HFT_CAPTURE), "rb") as file:
        for line in file:
            stamp, _, message = line.rstrip(b"\n").partition(b" ")
            yield Recorded(int(stamp), json.loads(message), message)
