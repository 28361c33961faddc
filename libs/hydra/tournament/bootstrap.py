"""How sure a ranking is: intervals, the chance of being first, and sets of possible ranks.

Everything rests on one joint stationary bootstrap of the engines' P&L: the same blocks of time
for all engines, because they share one market (Politis and Romano 1994, "The Stationary
Bootstrap"). Returns are P&L increments over the opening balance, so that their sum is the total
return by which engines are ranked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.tournament import kernels

Float64 = NDArray[np.float64]

MIN_OBSERVATIONS = 168  # a week of hours; below it an interval would promise too much
REPLICATES = 10_000
_MOST_BLOCKS = 1_000  # on average a replicate: more would cost time and add no precision
_BANDWIDTH_RUN = 5  # K_N of Politis and White: so many insignificant lags in a row


class BlockLength(NamedTuple):
    """Mean (stationary) or fixed (circular) block length, in observations."""

    stationary: float
    circular: float


class Uncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of one engine's place; None where nothing can."""

    low_frac: float | None = None  # interval of the total return, of the opening balance
    high_frac: float | None = None
    p_first: float | None = None  # None also for one that holds no rank
    rank_low: int | None = None  # best rank in the confidence set, 1 is first
    rank_high: int | None = None


class SeasonUncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """The engines in the order of the columns, and how it was found."""

    engines: tuple[Uncertainty, ...]
    observations: int
    mean_block: float | None
    level_frac: float
    note: str  # why the figures are missing, or ""


def block_length(returns: Float64) -> BlockLength | None:
    """The automatic block length for the mean of `returns` (T,), None where they stand still.

    Politis and White 2004, "Automatic Block-Length Selection for the Dependent Bootstrap", with
    the correction of Patton, Politis and White 2009: the lag window's bandwidth is twice the
    smallest m whose next five autocorrelations are all insignificant.
    """
    length = len(returns)
    run = max(_BANDWIDTH_RUN, int(np.sqrt(np.log10(max(length, 10)))))
    most = int(np.ceil(np.sqrt(length))) + run
    centred = returns - returns.mean()
    variance = float(centred @ centred) / length
    if length <= most or variance <= _still(returns):
        return None
    lags = np.arange(1, most + 1)
    autocovariance = np.array([centred[lag:] @ centred[:-lag] for lag in lags]) / length
    small = np.abs(autocovariance / variance) < 2.0 * np.sqrt(np.log10(length) / length)
    starts = [m for m in range(most - run + 1) if small[m : m + run].all()]
    bandwidth = min(2 * max(starts[0], 1), most) if starts else most
    lags, autocovariance = lags[:bandwidth], autocovariance[:bandwidth]
    window = np.minimum(1.0, 2.0 * (1.0 - lags / bandwidth))  # Politis and Romano's trapezoid
    g = 2.0 * float(np.sum(window * lags * autocovariance))
    spectrum = variance + 2.0 * float(np.sum(window * autocovariance))
    longest = float(np.ceil(min(3.0 * np.sqrt(length), length / 3.0)))
    if spectrum == 0.0:
        return BlockLength(longest, longest)
    scale = (2.0 * g * g * length) ** (1.0 / 3.0)
    stationary = scale / (2.0 * spectrum**2) ** (1.0 / 3.0)
    circular = scale / (4.0 / 3.0 * spectrum**2) ** (1.0 / 3.0)
    return BlockLength(
        min(max(stationary, 1.0), longest),
        min(max(circular, 1.0), longest),
    )


def joint_block_length(returns: Float64) -> float:
    """One mean block for all series (T, K): the mean of their own, 1 where all stand still."""
    found = [block_length(returns[:, k]) for k in range(returns.shape[1])]
    lengths = [block.stationary for block in found if block is not None]
    return float(np.mean(lengths)) if lengths else 1.0


