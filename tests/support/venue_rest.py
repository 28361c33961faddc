"""A server on this machine that gives candles as four venues do, and misbehaves on command.

    with VenueRest({"BTC-USDT": candles("2024-01-01", 500)}) as server:
        server.fault = lambda heard: Fault.status(429, retry_after="0.01")
        ...server.url("binance")...

It checks what the real ones check (how many candles, which lengths, which symbols), answers in
their formats and orders, and keeps all it hears in `heard`. Day candles are gathered from the
finer ones, as a venue's are. OANDA's are of bids, with asks a `SPREAD` above; `token` is what it
wants to be shown. Formats: see the modules of `hydra.feeds.history`.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

MINUTE_MS = 60_000
DAY_MS = 86_400_000

# A candle: when it opens, in ms, then open, high, low, close and volume as text.
Candle = tuple[int, str, str, str, str, str]

SPREAD = Decimal("0.13")
_OANDA = re.compile(r"/oanda/v3/instruments/([A-Z0-9]+_[A-Z]+)/candles")
_OANDA_BARS = {
    "S5": 5, "S10": 10, "S15": 15, "S30": 30, "M1": 60, "M2": 120, "M4": 240, "M5": 300,
    "M10": 600, "M15": 900, "M30": 1800, "H1": 3600, "H2": 7200, "H3": 10800, "H4": 14400,
    "H6": 21600, "H8": 28800, "H12": 43200, "D": 86400,
}  # fmt: skip
_NEW_YORKS_CLOSE_MS = 22 * 3_600_000  # 17:00 there, in winter
_COINBASE = re.compile(r"/coinbase/api/v3/brokerage/market/products/([A-Z0-9-]+)/candles")
_GRANULARITIES = {
    "ONE_MINUTE": 1, "FIVE_MINUTE": 5, "FIFTEEN_MINUTE": 15, "THIRTY_MINUTE": 30, "ONE_HOUR": 60,
    "TWO_HOUR": 120, "FOUR_HOUR": 240, "SIX_HOUR": 360, "ONE_DAY": 1440,
}  # fmt: skip
_INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360,
    "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
_BYBIT = {str(n): n for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)} | {"D": 1440}


@dataclass(frozen=True)
class Heard:
    """One request as the server understood it."""

    number: int  # from 1
    venue: str
    symbol: str  # as the venue spells it
    bar_ms: int
    start_ms: int
    end_ms: int  # included
    limit: int
    query: Mapping[str, str]
    shift_ms: int = 0  # of the grid of its bars from UTC's

    @property
    def is_days(self) -> bool:
        return self.bar_ms == DAY_MS


@dataclass(frozen=True)
class Fault:
    """What the server does instead of, or with, its answer."""

    code: int = 0
    body: str | None = None  # sent as it is
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    wait_s: float = 0.0
    change: Callable[[list[Candle]], list[Candle]] | None = None  # of the page, oldest first

    @classmethod
    def status(cls, code: int, body: str = "{}", **headers: str) -> Fault:
        """An error: `Fault.status(429, retry_after="2")`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(code=code, body=body, headers=named)

    @classmethod
    def html(cls, code: int = 200) -> Fault:
        return cls(code=code, body="<html><h1>Just a moment…</h1></html>", media="text/html")

    @classmethod
    def raw(cls, body: str) -> Fault:
        return cls(code=200, body=body)

    @classmethod
    def cut(cls) -> Fault:
        """The connection breaks in the middle of the body."""
        return cls(is_cut=True)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        return cls(wait_s=seconds)

    @classmethod
    def rows(cls, change: Callable[[list[Candle]], list[Candle]]) -> Fault:
        """The page as the test makes it."""
        return cls(change=change)

    @classmethod
    def empty(cls) -> Fault:
        return cls(change=lambda rows: [])


