"""Many strategies, one market: which of them beat the benchmark, all looks counted.

`excess` is always (T, N): per-period returns of N strategies less the benchmark's.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.tournament import kernels
from hydra.tournament.bootstrap import (
    REPLICATES,
    in_threads,
    joint_block_length,
    resampled_sums,
    running_sums,
    standard_error,
)

Float64 = NDArray[np.float64]


class SuperiorAbility(msgspec.Struct, frozen=True, kw_only=True):
    """p-values of "no strategy beats the benchmark" under Hansen's three null centres."""

    p_lower: float
    p_consistent: float  # the one to quote
    p_upper: float
    mean_block: float


def reality_check(
    excess: Float64,
    *,
    seed: int,
    mean_block: float | None = None,
    replicates: int = REPLICATES,
) -> float:
    """p-value of "no strategy beats the benchmark" by the largest mean, not studentised.

    White 2000, "A Reality Check for Data Snooping". A poor, noisy strategy weakens it: prefer
    `superior_ability`.
    """
    block = joint_block_length(excess) if mean_block is None else mean_block
    totals = excess.sum(axis=0)
    sums = resampled_sums(excess, mean_block=block, seed=seed, replicates=replicates)
    largest = (sums - totals).max(axis=1)
    return float((largest >= totals.max()).mean())


def superior_ability(
    excess: Float64,
    *,
    seed: int,
    mean_block: float | None = None,
    replicates: int = REPLICATES,
) -> SuperiorAbility:
    """p-values of "no strategy beats the benchmark" by the largest studentised mean.

    Hansen 2005, "A Test for Superior Predictive Ability": strategies far below the benchmark
    are not counted in the null. Series that stand still are left out; with none left p is 1.
    """
    block = joint_block_length(excess) if mean_block is None else mean_block
    length = len(excess)
    means, errors = excess.mean(axis=0), _errors(excess, block)
    moving = errors > 0.0
    if not moving.any():
        return SuperiorAbility(p_lower=1.0, p_consistent=1.0, p_upper=1.0, mean_block=block)
    means, errors = means[moving], errors[moving]
    sums = resampled_sums(excess[:, moving], mean_block=block, seed=seed, replicates=replicates)
    observed = max(0.0, float((means / errors).max()))
    hopeless = -errors * np.sqrt(2.0 * np.log(np.log(max(length, 3))))
    p = [
        float((np.maximum(0.0, ((sums / length - null) / errors).max(axis=1)) >= observed).mean())
        for null in (np.maximum(means, 0.0), np.where(means >= hopeless, means, 0.0), means)
    ]
    return SuperiorAbility(p_lower=p[0], p_consistent=p[1], p_upper=p[2], mean_block=block)


def step_down_superior(
    excess: Float64,
    *,
    seed: int,
    level_frac: float = 0.05,
    mean_block: float | None = None,
    replicates: int = REPLICATES,
) -> tuple[int, ...]:
    """The strategies (columns, rising) that beat the benchmark, at family-wise error `level_frac`.

    Romano and Wolf 2005, "Stepwise Multiple Testing as Formalized Data Snooping" (StepM),
    studentised inside every replicate: one fixed standard error for all replicates finds
    superior strategies among dice far too often on short series.
    """
    block = joint_block_length(excess) if mean_block is None else mean_block
    means, errors = excess.mean(axis=0), _errors(excess, block)
    statistic = np.divide(means, errors, out=np.full_like(means, -np.inf), where=errors > 0.0)
    prefix = running_sums(excess - means)
    upto, guide = kernels.geometric_table(block, len(excess))
    resampled = np.empty((replicates, excess.shape[1]))
    word = np.uint64(seed % 2**64)

    def work(first: int, last: int) -> None:
        kernels.bootstrap_t(prefix, first, upto, guide, word, resampled[first:last])

    in_threads(work, replicates)
    superior = np.zeros(len(means), bool)
    while not superior.all():
        critical = float(np.quantile(resampled[:, ~superior].max(axis=1), 1.0 - level_frac))
        found = ~superior & (statistic > critical)
        if not found.any():
            break
        superior |= found
    return tuple(int(k) for k in np.flatnonzero(superior))


def _errors(excess: Float64, mean_block: float) -> Float64:
    """(N,) exact stationary-bootstrap standard errors of the means, 0 for one that is still."""
    return np.array(
        [standard_error(column, mean_block) if np.ptp(column) > 0.0 else 0.0 for column in excess.T]
    )
