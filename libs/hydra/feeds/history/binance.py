"""Candles of Binance spot.

`GET /api/v3/klines?symbol&interval&startTime&endTime&limit`, milliseconds since 1970, no key;
oldest first, at most 1000:

    [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",
      1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]]

(open time, open, high, low, close, volume, close time, …). A symbol that does not exist is a 400
with {"code":-1121,"msg":"Invalid symbol."}. After 429 comes 418, a ban of the address.

Source: github.com/binance/binance-spot-api-docs, rest-api.md (klines weigh 2 of the 6000 a minute
that one address has); data-api.binance.vision is its address for market data alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from hydra.feeds.history.venue import (
    NS_PER_MS,
    Ask,
    Candle,
    Refusal,
    Unreadable,
    number,
    said,
    short,
    whole,
)
from hydra.market.timeframes import timeframe_ns

_BARS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
_FIELDS = 6  # of a row that are read
_INVALID_SYMBOL = -1121


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binance:
    """Symbols named BASEQUOTE; dollars are USDT."""

    name: str = "binance"
    setting: str = "BINANCE_REST_URL"
    page_candles: int = 1000
    per_s: float = 20.0
    bars: Mapping[int, str] = field(
        default_factory=lambda: {timeframe_ns(bar): bar for bar in _BARS}
    )
    dollar: str = "USDT"
    token_setting: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    has_quotes: bool = False

    def request(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        return "/api/v3/klines", {
            "symbol": f"{ask.pair.base}{ask.pair.quote}",
            "interval": self.bars[ask.bar_ns],
            "startTime": str(ask.first_ns // NS_PER_MS),
            "endTime": str(ask.close_ns // NS_PER_MS - 1),
            "limit": str(ask.count),
        }

    def read(self, body: bytes, ask: Ask) -> Sequence[Candle]:
        try:
            rows = msgspec.json.decode(body, type=list[list[int | str]])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"{error}: {said(body)}") from error
        candles = []
        for row in rows:
            if len(row) < _FIELDS or not all(isinstance(one, str) for one in row[1:_FIELDS]):
                raise Unreadable(f"a row of another shape: {short(str(row))}")
            prices = [number(str(one)) for one in row[1:_FIELDS]]
            candles.append(Candle(whole(row[0]) * NS_PER_MS, *prices))
        return candles

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        if status == 200:
            return None
        try:
            error = msgspec.json.decode(body, type=_Error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Refusal(words=said(body))
        return Refusal(words=short(error.msg), unknown_symbol=error.code == _INVALID_SYMBOL)
