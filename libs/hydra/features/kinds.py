"""What each kind of feature is made of. A new feature is one line in one of three tables.

- WINDOWED: a function of the last few bars.
- SMOOTHED: made of recursions over other features, all run together in one kernel.
- DAILY: read from the days of the stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hydra.clock import NS_PER_S
from hydra.features.kernels import true_range, window_extreme, window_mean, window_stdev
from hydra.features.specs import Feature, close, macd

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Params = tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class Window:
    """A block of bars with the `tail` bars before it in front; NaN where there were none.

    high, low, close: (tail + rows,); volume, bar_count: (rows,).
    """

    tail: int
    high: Float64
    low: Float64
    close: Float64
    volume: Float64
    bar_count: Float64
    _means: dict[int, Float64] = field(default_factory=dict)
    _stdevs: dict[int, Float64] = field(default_factory=dict)

    def last(self, x: Float64, bars: int) -> Float64:
        """The part of a tailed column whose `bars`-windows end on the rows of the block."""
        return x[self.tail - bars + 1 :]

    def before(self, x: Float64, bars: int) -> Float64:
        """Likewise, windows that end one bar earlier."""
        return x[self.tail - bars : -1]

    def mean(self, period: int) -> Float64:
        """Mean of the last `period` closes, (rows,)."""
        if period not in self._means:
            self._means[period] = window_mean(self.last(self.close, period), period)
        return self._means[period]

    def stdev(self, period: int) -> Float64:
        """Population standard deviation of the last `period` closes, (rows,)."""
        if period not in self._stdevs:
            closes = self.last(self.close, period)
            self._stdevs[period] = window_stdev(closes, self.mean(period), period)
        return self._stdevs[period]

    def change(self) -> Float64:
        """close - previous close, (rows,)."""
        recent = self.last(self.close, 2)
        moved: Float64 = recent[1:] - recent[:-1]
        return moved


@dataclass(frozen=True, slots=True)
class Windowed:
    """A feature of the last `lookback(params)` bars before each row, and the row itself."""

    lookback: Callable[[Params], int]
    value: Callable[[Window, Params], Float64]


@dataclass(frozen=True, slots=True)
class Smooth:
    """One recursion: an exponential mean of `source`, seeded with its first `seed_bars`."""

    source: Feature
    seed_bars: int
    weight: float


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A feature made of recursions. `value` None: it is its one recursion, unchanged."""

    parts: Callable[[Params], tuple[Smooth, ...]]
    value: Callable[[list[Float64]], Float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What `Days` says of a block, and when the block's bars close; (rows,) each."""

    high: Float64  # of the day before
    low: Float64
    start_ns: Int64  # open of the day's first bar
    close_ns: Int64


def _none(_: Params) -> int:
    return 0


def _one(_: Params) -> int:
    return 1


def _period(params: Params) -> int:
    return int(params[0])


def _log_return(window: Window, bars: int) -> Float64:
    logs = np.log(window.last(window.close, bars + 1))
    moved: Float64 = logs[bars:] - logs[:-bars]
    return moved


def _band(window: Window, params: Params, sign: int) -> Float64:
    period = int(params[0])
    edge: Float64 = window.mean(period) + sign * params[1] * window.stdev(period)
    return edge


WINDOWED: Mapping[str, Windowed] = {
    "close": Windowed(_none, lambda w, p: w.last(w.close, 1)),
    "volume": Windowed(_none, lambda w, p: w.volume),
    "bar_count": Windowed(_none, lambda w, p: w.bar_count),
    "true_range": Windowed(
        _one, lambda w, p: true_range(w.last(w.high, 2), w.last(w.low, 2), w.last(w.close, 2))
    ),
    "gain": Windowed(_one, lambda w, p: np.maximum(w.change(), 0.0)),
    "loss": Windowed(_one, lambda w, p: np.maximum(-w.change(), 0.0)),
    "squared_return": Windowed(_one, lambda w, p: np.square(_log_return(w, 1))),
    "sma": Windowed(_period, lambda w, p: w.mean(int(p[0]))),
    "stdev": Windowed(_period, lambda w, p: w.stdev(int(p[0]))),
    "bollinger_upper": Windowed(_period, lambda w, p: _band(w, p, 1)),
    "bollinger_lower": Windowed(_period, lambda w, p: _band(w, p, -1)),
    "highest": Windowed(
        _period, lambda w, p: window_extreme(w.before(w.high, int(p[0])), int(p[0]), np.maximum)
    ),
    "lowest": Windowed(
        _period, lambda w, p: window_extreme(w.before(w.low, int(p[0])), int(p[0]), np.minimum)
    ),
    "momentum": Windowed(_period, lambda w, p: _log_return(w, int(p[0]))),
}


def _ema(period: float, source: Feature) -> Smooth:
    return Smooth(source, int(period), 2 / (period + 1))


def _wilder(period: float, kind: str) -> Smooth:
    return Smooth(Feature(kind), int(period), 1 / period)


def _strength(parts: list[Float64]) -> Float64:
    gain, loss = parts
    moved = gain + loss
    index: Float64 = 100 * gain / np.where(moved == 0, 1.0, moved)
    return np.where(moved == 0, 50.0, index)


SMOOTHED: Mapping[str, Smoothed] = {
    "ema": Smoothed(lambda p: (_ema(p[0], close()),)),
    "atr": Smoothed(lambda p: (_wilder(p[0], "true_range"),)),
    "rsi": Smoothed(lambda p: (_wilder(p[0], "gain"), _wilder(p[0], "loss")), _strength),
    "macd": Smoothed(
        lambda p: (_ema(p[0], close()), _ema(p[1], close())), lambda parts: parts[0] - parts[1]
    ),
    "macd_signal": Smoothed(lambda p: (_ema(p[2], macd(int(p[0]), int(p[1]))),)),
    "ewma_volatility": Smoothed(
        # The guard keeps ⌈1/(1 - 0.9)⌉ at 10, where the division itself gives a little more.
        lambda p: (Smooth(Feature("squared_return"), math.ceil(1 / (1 - p[0]) - 1e-9), 1 - p[0]),),
        lambda parts: np.sqrt(parts[0]),
    ),
}

DAILY: Mapping[str, Callable[[Day], Float64]] = {
    "previous_day_high": lambda day: day.high,
    "previous_day_low": lambda day: day.low,
    "minutes_since_day_open": lambda day: (day.close_ns - day.start_ns) / (60 * NS_PER_S),
}
