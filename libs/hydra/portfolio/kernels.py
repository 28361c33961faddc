"""The compiled step: one call a cycle fills, charges, marks and guards every account.

Within a bar the stop comes before the target, and equity is judged at the worst price of
each open symbol at once. The fills themselves, and what they assume: `fills.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydra.jit import int64, kernel, record, records
from hydra.portfolio.columns import (
    ACCOUNT,
    BAR,
    BREACHED,
    BY_DAILY_LOSS,
    BY_ENGINE,
    BY_STOP_OUT,
    BY_TOTAL_LOSS,
    EVENT,
    FREE,
    MARK,
    OPEN,
    PENDING,
    TERMS,
    TICKET,
    TRAIL_BALANCE,
    TRAIL_NONE,
)
from hydra.portfolio.fills import taker_slip
from hydra.portfolio.tickets import cancel_ticket, close_ticket, report, ticket_step

Records = NDArray[np.void]  # of a dtype of hydra.portfolio.columns
Record = Any  # one element of such an array: its fields are attributes in compiled code

PPB = 1_000_000_000.0

_ticket, _terms, _mark = map(record, (TICKET, TERMS, MARK))
_events = records(EVENT)
_fixed = (records(ACCOUNT), records(TICKET, 2), records(TERMS), records(MARK), _events)
_all = (records(ACCOUNT), records(TICKET, 2), records(TERMS), records(BAR), records(MARK))


@kernel(int64(_ticket, _terms, _mark))
def open_pnl(ticket: Record, terms: Record, mark: Record) -> int:
    """P&L of an open ticket at the last marks, before exit costs."""
    price = mark.bid if ticket.side > 0 else mark.ask
    return ticket.side * (price - ticket.entry_price) * ticket.steps * terms.tick_value


@kernel(int64(*_all, int64, int64, int64, _events, int64))
def flatten(
    accounts: Records,
    tickets: Records,
    terms: Records,
    bars: Records,
    marks: Records,
    a: int,
    now_ns: int,
    reason: int,
    events: Records,
    n: int,
) -> int:
    """Close everything: at the bar's worst price now, at the next bar where there is none."""
    account = accounts[a]
    for slot in range(tickets.shape[1]):
        ticket = tickets[a, slot]
        if ticket.state == FREE:
            continue
        if ticket.state == PENDING:
            n = cancel_ticket(account, ticket, a, slot, 0, now_ns, reason, events, n)
            continue
        symbol = ticket.symbol
        row = marks[symbol].row
        if row < 0:
            ticket.close_steps = ticket.steps
            ticket.close_arrives_ns = now_ns
            ticket.close_reason = reason
            continue
        bar = bars[row]
        slip = taker_slip(bar, terms[symbol], -ticket.side, ticket.steps, ticket.steps)
        price = max(1, bar.bid_low - slip) if ticket.side > 0 else bar.ask_high + slip
        n = close_ticket(
            account,
            ticket,
            terms[symbol],
            a,
            slot,
            price,
            ticket.steps,
            bar.ask_open - bar.bid_open + 2 * slip,
            now_ns,
            reason,
            events,
            n,
        )
    account.equity = account.balance
    for slot in range(tickets.shape[1]):
        ticket = tickets[a, slot]
        if ticket.state == OPEN:
            account.equity += open_pnl(ticket, terms[ticket.symbol], marks[ticket.symbol])
    return n


