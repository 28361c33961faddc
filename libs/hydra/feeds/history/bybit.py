"""Candles of Bybit v5, spot.

`GET /v5/market/kline?category=spot&symbol&interval&start&end&limit`, milliseconds since 1970, no
key; newest first, at most 1000:

    {"retCode":0,"retMsg":"OK","result":{"category":"spot","symbol":"BTCUSDT","list":[
      ["1670608800000","17071","17073","17027","17055.5","268611","15.74462667"]]},"time":…}

(open time, open, high, low, close, volume, turnover). Errors come with HTTP status 200 and a
retCode: 10001 with "Not supported symbols", 10006 for too many visits, 10000 and 10016 for faults
of its own. HTTP 403 is a ban of the address, for ten minutes at least.

Source: bybit-exchange.github.io/docs/v5 (market/kline, error, rate-limit: 600 requests in 5 s).
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

_BARS = {
    "1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120",
    "4h": "240", "6h": "360", "12h": "720", "1d": "D",
}  # fmt: skip
_FIELDS = 6  # of a row that are read
_WRONG_PARAMETER = 10001
_PASSING = frozenset({10000, 10006, 10016})


class _Result(msgspec.Struct):
    symbol: str = ""
    rows: list[list[str]] | None = msgspec.field(name="list", default=None)


class _Reply(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    message: str = msgspec.field(name="retMsg", default="")
    result: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bybit:
    """Symbols named BASEQUOTE; dollars are USDT."""

    name: str = "bybit"
    setting: str = "BYBIT_REST_URL"
    page_candles: int = 1000
    per_s: float = 20.0
    bars: Mapping[int, str] = field(
        default_factory=lambda: {timeframe_ns(bar): name for bar, name in _BARS.items()}
    )
    dollar: str = "USDT"
    token_setting: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    has_quotes: bool = False

    def request(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        return "/v5/market/kline", {
            "category": "spot",
            "symbol": f"{ask.pair.base}{ask.pair.quote}",
            "interval": self.bars[ask.bar_ns],
            "start": str(ask.first_ns // NS_PER_MS),
            "end": str(ask.close_ns // NS_PER_MS - 1),
            "limit": str(ask.count),
        }

    def read(self, body: bytes, ask: Ask) -> Sequence[Candle]:
        try:
            result = msgspec.json.decode(_reply(body).result, type=_Result)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"{error}: {said(body)}") from error
        asked = f"{ask.pair.base}{ask.pair.quote}"
        if result.rows is None:
            raise Unreadable(f"no list of candles: {said(body)}")
        if result.symbol != asked:
            raise Unreadable(f"candles of {short(result.symbol) or 'nothing'}, not of {asked}")
        candles = []
        for row in result.rows:
            if len(row) < _FIELDS:
                raise Unreadable(f"a row of another shape: {short(str(row))}")
            prices = [number(one) for one in row[1:_FIELDS]]
            candles.append(Candle(whole(row[0]) * NS_PER_MS, *prices))
        return candles

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        try:
            reply = _reply(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None if status == 200 else Refusal(words=said(body))
        if status == 200 and reply.code == 0:
            return None
        return Refusal(
            words=short(f"{reply.message} ({reply.code})"),
            unknown_symbol=reply.code == _WRONG_PARAMETER and "symbol" in reply.message.lower(),
            may_pass=reply.code in _PASSING,
        )


def _reply(body: bytes) -> _Reply:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=_Reply)
