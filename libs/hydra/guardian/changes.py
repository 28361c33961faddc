"""Closes and amendments: what shrinks risk passes, what widens a stop is judged as risk."""

from __future__ import annotations

from hydra.guardian.memory import Memory
from hydra.guardian.proposal import Proposal, form_amended
from hydra.guardian.risks import Risks
from hydra.guardian.rules import RuleBook
from hydra.guardian.verdicts import Allowed, Refused
from hydra.portfolio.account import AccountState, MarketState
from hydra.portfolio.intents import Amend, Close, Open, Ticket


def review_close(intent: Close, account: AccountState, market: MarketState) -> Allowed | Refused:
    """A close always passes, whatever is latched; more than there is means all of it."""
    ticket = _ticket(account, intent.ticket)
    if ticket is None:
        return _no_ticket(intent)
    instrument = market.instrument(ticket.symbol)
    if instrument is None:
        text = f"{ticket.symbol!r} is not traded in this season"
        return Refused(intent, "instrument", None, ticket.symbol, text)
    most = instrument.steps(ticket.lots)
    if intent.lots is None:
        return Allowed(intent, most)
    try:
        steps = int(intent.lots // instrument.lot_step)
    except (TypeError, ValueError, ArithmeticError):
        steps = 0
    if steps <= 0:
        text = f"{intent.lots} lots are not at least one step of {instrument.lot_step}"
        return Refused(intent, "malformed", str(instrument.lot_step), str(intent.lots), text)
    return Allowed(intent, min(steps, most))


def review_amend(
    intent: Amend,
    account: AccountState,
    market: MarketState,
    *,
    memory: Memory,
    book: RuleBook,
    risks: Risks,
    kill_reason: str | None,
) -> Allowed | Refused:
    """A nearer stop always passes, another target within the rates, a wider stop as new risk."""
    ticket = _ticket(account, intent.ticket)
    if ticket is None:
        return _no_ticket(intent)
    instrument = market.instrument(ticket.symbol)
    if instrument is None:
        text = f"{ticket.symbol!r} is not traded in this season"
        return Refused(intent, "instrument", None, ticket.symbol, text)
    grid = risks.grid(instrument)
    touch = market.touch(ticket.symbol)
    worst: int | None = None
    if not ticket.is_open:
        worst = memory.worst_entry_ticks(ticket.symbol, ticket.side, ticket.entry_ns)
    formed = form_amended(intent, ticket, grid, touch, worst)
    if isinstance(formed, Refused):
        return formed
    stop_ticks, _ = formed
    allowed = Allowed(intent, instrument.steps(ticket.lots))
    old_ticks = None if ticket.stop is None else instrument.ticks(ticket.stop)
    moved = 0  # ticks by which the stop comes nearer
    if stop_ticks is not None:
        if old_ticks is None:
            return allowed
        moved = ticket.side * (stop_ticks - old_ticks)
        if moved > 0:
            return allowed
    if moved == 0:
        for gate in book.rates:
            refused = gate.judge(intent, account, market, memory)
            if refused is not None:
                return refused
        return allowed
    if kill_reason is not None:
        return killed(intent, kill_reason)
    memory.look_at(account, market.now_ns)
    for gate in book.gates:
        refused = gate.judge(intent, account, market, memory)
        if refused is not None:
            return refused
    if not book.widening:
        return allowed
    entry_ticks = worst if ticket.entry is None else instrument.ticks(ticket.entry)
    if touch is None or entry_ticks is None or stop_ticks is None:
        text = f"ticket {ticket.id} has no known price or entry: its risk is unknown"
        return Refused(intent, "risk-budget", None, None, text)
    loss_units = max(0, grid.loss_units(ticket.side, entry_ticks, stop_ticks))
    proposal = Proposal(
        intent, ticket.symbol, ticket.side, grid, touch, allowed.steps, True, stop_ticks,
        None, loss_units, ticket.id,
    )  # fmt: skip
    for rule in book.widening:
        verdict = rule.judge(proposal, account, market, memory)
        if isinstance(verdict, Refused):
            return verdict
        for change in verdict.changes:  # a ticket cannot shrink with its stop
            text = f"with the stop at {intent.stop} the ticket would be too large"
            return Refused(intent, change.rule, change.limit, change.figure, text)
    return allowed


def killed(intent: Open | Amend, reason: str) -> Refused:
    """The refusal of everything that adds risk while the kill switch is on."""
    return Refused(intent, "kill-switch", None, None, f"kill switch: {reason}")


def _ticket(account: AccountState, number: int) -> Ticket | None:
    for ticket in account.tickets:
        if ticket.id == number:
            return ticket
    return None


def _no_ticket(intent: Close | Amend) -> Refused:
    text = f"the account has no ticket {intent.ticket}"
    return Refused(intent, "ticket", None, intent.ticket, text)
