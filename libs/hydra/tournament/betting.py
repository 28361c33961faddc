"""Evidence that may be looked at any time, and weights that follow what worked.

Both hold without a word about the distribution of returns, and without a fixed end.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError

Float64 = NDArray[np.float64]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The wealth of one who bets on a mean above zero, starting from 1."""

    wealth: float
    best_wealth: float
    p_anytime: float  # 1/best_wealth, at most 1: valid however often one looked


def betting_evidence(returns: Float64, worst_loss: float) -> Evidence:
    """The e-process ∏(1 + λ_t·x_t) of `returns` (T,) against "the mean is not above zero".

    λ_t = Σx/(c² + Σx²) of what came before t, kept within [0, 1/(2c)] (the approximate Kelly bet
    of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting").
    c is `worst_loss`: gains above it count as c, which can only weaken the evidence. A loss
    beyond it would break the guarantee: ConfigError.
    """
    if not worst_loss > 0.0:
        raise ConfigError(f"betting evidence: worst loss {worst_loss}, which must be above 0")
    if len(returns) and not float(returns.min()) >= -worst_loss:
        raise ConfigError(
            f"betting evidence: a return of {float(returns.min())} is worse than the worst loss"
            f" {worst_loss}; state a bound that losses cannot pass"
        )
    wealth = best = 1.0
    total, squares = 0.0, worst_loss**2
    for x in np.minimum(returns, worst_loss).tolist():
        stake = min(max(total / squares, 0.0), 0.5 / worst_loss)
        wealth *= 1.0 + stake * x
        best = max(best, wealth)
        total += x
        squares += x * x
    return Evidence(wealth=wealth, best_wealth=best, p_anytime=min(1.0, 1.0 / best))


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential weights with a fixed rate, and what they cost against the best expert."""

    weights: Float64  # (N,) after the last period, sum 1
    regret: float  # total expected loss less the best expert's
    bound: float  # √(T·ln N / 2): regret never exceeds it
    rate: float


def hedge(gains: Float64) -> Hedge:
    """Weights over the columns of `gains` (T, N), T and N at least 1, after all T periods.

    Losses are the gains turned around and scaled over the whole table to [0, 1]; the rate is
    √(8·ln N / T). Freund and Schapire 1997; bound of Cesa-Bianchi and Lugosi 2006, theorem 2.2.
    The scale looks at all periods, so this judges a finished table and does not trade.
    """
    length, count = gains.shape
    reach = float(np.ptp(gains))
    losses = (gains.max() - gains) / reach if reach > 0.0 else np.zeros_like(gains)
    rate = math.sqrt(8.0 * math.log(count) / length)
    after = np.cumsum(losses, axis=0)
    before = np.vstack([np.zeros(count), after[:-1]])
    return Hedge(
        weights=_exponential(after[-1:], rate)[0],
        regret=float((_exponential(before, rate) * losses).sum() - after[-1].min()),
        bound=math.sqrt(length * math.log(count) / 2.0),
        rate=rate,
    )


def _exponential(losses: Float64, rate: float) -> Float64:
    """Rows of weights ∝ exp(−rate·loss), each summing to 1."""
    raw = np.exp(-rate * (losses - losses.min(axis=1, keepdims=True)))
    weights: Float64 = raw / raw.sum(axis=1, keepdims=True)
    return weights
