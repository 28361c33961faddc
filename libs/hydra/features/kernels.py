"""The arithmetic of features, on columns.

All of it gives the same bits however a history is cut into blocks: the windows are summed in
one fixed order, row by row, and the recursion carries its state. Only the recursion needs
compiling; the windows are a few passes of numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydra.jit import kernel

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@kernel("void(f8[::1], f8[::1], f8[::1], i8[::1], f8[::1], f8[::1], f8[:, ::1], f8[:, ::1])")
def smooth(
    x: Float64,
    seed_bars: Float64,
    weight: Float64,
    place: Int64,
    count: Float64,
    level: Float64,
    tile: Float64,
    out: Float64,
) -> None:
    """level[j] ← level[j] + weight[j]·(x - level[j]) along x, many weights at once.

    The first `seed_bars[j]` values only seed: while they come, the weight is 1 ÷ count, which
    makes the level their plain mean; before the last of them `out` is NaN. NaN in x (a source
    that is not warm) is passed over.

    x: (rows,); seed_bars, weight, place, level: (k,); count: (1,), values so far;
    out: (≥ k, rows), of which `out[place[j]]` is written. count and level are the state.
    tile: (any, k), room to work: a few rows are made with all levels side by side, then turned.
    """
    seeded = 0.0
    for j in range(level.shape[0]):
        seeded = max(seeded, seed_bars[j])
    seen = count[0]
    for first in range(0, x.shape[0], tile.shape[0]):
        rows = min(tile.shape[0], x.shape[0] - first)
        for i in range(rows):
            value = x[first + i]
            known = value == value
            if known:
                seen += 1.0
            if known and seen > seeded:
                for j in range(level.shape[0]):
                    level[j] += weight[j] * (value - level[j])
                    tile[i, j] = level[j]
            else:
                for j in range(level.shape[0]):
                    w = weight[j] if seen > seed_bars[j] else 1.0 / seen
                    level[j] += w * (value - level[j]) if known else 0.0
                    tile[i, j] = level[j] if known and seen >= seed_bars[j] else np.nan
        for j in range(level.shape[0]):
            for i in range(rows):
                out[place[j], first + i] = tile[i, j]
    count[0] = seen


def window_mean(x: Float64, period: int) -> Float64:
    """Mean of each `period` neighbours: (rows + period - 1,) → (rows,)."""
    rows = len(x) - period + 1
    total = x[:rows].copy()
    for i in range(1, period):
        total += x[i : i + rows]
    return total / period


def window_stdev(x: Float64, mean: Float64, period: int) -> Float64:
    """Population standard deviation of each `period` neighbours, given their means (rows,)."""
    rows = len(x) - period + 1
    total = np.zeros(rows)
    for i in range(period):
        off = x[i : i + rows] - mean
        total += off * off
    return np.sqrt(total / period)


def window_extreme(x: Float64, period: int, pick: np.ufunc) -> Float64:
    """np.maximum or np.minimum of each `period` neighbours: (rows + period - 1,) → (rows,).

    Windows of 1, 2, 4, … are each made from two of the last; two of the longest overlap to
    give `period`. NaN wins.
    """
    width = 1
    while 2 * width <= period:
        x = pick(x[:-width], x[width:])
        width *= 2
    rows = len(x) - (period - width)
    joined: Float64 = pick(x[:rows], x[period - width :])
    return joined


def true_range(high: Float64, low: Float64, close: Float64) -> Float64:
    """Wilder's true range of all bars but the first: (rows + 1,) → (rows,)."""
    before, high, low = close[:-1], high[1:], low[1:]
    ranged: Float64 = np.maximum(high, before) - np.minimum(low, before)
    return ranged
