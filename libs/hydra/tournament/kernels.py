"""The compiled loops of the tournament's statistics.

Every replicate and every trader draws from its own splitmix64 stream (Steele, Lea and Flood
2014), picked by seed and number. So the result depends neither on how the work is cut into
pieces nor on how many threads do them; the kernels release the GIL for that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hydra.jit import kernel

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE = np.uint64(1)
_S32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_RESAMPLE = "void(float64[:, ::1], int64, uint64[::1], int64[::1], uint64, float64[:, ::1])"
_BUCKET = np.uint64(20)  # a 32-bit draw's bucket in the guide is its upper 12 bits


@kernel("uint64(uint64)")
def _mixed(state: np.uint64) -> np.uint64:
    """splitmix64's finaliser: 64 well-mixed bits of the state."""
    z = (state ^ (state >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


def geometric_table(mean_block: float, length: int) -> tuple[UInt64, Int64]:
    """Block lengths as a 32-bit lottery: the first j with draw < `upto[j]`.

    `upto[j]` is P(block ≤ j)·2³² of a geometric length of mean `mean_block`, and
    `guide[draw >> 20]` the place to start looking. No logarithm a draw, and the same blocks
    on every processor. Longer than `length` never matters, so the table ends there.
    """
    size = min(length, int(23.0 * mean_block) + 1)  # beyond 22.2 means less than one in 2**32
    stay = 1.0 - 1.0 / mean_block
    upto = np.floor((1.0 - stay ** np.arange(size + 1.0)) * 2.0**32).astype(np.uint64)
    upto[-1] = 2**32
    buckets = np.arange(1 << 12, dtype=np.uint64) << np.uint64(20)
    return upto, np.searchsorted(upto, buckets, side="right").astype(np.int64)


@kernel(_RESAMPLE, nogil=True)
def bootstrap_sums(
    prefix: Float64, first: int, upto: UInt64, guide: Int64, seed: np.uint64, out: Float64
) -> None:
    """Sums of stationary-bootstrap resamples, all series by the same blocks.

    `prefix` (T + 1, K) are running sums, row 0 zero; row r of `out` (n, K) receives the sums
    of replicate `first + r`. Blocks start anywhere, wrap around the end and have geometric
    lengths, from `geometric_table` (Politis and Romano 1994). T is below 2³².
    """
    length = prefix.shape[0] - 1
    series = prefix.shape[1]
    rows = np.uint64(length)  # unsigned indices: the inner loop then runs on whole vectors
    acc = np.empty(series)
    for r in range(out.shape[0]):
        state = _mixed(seed + _GOLDEN * (np.uint64(first + r) + _ONE))
        acc[:] = 0.0
        wraps = 0.0
        drawn = 0
        while drawn < length:
            state += _GOLDEN
            bits = _mixed(state)
            begin = ((bits >> _S32) * rows) >> _S32
            draw = bits & _LOW
            block = guide[draw >> _BUCKET]
            while draw >= upto[block]:
                block += 1
            block = min(block, length - drawn)
            drawn += block
            end = begin + np.uint64(block)
            if end > rows:
                end -= rows
                wraps += 1.0
            for k in range(series):
                acc[k] += prefix[end, k] - prefix[begin, k]
        for k in range(series):
            out[r, k] = acc[k] + wraps * prefix[length, k]


@kernel(_RESAMPLE, nogil=True)
def bootstrap_t(
    prefix: Float64, first: int, upto: UInt64, guide: Int64, seed: np.uint64, out: Float64
) -> None:
    """Studentised means of stationary-bootstrap resamples of centred series.

    As `bootstrap_sums`, but row r of `out` holds T·mean* / √(Σ_g (S_g − L_g·mean*)²) over the
    replicate's own blocks g of sum S_g and length L_g (Götze and Künsch 1996); 0 where the
    resample does not vary.
    """
    length = prefix.shape[0] - 1
    series = prefix.shape[1]
    rows = np.uint64(length)
    total = np.empty(series)
    squares = np.empty(series)
    crossed = np.empty(series)
    for r in range(out.shape[0]):
        state = _mixed(seed + _GOLDEN * (np.uint64(first + r) + _ONE))
        total[:] = 0.0
        squares[:] = 0.0
        crossed[:] = 0.0
        lengths_squared = 0.0
        drawn = 0
        while drawn < length:
            state += _GOLDEN
            bits = _mixed(state)
            begin = ((bits >> _S32) * rows) >> _S32
            draw = bits & _LOW
            block = guide[draw >> _BUCKET]
            while draw >= upto[block]:
                block += 1
            block = min(block, length - drawn)
            drawn += block
            end = begin + np.uint64(block)
            wrap = 0.0
            if end > rows:
                end -= rows
                wrap = 1.0
            size = float(block)
            lengths_squared += size * size
            for k in range(series):
                s = prefix[end, k] - prefix[begin, k] + wrap * prefix[length, k]
                total[k] += s
                squares[k] += s * s
                crossed[k] += s * size
        for k in range(series):
            mean = total[k] / length
            spread = squares[k] - 2.0 * mean * crossed[k] + mean * mean * lengths_squared
            out[r, k] = total[k] / math.sqrt(spread) if spread > 1e-12 * squares[k] else 0.0


@kernel(
    "void(float64[::1], float64[::1], int64[::1], int64[::1], int64[::1], int64[::1],"
    " float64[::1], float64[::1], int64, uint64, float64[::1])",
    nogil=True,
)
def random_traders(
    bid: Float64,
    ask: Float64,
    begin: Int64,
    bars: Int64,
    hold: Int64,
    side: Int64,
    notional: Float64,
    cost: Float64,
    first: int,
    seed: np.uint64,
    out: Float64,
) -> None:
    """Net P&L of traders who make the given trades at random bars.

    Trade j lives on rows `begin[j]` to `begin[j] + bars[j]` of `bid` and `ask`, is held
    `hold[j]` bars (below `bars[j]`), bought (side 1) or sold (-1) for `notional[j]`, and pays
    `cost[j]`, a sum of money. Entry number r of `out` (n,) is trader `first + r`.
    """
    for r in range(out.shape[0]):
        state = _mixed(seed + _GOLDEN * (np.uint64(first + r) + _ONE))
        pnl = 0.0
        for j in range(hold.shape[0]):
            state += _GOLDEN
            free = np.uint64(bars[j] - hold[j])
            at = begin[j] + np.int64(((_mixed(state) >> _S32) * free) >> _S32)
            after = at + hold[j]
            if side[j] > 0:
                pnl += notional[j] * (bid[after] / ask[at] - 1.0) - cost[j]
            else:
                pnl += notional[j] * (1.0 - ask[after] / bid[at]) - cost[j]
        out[r] = pnl
