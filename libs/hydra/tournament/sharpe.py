"""Sharpe ratios that know their own error and how often somebody tried.

Everything here is per period: T returns, their mean over their deviation. Annualising belongs to
`portfolio.performance`; an annualised ratio beside a per-period T would inflate the result by
the root of the periods in a year. scipy is imported where it is called: it is slow to load.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

EULER_GAMMA = 0.5772156649015329


class Moments(NamedTuple):
    """Of one series of returns."""

    sharpe: float  # per period
    skew: float  # 0 for the normal
    kurtosis: float  # 3 for the normal, not the excess
    observations: int


def moments(returns: Float64) -> Moments | None:
    """Sharpe (deviation over T − 1), skew and kurtosis of `returns` (T,); None when still."""
    count = len(returns)
    if count < 2 or np.ptp(returns) == 0.0:
        return None
    centred = returns - returns.mean()
    spread = float(np.sqrt((centred**2).mean()))
    if spread == 0.0:
        return None
    sharpe = float(returns.mean()) / float(returns.std(ddof=1))
    skew = float((centred**3).mean()) / spread**3
    return Moments(sharpe, skew, float((centred**4).mean()) / spread**4, count)


def probabilistic_sharpe(of: Moments, benchmark: float = 0.0) -> float:
    """PSR: the chance that the true per-period Sharpe exceeds `benchmark`.

    Φ[(SR − SR*)·√(T−1) / √(1 − γ₃SR + (γ₄−1)/4·SR²)]; Bailey and López de Prado 2012, "The
    Sharpe Ratio Efficient Frontier". The root's argument is never negative: γ₄ ≥ γ₃² + 1.
    """
    from scipy.special import ndtr

    bend = 1.0 - of.skew * of.sharpe + (of.kurtosis - 1.0) / 4.0 * of.sharpe**2
    distance = (of.sharpe - benchmark) * math.sqrt(of.observations - 1)
    if bend <= 0.0:  # only by rounding, at the edge of what moments can be
        return 0.5 if distance == 0.0 else float(distance > 0.0)
    return float(ndtr(distance / math.sqrt(bend)))


def expected_maximum(trials: int) -> float:
    """E_N, the expected largest of N standard normals: what the best of N dice is worth.

    (1−γ)Φ⁻¹(1 − 1/N) + γΦ⁻¹(1 − 1/(N·e)); 0 for a single trial. Raises ValueError below 1.
    """
    from scipy.special import ndtri

    if trials < 1:
        raise ValueError(f"{trials} trials: at least one was made")
    if trials == 1:
        return 0.0
    return float(
        (1.0 - EULER_GAMMA) * ndtri(1.0 - 1.0 / trials)
        + EULER_GAMMA * ndtri(1.0 - 1.0 / (trials * math.e))
    )


def sharpe_to_beat(trials: int, variance: float) -> float:
    """SR₀ = √V·E_N: the best per-period Sharpe to expect of `trials` without any skill.

    `variance` is that of the trials' Sharpe ratios; edges and bleeding costs inflate it, so look
    at `null_variance` too.
    """
    return math.sqrt(variance) * expected_maximum(trials)


def null_variance(count: int) -> float:
    """V₀ = 1/(T − 1): the variance of a skilless Sharpe ratio over `count` returns."""
    return 1.0 / (count - 1)


def deflated_sharpe(of: Moments, trials: int, variance: float) -> float:
    """DSR: PSR against what the best of `trials` distinct variants would show by luck.

    Bailey and López de Prado 2014, "The Deflated Sharpe Ratio". `trials` counts every variant
    that was ever tried, not only those kept.
    """
    return probabilistic_sharpe(of, sharpe_to_beat(trials, variance))


def minimum_backtest_years(trials: int, annual_sharpe: float) -> float:
    """MinBTL = (E_N/SR)²: shorter, and the best of `trials` reaches `annual_sharpe` by luck.

    Bailey, Borwein, López de Prado and Zhu 2014, "Pseudo-Mathematics and Financial Charlatanism".
    """
    return (expected_maximum(trials) / annual_sharpe) ** 2
