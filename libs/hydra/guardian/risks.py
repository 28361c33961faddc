"""What a ticket may lose at its stop, in whole money units.

loss = (entry - stop) in ticks x tick value x steps, plus the costs still to come: commission
of the entry (while pending) and of the exit, and an allowance for slippage at the stop. A
gap through the stop, and swap, are beyond it: the distance between the guardian's limits
and the firm's is there for them.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from hydra.guardian.memory import Memory
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.portfolio.account import MarketState
from hydra.portfolio.intents import Ticket

_PPB = 1_000_000_000
_PPB_PER_BPS = 100_000
_MOST_KEPT = 4_096
_MOST_DIGITS = 16


class Grid:
    """The figures of one instrument that sizing needs, as integers."""

    __slots__ = (
        "commission_ppb", "commission_step_units", "instrument", "lot_step", "max_steps",
        "min_steps", "slippage_ppb", "tick_size", "tick_value_units",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, slippage_allowance_bps: Decimal) -> None:
        self.instrument = instrument
        self.tick_size = instrument.tick_size
        self.lot_step = instrument.lot_step
        self.tick_value_units = instrument.tick_value_units
        self.min_steps = max(1, _up(instrument.min_lots / instrument.lot_step))
        self.max_steps = instrument.steps(instrument.max_lots)
        self.commission_ppb = _up(instrument.commission_bps * _PPB_PER_BPS)
        self.commission_step_units = _up(
            instrument.commission_per_lot * instrument.lot_step * UNITS_PER_USD
        )
        self.slippage_ppb = _up(slippage_allowance_bps * _PPB_PER_BPS)

    def ticks(self, price: Decimal) -> int:
        """The price in ticks. Raises ValueError or ArithmeticError off the grid or not finite."""
        exact = price / self.tick_size
        if exact.adjusted() < _MOST_DIGITS:
            ticks = int(exact)
            if ticks == exact and ticks > 0:
                return ticks
        raise ValueError(f"{price} is not a positive whole number of ticks of {self.tick_size}")

    def entry_cost_units(self, price_ticks: int) -> int:
        """Commission of buying or selling one step at that price."""
        notional_units = price_ticks * self.tick_value_units
        return -(-notional_units * self.commission_ppb // _PPB) + self.commission_step_units

    def exit_cost_units(self, price_ticks: int) -> int:
        """Commission and slippage of one step stopped out at that price."""
        notional_units = price_ticks * self.tick_value_units
        ppb = self.commission_ppb + self.slippage_ppb
        return -(-notional_units * ppb // _PPB) + self.commission_step_units

    def slip_units(self, stop_ticks: int, slippage_ticks: int) -> int:
        """By how much a slip of one step at the stop exceeds the profile's allowance."""
        if not self.slippage_ppb:  # a profile that allows for nothing asks for nothing
            return 0
        value = self.tick_value_units
        allowed = -(-stop_ticks * value * self.slippage_ppb // _PPB)
        return max(0, slippage_ticks * value - allowed)

    def loss_units(self, side: int, entry_ticks: int, stop_ticks: int) -> int:
        """What one step of an order not yet filled loses from that entry to its stop."""
        value, commission = self.tick_value_units, self.commission_ppb
        return (
            side * (entry_ticks - stop_ticks) * value
            - (-entry_ticks * value * commission // _PPB)
            - (-stop_ticks * value * (commission + self.slippage_ppb) // _PPB)
            + 2 * self.commission_step_units
        )


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))


class Risks:
    """Grids by symbol, and the losses at the stops of open tickets, each worked out once."""

    def __init__(self, slippage_allowance_bps: Decimal) -> None:
        self._slippage_allowance_bps = slippage_allowance_bps
        self._grids: dict[str, Grid] = {}
        self._losses: dict[int, tuple[Ticket, int | None]] = {}

    def grid(self, instrument: Instrument) -> Grid:
        """The instrument's figures."""
        grid = self._grids.get(instrument.symbol)
        if grid is None or grid.instrument is not instrument:
            grid = Grid(instrument, self._slippage_allowance_bps)
            self._grids[instrument.symbol] = grid
        return grid

    def loss_units(self, ticket: Ticket, market: MarketState, memory: Memory) -> int | None:
        """What the ticket loses from here on when it ends at its stop, 0 for a gain.

        None where that is unknown: no stop, an unknown instrument, or a pending order whose
        worst entry nobody approved.
        """
        if not ticket.is_open:  # its worst entry is in the memory, not in the ticket
            return self._work_out(ticket, market, memory)
        known = self._losses.get(ticket.id)
        if known is not None and known[0] is ticket:
            return known[1]
        loss = self._work_out(ticket, market, memory)
        if len(self._losses) >= _MOST_KEPT:
            self._losses.clear()
        self._losses[ticket.id] = (ticket, loss)
        return loss

    def _work_out(self, ticket: Ticket, market: MarketState, memory: Memory) -> int | None:
        instrument = market.instrument(ticket.symbol)
        if instrument is None or ticket.stop is None:
            return None
        grid = self.grid(instrument)
        stop_ticks = instrument.ticks(ticket.stop)
        steps = instrument.steps(ticket.lots)
        if ticket.is_open:
            if ticket.entry is None:
                return None
            moved = ticket.side * (instrument.ticks(ticket.entry) - stop_ticks)
            each = moved * grid.tick_value_units + grid.exit_cost_units(stop_ticks)
        else:
            worst = memory.worst_entry_ticks(ticket.symbol, ticket.side, ticket.entry_ns)
            if worst is None:
                return None
            each = grid.loss_units(ticket.side, worst, stop_ticks)
        each += grid.slip_units(stop_ticks, market.slippage_ticks(ticket.symbol, steps))
        return max(0, each * steps)