class VenueRest:
    """The server, in a thread of its own, on 127.0.0.1 and a free port. Use it in `with`."""

    def __init__(self, series: Mapping[str, Sequence[Candle]], *, bar_ms: int = MINUTE_MS) -> None:
        """`series` by symbol as files name it (BTC-USDT), of candles of `bar_ms`."""
        self.series = {name: sorted(candles) for name, candles in series.items()}
        self.bar_ms = bar_ms
        self.heard: list[Heard] = []
        self.token = ""  # that OANDA asks for; "": none
        self.fault: Callable[[Heard], Fault | None] = lambda heard: None
        # With the protocol named, asyncio answers without Nagle's delay of 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(64)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            Starlette(routes=[Route("/{rest:path}", self._get)]),
            log_config=None, log_level="critical", lifespan="off", timeout_graceful_shutdown=0,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.001)
            if not self._thread.is_alive():
                raise RuntimeError("the loopback server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def url(self, venue: str) -> str:
        """What to set as the venue's address."""
        return f"http://127.0.0.1:{self.port}/{venue}"

    async def _get(self, request: Request) -> Response:
        query = dict(request.query_params)
        venue = request.url.path.split("/")[1]
        number = len(self.heard) + 1
        shown = request.headers.get("authorization", "")
        if venue == "oanda" and self.token and shown != f"Bearer {self.token}":
            words = "Insufficient authorization to perform request."
            return JSONResponse({"errorMessage": words}, 401)
        try:
            heard, refused = hear(number, venue, request.url.path, query)
        except (KeyError, ValueError) as error:
            said = f"mandatory parameter: {error}"
            return JSONResponse({"code": -1102, "msg": said, "errorMessage": said}, 400)
        self.heard.append(heard)
        fault = self.fault(heard) or Fault()
        if fault.wait_s:
            await asyncio.sleep(fault.wait_s)
        if fault.code:
            return Response(
                fault.body, fault.code, headers=dict(fault.headers), media_type=fault.media
            )
        candles = self._candles(heard.symbol)
        if refused or candles is None:
            return refused or _unknown(venue)
        page = self._page(candles, heard)
        if fault.change is not None:
            page = fault.change(page)
        known_ms = candles[-1][0] + self.bar_ms if candles else 0
        body = answer(heard, page, known_ms)
        return _Cut(body) if fault.is_cut else Response(body, media_type="application/json")

    def _candles(self, symbol: str) -> Sequence[Candle] | None:
        plain = symbol.replace("-", "").replace("_", "")
        return next((c for name, c in self.series.items() if name.replace("-", "") == plain), None)

    def _page(self, candles: Sequence[Candle], heard: Heard) -> list[Candle]:
        """What the venue has of the asked time, oldest first."""
        gathered = candles
        if heard.bar_ms != self.bar_ms:
            gathered = gather(candles, heard.bar_ms, heard.shift_ms)
        found = [one for one in gathered if heard.start_ms <= one[0] <= heard.end_ms]
        # Where more is there than fits: Binance counts from the start, Bybit from the end.
        return found[-heard.limit :] if heard.venue == "bybit" else found[: heard.limit]


def gather(candles: Sequence[Candle], bar_ms: int, shift_ms: int = 0) -> list[Candle]:
    """Coarser candles."""
    buckets: dict[int, list[Candle]] = {}
    for one in candles:
        at = (one[0] - shift_ms) // bar_ms * bar_ms + shift_ms
        buckets.setdefault(at, []).append(one)
    return [
        (
            at,
            parts[0][1],
            max((one[2] for one in parts), key=Decimal),
            min((one[3] for one in parts), key=Decimal),
            parts[-1][4],
            str(sum((Decimal(one[5]) for one in parts), Decimal(0))),
        )
        for at, parts in buckets.items()
    ]


def candles(
    start: str, count: int, *, step_ms: int = MINUTE_MS, base: int = 42_000
) -> list[Candle]:
    """`count` candles from an ISO date on, which rise and fall; prices have two decimals."""
    first = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp() * 1000)
    made, last = [], base * 100
    for i in range(count):
        close = last + (i * 7919 % 401) - 200
        high, low = max(last, close) + i % 13, min(last, close) - i % 11
        cents = [f"{one // 100}.{one % 100:02d}000000" for one in (last, high, low, close)]
        made.append((first + i * step_ms, *cents, f"{i % 97}.{i % 1000:03d}00000"))
        last = close
    return made  # type: ignore[return-value]


