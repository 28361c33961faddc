"""Minutes of BTCUSDT in 2024 at loopback venues, told as time is moved by hand; and the bars that
the raw recording has in it, in plain Python."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, cast

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from hydra.clock import NS_PER_S, iso
from hydra.market.bars import DEPTH_LEVELS, BarTable
from tests.support.captures import binance_btcusdt
from tests.support.listener import until
from tests.support.plain_book import PlainBook
from tests.support.venues import BinanceServer, CoinbaseServer, LoopbackVenue, Session

_TURNS = 40  # of the event loop: more than what has arrived takes to be read
LEVELS = 200  # of the recorded snapshot's 1,000: enough, and quicker
_LENGTH_NS = 182 * NS_PER_S
NS_PER_MS = 1_000_000


@cache
def recorded() -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The snapshot, and the depth and trade messages of the three minutes that follow it, in the
    venue's words."""
    snapshot: dict[str, Any] = {}
    steps: list[Any] = []
    for message in binance_btcusdt():
        raw = message.raw
        if "lastUpdateId" in raw:
            snapshot = {**raw, "bids": raw["bids"][:LEVELS], "asks": raw["asks"][:LEVELS]}
        elif not raw["stream"].endswith("bookTicker"):
            steps.append(raw)
            if venue_ns(raw) > venue_ns(steps[0]) + _LENGTH_NS:
                break
    last = snapshot["lastUpdateId"]
    steps = [s for s in steps if s["data"]["e"] == "trade" or s["data"]["u"] > last]
    return snapshot, tuple(steps)


def venue_ns(step: Any) -> int:
    """When the venue says that it told this."""
    return int(step["data"]["E"]) * NS_PER_MS


@dataclass(frozen=True)
class PlainBar:
    """What a bar should be: open, high, low, close of each side, and of trades."""

    bid: list[Decimal]
    ask: list[Decimal]
    traded: list[Decimal]
    volume: Decimal


@cache
def plain_bars(resolution_ns: int) -> dict[int, PlainBar]:
    """By close: the bars of the whole recording but its first and last."""
    snapshot, steps = recorded()
    book = PlainBook()
    book.load(snapshot["bids"], snapshot["asks"])
    standing = _best(book)
    quotes: dict[int, list[tuple[Decimal, Decimal]]] = {}
    trades: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for step in steps:
        data = step["data"]
        if data["e"] == "trade":
            number = data["T"] * NS_PER_MS // resolution_ns
            trades.setdefault(number, []).append((Decimal(data["p"]), Decimal(data["q"])))
        else:
            book.change(data["b"], data["a"])
            number = data["E"] * NS_PER_MS // resolution_ns
            of_bar = quotes.setdefault(number, [standing])
            standing = _best(book)
            of_bar.append(standing)
    out = {}
    for number in sorted(quotes)[1:-1]:
        prices = [price for price, _ in trades.get(number, [])]
        bids, asks = zip(*quotes[number], strict=True)
        out[(number + 1) * resolution_ns] = PlainBar(
            bid=_ohlc(bids),
            ask=_ohlc(asks),
            traded=_ohlc(prices) if prices else [],
            volume=sum((size for _, size in trades.get(number, [])), Decimal(0)),
        )
    return out


def plain_depth(before_ns: int) -> list[list[list[int]]]:
    """The first levels of the book that all changes told before the instant make: ticks from the
    best and steps, of bids and asks, on BTC-USD's grid."""
    snapshot, steps = recorded()
    book = PlainBook()
    book.load(snapshot["bids"], snapshot["asks"])
    for step in steps:
        if step["data"]["e"] == "depthUpdate" and venue_ns(step) < before_ns:
            book.change(step["data"]["b"], step["data"]["a"])
    return [
        [[int(abs(p - side[0][0]) * 100), int(size * 100_000)] for p, size in side]
        for side in book.depth(DEPTH_LEVELS)
    ]


