"""Fade a price that has run too far from its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.engines.rules.common import check_order, check_positive, enter
from hydra.engines.view import View
from hydra.features.specs import (
    Feature,
    atr,
    bollinger_lower,
    bollinger_upper,
    close,
    previous,
    rsi,
    sma,
)
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanReversion:
    """Long when the close falls below the lower Bollinger band while the RSI says oversold,
    short in the mirror; out where the price meets the middle band.

    The target is the middle band at entry; as the band moves, a close beyond it ends the
    trade too.

    Source: J. Bollinger, Bollinger on Bollinger Bands, 2001 (20 bars, 2 standard deviations,
    bands confirmed by an oscillator); the RSI's 14 bars and its levels 30 and 70 are those of
    J. W. Wilder, New Concepts in Technical Trading Systems, 1978. The stop is ours.
    """

    period: int = 20  # bars of the bands
    widths: float = 2.0  # standard deviations from the middle to a band
    rsi_period: int = 14  # bars
    oversold: float = 30.0  # RSI points
    overbought: float = 70.0  # RSI points
    atr_period: int = 14  # bars
    stop_atr: float = 3.0  # average true ranges from entry to stop

    def __post_init__(self) -> None:
        check_positive(self)
        check_order(self, "oversold", "overbought")

    @property
    def features(self) -> Sequence[Feature]:
        lower = bollinger_lower(self.period, self.widths)
        upper = bollinger_upper(self.period, self.widths)
        strength = rsi(self.rsi_period)
        return (
            close(),
            lower,
            sma(self.period),
            upper,
            strength,
            previous(close()),
            previous(lower),
            previous(upper),
            previous(strength),
            atr(self.atr_period),
        )

    def decide(self, view: View) -> Sequence[Intent]:
        (
            price,
            lower,
            middle,
            upper,
            strength,
            before,
            lower_before,
            upper_before,
            strength_before,
            true_range,
        ) = view.features
        if price < lower and strength < self.oversold:
            if not (before < lower_before and strength_before < self.oversold):
                return enter(
                    view,
                    Side.BUY,
                    stop_distance=self.stop_atr * true_range,
                    target=middle,
                    thesis=f"close {price:.6g} below band {lower:.6g}, RSI {strength:.1f},"
                    f" mean {middle:.6g}",
                )
        elif (
            price > upper
            and strength > self.overbought
            and not (before > upper_before and strength_before > self.overbought)
        ):
            return enter(
                view,
                Side.SELL,
                stop_distance=self.stop_atr * true_range,
                target=middle,
                thesis=f"close {price:.6g} above band {upper:.6g}, RSI {strength:.1f},"
                f" mean {middle:.6g}",
            )
        if not view.tickets:
            return ()
        return tuple(
            view.close_ticket(ticket, thesis=f"close {price:.6g} back at mean {middle:.6g}")
            for ticket in view.tickets
            if (price >= middle if ticket.side == Side.BUY else price <= middle)
        )