def hear(
    number: int, venue: str, path: str, query: dict[str, str]
) -> tuple[Heard, Response | None]:
    """The request in one form for all venues, and what the real one would not take of it."""
    if venue == "coinbase" and (found := _COINBASE.fullmatch(path)):
        start_ms, end_ms = int(query["start"]) * 1000, int(query["end"]) * 1000
        bar_ms = _GRANULARITIES[query["granularity"]] * MINUTE_MS
        heard = Heard(number, venue, found[1], bar_ms, start_ms, end_ms, 350, query)
        if (end_ms - start_ms) // bar_ms >= 350:
            words = "number of candles requested should be less than 350"
            return heard, JSONResponse({"error": "INVALID_ARGUMENT", "message": words}, 400)
        return heard, None
    if venue == "oanda" and (found := _OANDA.fullmatch(path)):
        return _hear_oanda(number, found[1], query)
    if venue == "binance" and path == "/binance/api/v3/klines":
        start_ms, end_ms = int(query["startTime"]), int(query["endTime"])
        bar_ms, most = _INTERVALS[query["interval"]] * MINUTE_MS, 1000
    elif venue == "bybit" and path == "/bybit/v5/market/kline":
        assert query["category"] == "spot"
        start_ms, end_ms = int(query["start"]), int(query["end"])
        bar_ms, most = _BYBIT[query["interval"]] * MINUTE_MS, 1000
    else:
        raise ValueError(f"no {path}")
    limit = min(int(query["limit"]), most)
    return Heard(number, venue, query["symbol"], bar_ms, start_ms, end_ms, limit, query), None


def _hear_oanda(number: int, name: str, query: dict[str, str]) -> tuple[Heard, Response | None]:
    assert query["price"] == "BA"
    bar_ms, limit = _OANDA_BARS[query["granularity"]] * 1000, int(query["count"])
    start = datetime.fromisoformat(query["from"])
    is_utc = query.get("alignmentTimezone") == "UTC" and query.get("dailyAlignment") == "0"
    shift_ms = 0 if is_utc or bar_ms <= 3_600_000 else _NEW_YORKS_CLOSE_MS
    start_ms = int(start.timestamp() * 1000)
    heard = Heard(number, "oanda", name, bar_ms, start_ms, 10**15, limit, query, shift_ms)
    if limit > 5000:
        return heard, JSONResponse({"errorMessage": "Maximum value for 'count' exceeded"}, 400)
    return heard, None


def _unknown(venue: str) -> Response:
    if venue == "oanda":
        return JSONResponse({"errorMessage": "Invalid value specified for 'instrument'"}, 400)
    if venue == "coinbase":
        words = "valid product_id is required"
        body = {"error": "NOT_FOUND", "error_details": words, "message": words}
        return JSONResponse(body, 404)
    if venue == "binance":
        return JSONResponse({"code": -1121, "msg": "Invalid symbol."}, 400)
    reply = {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}, "retExtInfo": {}}
    return JSONResponse(reply | {"time": 1_672_025_956_592})


def answer(heard: Heard, page: Sequence[Candle], known_ms: int) -> bytes:
    """The page in the venue's format and order. The market is known until `known_ms`."""
    body: Any
    if heard.venue == "coinbase":
        body = {
            "candles": [
                {"start": str(at // 1000), "low": low, "high": high, "open": open_, "close": close,
                 "volume": volume}
                for at, open_, high, low, close, volume in reversed(page)
            ]
        }  # fmt: skip
    elif heard.venue == "oanda":
        body = {
            "instrument": heard.symbol,
            "granularity": heard.query["granularity"],
            "candles": [
                {"complete": at + heard.bar_ms <= known_ms, "volume": 132, "time": _nanos(at),
                 "bid": _side(prices, Decimal(0)), "ask": _side(prices, SPREAD)}
                for at, *prices, _ in page
            ],
        }  # fmt: skip
    elif heard.venue == "binance":
        body = [
            [*one, one[0] + heard.bar_ms - 1, "2434.19055334", 308, "1756.87402397", "28.46", "0"]
            for one in page
        ]
    else:
        rows = [[str(one[0]), *one[1:], "3390000"] for one in reversed(page)]
        body = {
            "retCode": 0, "retMsg": "OK",
            "result": {"category": "spot", "symbol": heard.symbol, "list": rows},
            "retExtInfo": {}, "time": 1_672_025_956_592 + heard.number,
        }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode()


def _nanos(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}000000Z"


def _side(prices: Sequence[str], above: Decimal) -> dict[str, str]:
    """Five decimals, as OANDA writes them; what is no number stays as it is."""
    out = {}
    for key, text in zip("ohlc", prices, strict=True):
        is_number = text.replace(".", "").replace("-", "").isdigit()
        out[key] = f"{Decimal(text) + above:.5f}" if is_number else text
    return out


class _Cut(Response):
    """Announces a body, sends half of it and closes the connection."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        raise ConnectionResetError("cut on command")
