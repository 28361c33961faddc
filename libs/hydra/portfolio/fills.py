"""At which price an order fills within a bar, and what it costs: compiled, shared by all.

Assumptions, each adverse (a lone bar cannot tell more):
- buys pay the ask and sells get the bid, slippage on top; limits and targets get no slippage
  but must be traded *through*;
- where the book is known, slippage is what walking its levels costs, else it is a model's; a limit
  or target that the open is beyond walks as well, up to its own price;
- an order that arrives inside a bar pays sqrt(elapsed part of the bar) of the bar's range;
- a gap through the stop fills at the open; a ticket filled inside a bar can be stopped in it
  but not reach its target.
"""

from __future__ import annotations

import math
from typing import Any

from hydra.jit import boolean, float64, int64, kernel, record
from hydra.market.bars import DEPTH_LEVELS
from hydra.portfolio.columns import BAR, LIMIT, MARKET, TERMS, TICKET

Record = Any  # one element of a structured array: its fields are attributes in compiled code

MILLION = 1_000_000
LARGEST_SUM = 2.0**61  # ticks times steps; what the known levels cost together is below it

_ticket, _terms, _bar = map(record, (TICKET, TERMS, BAR))


@kernel(int64(int64, int64))
def parts_per_million(amount: int, ppm: int) -> int:
    """amount x ppm / 1e6, rounded against the account (up), without overflow."""
    whole = amount // MILLION
    rest = amount - whole * MILLION
    return whole * ppm - ((-rest * ppm) // MILLION)


@kernel(int64(int64, int64, int64, int64))
def commission(notional: int, steps: int, ppm: int, per_step: int) -> int:
    """Money units for one side: a part of the notional and a fee a lot."""
    return parts_per_million(notional, ppm) + per_step * steps


@kernel(int64(float64, float64, int64))
def slippage(base: float, impact: float, steps: int) -> int:
    """Whole ticks against the trader: base + impact x sqrt(size), rounded up.

    The square-root law of market impact; `impact` carries volatility and volume
    (`hydra.portfolio.costs`).
    """
    return math.ceil(base + impact * math.sqrt(steps) - 1e-9)


@kernel(int64(_terms, int64, int64, float64, int64))
def walked(terms: Record, side: int, steps: int, impact: float, unknown: int) -> int:
    """Whole ticks from the best price to what an order of direction `side` pays on average,
    rounded up, when it takes level after level of the book.

    `terms.levels[s]` are the bids (s = 0) or the asks (s = 1), best first: ticks from the best,
    steps; no steps: no more levels. What is beyond the last known level pays that level and the
    model's `impact` of the whole order. `unknown` is the answer where that side is not known.
    """
    levels = terms.levels
    taken = 1 if side > 0 else 0
    left = steps
    offset = paid = 0
    for level in range(DEPTH_LEVELS):
        size = levels[taken, level, 1]
        if size == 0:
            break
        offset = levels[taken, level, 0]
        part = min(left, size)
        paid += offset * part
        left -= part
        if left == 0:
            break
    if left == steps:
        return unknown
    if left > 0:
        offset += slippage(0.0, impact, steps)
        if float(offset) * left > LARGEST_SUM:
            return offset  # all of it: no account has the margin for such an order
        paid += offset * left
    return -(-paid // steps)


@kernel(int64(_bar, _terms, int64, int64, int64))
def taker_slip(bar: Record, terms: Record, side: int, steps: int, whole: int) -> int:
    """Ticks from the best price that a market or stop order of direction `side` pays: for walking
    the bar's book where it is known, else by the model, for a ticket that had `whole` steps when
    the bar opened."""
    modelled = slippage(bar.slip_base, bar.slip_impact, whole)
    if bar.is_walked == 0:
        return modelled
    return walked(terms, side, steps, bar.slip_impact, modelled)


@kernel(int64(int64, int64, int64, int64))
def arrival_drift(open_ns: int, close_ns: int, arrives_ns: int, range_ticks: int) -> int:
    """Ticks that the price may have run before an order that arrives inside the bar."""
    if arrives_ns <= open_ns:
        return 0
    elapsed = (arrives_ns - open_ns) / (close_ns - open_ns)
    return math.ceil(range_ticks * math.sqrt(elapsed))


@kernel(int64(int64, _bar, int64, int64))
def market_fill(side: int, bar: Record, arrives_ns: int, slip: int) -> int:
    """The price in ticks of a market order of direction `side` within bar `row`."""
    if side > 0:
        drift = arrival_drift(
            bar.open_ns,
            bar.close_ns,
            arrives_ns,
            bar.ask_high - bar.ask_open,
        )
        return bar.ask_open + drift + slip
    drift = arrival_drift(
        bar.open_ns,
        bar.close_ns,
        arrives_ns,
        bar.bid_open - bar.bid_low,
    )
    return max(1, bar.bid_open - drift - slip)


@kernel(int64(int64, int64, _bar, int64, boolean))
def stop_fill(side: int, stop: int, bar: Record, slip: int, inside: bool) -> int:
    """The price at which a ticket's stop fills in the bar, 0 when it is not touched.

    `inside`: the ticket was opened within this bar, so its open is no gap.
    """
    if side > 0:
        if bar.bid_low > stop:
            return 0
        start = stop if inside else min(stop, bar.bid_open)
        return max(1, start - slip)
    if bar.ask_high < stop:
        return 0
    start = stop if inside else max(stop, bar.ask_open)
    return start + slip


@kernel(int64(int64, int64, _bar))
def target_fill(side: int, target: int, bar: Record) -> int:
    """The price at which a ticket's target fills in the bar, 0 when it does not."""
    if side > 0:
        if bar.bid_open >= target:
            return bar.bid_open
        return target if bar.bid_high > target else 0
    if bar.ask_open <= target:
        return bar.ask_open
    return target if bar.ask_low < target else 0


@kernel(int64(_ticket, _bar, int64))
def entry_fill(ticket: Record, bar: Record, slip: int) -> int:
    """Where a pending order fills in the bar: 0 not at all, negative when not at its open.

    Limit and stop orders that arrive inside a bar wait for the next one.
    """
    side, order, at = ticket.side, ticket.order, ticket.price
    if order == MARKET:
        price = market_fill(side, bar, ticket.arrives_ns, slip)
        return -price if ticket.arrives_ns > bar.open_ns else price
    if ticket.arrives_ns > bar.open_ns:
        return 0
    # Seen from the side of the order, so that lower is always better.
    start = bar.ask_open if side > 0 else -bar.bid_open
    best = bar.ask_low if side > 0 else -bar.bid_high
    worst = bar.ask_high if side > 0 else -bar.bid_low
    at *= side
    # An order that expires inside the bar has only the bar's open for certain.
    only_open = ticket.expires_ns != 0 and ticket.expires_ns < bar.close_ns
    if order == LIMIT:
        if start <= at:
            return min(start + slip * bar.is_walked, at) * side
        return -at * side if best < at and not only_open else 0
    if start >= at:
        return max(1, (start + slip) * side)
    return min(-1, -(at + slip) * side) if worst >= at and not only_open else 0


@kernel(int64(int64, int64, _terms))
def margin(entry: int, steps: int, terms: Record) -> int:
    """Money units of margin that a ticket holds: notional / leverage, rounded up."""
    notional = entry * steps * terms.tick_value
    whole = notional // terms.leverage_x100  # first, so that 100 x notional need not fit
    rest = notional - whole * terms.leverage_x100
    return 100 * whole - ((-100 * rest) // terms.leverage_x100)
