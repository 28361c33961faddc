"""Candles of OANDA v20, bid and ask.

`GET /v3/instruments/{EUR_USD}/candles?price=BA&granularity&from&count`, with a bearer token; oldest
first, at most 5000:

    {"instrument":"EUR_USD","granularity":"M5","candles":[
      {"complete":true,"volume":132,"time":"2016-10-17T19:35:00.000000000Z",
       "bid":{"o":"1.09960","h":"1.09973","l":"1.09957","c":"1.09969"},
       "ask":{"o":"1.09973","h":"1.09987","l":"1.09971","c":"1.09983"}}]}

There is no candle where no price changed, as at weekends, and `count` counts those that there are:
what lies behind the asked page is left to the next one. `complete` is false of a candle that goes
on. `volume` counts prices, not what was traded, and is left aside. From H2 on candles are aligned
to 17:00 in New York unless another hour is asked for. An instrument that does not exist is a 400
with {"errorMessage":"Invalid value specified for 'instrument'"}; a wrong token is a 401.

Source: developer.oanda.com, REST v20: instrument endpoints and definitions, troubleshooting, best
practices (100 requests a second on one connection).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from hydra.clock import iso, to_ns
from hydra.feeds.history.venue import (
    Ask,
    Candle,
    Prices,
    Refusal,
    Unreadable,
    number,
    said,
    short,
)
from hydra.feeds.oanda import NAMES
from hydra.market.timeframes import timeframe_ns

_BARS = {
    "5s": "S5", "10s": "S10", "15s": "S15", "30s": "S30", "1m": "M1", "2m": "M2", "4m": "M4",
    "5m": "M5", "10m": "M10", "15m": "M15", "30m": "M30", "1h": "H1", "2h": "H2", "3h": "H3",
    "4h": "H4", "6h": "H6", "8h": "H8", "12h": "H12", "1d": "D",
}  # fmt: skip
_NO_INSTRUMENT = "'instrument'"


class _Side(msgspec.Struct, gc=False):
    o: str
    h: str
    l: str  # noqa: E741, the venue's name
    c: str


class _Candle(msgspec.Struct, gc=False):
    complete: bool
    time: datetime
    bid: _Side
    ask: _Side


class _Reply(msgspec.Struct):
    instrument: str
    candles: list[_Candle]


class _Error(msgspec.Struct):
    message: str = msgspec.field(name="errorMessage", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oanda:
    """Instruments named BASE_QUOTE."""

    name: str = "oanda"
    setting: str = "OANDA_REST_URL"
    token_setting: str = "OANDA_API_TOKEN"  # noqa: S105, the name of a variable
    page_candles: int = 5000
    per_s: float = 10.0
    bars: Mapping[int, str] = field(
        default_factory=lambda: {timeframe_ns(bar): name for bar, name in _BARS.items()}
    )
    dollar: str = "USD"
    names: Mapping[str, str] = field(default_factory=lambda: NAMES)
    has_quotes: bool = True

    def request(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        return f"/v3/instruments/{_name(ask)}/candles", {
            "price": "BA",
            "granularity": self.bars[ask.bar_ns],
            "from": iso(ask.first_ns),
            "count": str(ask.count),
            "dailyAlignment": "0",
            "alignmentTimezone": "UTC",
        }

    def read(self, body: bytes, ask: Ask) -> Sequence[Candle]:
        try:
            reply = msgspec.json.decode(body, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"{error}: {said(body)}") from error
        if reply.instrument != _name(ask):
            raise Unreadable(f"candles of {short(reply.instrument)}, not of {_name(ask)}")
        candles = []
        for row in reply.candles:
            if row.time.tzinfo is None:
                raise Unreadable(f"a candle's time without its zone: {row.time}")
            open_ns = to_ns(row.time)
            if row.complete and open_ns <= ask.last_ns:
                candles.append(Candle(open_ns, *_prices(row.bid), None, ask=_prices(row.ask)))
        return candles

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        if status == 200:
            return None
        try:
            error = msgspec.json.decode(body, type=_Error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Refusal(words=said(body))
        return Refusal(
            words=short(error.message) or said(body),
            unknown_symbol=status == 400 and _NO_INSTRUMENT in error.message,
        )


def _name(ask: Ask) -> str:
    return f"{ask.pair.base}_{ask.pair.quote}"


def _prices(side: _Side) -> Prices:
    return Prices(number(side.o), number(side.h), number(side.l), number(side.c))
