"""Hold what has risen, sell what has fallen, each sized by its own volatility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hydra.engines.rules.common import check_positive, enter, volatility_risk_frac
from hydra.engines.view import View
from hydra.features.specs import Feature, atr, bar_count, ewma_volatility, momentum
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeriesMomentum:
    """Every `hold` bars: long where the return over the last `lookback` bars is positive,
    short where it is negative.

    A position aims at `target_volatility_frac` a year, shared among the season's symbols; the
    volatility is exponentially weighted with a centre of mass of `volatility_bars`. A ticket
    that is right already is kept as it is, one that was stopped out returns at the next turn.

    Source: T. J. Moskowitz, Y. H. Ooi, L. H. Pedersen, Time Series Momentum, Journal of
    Financial Economics 104 (2012) 228–250: one month held, 40 % a year, 60 days; a month is
    21 bars here, whatever a bar is. The paper's main case looks back twelve months
    (lookback=252); six, one of its variants, are the default, as seasons are often short.
    The stop is ours: the paper has none.
    """

    lookback: int = 126  # bars
    hold: int = 21  # bars
    target_volatility_frac: float = 0.40  # of equity, a year, all symbols together
    volatility_bars: int = 60  # centre of mass
    atr_period: int = 20  # bars
    stop_atr: float = 5.0  # average true ranges from entry to stop

    def __post_init__(self) -> None:
        check_positive(self)

    @property
    def features(self) -> Sequence[Feature]:
        return (
            bar_count(),
            momentum(self.lookback),
            ewma_volatility(self.volatility_bars / (self.volatility_bars + 1)),
            atr(self.atr_period),
        )

    def wakes(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The bars on which the position is looked at."""
        due: NDArray[np.bool_] = features[:, 0] % self.hold == 0.0
        return due

    def decide(self, view: View) -> Sequence[Intent]:
        count, change, volatility, true_range = view.features
        if count % self.hold or not change or not volatility:
            return ()
        stop_distance = self.stop_atr * true_range
        return enter(
            view,
            Side.BUY if change > 0 else Side.SELL,
            stop_distance=stop_distance,
            risk_frac=volatility_risk_frac(
                view,
                target_frac=self.target_volatility_frac,
                bar_volatility=volatility,
                stop_distance=stop_distance,
            ),
            thesis=f"log return {change:+.4f} over {self.lookback} bars,"
            f" volatility {volatility:.5f} a bar",
        )