@kernel(int64(*_all, int64, int64, _events, int64))
def judge_account(
    accounts: Records,
    tickets: Records,
    terms: Records,
    bars: Records,
    marks: Records,
    a: int,
    now_ns: int,
    events: Records,
    n: int,
) -> int:
    """Mark one account, move its trailing floor, and act on a floor that was reached."""
    account = accounts[a]
    equity = account.balance
    worst = account.balance + account.adjust
    account.adjust = 0
    open_tickets = 0
    left = account.live
    slot = -1
    while left > 0:
        slot += 1
        ticket = tickets[a, slot]
        if ticket.state == FREE:
            continue
        left -= 1
        if ticket.state != OPEN:
            continue
        open_tickets += 1
        symbol = ticket.symbol
        pnl = open_pnl(ticket, terms[symbol], marks[symbol])
        equity += pnl
        row = marks[symbol].row
        if row >= 0:
            low = bars[row].bid_low if ticket.side > 0 else bars[row].ask_high
            reach = ticket.side * (low - ticket.entry_price)
            # A ticket filled inside the bar may not have seen its low; assume it has.
            pnl = min(pnl, reach * ticket.steps * terms[symbol].tick_value)
        worst += pnl
    worst = min(worst, equity)
    account.equity = equity
    if open_tickets > 0:
        account.exposed += 1
    reason = BY_ENGINE
    if worst <= account.total_floor:
        reason = BY_TOTAL_LOSS
    elif worst <= account.daily_floor:
        reason = BY_DAILY_LOSS
    elif account.margin > 0 and 2 * worst <= account.margin:
        reason = BY_STOP_OUT
    if reason != BY_ENGINE:
        # The guardian answers with the next floor to watch, so this is not told twice.
        n = report(events, n, BREACHED, a, 0, tickets[a, 0], 0, 0, worst, 0, 0, now_ns, reason)
        n = flatten(accounts, tickets, terms, bars, marks, a, now_ns, reason, events, n)
        worst = min(worst, account.equity)  # getting out costs as well
    account.worst = worst
    account.day_worst = min(account.day_worst, worst)
    if account.peak > 0:
        fallen = int((account.peak - worst) / account.peak * PPB)
        account.drawdown_ppb = max(account.drawdown_ppb, fallen)
    # The peak of this bar counts only from the next: the fall may have come first.
    account.peak = max(account.peak, account.equity)
    if account.trail != TRAIL_NONE:
        top = account.balance if account.trail == TRAIL_BALANCE else account.equity
        floor = min(top - account.trail_distance, account.trail_lock)
        account.total_floor = max(account.total_floor, floor)
    return n


@kernel(int64(*_fixed, records(BAR), int64, int64, int64))
def step_cycle(
    accounts: Records,
    tickets: Records,
    terms: Records,
    marks: Records,
    events: Records,
    bars: Records,
    first: int,
    last: int,
    now_ns: int,
) -> int:
    """Play bars `first` to `last` (exclusive), those that close at `now_ns`.

    Shapes: tickets (accounts, slots), terms and marks (symbols,); fields as in
    `hydra.portfolio.columns`. `events` must have room for three rows a slot and one an
    account. Returns the number of events written.
    """
    n = 0
    for row in range(first, last):
        bar = bars[row]
        symbol = bar.symbol
        if symbol < 0:
            continue
        mark = marks[symbol]
        mark.bid = bar.bid_close
        mark.ask = bar.ask_close
        mark.at_ns = now_ns
        mark.row = row
        for a in range(accounts.shape[0]):
            # What is open first: a ticket that closes frees its margin for the next.
            for state in (OPEN, PENDING):
                left = accounts[a].live  # slots in use that are still to be met
                slot = -1
                while left > 0:
                    slot += 1
                    ticket = tickets[a, slot]
                    if ticket.state == FREE:
                        continue
                    left -= 1
                    if ticket.state == state and ticket.symbol == symbol:
                        n = ticket_step(accounts[a], ticket, terms[symbol], bar, a, slot, events, n)
    for a in range(accounts.shape[0]):
        account = accounts[a]
        # A flat account's equity is its balance; only what moved is judged. A ticket closed at
        # the very price of the last mark moves nothing but a floor that trails the balance.
        moved = account.live > 0 or account.equity != account.balance or account.adjust != 0
        if not moved and account.trail == TRAIL_BALANCE:
            top = min(account.balance - account.trail_distance, account.trail_lock)
            moved = account.total_floor < top
        if moved:
            n = judge_account(accounts, tickets, terms, bars, marks, a, now_ns, events, n)
    for row in range(first, last):
        if bars[row].symbol >= 0:
            marks[bars[row].symbol].row = -1
    return n


@kernel(int64(*_fixed, int64, int64, int64))
def settle_account(
    accounts: Records,
    tickets: Records,
    terms: Records,
    marks: Records,
    events: Records,
    a: int,
    now_ns: int,
    reason: int,
) -> int:
    """Close one account's tickets at the last marks, as at the end of a season."""
    n = 0
    account = accounts[a]
    for slot in range(tickets.shape[1]):
        ticket = tickets[a, slot]
        if ticket.state == PENDING:
            n = cancel_ticket(account, ticket, a, slot, 0, now_ns, reason, events, n)
        elif ticket.state == OPEN:
            mark = marks[ticket.symbol]
            price = mark.bid if ticket.side > 0 else mark.ask
            n = close_ticket(
                account,
                ticket,
                terms[ticket.symbol],
                a,
                slot,
                price,
                ticket.steps,
                mark.ask - mark.bid,
                now_ns,
                reason,
                events,
                n,
            )
    account.equity = account.balance
    account.worst = min(account.worst, account.equity)
    account.day_worst = min(account.day_worst, account.equity)
    return n
