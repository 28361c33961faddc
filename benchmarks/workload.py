"""The work that every program is given: the bars, the rule, and what comes back.

This module needs numpy and nothing else, so that it also runs where only a peer is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

SEED = 20_240_101
START_NS = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
MINUTE_NS = 60_000_000_000
FIRST_PRICE = 60_000.0  # USD
VOLATILITY_FRAC = 0.0006  # of a minute's log return: about 43 % a year, as of BTC
TICK = 0.01  # USD
CASH = 10_000_000  # USD of each account: whole coins must be small beside it
COINS = 1  # of every order
STOP_FRAC = 0.005  # of the close at which the engine decides
FIRST_FAST = 20  # bars, of the first engine; the n-th has n - 1 more
SLOW_TIMES_FAST = 4


@dataclass(frozen=True, slots=True)
class Candles:
    """One-minute bars, (n,) each: instants of the opens, prices in USD, volume in coins."""

    open_ns: Int64
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64


def candles(bars: int) -> Candles:
    """The first `bars` of one fixed walk: longer ones begin with the shorter ones.

    Each column has a generator of its own, or a longer walk would be another one.
    """
    returns, opens, highs, lows, volumes = (
        np.random.default_rng([SEED, column]) for column in range(5)
    )
    drift = -(VOLATILITY_FRAC**2) / 2  # so that the price itself has none
    path = FIRST_PRICE * np.exp(np.cumsum(returns.normal(drift, VOLATILITY_FRAC, bars)))
    before = np.concatenate(([FIRST_PRICE], path[:-1]))
    gap = opens.normal(0.0, VOLATILITY_FRAC / 20, bars)

    def on_grid(prices: Float64) -> Float64:
        grid: Float64 = np.round(np.rint(prices / TICK) * TICK, 2)
        return grid

    open_, close = on_grid(before * (1 + gap)), on_grid(path)
    wick = VOLATILITY_FRAC / 2 * path
    high = on_grid(np.maximum(open_, close) + np.abs(highs.normal(size=bars)) * wick)
    low = on_grid(np.minimum(open_, close) - np.abs(lows.normal(size=bars)) * wick)
    return Candles(
        open_ns=START_NS + MINUTE_NS * np.arange(bars, dtype=np.int64),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volumes.lognormal(2.0, 1.0, bars),
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """`bars` one-minute bars, and the (fast, slow) periods of each engine that plays them."""

    bars: int
    periods: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, bars: int, engines: int, sample: int | None = None) -> Workload:
        """The periods of `engines` engines, or of `sample` of them, evenly spread."""
        fast = [FIRST_FAST + i for i in range(engines)]
        if sample is not None and sample < engines:
            fast = [fast[round(i)] for i in np.linspace(0, engines - 1, sample)]
        return cls(bars, tuple((f, SLOW_TIMES_FAST * f) for f in fast))

    @property
    def engine_bars(self) -> int:
        return self.bars * len(self.periods)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, so that one can see that all did the same work."""

    trades: int  # closed
    pnl_usd: float  # of all engines, of closed trades
    not_counted_s: float = 0.0  # CPU of the run that is no part of the comparison
    notes: Mapping[str, float] = field(default_factory=dict)


Run = Callable[[], Outcome]


class Peer(Protocol):
    """One program under measurement."""

    def version(self) -> str: ...

    def prepare(self, workload: Workload) -> Run:
        """Make its input and do what it does only once a process (imports, compiling).

        What it returns may be called again, and does the whole work each time.
        """
        ...


def ema(prices: Float64, period: int) -> Float64:
    """The exponential mean, NaN until `period` prices have seeded it with their plain mean."""
    from scipy.signal import lfilter  # nautilus_trader has indicators of its own, and no scipy

    weight = 2 / (period + 1)
    seed = prices[:period].mean()
    out = np.full(len(prices), np.nan)
    if len(prices) >= period:
        out[period - 1] = seed
        later, _ = lfilter([weight], [1, weight - 1], prices[period:], zi=[(1 - weight) * seed])
        out[period:] = later
    return out
