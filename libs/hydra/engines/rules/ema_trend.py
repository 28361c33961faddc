"""Follow the trend that two exponential means of the price agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydra.engines.rules.common import check_order, check_positive, enter
from hydra.engines.view import View
from hydra.features.specs import Feature, atr, ema, previous
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaTrend:
    """Long when the fast EMA crosses above the slow one, short when it crosses below.

    The crossing closes the opposite ticket; between crossings only the stop can.

    Source: G. Appel, Technical Analysis: Power Tools for Active Investors, 2005 (the 12 and
    26 bar EMAs, whose crossing is the zero line of the MACD); the stop of three average true
    ranges is that of the volatility system in J. W. Wilder, New Concepts in Technical Trading
    Systems, 1978.
    """

    fast: int = 12  # bars
    slow: int = 26  # bars
    atr_period: int = 14  # bars
    stop_atr: float = 3.0  # average true ranges from entry to stop

    def __post_init__(self) -> None:
        check_positive(self)
        check_order(self, "fast", "slow")

    @property
    def features(self) -> Sequence[Feature]:
        fast, slow = ema(self.fast), ema(self.slow)
        return (fast, slow, previous(fast), previous(slow), atr(self.atr_period))

    def wakes(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The bars of a crossing."""
        above = np.sign(features[:, 0] - features[:, 1])
        above_before = np.sign(features[:, 2] - features[:, 3])
        crossed: NDArray[np.bool_] = above * above_before != 1.0
        return crossed

    def decide(self, view: View) -> Sequence[Intent]:
        fast, slow, fast_before, slow_before, true_range = view.features
        if fast > slow:
            if fast_before > slow_before:
                return ()
            side, where = Side.BUY, "above"
        elif fast < slow:
            if fast_before < slow_before:
                return ()
            side, where = Side.SELL, "below"
        else:
            return ()
        return enter(
            view,
            side,
            stop_distance=self.stop_atr * true_range,
            thesis=f"EMA{self.fast} {fast:.6g} crossed {where} EMA{self.slow} {slow:.6g},"
            f" ATR {true_range:.4g}",
        )
