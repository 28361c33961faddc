"""Candles of Coinbase Advanced Trade.

`GET /api/v3/brokerage/market/products/{product_id}/candles?start&end&granularity&limit`, seconds
since 1970, no key; newest first:

    {"candles":[{"start":"1712192400","low":"66055.14","high":"66331.99","open":"66312.4",
                 "close":"66181.6","volume":"355.82896243"}]}

There is no candle where nothing was traded. A product that does not exist is a 404 with
{"error":"NOT_FOUND","error_details":"valid product_id is required","message":"…"}.

Source: docs.cdp.coinbase.com, Advanced Trade API, Get Public Product Candles; limits: Exchange
API, REST Rate Limits (10 requests a second from one address).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from hydra.clock import NS_PER_S
from hydra.feeds.history.venue import Ask, Candle, Refusal, Unreadable, number, said, short, whole
from hydra.market.timeframes import timeframe_ns

_BARS = {
    "1m": "ONE_MINUTE",
    "5m": "FIVE_MINUTE",
    "15m": "FIFTEEN_MINUTE",
    "30m": "THIRTY_MINUTE",
    "1h": "ONE_HOUR",
    "2h": "TWO_HOUR",
    "4h": "FOUR_HOUR",
    "6h": "SIX_HOUR",
    "1d": "ONE_DAY",
}


class _Candle(msgspec.Struct):
    start: str
    low: str
    high: str
    open: str
    close: str
    volume: str


class _Reply(msgspec.Struct):
    candles: list[_Candle]


class _Error(msgspec.Struct):
    error: str = ""
    message: str = ""
    error_details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coinbase:
    """Products named BASE-QUOTE."""

    name: str = "coinbase"
    setting: str = "COINBASE_REST_URL"
    # 350 is the documented limit, and "should be less than 350" what its error says.
    page_candles: int = 349
    per_s: float = 8.0
    bars: Mapping[int, str] = field(
        default_factory=lambda: {timeframe_ns(bar): name for bar, name in _BARS.items()}
    )
    dollar: str = "USD"
    token_setting: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    has_quotes: bool = False

    def request(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        return f"/api/v3/brokerage/market/products/{ask.pair.symbol}/candles", {
            "start": str(ask.first_ns // NS_PER_S),
            # Within the last candle: it is included whether or not the end itself is.
            "end": str(ask.close_ns // NS_PER_S - 1),
            "granularity": self.bars[ask.bar_ns],
            "limit": str(ask.count),
        }

    def read(self, body: bytes, ask: Ask) -> Sequence[Candle]:
        try:
            reply = msgspec.json.decode(body, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"{error}: {said(body)}") from error
        return [
            Candle(
                whole(row.start) * NS_PER_S,
                number(row.open),
                number(row.high),
                number(row.low),
                number(row.close),
                number(row.volume),
            )
            for row in reply.candles
        ]

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        if status == 200:
            return None
        try:
            error = msgspec.json.decode(body, type=_Error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Refusal(words=said(body))
        return Refusal(
            words=short(error.message or error.error_details or error.error),
            unknown_symbol=status == 404 and error.error == "NOT_FOUND",
        )