def _best(book: PlainBook) -> tuple[Decimal, Decimal]:
    bid, ask = book.best_bid(), book.best_ask()
    assert bid is not None and ask is not None
    return bid[0], ask[0]


def _ohlc(prices: Sequence[Decimal]) -> list[Decimal]:
    return [prices[0], max(prices), min(prices), prices[-1]]


def assert_same(table: BarTable, plain: PlainBar) -> None:
    """Every figure of a bar of one row."""
    price = table.instrument.price
    bid = (table.bid_open, table.bid_high, table.bid_low, table.bid_close)
    ask = (table.ask_open, table.ask_high, table.ask_low, table.ask_close)
    assert [price(int(x[0])) for x in bid] == plain.bid
    assert [price(int(x[0])) for x in ask] == plain.ask
    traded = [float(x[0]) for x in (table.open, table.high, table.low, table.close)]
    if plain.traded:
        assert traded == [float(x) for x in plain.traded]
    assert table.volume.tolist() == [float(plain.volume)]
    assert table.real_spread


class Paced(LoopbackVenue):
    """Tells steps up to `limit` and then waits."""

    limit = 0
    told_ns: Sequence[int] = ()  # when the recording tells each step

    def changes_book(self, number: int) -> bool:
        """Whether a step is a change of the book, rather than a trade."""
        raise NotImplementedError

    def book_step(self, at_ns: int) -> int:
        """The first change of the book that the recording tells then or later."""
        number = bisect_left(self.told_ns, at_ns)
        while not self.changes_book(number):
            number += 1
        return number

    async def _step(self, session: Session) -> None:
        while self.cursor >= self.limit:
            await asyncio.sleep(0.001)
        await super()._step(session)

    async def tell(self, at_ns: int) -> None:
        """Tell what the recording has until then; returns once that has been taken in."""
        self.limit = max(self.limit, bisect_left(self.told_ns, at_ns))
        await until(lambda: self.cursor >= self.limit)
        for session in self.sessions:
            socket = cast(ServerConnection, session.socket)
            if not session.is_closed:
                with suppress(ConnectionClosed):  # as a fault commanded
                    await (await socket.ping())  # its answer follows all that was sent
        for _ in range(_TURNS):
            await asyncio.sleep(0)


class PacedBinance(Paced, BinanceServer):
    def __init__(self) -> None:
        snapshot, steps = recorded()
        super().__init__({"BTCUSDT": snapshot}, steps)
        self.told_ns = [venue_ns(step) for step in steps]

    def changes_book(self, number: int) -> bool:
        return bool(self.steps[number]["data"]["e"] == "depthUpdate")


class PacedCoinbase(Paced, CoinbaseServer):
    """The same market in Coinbase's words: the same prices, sizes, order and times."""

    def __init__(self) -> None:
        snapshot, steps = recorded()
        self.TIME = iso(venue_ns(steps[0]))
        super().__init__({"BTC-USD": snapshot}, [_of_coinbase(step) for step in steps])
        self.told_ns = [venue_ns(step) for step in steps]

    def changes_book(self, number: int) -> bool:
        return bool(self.steps[number]["type"] == "l2update")

    def move(self, raw: Any) -> None:
        self.TIME = raw["told"]
        super().move(raw)


def _of_coinbase(step: Any) -> dict[str, Any]:
    data = step["data"]
    told = {"product_id": "BTC-USD", "told": iso(venue_ns(step))}
    if data["e"] == "trade":
        maker = "buy" if data["m"] else "sell"
        return {
            **told, "type": "match", "trade_id": data["t"], "price": data["p"], "size": data["q"],
            "side": maker, "time": iso(data["T"] * NS_PER_MS),
        }  # fmt: skip
    changes = [["buy", *level] for level in data["b"]] + [["sell", *level] for level in data["a"]]
    return {**told, "type": "l2update", "changes": changes, "time": told["told"]}
