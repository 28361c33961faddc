"""Join the price as it leaves yesterday's range, until the day is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.clock import NS_PER_S
from hydra.engines.rules.common import check_positive, enter
from hydra.engines.view import View
from hydra.features.specs import (
    NEW_YORK,
    NEW_YORK_CLOSE_H,
    Feature,
    atr,
    close,
    minutes_since_day_open,
    previous,
    previous_day_high,
    previous_day_low,
)
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousDayBreakout:
    """Long when a close crosses above the previous day's high, short when one crosses below
    its low; out after the first bar of the next day.

    The day turns at `reset_hour` in `zone`: 17:00 in New York, where the currency markets'
    day ends, lies between two sessions of the American exchanges too. The stop is `stop_atr`
    average true ranges away, and at least `stop_range_frac` of the previous day's range: on
    short bars the average true range says little about a position that lasts a day.

    Source: T. Crabel, Day Trading with Short Term Price Patterns and Opening Range Breakout,
    1990 (entry beyond a range known before, exit at the day's close); here the range is the
    previous day's. The stop is ours.
    """

    zone: str = NEW_YORK
    reset_hour: float = NEW_YORK_CLOSE_H  # local
    atr_period: int = 14  # bars
    stop_atr: float = 2.0  # average true ranges from entry to stop, at least
    stop_range_frac: float = 0.5  # of the previous day's range, at least

    def __post_init__(self) -> None:
        check_positive(self, but="reset_hour")  # midnight is 0

    @property
    def features(self) -> Sequence[Feature]:
        return (
            close(),
            previous(close()),
            previous_day_high(self.zone, self.reset_hour),
            previous_day_low(self.zone, self.reset_hour),
            minutes_since_day_open(self.zone, self.reset_hour),
            atr(self.atr_period),
        )

    def decide(self, view: View) -> Sequence[Intent]:
        price, before, high, low, minutes, true_range = view.features
        if price > high and before <= high:
            side, edge = Side.BUY, f"above the previous day's high {high:.6g}"
        elif price < low and before >= low:
            side, edge = Side.SELL, f"below the previous day's low {low:.6g}"
        else:
            return self._leave(view, minutes) if view.tickets else ()
        return enter(
            view,
            side,
            stop_distance=max(self.stop_atr * true_range, self.stop_range_frac * (high - low)),
            thesis=f"close {price:.6g} {edge}, ATR {true_range:.4g}",
        )

    def _leave(self, view: View, minutes: float) -> Sequence[Intent]:
        """Close what was opened before this day."""
        day_start_ns = view.now_ns - round(minutes * 60) * NS_PER_S
        return tuple(
            view.close_ticket(ticket, thesis="the day of the breakout is over")
            for ticket in view.tickets
            if ticket.entry_ns < day_start_ns
        )
