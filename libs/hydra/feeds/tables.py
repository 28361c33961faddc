"""From prices in quote currency to a table of bars in ticks.

Prices become whole ticks exactly. Where the source has no bid and ask, half the
instrument's spread is put on either side of the traded price and rounded away from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np

from hydra.errors import DataFault
from hydra.market.bars import BarTable, Float64, Int64
from hydra.market.instruments import Instrument

MAX_TICKS = 2**53  # above it a float64 price does not name one tick
_BPS = 10_000


def grid_error(prices: Float64, tick_size: Decimal) -> float:
    """The farthest that a price lies from the tick grid, in ticks, 0 to 0.5.

    What float64 itself adds (a few units in the last place) is taken off, so 0 means that
    every price is a whole number of ticks.
    """
    if len(prices) == 0:
        return 0.0
    exact = _in_ticks(prices, tick_size)
    error = np.abs(exact - np.rint(exact)) - np.abs(exact) * 2.0**-50
    return max(0.0, float(error.max()))


def to_ticks(prices: Float64, instrument: Instrument) -> Int64:
    """Whole ticks nearest to `prices`, shape (n,).

    Raises DataFault when a price is too large to be told from its neighbour tick, or rounds
    to none at all.
    """
    exact = np.rint(_in_ticks(prices, instrument.tick_size))
    if len(exact) and float(np.abs(exact).max()) > MAX_TICKS:
        raise DataFault(
            f"{instrument.symbol}: a price of {float(prices.max())} is more than 2^53 ticks of"
            f" {instrument.tick_size}; declare a larger tick_size for it in an instruments file"
        )
    if len(exact) and float(exact.min()) < 1:
        raise DataFault(
            f"{instrument.symbol}: a price of {float(prices.min())} is less than half a tick of"
            f" {instrument.tick_size:f}; give the prices in a larger unit, such as for 1000 pieces"
        )
    return exact.astype(np.int64)


def half_spread_ticks(ticks: Int64, spread_bps: Decimal) -> Int64:
    """Half of `spread_bps` of each price, in ticks, rounded up; exact in whole numbers."""
    share = Fraction(spread_bps) / (2 * _BPS)
    whole, rest = np.divmod(ticks, share.denominator)
    # Splitting the product keeps it inside int64 whatever the price.
    half: Int64 = whole * share.numerator - (-rest * share.numerator) // share.denominator
    return half


def table_of_trades(
    instrument: Instrument,
    resolution_ns: int,
    source: str,
    open_ns: Int64,
    ohlc: Sequence[Float64],
    volume: Float64 | None = None,
) -> BarTable:
    """Bars of traded prices; bid and ask come from the instrument's `spread_bps`.

    `ohlc` is open, high, low, close, each (n,) in quote currency and free of faults.
    A bid never falls below one tick. Raises DataFault as `to_ticks`.
    """
    bid: list[Int64] = []
    ask: list[Int64] = []
    for prices in ohlc:
        ticks = to_ticks(prices, instrument)
        if instrument.spread_bps == 0:
            bid.append(ticks)
            ask.append(ticks)
        else:
            half = half_spread_ticks(ticks, instrument.spread_bps)
            bid.append(np.maximum(ticks - half, 1))
            ask.append(ticks + half)
    return _table(instrument, resolution_ns, source, open_ns, bid, ask, ohlc, volume, False)


def table_of_quotes(
    instrument: Instrument,
    resolution_ns: int,
    source: str,
    open_ns: Int64,
    bid: Sequence[Float64],
    ask: Sequence[Float64],
    ohlc: Sequence[Float64] | None = None,
    volume: Float64 | None = None,
) -> BarTable:
    """Bars of real bid and ask prices, and of the traded ones where there are any (else the
    middle of bid and ask). Each sequence is open, high, low, close, (n,), free of faults.

    Raises DataFault as `to_ticks`.
    """
    if ohlc is None:
        ohlc = [(b + a) / 2 for b, a in zip(bid, ask, strict=True)]
    bids = [to_ticks(prices, instrument) for prices in bid]
    asks = [to_ticks(prices, instrument) for prices in ask]
    return _table(instrument, resolution_ns, source, open_ns, bids, asks, ohlc, volume, True)


def rows_between(table: BarTable, low: int, high: int) -> BarTable:
    """The bars `low` to before `high`, as views into the same memory."""
    rows = slice(low, high)
    return BarTable(
        instrument=table.instrument,
        resolution_ns=table.resolution_ns,
        source=table.source,
        open_ns=table.open_ns[rows],
        bid_open=table.bid_open[rows],
        bid_high=table.bid_high[rows],
        bid_low=table.bid_low[rows],
        bid_close=table.bid_close[rows],
        ask_open=table.ask_open[rows],
        ask_high=table.ask_high[rows],
        ask_low=table.ask_low[rows],
        ask_close=table.ask_close[rows],
        open=table.open[rows],
        high=table.high[rows],
        low=table.low[rows],
        close=table.close[rows],
        volume=table.volume[rows],
        real_spread=table.real_spread,
        depth=None if table.depth is None else table.depth[rows],
    )


def _in_ticks(prices: Float64, tick_size: Decimal) -> Float64:
    # Multiplying by the denominator keeps 1.05236 / 0.00001 at 105236 and not 105236.00000000001.
    tick = Fraction(tick_size)
    exact = prices * float(tick.denominator)
    if tick.numerator != 1:
        exact /= float(tick.numerator)
    return exact


def _table(
    instrument: Instrument,
    resolution_ns: int,
    source: str,
    open_ns: Int64,
    bid: Sequence[Int64],
    ask: Sequence[Int64],
    ohlc: Sequence[Float64],
    volume: Float64 | None,
    real_spread: bool,
) -> BarTable:
    return BarTable(
        instrument=instrument,
        resolution_ns=resolution_ns,
        source=source,
        open_ns=open_ns,
        bid_open=bid[0],
        bid_high=bid[1],
        bid_low=bid[2],
        bid_close=bid[3],
        ask_open=ask[0],
        ask_high=ask[1],
        ask_low=ask[2],
        ask_close=ask[3],
        open=ohlc[0],
        high=ohlc[1],
        low=ohlc[2],
        close=ohlc[3],
        volume=np.full(len(open_ns), np.nan) if volume is None else volume,
        real_spread=real_spread,
    )
