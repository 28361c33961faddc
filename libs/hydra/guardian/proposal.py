"""From an intent to a proposal: prices on the grid, a size in lot steps, a loss at the stop.

Only what is malformed is refused here; limits are the rules' business.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

import msgspec

from hydra.guardian.memory import share
from hydra.guardian.risks import Grid
from hydra.guardian.verdicts import Change, Figure, Refused
from hydra.portfolio.account import AccountState, MarketState, Touch
from hydra.portfolio.intents import Amend, Open, OrderType, Ticket

_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT  # looked up once


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """An order (or a ticket under a wider stop) as the rules judge it."""

    intent: Open | Amend
    symbol: str
    side: int  # +1 or -1
    grid: Grid
    touch: Touch
    steps: int
    asked_in_lots: bool  # the engine named the size; else it follows from the risk
    stop_ticks: int | None
    worst_entry_ticks: int | None
    loss_units: int | None  # of one step at the stop, from the worst entry; None: no stop
    ticket: int | None = None  # whose stop is widened
    changes: tuple[Change, ...] = ()

    def shrunk(
        self, rule: str, to_steps: int, limit: Figure, figure: Figure, why: str
    ) -> Proposal | Refused:
        """The same at `to_steps`, refused when that is below the smallest order."""
        if to_steps >= self.steps:
            return self
        if to_steps < self.grid.min_steps:
            least = self.grid.instrument.min_lots
            return Refused(
                self.intent, rule, limit, figure, f"{why}; less than {least} lots would be left"
            )
        return Proposal(
            self.intent, self.symbol, self.side, self.grid, self.touch, to_steps,
            self.asked_in_lots, self.stop_ticks, self.worst_entry_ticks, self.loss_units,
            self.ticket, (*self.changes, Change(rule, self.steps, to_steps, limit, figure)),
        )  # fmt: skip


class Former:
    """Turns intents into proposals by a profile's sizing figures."""

    def __init__(
        self, *, default_risk_frac: Decimal, max_entry_deviation_frac: Decimal | None
    ) -> None:
        self._default_risk = default_risk_frac.as_integer_ratio()
        self._deviation: tuple[int, int] | None = None
        if max_entry_deviation_frac is not None:
            self._deviation = max_entry_deviation_frac.as_integer_ratio()

    def form(
        self, intent: Open, account: AccountState, grid: Grid, touch: Touch, market: MarketState
    ) -> Proposal | Refused:
        """The proposal, or what is malformed about the intent."""
        side = 1 if intent.side == 1 else -1
        if intent.side != side:
            text = f"side {intent.side!r} is neither BUY nor SELL"
            return _malformed(intent, None, str(intent.side), text)
        try:
            stop_ticks = None if intent.stop is None else grid.ticks(intent.stop)
            target_ticks = None if intent.target is None else grid.ticks(intent.target)
            price_ticks = None if intent.price is None else grid.ticks(intent.price)
        except (TypeError, ValueError, ArithmeticError) as error:
            return _malformed(intent, str(grid.tick_size), None, _said("a price", error))
        if intent.order == _MARKET:
            if price_ticks is not None:
                text = "a market order has no price; name the order limit or stop"
                return _malformed(intent, None, str(intent.price), text)
            entry_ticks = touch.ask_ticks if side == 1 else touch.bid_ticks
            exit_ticks = touch.bid_ticks if side == 1 else touch.ask_ticks
        else:
            if price_ticks is None:
                return _malformed(intent, None, None, f"a {intent.order} order needs a price")
            entry_ticks = exit_ticks = price_ticks
        if intent.expires_s is not None and not (
            isfinite(intent.expires_s) and intent.expires_s > 0
        ):
            text = f"expires_s is {intent.expires_s}, it must be a number above 0"
            return _malformed(intent, None, str(intent.expires_s), text)
        if target_ticks is not None and side * (target_ticks - entry_ticks) <= 0:
            return Refused(
                intent, "target-side", entry_ticks, target_ticks,
                f"target {intent.target} does not lie on the winning side of the entry"
                f" {grid.instrument.price(entry_ticks)}",
            )  # fmt: skip
        worst_ticks: int | None = None
        loss_units: int | None = None
        if stop_ticks is not None:
            if side * (exit_ticks - stop_ticks) <= 0:
                return Refused(
                    intent, "stop-side", exit_ticks, stop_ticks,
                    f"stop {intent.stop} does not lie on the losing side of"
                    f" {grid.instrument.price(exit_ticks)}, where the position would be closed",
                )  # fmt: skip
            distance = side * (entry_ticks - stop_ticks)
            worst_ticks = entry_ticks
            if self._deviation is not None and intent.order != _LIMIT:
                # A limit order is filled at its price or better by its nature.
                worst_ticks += side * (distance * self._deviation[0] // self._deviation[1])
            loss_units = grid.loss_units(side, worst_ticks, stop_ticks)
        steps = self._steps(intent, side, account, grid, entry_ticks, stop_ticks, 0)
        if isinstance(steps, Refused):
            return steps
        if stop_ticks is not None and loss_units is not None:
            # As large as it would be, it may slip by more than the profile allows for.
            slip_ticks = market.slippage_ticks(intent.symbol, min(steps, grid.max_steps))
            more_units = grid.slip_units(stop_ticks, slip_ticks)
            if more_units:
                loss_units += more_units
                sized = self._steps(
                    intent, side, account, grid, entry_ticks, stop_ticks, more_units
                )
                if isinstance(sized, Refused):
                    return sized
                steps = sized
        proposal = Proposal(
            intent, intent.symbol, side, grid, touch, steps, intent.lots is not None, stop_ticks,
            worst_ticks if self._deviation is not None else None, loss_units,
        )  # fmt: skip
        if steps < grid.min_steps:
            least = grid.instrument.min_lots
            return Refused(
                intent, "min-size", str(least), str(grid.instrument.lots(steps)),
                f"the size comes to {grid.instrument.lots(steps)} lots,"
                f" the smallest order is {least}",
            )  # fmt: skip
        if steps > grid.max_steps:
            most = grid.instrument.max_lots
            return proposal.shrunk(
                "max-size", grid.max_steps, str(most), str(grid.instrument.lots(steps)),
                f"the largest order is {most} lots",
            )  # fmt: skip
        return proposal

    def _steps(
        self,
        intent: Open,
        side: int,
        account: AccountState,
        grid: Grid,
        entry_ticks: int,
        stop_ticks: int | None,
        more_units: int,
    ) -> int | Refused:
        """floor(risk / loss of one step at the stop from the expected entry), or the lots asked."""
        try:
            if intent.lots is not None:
                steps = int(intent.lots // grid.lot_step)
                if steps <= 0:
                    raise ValueError(f"{intent.lots} is less than one step of {grid.lot_step}")
                return steps
            frac = intent.risk_frac
            if frac is not None and not 0 < frac <= 1:
                raise ValueError(f"a risk of {frac} of equity is not above 0 and at most 1")
            if stop_ticks is None:
                text = "neither lots nor a stop: there is nothing to take the size from"
                return _malformed(intent, None, None, text)
            if account.equity_units is None:
                text = "equity is unknown, an open ticket has no fresh price: no size follows"
                return Refused(intent, "equity-unknown", None, None, text)
            if frac is None:
                risk_units = share(account.equity_units, self._default_risk)
            else:
                risk_units = int(frac * account.equity_units)
        except (TypeError, ValueError, ArithmeticError) as error:
            return _malformed(intent, str(grid.lot_step), None, _said("the size", error))
        return risk_units // (grid.loss_units(side, entry_ticks, stop_ticks) + more_units)


def form_amended(
    intent: Amend, ticket: Ticket, grid: Grid, touch: Touch | None, worst_entry_ticks: int | None
) -> tuple[int | None, int | None] | Refused:
    """(stop, target) in ticks, None for one that stays; or what is malformed about them.

    `worst_entry_ticks` is that of a pending ticket. Sides are judged against the price at
    which the ticket would be closed, where it is known.
    """
    if intent.stop is None and intent.target is None:
        return _malformed(intent, None, None, "neither a stop nor a target to amend")
    try:
        stop_ticks = None if intent.stop is None else grid.ticks(intent.stop)
        target_ticks = None if intent.target is None else grid.ticks(intent.target)
    except (TypeError, ValueError, ArithmeticError) as error:
        return _malformed(intent, str(grid.tick_size), None, _said("a price", error))
    if ticket.is_open:
        close_ticks = None
        if touch is not None:
            close_ticks = touch.bid_ticks if ticket.side == 1 else touch.ask_ticks
    else:
        close_ticks = worst_entry_ticks
    if close_ticks is not None:
        if stop_ticks is not None and ticket.side * (close_ticks - stop_ticks) <= 0:
            return Refused(
                intent, "stop-side", close_ticks, stop_ticks,
                f"stop {intent.stop} does not lie on the losing side of"
                f" {grid.instrument.price(close_ticks)}",
            )  # fmt: skip
        if target_ticks is not None and ticket.side * (target_ticks - close_ticks) <= 0:
            return Refused(
                intent, "target-side", close_ticks, target_ticks,
                f"target {intent.target} does not lie on the winning side of"
                f" {grid.instrument.price(close_ticks)}",
            )  # fmt: skip
    return stop_ticks, target_ticks


def _said(what: str, error: Exception) -> str:
    """The reason in words; decimal's own errors have none that a reader could use."""
    return str(error) if isinstance(error, ValueError) else f"{what} is not a finite Decimal"


def _malformed(intent: Open | Amend, limit: Figure, figure: Figure, text: str) -> Refused:
    return Refused(intent, "malformed", limit, figure, text)
