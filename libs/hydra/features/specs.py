"""The features an engine may ask for, by name and parameters.

A spec says what is wanted; `hydra.features.block` computes it, once for all engines that
ask for the same. Add a feature: one function here and one line in a table of `kinds.py`
(with a kernel in `kernels.py` where none there serves).

Periods count bars of the stream that the engine watches. "Warm" says how many bars a feature
needs before it has a value; until then it is NaN. Prices are in quote currency. Each function
raises ConfigError for a parameter that makes no sense.
"""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from hydra.errors import ConfigError


class Feature(msgspec.Struct, frozen=True):
    """A feature of one stream of bars; equal specs are computed once."""

    kind: str
    params: tuple[float, ...] = ()
    zone: str = ""  # IANA zone, of features that know a day
    lag: int = 0  # bars back: 0 is the newest bar, 1 the one before

    def __str__(self) -> str:
        parts = [f"{p:g}" for p in self.params] + ([self.zone] if self.zone else [])
        name = f"{self.kind}({', '.join(parts)})"
        return f"{name}[-{self.lag}]" if self.lag else name


def previous(feature: Feature, bars: int = 1) -> Feature:
    """The same feature as it was `bars` bars ago. Warm: so many bars later."""
    return msgspec.structs.replace(feature, lag=feature.lag + _period("previous", bars))


def close() -> Feature:
    """The newest close."""
    return Feature("close")


def volume() -> Feature:
    """Base units traded in the newest bar; NaN, and so never warm, where the source has none."""
    return Feature("volume")


def bar_count() -> Feature:
    """Bars of this stream so far, the newest included: 1, 2, 3, …"""
    return Feature("bar_count")


def ema(period: int) -> Feature:
    """Exponential mean of closes, weight 2/(period + 1), seeded with the mean of the first
    `period` closes (as TA-Lib does). Warm: `period` bars."""
    return Feature("ema", (_period("ema", period),))


def sma(period: int) -> Feature:
    """Mean of the last `period` closes. Warm: `period` bars."""
    return Feature("sma", (_period("sma", period),))


def stdev(period: int) -> Feature:
    """Population standard deviation of the last `period` closes. Warm: `period` bars."""
    return Feature("stdev", (_period("stdev", period),))


def bollinger_upper(period: int, widths: float) -> Feature:
    """Mean of the last `period` closes plus `widths` standard deviations (population).

    Source: J. Bollinger, Bollinger on Bollinger Bands, 2001. The middle band is `sma`.
    """
    return Feature("bollinger_upper", (_period("bollinger_upper", period), float(widths)))


def bollinger_lower(period: int, widths: float) -> Feature:
    """Mean of the last `period` closes less `widths` standard deviations (population)."""
    return Feature("bollinger_lower", (_period("bollinger_lower", period), float(widths)))


def atr(period: int) -> Feature:
    """Average true range, Wilder's smoothing (weight 1/period), seeded with a mean.

    Warm: `period` + 1 bars, as the first true range needs a previous close.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """
    return Feature("atr", (_period("atr", period),))


def rsi(period: int) -> Feature:
    """Relative strength index, 0 to 100, Wilder's smoothing; 50 where nothing moved.

    Warm: `period` + 1 bars. Source: as `atr`.
    """
    return Feature("rsi", (_period("rsi", period),))


def macd(fast: int = 12, slow: int = 26) -> Feature:
    """`ema(fast)` less `ema(slow)`. Warm: the longer period.

    Source: G. Appel, The Moving Average Convergence-Divergence Trading Method, 1985.
    """
    return Feature("macd", (_period("macd", fast), _period("macd", slow)))


def macd_signal(fast: int = 12, slow: int = 26, signal: int = 9) -> Feature:
    """Exponential mean of `macd(fast, slow)`, seeded with the mean of its first values.

    Warm: longer period + `signal` - 1 bars.
    """
    periods = (_period("macd_signal", p) for p in (fast, slow, signal))
    return Feature("macd_signal", tuple(periods))


def highest(period: int) -> Feature:
    """Highest high of the `period` bars *before* the newest (a Donchian channel's top).

    Warm: `period` + 1 bars.
    """
    return Feature("highest", (_period("highest", period),))


def lowest(period: int) -> Feature:
    """Lowest low of the `period` bars *before* the newest. Warm: `period` + 1 bars."""
    return Feature("lowest", (_period("lowest", period),))


def momentum(period: int) -> Feature:
    """ln(close ÷ close `period` bars ago). Warm: `period` + 1 bars."""
    return Feature("momentum", (_period("momentum", period),))


def ewma_volatility(decay: float) -> Feature:
    """Standard deviation of one bar's log return, σ² ← decay·σ² + (1 - decay)·r².

    No mean is taken off. Seeded with the mean of the first ⌈1/(1 - decay)⌉ squared returns;
    warm one bar after so many. Source: J.P. Morgan/Reuters, RiskMetrics Technical Document,
    1996, section 5.2 (decay 0.94 for daily returns).
    """
    if not 0 < decay < 1:
        raise ConfigError(f"feature ewma_volatility: decay {decay} must lie between 0 and 1")
    return Feature("ewma_volatility", (float(decay),))


NEW_YORK = "America/New_York"
NEW_YORK_CLOSE_H = 17.0  # local hour at which currency trading's day turns


def previous_day_high(zone: str = NEW_YORK, reset_hour: float = NEW_YORK_CLOSE_H) -> Feature:
    """Highest high of the last day before the newest bar's that has bars.

    A day runs from `reset_hour` (local, 0 to 24) in `zone`, and a bar belongs to the day in
    which it opens; days without bars do not count. Warm: from the second day on (of the first
    day, the part that the data has).
    """
    return Feature("previous_day_high", (_hour(reset_hour),), _zone(zone))


def previous_day_low(zone: str = NEW_YORK, reset_hour: float = NEW_YORK_CLOSE_H) -> Feature:
    """Lowest low of the last day before the newest bar's; as `previous_day_high`."""
    return Feature("previous_day_low", (_hour(reset_hour),), _zone(zone))


def minutes_since_day_open(zone: str = NEW_YORK, reset_hour: float = NEW_YORK_CLOSE_H) -> Feature:
    """Minutes from the open of the day's first bar to the close of the newest."""
    return Feature("minutes_since_day_open", (_hour(reset_hour),), _zone(zone))


def _period(kind: str, bars: int) -> int:
    if not isinstance(bars, int) or bars < 1:
        raise ConfigError(f"feature {kind}: a period of {bars!r} bars; take a whole number from 1")
    return bars


def _hour(hour: float) -> float:
    if not (math.isfinite(hour) and 0 <= hour < 24):
        raise ConfigError(f"a day that starts at hour {hour}: take 0 or more, below 24")
    return float(hour)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ConfigError(f"time zone {name!r} is unknown; take a name like Europe/Prague") from e
    return name
