"""Coinbase, Binance and Bybit on the loopback interface, alive: one market, told by all three.

They speak the venues' real messages (`tests.support.venues`), once a second of a market clock
that may be faster than the machine's, and answer for candles and depth by REST. All run in one
thread; what is to go wrong is set from any other.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from itertools import count
from random import Random
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hydra.clock import NS_PER_S
from tests.support.live.fast import FastTime
from tests.support.live.path import SIZE, Path, recorded_path, second_of
from tests.support.venue_rest import answer, hear
from tests.support.venues import (
    MALFORMED,
    BinanceServer,
    BybitServer,
    CoinbaseServer,
    Fault,
    LoopbackVenue,
    Session,
)

LEVELS = 8  # of the book, a side
CATCH_UP_S = 120  # a thread that was held up tells that much of what it missed
_CENT = Decimal("0.01")
Levels = list[list[str]]


def book_of(price: Decimal, at_s: int) -> tuple[Levels, Levels]:
    """Bids and asks around a price: a basis point apart, sizes that change with time."""
    step = max((price / 10_000 / 2).quantize(_CENT), _CENT)
    bids, asks = (
        [
            [f"{price + side * step * n:f}", f"{Decimal(n * 2) + Decimal(at_s % 97) / 100:f}"]
            for n in range(1, LEVELS + 1)
        ]
        for side in (-1, 1)
    )
    return bids, asks


def changes(before: Iterable[Decimal], now: Levels) -> Levels:
    """What makes one side of a book the other: gone levels with size 0, then those there are."""
    kept = {Decimal(price) for price, _ in now}
    return [[f"{price:f}", "0"] for price in before if price not in kept] + now


class Alive(LoopbackVenue):
    """The part that all live venues share: who listens hears every step from then on."""

    name = ""

    def begin(self, paths: Mapping[str, Path], at_s: int, seed: int) -> None:
        self.paths = paths  # by the venue's own symbol
        self.rng = Random(f"{seed} {self.name}")
        self.at_s = at_s
        self.is_silent = False  # nothing is told, and connections stay open
        self.is_down = False  # nobody may connect, and whoever was is cut off
        self.faults_frac = 0.0  # of the messages that go wrong
        self.requests = 0
        self._numbers = count(1)
        self._queues: dict[int, asyncio.Queue[str]] = {}  # by session: what it is still to hear

    async def _serve(self, socket: ServerConnection) -> None:
        session = Session(socket)
        queue = self.join(session)
        writer = asyncio.create_task(self._write(session, queue))
        try:
            async for text in socket:
                for reply in self.replies(session, json.loads(text)):
                    queue.put_nowait(reply)  # at once, so that numbers go out in order
        except ConnectionClosed:
            pass  # as the client wished, or as a fault commanded
        finally:
            self.leave(session)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def join(self, session: Session) -> asyncio.Queue[str]:
        """Somebody connects; what he is told comes in the queue."""
        self.sessions.append(session)
        return self._queues.setdefault(id(session), asyncio.Queue())

    def leave(self, session: Session) -> None:
        self.sessions.remove(session)
        del self._queues[id(session)]

    async def _write(self, session: Session, queue: asyncio.Queue[str]) -> None:
        with suppress(ConnectionClosed):
            while True:
                text = await queue.get()
                if not self.is_silent:
                    await session.socket.send(text)

    def tick(self, at_s: int) -> None:
        """Tell what happens in this second."""
        self.at_s = at_s
        if self.is_down:
            for session in self.sessions:
                session.socket.transport.abort()
        for symbol, path in self.paths.items():
            for raw in self.steps_of(symbol, path.price(at_s)):
                self.move(raw)
                for session in self.sessions:
                    if session.topics:
                        self._tell(session, self.messages(session, raw))
        for session in self.sessions:
            self._tell(session, self.heartbeats(session))

    def _tell(self, session: Session, texts: list[str]) -> None:
        """To one client, unless its line is bad just now."""
        fault = None
        if texts and self.rng.random() < self.faults_frac:
            fault = self.rng.choice(list(Fault))
        match fault:
            case Fault.DROP:
                session.socket.transport.abort()
                return
            case Fault.GAP:
                return
            case Fault.DUPLICATE:
                texts = texts * 2
            case Fault.MALFORMED:
                texts = [MALFORMED, *texts]
            case Fault.SPOILT:
                texts = [text[: len(text) // 2] for text in texts]
            case Fault.REORDER | Fault.DELAY:
                session.held += texts
                return
        for text in (*texts, *session.held):
            self._queues[id(session)].put_nowait(text)
        session.held.clear()

    def steps_of(self, symbol: str, price: Decimal) -> Iterator[Any]:
        """The second's raw messages, in the form that `move` and `messages` take."""
        raise NotImplementedError

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        if self.is_down:
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "{}")
        parts = urlsplit(request.path)
        if parts.path == "/" or parts.path == "/api/v3/depth":
            return await super()._request(socket, request)
        self.requests += 1
        query = dict(parse_qsl(parts.query))
        heard, refused = hear(self.requests, self.name, f"/{self.name}{parts.path}", query)
        if refused is not None:
            return socket.respond(HTTPStatus.BAD_REQUEST, bytes(refused.body).decode())
        path = next(p for p in self.paths.values() if _plain(heard.symbol) in _plain(p.symbol))
        length_s = heard.bar_ms // 1_000
        first_s = -(-heard.start_ms // heard.bar_ms) * length_s
        last_s = min(heard.end_ms // 1_000, self.at_s)
        page = [path.candle(at, length_s, self.at_s) for at in range(first_s, last_s + 1, length_s)]
        body = answer(heard, page[: heard.limit], self.at_s * 1_000)
        return socket.respond(HTTPStatus.OK, body.decode())


def _plain(symbol: str) -> str:
    return symbol.replace("-", "")


class LiveCoinbase(Alive, CoinbaseServer):
    name = "coinbase"

    def time(self) -> str:
        return datetime.fromtimestamp(self.at_s, UTC).isoformat().replace("+00:00", "Z")

    def steps_of(self, symbol: str, price: Decimal) -> Iterator[Any]:
        bids, asks = book_of(price, self.at_s)
        book = self.books[symbol]
        rows = [["buy", *level] for level in changes(book.bids, bids)]
        rows += [["sell", *level] for level in changes(book.asks, asks)]
        yield {"type": "l2update", "product_id": symbol, "time": self.time(), "changes": rows}
        yield {
            "type": "match", "product_id": symbol, "time": self.time(), "price": f"{price:f}",
            "trade_id": next(self._numbers), "size": f"{SIZE:f}",
            "side": "buy" if self.at_s % 2 else "sell",
        }  # fmt: skip


class LiveBinance(Alive, BinanceServer):
    name = "binance"

    def snapshot(self, pair: str) -> str:
        """The answer to the question for a book."""
        return self._snapshot(pair)

    def steps_of(self, symbol: str, price: Decimal) -> Iterator[Any]:
        bids, asks = book_of(price, self.at_s)
        book, number = self.books[symbol], self.last_ids[symbol] + 1
        yield {
            "stream": f"{symbol.lower()}@depth@100ms",
            "data": {
                "e": "depthUpdate", "E": self.at_s * 1_000, "s": symbol, "U": number, "u": number,
                "b": changes(book.bids, bids), "a": changes(book.asks, asks),
            },
        }  # fmt: skip
        yield {
            "stream": f"{symbol.lower()}@trade",
            "data": {
                "e": "trade", "E": self.at_s * 1_000, "s": symbol, "t": next(self._numbers),
                "p": f"{price:f}", "q": f"{SIZE:f}", "T": self.at_s * 1_000,
                "m": bool(self.at_s % 2), "M": True,
            },
        }  # fmt: skip


class LiveBybit(Alive, BybitServer):
    name = "bybit"

    def steps_of(self, symbol: str, price: Decimal) -> Iterator[Any]:
        bids, asks = book_of(price, self.at_s)
        topic = f"orderbook.50.{symbol}"
        book, latest = self.books[symbol], self.latest[topic]["data"]
        yield {
            "topic": topic, "type": "delta", "ts": self.at_s * 1_000, "cts": self.at_s * 1_000,
            "data": {
                "s": symbol, "b": changes(book.bids, bids), "a": changes(book.asks, asks),
                "u": latest["u"] + 1, "seq": latest["seq"] + 1,
            },
        }  # fmt: skip
        yield {
            "topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": self.at_s * 1_000,
            "data": [{
                "T": self.at_s * 1_000, "s": symbol, "S": "Sell" if self.at_s % 2 else "Buy",
                "v": f"{SIZE:f}", "p": f"{price:f}", "i": str(next(self._numbers)), "BT": False,
            }],
        }  # fmt: skip


def _bybit_snapshot(pair: str, book: Mapping[str, Levels], at_s: int) -> dict[str, Any]:
    data = {"s": pair, "b": book["bids"], "a": book["asks"], "u": 1_000, "seq": 1_000}
    return {
        "topic": f"orderbook.50.{pair}", "type": "snapshot", "ts": at_s * 1_000,
        "cts": at_s * 1_000, "data": data,
    }  # fmt: skip


def venues_alive(
    symbols: Sequence[str], at_s: int, seed: int
) -> tuple[LiveCoinbase, LiveBinance, LiveBybit]:
    """The three as they stand at a second; `symbols` as files name them: BTC-USDT."""
    paths = {symbol: recorded_path(symbol) for symbol in symbols}
    books = {symbol: book_of(path.price(at_s), at_s) for symbol, path in paths.items()}
    by_product = {symbol.removesuffix("T"): path for symbol, path in paths.items()}
    by_pair = {_plain(symbol): path for symbol, path in paths.items()}
    pairs = {_plain(symbol): {"bids": bids, "asks": asks} for symbol, (bids, asks) in books.items()}
    coinbase = LiveCoinbase(
        {s.removesuffix("T"): {"bids": b, "asks": a} for s, (b, a) in books.items()}, ()
    )
    binance = LiveBinance({p: one | {"lastUpdateId": 1_000} for p, one in pairs.items()}, ())
    bybit = LiveBybit(
        {f"orderbook.50.{p}": _bybit_snapshot(p, one, at_s) for p, one in pairs.items()}, ()
    )
    coinbase.begin(by_product, at_s, seed)
    binance.begin(by_pair, at_s, seed)
    bybit.begin(by_pair, at_s, seed)
    return coinbase, binance, bybit


class LiveMarket:
    """The three venues in a thread of their own. Use it in `with`."""

    def __init__(self, symbols: Sequence[str], fast: FastTime, *, seed: int = 1) -> None:
        """`symbols` as files name them: BTC-USDT."""
        self.fast = fast
        self.coinbase, self.binance, self.bybit = venues_alive(
            symbols, second_of(fast.time_ns()), seed
        )
        self.venues = (self.coinbase, self.binance, self.bybit)
        self._is_open = threading.Event()
        self._is_over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="loopback market")

    def variables(self) -> dict[str, str]:
        """Settings that lead Hydra here instead of to the venues, and its time."""
        found: dict[str, str] = {}
        for venue in self.venues:
            found[f"{venue.name.upper()}_WS_URL"] = venue.url
            found[f"{venue.name.upper()}_REST_URL"] = venue.http_url
        return found | self.fast.variables()

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        for venue in self.venues:
            venue.is_silent = venue.is_down = False
            venue.faults_frac = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_open.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._is_over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        loop = asyncio.SelectorEventLoop()
        try:
            loop.run_until_complete(self._tell())
        except BaseException as error:
            self._failure = error
        finally:
            self._is_open.set()
            loop.close()

    async def _tell(self) -> None:
        async with AsyncExitStack() as stack:
            for venue in self.venues:
                await stack.enter_async_context(venue.open())
            self._is_open.set()
            told_s = second_of(self.fast.time_ns())
            while not self._is_over.is_set():
                now_ns = self.fast.time_ns()
                now_s = second_of(now_ns)
                for at_s in range(max(told_s, now_s - CATCH_UP_S) + 1, now_s + 1):
                    for venue in self.venues:
                        venue.tick(at_s)
                told_s = max(told_s, now_s)
                left_ns = (told_s + 1) * NS_PER_S - now_ns
                await asyncio.sleep(left_ns / NS_PER_S / self.fast.speed)