def standard_error(returns: Float64, mean_block: float) -> float:
    """Exact stationary-bootstrap standard error of the mean of `returns` (T,).

    Politis and Romano 1994, lemma 1; no resampling needed.
    """
    length = len(returns)
    centred = returns - returns.mean()
    size = 1 << (2 * length - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    autocovariance = np.fft.irfft(spectrum * spectrum.conj(), size)[:length] / length
    lags = np.arange(1, length)
    stay = 1.0 - 1.0 / mean_block
    weight = (1.0 - lags / length) * stay**lags + lags / length * stay ** (length - lags)
    variance = autocovariance[0] + 2.0 * float(weight @ autocovariance[1:])
    return float(np.sqrt(max(variance, 0.0) / length))


def resampled_sums(
    returns: Float64, *, mean_block: float, seed: int, replicates: int = REPLICATES
) -> Float64:
    """Sums (replicates, K) of joint stationary-bootstrap resamples of `returns` (T, K)."""
    prefix = running_sums(returns)
    upto, guide = kernels.geometric_table(mean_block, len(returns))
    out = np.empty((replicates, returns.shape[1]))
    word = np.uint64(seed % 2**64)

    def work(first: int, last: int) -> None:
        kernels.bootstrap_sums(prefix, first, upto, guide, word, out[first:last])

    in_threads(work, replicates)
    return out


def running_sums(returns: Float64) -> Float64:
    """(T + 1, K) sums of the first 0 to T rows of `returns` (T, K)."""
    sums = np.zeros((returns.shape[0] + 1, returns.shape[1]))
    np.cumsum(returns, axis=0, out=sums[1:])
    return sums


def in_threads(work: Callable[[int, int], None], total: int) -> None:
    """Call `work(first, last)` on slices of range(total), one thread a core.

    The slices must not depend on one another: then their number changes nothing but the time.
    """
    cores = min(os.cpu_count() or 1, 16)
    edges = [total * i // cores for i in range(cores + 1)]
    with ThreadPoolExecutor(cores) as pool:
        for done in [pool.submit(work, a, b) for a, b in pairwise(edges)]:
            done.result()


def season_uncertainty(
    returns: Float64,
    *,
    seed: int,
    holds_rank: tuple[bool, ...] | None = None,
    level_frac: float = 0.90,
    replicates: int = REPLICATES,
) -> SeasonUncertainty:
    """Interval, probability of being first and set of ranks of every engine.

    `returns` (T, K) are P&L increments over the opening balance, one column an engine.
    `holds_rank` says which engines compete (default: all); references get an interval only.
    Below 168 observations all figures are None and the note says so.
    """
    length, count = returns.shape
    competing = np.flatnonzero(np.ones(count, bool) if holds_rank is None else holds_rank)
    if length < MIN_OBSERVATIONS or count == 0:
        note = f"too early: {length} of {MIN_OBSERVATIONS} observations" if count else "no engines"
        return SeasonUncertainty(
            engines=(Uncertainty(),) * count,
            observations=length,
            mean_block=None,
            level_frac=level_frac,
            note=note,
        )
    mean_block = max(joint_block_length(returns), length / _MOST_BLOCKS)
    sums = resampled_sums(returns, mean_block=mean_block, seed=seed, replicates=replicates)
    tail = (1.0 - level_frac) / 2.0
    low, high = np.quantile(sums, (tail, 1.0 - tail), axis=0)
    totals, noise = returns.sum(axis=0)[competing], sums[:, competing]
    noise = noise - totals
    first = dict(zip(competing.tolist(), probability_first(totals, noise), strict=True))
    sets = dict(zip(competing.tolist(), rank_sets(totals, noise, level_frac), strict=True))
    return SeasonUncertainty(
        engines=tuple(
            Uncertainty(
                low_frac=float(low[k]),
                high_frac=float(high[k]),
                p_first=first.get(k),
                rank_low=sets[k][0] if k in sets else None,
                rank_high=sets[k][1] if k in sets else None,
            )
            for k in range(count)
        ),
        observations=length,
        mean_block=mean_block,
        level_frac=level_frac,
        note="",
    )


def probability_first(totals: Float64, noise: Float64) -> list[float]:
    """Of each engine, the chance that it is the best, after shrinking towards the field.

    `totals` (K,) are what was earned, `noise` (R, K) bootstrap sums less `totals`. The naive
    share of replicates won overclaims, since the leader leads partly by luck; so the totals are
    first drawn together by empirical Bayes, τ² = max(0, s² − se²) (Efron and Morris 1975). se²
    is that of differences from the field: what the market does to all moves nobody ahead.
    """
    if len(totals) < 2:
        return [1.0] * len(totals)
    apart = noise - noise.mean(axis=1, keepdims=True)
    error = float(apart.var(axis=0).sum()) / (len(totals) - 1)
    between = float(totals.var(ddof=1))
    kept = max(0.0, between - error) / between if between > 0.0 else 0.0
    centre = totals.mean()
    drawn = centre + kept * (totals - centre) + noise
    best = drawn == drawn.max(axis=1, keepdims=True)
    won = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)  # a tie is shared
    return [float(share) for share in won]


def rank_sets(totals: Float64, noise: Float64, level_frac: float) -> list[tuple[int, int]]:
    """Of each engine, the ranks (best, worst) it may truly hold, all at once at `level_frac`.

    Pairwise max-t: an engine is behind another when the difference exceeds the quantile of the
    largest studentised difference over all pairs (Mogstad, Romano, Shaikh and Wilhelm 2024,
    "Inference for Ranks").
    """
    count = len(totals)
    errors = np.zeros((count, count))
    worst = np.zeros(len(noise))
    for i in range(count - 1):
        apart = noise[:, i + 1 :] - noise[:, i : i + 1]
        error = apart.std(axis=0)
        errors[i, i + 1 :] = errors[i + 1 :, i] = error
        moving = error > 0.0
        if moving.any():
            np.maximum(worst, np.abs(apart[:, moving] / error[moving]).max(axis=1), out=worst)
    critical = float(np.quantile(worst, level_frac))
    ahead = totals[:, None] - totals[None, :]  # (i, j): i's lead over j
    behind = (errors > 0.0) & (ahead < -critical * errors)
    return [(1 + int(behind[i].sum()), count - int(behind[:, i].sum())) for i in range(count)]


def _still(returns: Float64) -> float:
    """The variance that rounding alone may leave in a series that does not move."""
    return (1e-15 * float(np.abs(returns).max(initial=0.0))) ** 2
