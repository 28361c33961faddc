"""Follow a trend measured in units of the market's own volatility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.engines.rules.common import check_order, check_positive, enter, volatility_risk_frac
from hydra.engines.view import View
from hydra.features.specs import Feature, atr, close, ema, ewma_volatility, previous
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityTargetedTrend:
    """Forecast = scalar × (fast EMA - slow EMA) ÷ (price × volatility of a bar), so that its
    average size is 10. Enter when it crosses `entry_forecast`, leave when it changes sign.

    The position aims at `target_volatility_frac` a year × forecast ÷ 10 (at most doubled),
    shared among the season's symbols. It is set at entry and not adjusted later.

    Source: R. Carver, Systematic Trading, 2015, chapters 7 and 9 and appendix B (EWMAC 16, 64
    with forecast scalar 3.75, forecasts capped at 20, volatility target); the volatility is
    RiskMetrics' with decay 0.94. Entry threshold and stop are ours: Carver scales in and out.
    """

    fast: int = 16  # bars
    slow: int = 64  # bars
    forecast_scalar: float = 3.75  # belongs to fast and slow
    entry_forecast: float = 10.0  # 10 is an average forecast
    target_volatility_frac: float = 0.25  # of equity, a year, all symbols together
    decay: float = 0.94  # of the squared returns, a bar
    atr_period: int = 20  # bars
    stop_atr: float = 4.0  # average true ranges from entry to stop

    def __post_init__(self) -> None:
        check_positive(self)
        check_order(self, "fast", "slow")

    @property
    def features(self) -> Sequence[Feature]:
        parts = (ema(self.fast), ema(self.slow), close(), ewma_volatility(self.decay))
        return (*parts, *(previous(part) for part in parts), atr(self.atr_period))

    def decide(self, view: View) -> Sequence[Intent]:
        fast, slow, price, sigma, fast_before, slow_before, price_before, sigma_before, n = (
            view.features
        )
        # Times price × volatility: what is compared needs no division, and 0 no case.
        trend = self.forecast_scalar * (fast - slow)
        trend_before = self.forecast_scalar * (fast_before - slow_before)
        entry = self.entry_forecast * price * sigma
        entry_before = self.entry_forecast * price_before * sigma_before
        if (trend > entry and trend_before <= entry_before) or (
            trend < -entry and trend_before >= -entry_before
        ):
            return self._enter(view, trend, price * sigma, n)
        if not view.tickets:
            return ()
        return tuple(
            view.close_ticket(ticket, thesis=f"trend is over: forecast {trend:+.4g} in price")
            for ticket in view.tickets
            if ticket.side * trend < 0
        )

    def _enter(
        self, view: View, trend: float, price_volatility: float, true_range: float
    ) -> Sequence[Intent]:
        if not price_volatility:
            return ()
        forecast = max(-20.0, min(20.0, trend / price_volatility))
        stop_distance = self.stop_atr * true_range
        return enter(
            view,
            Side.BUY if forecast > 0 else Side.SELL,
            stop_distance=stop_distance,
            risk_frac=volatility_risk_frac(
                view,
                target_frac=self.target_volatility_frac * abs(forecast) / 10,
                bar_volatility=price_volatility / view.close,
                stop_distance=stop_distance,
            ),
            thesis=f"forecast {forecast:+.1f} of EMA{self.fast} against EMA{self.slow},"
            f" ATR {true_range:.4g}",
        )
