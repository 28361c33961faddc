"""One market path for loopback venues: recorded prices, walked at a pace of our own.

The prices are those of the embedded 4 h bars. Within a bar they go in straight lines from its
open to its extremes to its close, once a second, and a bar lasts `PACE_S`: the order inside a bar
and the pace are the only things that are made up. At the end of the record the path walks back.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from hydra.clock import NS_PER_S
from tests.support.shared_data import ROOT
from tests.support.venue_rest import Candle

PACE_S = 240  # market seconds that one recorded bar takes
SIZE = Decimal("0.25")  # of each trade, once a second
_CENT = Decimal("0.01")
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Path:
    """One symbol's prices at any instant, a pure function of time."""

    symbol: str  # as files name it: BTC-USDT
    bars: tuple[Corners, ...]  # of each recorded bar: open, first extreme, second, close

    def price(self, at_s: int) -> Decimal:
        """At a whole second since 1970; two decimals."""
        number, within_s = divmod(at_s, PACE_S)
        count = len(self.bars)
        turn, at = divmod(number, count)
        corners = self.bars[at] if turn % 2 == 0 else self.bars[count - 1 - at][::-1]
        leg, part = divmod(3 * within_s / PACE_S, 1)
        first, last = corners[int(leg)], corners[int(leg) + 1]
        return Decimal(first + (last - first) * part).quantize(_CENT)

    def candle(self, open_s: int, length_s: int, until_s: int) -> Candle:
        """The bar as the venues tell it, of what was traded by `until_s`."""
        prices = [self.price(at) for at in range(open_s, min(open_s + length_s, until_s + 1))]
        ends = (prices[0], max(prices), min(prices), prices[-1])
        opened, high, low, close = (f"{price:f}" for price in ends)
        return open_s * 1_000, opened, high, low, close, f"{SIZE * len(prices):f}"


@cache
def recorded_path(symbol: str) -> Path:
    """Of a symbol of the embedded prices. Raises ValueError where there is none."""
    with (ROOT / "data" / "sample" / "crypto_4h.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] == symbol]
    if not rows:
        raise ValueError(f"there are no recorded prices of {symbol}")
    return Path(symbol, tuple(_corners(row) for row in rows))


def _corners(row: dict[str, str]) -> Corners:
    opened, high, low, close = (float(row[name]) for name in ("open", "high", "low", "close"))
    return (opened, low, high, close) if close >= opened else (opened, high, low, close)


def second_of(at_ns: int) -> int:
    return at_ns // NS_PER_S
