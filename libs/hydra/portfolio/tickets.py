"""What one bar does to one ticket: fills, swap, stop, target; each leaves an event."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydra.jit import boolean, int64, kernel, record, records
from hydra.portfolio.columns import (
    ACCOUNT,
    BAR,
    BY_DEVIATION,
    BY_ENGINE,
    BY_EXPIRY,
    BY_MARGIN,
    BY_STOP,
    BY_TARGET,
    BY_UNPROTECTED,
    CANCELLED,
    CLOSED,
    EVENT,
    FREE,
    LIMIT,
    OPEN,
    OPENED,
    PENDING,
    SWAPPED,
    TERMS,
    TICKET,
)
from hydra.portfolio.fills import (
    commission,
    entry_fill,
    margin,
    market_fill,
    parts_per_million,
    stop_fill,
    taker_slip,
    target_fill,
)

Records = NDArray[np.void]  # of a dtype of hydra.portfolio.columns
Record = Any  # one element of such an array: its fields are attributes in compiled code

# Units. With it the price may rise sixteenfold before an amount leaves int64; no margin on
# an account that people could mean covers a larger ticket (5.7e9 USD).
LARGEST_NOTIONAL = 2.0**59

_account, _ticket, _terms, _bar = map(record, (ACCOUNT, TICKET, TERMS, BAR))
_events = records(EVENT)


@kernel(
    int64(
        _events,
        int64,
        int64,
        int64,
        int64,
        _ticket,
        int64,
        int64,
        int64,
        int64,
        int64,
        int64,
        int64,
    )
)
def report(
    events: Records,
    n: int,
    kind: int,
    account: int,
    slot: int,
    ticket: Record,
    price: int,
    steps: int,
    pnl: int,
    fee: int,
    spread: int,
    at_ns: int,
    reason: int,
) -> int:
    """Write event n; returns n + 1."""
    event = events[n]
    event.kind = kind
    event.account = account
    event.slot = slot
    event.ticket = ticket.id
    event.price = price
    event.steps = steps
    event.pnl = pnl
    event.commission = fee
    event.spread = spread
    event.at_ns = at_ns
    event.reason = reason
    event.left = ticket.steps if ticket.state == OPEN else 0
    return n + 1


@kernel(int64(_account, _ticket, int64, int64, int64, int64, int64, _events, int64))
def cancel_ticket(
    account: Record,
    ticket: Record,
    a: int,
    slot: int,
    price: int,
    at_ns: int,
    reason: int,
    events: Records,
    n: int,
) -> int:
    """Drop a pending order; returns the new event count."""
    ticket.state = FREE
    account.live -= 1
    return report(
        events, n, CANCELLED, a, slot, ticket, price, ticket.steps, 0, 0, 0, at_ns, reason
    )


@kernel(
    int64(
        _account, _ticket, _terms, int64, int64, int64, int64, int64, int64, int64, _events, int64
    )
)
def close_ticket(
    account: Record,
    ticket: Record,
    terms: Record,
    a: int,
    slot: int,
    price: int,
    steps: int,
    spread_ticks_x2: int,
    at_ns: int,
    reason: int,
    events: Records,
    n: int,
) -> int:
    """Realise `steps` of an open ticket at `price`; returns the new event count."""
    value = terms.tick_value
    pnl = ticket.side * (price - ticket.entry_price) * steps * value
    fee = commission(price * steps * value, steps, terms.commission_ppm, terms.commission_step)
    account.balance += pnl - fee
    account.margin -= margin(ticket.entry_price, ticket.steps, terms)
    ticket.steps -= steps
    ticket.close_steps = 0
    if ticket.steps == 0:
        ticket.state = FREE
        account.live -= 1
    else:
        account.margin += margin(ticket.entry_price, ticket.steps, terms)
    spread = spread_ticks_x2 * steps * value // 2
    return report(events, n, CLOSED, a, slot, ticket, price, steps, pnl, fee, spread, at_ns, reason)


@kernel(int64(_account, _ticket, _terms, _bar, int64, int64, int64, int64, boolean, _events, int64))
def open_ticket(
    account: Record,
    ticket: Record,
    terms: Record,
    bar: Record,
    a: int,
    slot: int,
    price: int,
    slip: int,
    inside: bool,
    events: Records,
    n: int,
) -> int:
    """Fill a pending order at `price`, or cancel it with the reason it cannot stand."""
    side = ticket.side
    # The other side of the touch, at which the ticket could be closed at once.
    spread = bar.ask_open - bar.bid_open
    exit_price = price - side * spread
    at_ns = bar.close_ns if inside else max(bar.open_ns, ticket.arrives_ns)
    worst = ticket.worst_entry
    if worst != 0 and side * (price - worst) > 0:
        return cancel_ticket(account, ticket, a, slot, price, at_ns, BY_DEVIATION, events, n)
    stop, target = ticket.stop_at, ticket.target_at
    if (stop != 0 and side * (exit_price - stop) <= 0) or (
        target != 0 and side * (target - exit_price) <= 0
    ):
        return cancel_ticket(account, ticket, a, slot, price, at_ns, BY_UNPROTECTED, events, n)
    notional = float(price) * ticket.steps * terms.tick_value
    held = margin(price, ticket.steps, terms) if notional <= LARGEST_NOTIONAL else 0
    if notional > LARGEST_NOTIONAL or account.margin + held > account.equity:
        return cancel_ticket(account, ticket, a, slot, price, at_ns, BY_MARGIN, events, n)
    steps = ticket.steps
    value = terms.tick_value
    fee = commission(price * steps * value, steps, terms.commission_ppm, terms.commission_step)
    account.balance -= fee
    account.margin += held
    ticket.state = OPEN
    ticket.entry_price = price
    ticket.entry_ns = at_ns
    if ticket.order == LIMIT:
        # At the open it has taken from the book what lay within its price.
        start = bar.ask_open if side > 0 else bar.bid_open
        slip = 0 if inside else side * (price - start)
    paid_x2 = spread + 2 * slip
    return report(
        events,
        n,
        OPENED,
        a,
        slot,
        ticket,
        price,
        steps,
        0,
        fee,
        paid_x2 * steps * value // 2,
        at_ns,
        BY_ENGINE,
    )


@kernel(int64(_account, _ticket, _terms, _bar, int64, int64, _events, int64))
def charge_swap(
    account: Record,
    ticket: Record,
    terms: Record,
    bar: Record,
    a: int,
    slot: int,
    events: Records,
    n: int,
) -> int:
    """Charge the rollovers inside the bar on a ticket that was open at the last of them."""
    ppm = terms.swap_long_ppm if ticket.side > 0 else terms.swap_short_ppm
    notional = bar.bid_open * ticket.steps * terms.tick_value
    charge = parts_per_million(notional, ppm) * bar.swap_count
    account.balance -= charge
    return report(
        events,
        n,
        SWAPPED,
        a,
        slot,
        ticket,
        bar.bid_open,
        ticket.steps,
        -charge,
        0,
        0,
        bar.swap_ns,
        BY_ENGINE,
    )


@kernel(int64(_account, _ticket, _terms, _bar, int64, int64, _events, int64))
def ticket_step(
    account: Record,
    ticket: Record,
    terms: Record,
    bar: Record,
    a: int,
    slot: int,
    events: Records,
    n: int,
) -> int:
    """All that a bar does to one ticket of its symbol; returns the event count."""
    open_ns, close_ns = bar.open_ns, bar.close_ns
    side, whole = ticket.side, ticket.steps
    spread = bar.ask_open - bar.bid_open
    if ticket.amend_arrives_ns != 0 and ticket.amend_arrives_ns <= open_ns:
        if ticket.new_stop >= 0:
            ticket.stop_at = ticket.new_stop
        if ticket.new_target >= 0:
            ticket.target_at = ticket.new_target
        ticket.amend_arrives_ns = 0
    inside = False
    if ticket.state == PENDING:
        if ticket.close_steps != 0 and ticket.close_arrives_ns <= open_ns:
            return cancel_ticket(
                account, ticket, a, slot, 0, open_ns, ticket.close_reason, events, n
            )
        # An order that expires before it arrives never reaches the market.
        if ticket.expires_ns != 0 and ticket.expires_ns <= max(open_ns, ticket.arrives_ns):
            return cancel_ticket(account, ticket, a, slot, 0, open_ns, BY_EXPIRY, events, n)
        if ticket.arrives_ns >= close_ns:
            return n
        slip = taker_slip(bar, terms, side, whole, whole)
        price = entry_fill(ticket, bar, slip)
        if price == 0:
            return n
        inside = price < 0
        n = open_ticket(account, ticket, terms, bar, a, slot, abs(price), slip, inside, events, n)
        if ticket.state != OPEN:
            return n
    elif bar.swap_count != 0 and ticket.entry_ns < bar.swap_ns:
        n = charge_swap(account, ticket, terms, bar, a, slot, events, n)
    closing = ticket.close_steps != 0 and ticket.close_arrives_ns < close_ns
    if closing and ticket.close_arrives_ns <= open_ns:
        steps = min(ticket.close_steps, ticket.steps)
        slip = taker_slip(bar, terms, -side, steps, whole)
        price = market_fill(-side, bar, ticket.close_arrives_ns, slip)
        n = close_ticket(
            account,
            ticket,
            terms,
            a,
            slot,
            price,
            steps,
            spread + 2 * slip,
            open_ns,
            ticket.close_reason,
            events,
            n,
        )
        if ticket.state == FREE:
            return n
        closing = False
    worst = bar.bid_low if side > 0 else bar.ask_high
    if ticket.stop_at != 0 and side * (worst - ticket.stop_at) <= 0:
        slip = taker_slip(bar, terms, -side, ticket.steps, whole)
        price = stop_fill(side, ticket.stop_at, bar, slip, inside)
        if price != 0:
            gap = not inside and side * (ticket.stop_at - (price + side * slip)) > 0
            return close_ticket(
                account,
                ticket,
                terms,
                a,
                slot,
                price,
                ticket.steps,
                spread + 2 * slip,
                open_ns if gap else close_ns,
                BY_STOP,
                events,
                n,
            )
    if closing:
        steps = min(ticket.close_steps, ticket.steps)
        slip = taker_slip(bar, terms, -side, steps, whole)
        price = market_fill(-side, bar, ticket.close_arrives_ns, slip)
        account.adjust += min(0, side * (worst - price)) * steps * terms.tick_value
        return close_ticket(
            account,
            ticket,
            terms,
            a,
            slot,
            price,
            steps,
            spread + 2 * slip,
            ticket.close_arrives_ns,
            ticket.close_reason,
            events,
            n,
        )
    if ticket.target_at != 0 and not inside:
        price = target_fill(side, ticket.target_at, bar)
        if price != 0:
            at_open = side * (price - ticket.target_at) > 0
            if at_open and bar.is_walked != 0:
                slip = taker_slip(bar, terms, -side, ticket.steps, whole)
                slip = min(slip, side * (price - ticket.target_at))
                price -= side * slip
                spread += 2 * slip
            if not at_open:
                # It may have been at its worst before it came to the target.
                account.adjust += side * (worst - price) * ticket.steps * terms.tick_value
            return close_ticket(
                account,
                ticket,
                terms,
                a,
                slot,
                price,
                ticket.steps,
                spread,
                open_ns if at_open else close_ns,
                BY_TARGET,
                events,
                n,
            )
    return n
