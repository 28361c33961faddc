"""Small tables of bars for tests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from hydra.clock import NS_PER_S
from hydra.feeds.tables import table_of_quotes, table_of_trades
from hydra.market.bars import BarTable, Float64
from hydra.market.instruments import Instrument
from hydra.market.timeframes import timeframe_ns

START_NS = 1_704_067_200 * NS_PER_S  # 2024-01-01T00:00:00Z, a Monday


def an_instrument(
    symbol: str = "BTC-USD",
    *,
    tick_size: str = "0.01",
    lot_step: str = "0.0001",
    max_lots: str = "100000",
    contract_size: str = "1",
    spread_bps: str = "0",
    commission_bps: str = "0",
    commission_per_lot: str = "0",
    swap_long_bps: str = "0",
    swap_short_bps: str = "0",
    swap_zone: str = "UTC",
    swap_hours: tuple[int, ...] = (),
    triple_swap_weekday: int | None = None,
    leverage: str = "10",
    calendar: str = "24/7",
    asset_class: str = "crypto",
) -> Instrument:
    """An instrument without any cost, unless the test names one."""
    return Instrument(
        symbol=symbol,
        asset_class=asset_class,
        quote="USD",
        tick_size=Decimal(tick_size),
        lot_step=Decimal(lot_step),
        min_lots=Decimal(lot_step),
        max_lots=Decimal(max_lots),
        contract_size=Decimal(contract_size),
        spread_bps=Decimal(spread_bps),
        commission_bps=Decimal(commission_bps),
        commission_per_lot=Decimal(commission_per_lot),
        swap_long_bps=Decimal(swap_long_bps),
        swap_short_bps=Decimal(swap_short_bps),
        swap_zone=swap_zone,
        swap_hours=swap_hours,
        triple_swap_weekday=triple_swap_weekday,
        leverage=Decimal(leverage),
        calendar=calendar,
    )


def a_table(
    symbol: str = "BTC-USD",
    closes: Sequence[float] | Float64 = (100.0, 101.0, 102.0),
    resolution: str = "1h",
    *,
    opens: Sequence[float] | Float64 | None = None,
    highs: Sequence[float] | Float64 | None = None,
    lows: Sequence[float] | Float64 | None = None,
    volumes: Sequence[float] | Float64 | None = None,
    start_ns: int = START_NS,
    open_ns: Sequence[int] | None = None,
    instrument: Instrument | None = None,
    spread: float | None = None,
) -> BarTable:
    """Bars with these closes, one after another from `start_ns` (or at `open_ns`).

    A bar opens at the previous close; high and low are the extremes of open and close.
    `spread` (quote currency) gives real quotes: the bid is the price, the ask lies above.
    """
    close = np.asarray(closes, dtype=np.float64)
    if opens is not None:
        open_ = np.asarray(opens, dtype=np.float64)
    else:
        open_ = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(open_, close) if highs is None else np.asarray(highs, dtype=np.float64)
    low = np.minimum(open_, close) if lows is None else np.asarray(lows, dtype=np.float64)
    length_ns = timeframe_ns(resolution)
    if open_ns is not None:
        opens_ns = np.asarray(open_ns, dtype=np.int64)
    else:
        opens_ns = start_ns + length_ns * np.arange(len(close), dtype=np.int64)
    volume = np.ones(len(close)) if volumes is None else np.asarray(volumes, dtype=np.float64)
    made_for = instrument or an_instrument(symbol)
    ohlc = (open_, high, low, close)
    if spread is None:
        return table_of_trades(made_for, length_ns, "test", opens_ns, ohlc, volume)
    ask = [prices + spread for prices in ohlc]
    return table_of_quotes(
        made_for, length_ns, "test", opens_ns, ohlc, ask, ohlc=None, volume=volume
    )


def a_random_walk(
    rng: np.random.Generator,
    bars: int = 500,
    symbol: str = "BTC-USD",
    resolution: str = "1m",
    *,
    first: float = 100.0,
    volatility_frac: float = 0.002,
    start_ns: int = START_NS,
    instrument: Instrument | None = None,
    gap_share: float = 0.0,
) -> BarTable:
    """A table whose closes walk at random: `volatility_frac` a bar, wicks on both sides.

    Opens differ a little from the previous close. `gap_share` of the bars are missing.
    Prices lie on the tick grid, so float and tick columns agree exactly.
    """
    made_for = instrument or an_instrument(symbol)
    tick = float(made_for.tick_size)
    steps = rng.normal(0.0, volatility_frac, bars)
    path = first * np.exp(np.cumsum(steps))
    open_ = np.concatenate(([first], path[:-1])) * (1 + rng.normal(0.0, volatility_frac / 10, bars))
    wick = np.abs(rng.normal(0.0, volatility_frac / 2, (2, bars))) * path

    def on_grid(prices: Float64) -> Float64:
        return np.round(np.maximum(np.rint(prices / tick), 2) * tick, 10)

    open_, close = on_grid(open_), on_grid(path)
    high = on_grid(np.maximum(open_, close) + wick[0])
    low = on_grid(np.minimum(open_, close) - wick[1])
    length_ns = timeframe_ns(resolution)
    opens_ns = start_ns + length_ns * np.arange(bars, dtype=np.int64)
    kept = rng.random(bars) >= gap_share
    kept[0] = True
    volume = rng.lognormal(0.0, 1.0, bars)
    return table_of_trades(
        made_for,
        length_ns,
        "test",
        opens_ns[kept],
        [a[kept] for a in (open_, np.maximum(high, open_), np.minimum(low, close), close)],
        volume[kept],
    )
