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


BYBIT_DECIMALS = {"BTCUSD": 1, "EOSUSD": 3}  # of tick_size; sizes are whole contracts


def bybit_listings() -> list[Listing]:
    return [
        Listing(
            source="bybit", symbol=name, venue_symbol=name, price_decimals=decimals,
            size_decimals=0,
        )
        for name, decimals in BYBIT_DECIMALS.items()
    ]  # fmt: skip


def bybit_messages() -> Iterator[Recorded]:
    """Snapshots, changes and trades of two inverse contracts, as of depth 50.

    The old book was keyed by price: a level that went over to the other side was one update,
    which is a deletion and a new level today. `u` counts each book's messages from 1001.
    """
    sides: dict[str, dict[str, str]] = {name: {} for name in BYBIT_DECIMALS}
    numbers = dict.fromkeys(BYBIT_DECIMALS, 1_000)
    for at_ns, raw in _lines("captures/cryptofeed/BYBIT.ws.26.0.txt.gz"):
        topic = raw.get("topic", "")
        name = topic.rpartition(".")[2]
        if topic.startswith("trade."):
            trades = [
                {
                    "T": t["trade_time_ms"], "s": name, "S": t["side"], "v": str(t["size"]),
                    "p": str(t["price"]), "i": t["trade_id"], "BT": False,
                }
                for t in raw["data"]
            ]  # fmt: skip
            body = {
                "topic": f"publicTrade.{name}", "type": "snapshot",
                "ts": raw["data"][-1]["trade_time_ms"], "data": trades,
            }  # fmt: skip
            yield Recorded(at_ns, raw, json.dumps(body).encode())
        elif topic.startswith("orderBookL2_25."):
            numbers[name] += 1
            levels = _bybit_levels(raw, sides[name])
            body = {
                "topic": f"orderbook.50.{name}", "type": raw["type"],
                "ts": raw["timestamp_e6"] // 1_000,
                "data": {
                    "s": name, "b": levels["Buy"], "a": levels["Sell"], "u": numbers[name],
                    "seq": raw["cross_seq"],
                },
            }  # fmt: skip
            yield Recorded(at_ns, raw, json.dumps(body).encode())


def _bybit_levels(raw: dict[str, Any], sides: dict[str, str]) -> dict[str, list[list[str]]]:
    """Today's levels by side; `sides` remembers which side each price is on."""
    out: dict[str, list[list[str]]] = {"Buy": [], "Sell": []}
    if raw["type"] == "snapshot":
        gone, now = [], raw["data"]
        sides.clear()
    else:
        gone, now = raw["data"]["delete"], [*raw["data"]["update"], *raw["data"]["insert"]]
    for level in gone:
        out[sides.pop(level["price"])].append([level["price"], "0"])
    for level in now:
        price, side = level["price"], level["side"]
        if sides.get(price, side) != side:
            out[sides[price]].append([price, "0"])
        sides[price] = side
        out[side].append([price, str(level["size"])])
    return out


OANDA_DECIMALS = {"EUR_USD": 5, "EUR_JPY": 3, "XAU_USD": 3}


def oanda_listing(name: str) -> Listing:
    return Listing(
        source="oanda", symbol=name, venue_symbol=name, price_decimals=OANDA_DECIMALS[name],
        size_decimals=0,
    )  # fmt: skip


def oanda_recorded() -> list[Any]:
    """The four messages of the recorded stream: EUR_JPY, a heartbeat, EUR_USD, EUR_JPY."""
    recorded = json.loads(shared_data("oanda_v20/pricing.json").read_text())
    stream: list[Any] = recorded["_v3_accounts_accountID_pricing_stream"]["response"]
    return stream


def oanda_gold_prices(count: int) -> list[Any]:
    """The first bid and ask ticks of XAU/USD on 2014-05-01 as PRICE messages; the liquidity,
    which was not recorded, is a million."""
    import polars as pl

    path = shared_data("ticks/lean_oanda_ticks_20140501_xauusd.parquet")
    return [
        {
            "type": "PRICE", "instrument": "XAU_USD", "tradeable": True,
            "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "bids": [{"price": f"{bid:.3f}", "liquidity": 1_000_000}],
            "asks": [{"price": f"{ask:.3f}", "liquidity": 1_000_000}],
        }
        for _, at, bid, ask in pl.read_parquet(path).head(count).iter_rows()
    ]  # fmt: skip
