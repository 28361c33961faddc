"""The probability of backtest overfitting: does the best in one half lead in the other?

Combinatorially symmetric cross-validation of Bailey, Borwein, López de Prado and Zhu 2017, "The
Probability of Backtest Overfitting". On pure noise one run gives 0.27 to 0.67, so ask for 0.2 or
less; below about a dozen strategies the figure moves in coarse steps.
"""

from __future__ import annotations

import math
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError

Float64 = NDArray[np.float64]


class Overfitting(msgspec.Struct, frozen=True, kw_only=True):
    """Of all splits into two halves, those in which the winner fell to the lower half."""

    overfit: int
    splits: int
    logits: tuple[float, ...]  # λ = ln(ω/(1−ω)) of each split, ω = rank/(N+1) out of sample

    @property
    def probability(self) -> float:
        """PBO = P(λ ≤ 0)."""
        return self.overfit / self.splits


def overfitting(returns: Float64, *, blocks: int = 10) -> Overfitting:
    """PBO of choosing the best Sharpe among the columns of `returns` (T, N).

    Time is cut into `blocks` runs of nearly equal length (as numpy.array_split cuts); every
    choice of half of them trains, the rest tests. Raises ConfigError on an odd number of blocks,
    on fewer than two returns a block, or on fewer than two strategies.
    """
    length, count = returns.shape
    if blocks < 2 or blocks % 2 or length < 2 * blocks or count < 2:
        raise ConfigError(
            f"overfitting: {blocks} blocks over {length} returns of {count} strategies;"
            " take an even number of blocks, two returns a block and two strategies or more"
        )
    centre = returns.mean(axis=0)
    parts = [part - centre for part in np.array_split(returns, blocks)]
    sizes = np.array([len(part) for part in parts], float)
    sums = np.stack([part.sum(axis=0) for part in parts])
    squares = np.stack([(part**2).sum(axis=0) for part in parts])
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    training = np.zeros((len(chosen), blocks))
    np.put_along_axis(training, chosen, 1.0, axis=1)

    inside = _sharpe(training, sizes, sums, squares, centre)
    outside = _sharpe(1.0 - training, sizes, sums, squares, centre)
    winner = inside.argmax(axis=1)[:, None]
    won = np.take_along_axis(outside, winner, axis=1)
    rank = (outside < won).sum(axis=1) + ((outside == won).sum(axis=1) + 1) / 2  # ties: the middle
    logits = tuple(math.log(r / (count + 1 - r)) for r in rank.tolist())
    return Overfitting(
        overfit=sum(logit <= 0.0 for logit in logits), splits=len(logits), logits=logits
    )


def _sharpe(
    picked: Float64, sizes: Float64, sums: Float64, squares: Float64, centre: Float64
) -> Float64:
    """(splits, N) Sharpe ratios of the picked blocks; 0 for a series that stands still."""
    size = (picked @ sizes)[:, None]
    mean = picked @ sums / size
    variance = (picked @ squares - size * mean**2) / (size - 1.0)
    moves = variance > 1e-24 * (centre**2 + squares.max(axis=0))
    ratio: Float64 = np.divide(
        mean + centre, np.sqrt(np.where(moves, variance, 1.0)), out=np.zeros_like(mean), where=moves
    )
    return ratio
