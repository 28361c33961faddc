"""Buy new highs, sell new lows: the Turtles' first system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.engines.rules.common import check_order, check_positive, enter
from hydra.engines.view import View
from hydra.features.specs import Feature, atr, close, highest, lowest, previous
from hydra.portfolio.intents import Intent, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class DonchianBreakout:
    """Long on the first close above the highest high of the `entry` bars before it, short on
    the first close below their lowest low; out on a close beyond the opposite `exit` extreme.

    The stop is 2 N away, N being the 20-bar average true range. Unlike the Turtles it trades
    on closes, takes every breakout and holds one unit: it adds nothing to a winner.

    Source: C. Faith, The Original Turtle Trading Rules, 2003 (System 1, chapters 4 to 6);
    the channel is R. Donchian's four-week rule.
    """

    entry: int = 20  # bars
    exit: int = 10  # bars
    atr_period: int = 20  # bars
    stop_atr: float = 2.0  # average true ranges from entry to stop

    def __post_init__(self) -> None:
        check_positive(self)
        check_order(self, "exit", "entry")

    @property
    def features(self) -> Sequence[Feature]:
        top, bottom = highest(self.entry), lowest(self.entry)
        return (
            close(),
            top,
            bottom,
            previous(close()),
            previous(top),
            previous(bottom),
            highest(self.exit),
            lowest(self.exit),
            atr(self.atr_period),
        )

    def decide(self, view: View) -> Sequence[Intent]:
        price, top, bottom, before, top_before, bottom_before, exit_top, exit_bottom, n = (
            view.features
        )
        if price > top and before <= top_before:
            thesis = f"close {price:.6g} above {self.entry}-bar high {top:.6g}, N {n:.4g}"
            return enter(view, Side.BUY, stop_distance=self.stop_atr * n, thesis=thesis)
        if price < bottom and before >= bottom_before:
            thesis = f"close {price:.6g} below {self.entry}-bar low {bottom:.6g}, N {n:.4g}"
            return enter(view, Side.SELL, stop_distance=self.stop_atr * n, thesis=thesis)
        if not view.tickets or exit_bottom <= price <= exit_top:
            return ()
        leaving = Side.BUY if price < exit_bottom else Side.SELL
        edge = exit_bottom if price < exit_bottom else exit_top
        thesis = f"close {price:.6g} beyond {self.exit}-bar extreme {edge:.6g}"
        return tuple(
            view.close_ticket(ticket, thesis=thesis)
            for ticket in view.tickets
            if ticket.side == leaving
        )
