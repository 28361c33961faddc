"""One account as Mother keeps it beside the arrays: its name, its tickets, its rows."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.engines.view import ClosedTicket, Ruling, View
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.mother.tally import Tally
from hydra.portfolio.book import AccountBook, Event
from hydra.portfolio.columns import REASONS
from hydra.portfolio.intents import Open, Ticket
from hydra.tournament.season import TicketRow

RULINGS = 10  # refusals and resizings that an engine is shown

# One closed ticket: 80 bytes, where the ticket itself would hold on to a kilobyte.
TRADE = np.dtype(
    [
        (name, "<i8")
        for name in (
            "symbol",
            "side",
            "steps",
            "entry_ticks",
            "entry_ns",
            "closed_ns",
            "net",
            "fees",  # commission and swap
            "spread",
            "counts",  # 0: it was decided before its model's knowledge cutoff
        )
    ]
)


@dataclass(slots=True, eq=False)
class LiveTicket:
    """A ticket from its order to its last close. Money 1e-8 USD, prices in ticks."""

    id: int
    slot: int
    symbol: int
    instrument: Instrument
    intent: Open
    steps: int
    decided_ns: int
    stop_ticks: int
    target_ticks: int
    entry_ticks: int = 0
    entry_ns: int = 0
    left: int = 0
    exit_ticks: int = 0
    closed_ns: int = 0
    pnl: int = 0  # realised, before commission and swap
    commission: int = 0
    swap: int = 0
    spread: int = 0
    balance_before: int = 0
    status: str = "PENDING"
    reason: str | None = None
    shown: Ticket | None = None  # as its engine saw it last; None: it has changed
    tag: str = ""  # why it does not count for ranks
    old_stop_ticks: int = 0  # the stop in force while another is on its way to the market

    def seen(self) -> Ticket:
        """The ticket as its engine sees it."""
        if self.shown is not None:
            return self.shown
        one = self.instrument
        is_open = self.status == "OPEN"
        self.shown = Ticket(
            id=self.id,
            symbol=one.symbol,
            side=self.intent.side,
            lots=one.lots(self.left if is_open else self.steps),
            stop=one.price(self.stop_ticks) if self.stop_ticks else None,
            target=one.price(self.target_ticks) if self.target_ticks else None,
            is_open=is_open,
            entry=one.price(self.entry_ticks) if is_open else None,
            entry_ns=self.entry_ns if is_open else self.decided_ns,
            thesis=self.intent.thesis,
            invalidation=self.intent.invalidation,
            target_first=self.intent.target_first,
            order=self.intent.order,
            price=self.intent.price,
        )
        return self.shown

    @property
    def net(self) -> int:
        """Realised P&L after every cost."""
        return self.pnl - self.commission - self.swap

    def close(self, event: Event) -> None:
        """Take in a (partial) close."""
        self.pnl += event.pnl
        self.commission += event.commission
        self.spread += event.spread
        self.exit_ticks = event.price
        self.left = event.left
        if event.left == 0:
            self.status = "CLOSED"
            self.closed_ns = event.at_ns
            self.reason = REASONS[event.reason]

    def row(self, engine: str) -> TicketRow:
        """The row of hydra_trades."""
        one, intent = self.instrument, self.intent
        filled = self.status in ("OPEN", "CLOSED")
        closed = self.status == "CLOSED"
        ended = closed or self.status == "CANCELLED"
        net = self.net
        outcome = "win" if net > 0 else "loss" if net < 0 else "breakeven"
        return TicketRow(
            ticket=self.id,
            engine=engine,
            asset=one.symbol,
            direction="LONG" if intent.side > 0 else "SHORT",
            status=self.status,
            decided_ns=self.decided_ns,
            opened_ns=self.entry_ns if filled else None,
            closed_ns=self.closed_ns if ended else None,
            lots=one.lots(self.steps),
            entry_price=one.price(self.entry_ticks) if filled else None,
            exit_price=one.price(self.exit_ticks) if closed else None,
            stop_price=one.price(self.stop_ticks) if self.stop_ticks else None,
            target_price=one.price(self.target_ticks) if self.target_ticks else None,
            pnl_units=net if closed else None,
            pnl_frac=net / self.balance_before if closed else None,
            gross_units=net + self.commission + self.swap + self.spread if closed else None,
            commission_units=self.commission,
            swap_units=self.swap,
            spread_units=self.spread,
            outcome=outcome if closed else None,
            exit_reason=self.reason if ended else None,
            confidence=intent.confidence,
            thesis=intent.thesis,
            target_first=intent.target_first,
            tag=self.tag,
        )

    def told(self) -> ClosedTicket:
        """The ticket, over, as its engine is told of it."""
        one, intent = self.instrument, self.intent
        return ClosedTicket(
            id=self.id,
            symbol=one.symbol,
            side=intent.side,
            entry=one.price(self.entry_ticks),
            exit=one.price(self.exit_ticks),
            entry_ns=self.entry_ns,
            closed_ns=self.closed_ns,
            net_usd=Decimal(self.net) / UNITS_PER_USD,
            net_frac=self.net / self.balance_before,
            reason=self.reason or "",
            stop=one.price(self.stop_ticks) if self.stop_ticks else None,
            target=one.price(self.target_ticks) if self.target_ticks else None,
            thesis=intent.thesis,
            confidence=intent.confidence,
            target_first=intent.target_first,
        )


@dataclass(slots=True, eq=False)
class Account:
    """An account: what its engine may see of it, and the tickets that are alive."""

    name: str
    index: int
    initial_units: int
    book: AccountBook
    live: dict[int, LiveTicket] = field(default_factory=dict)  # by ticket id, oldest first
    tickets: tuple[Ticket, ...] = ()
    views: dict[str, list[View]] = field(default_factory=dict)  # by symbol
    trades: int = 0  # closed tickets
    tagged_trades: int = 0  # of those, what does not count
    wins: int = 0
    _closed: array[int] = field(default_factory=lambda: array("q"))  # TRADE after TRADE
    turnover_units: int = 0  # notional of every fill
    posted_units: int = 0  # of the events that were taken in so far
    tagged_units: int = 0  # of those, what tickets posted that do not count
    cutoff_ns: int = 0  # tickets decided before it are tagged
    rulings: deque[Ruling] = field(default_factory=lambda: deque(maxlen=RULINGS))
    over: list[ClosedTicket] | None = None  # its closed tickets; None: nobody asks for them
    tally: Tally = field(default_factory=Tally)
    amending: bool = False  # a stop may be on its way to the market

    @property
    def equity_units(self) -> int:
        return int(self.book.accounts[self.index]["equity"])

    @property
    def balance_units(self) -> int:
        return int(self.book.accounts[self.index]["balance"])

    @property
    def counted_units(self) -> int:
        """Net P&L since the season's start, without what tagged tickets made."""
        return self.equity_units - self.initial_units - self.tagged_units - self._tagged_open()

    def _tagged_open(self) -> int:
        """What the tagged tickets that are open would bring now, before commission."""
        units = 0
        for ticket in self.live.values() if self.cutoff_ns else ():
            if ticket.tag and ticket.status == "OPEN":
                mark = self.book.marks[ticket.symbol]
                side = int(ticket.intent.side)
                price = int(mark["bid"] if side > 0 else mark["ask"])
                value = int(self.book.terms[ticket.symbol]["tick_value"])
                units += side * (price - ticket.entry_ticks) * ticket.left * value
        return units

    def post(self, ticket: LiveTicket, units: int) -> None:
        """An event of the ticket changed the balance."""
        self.posted_units += units
        if ticket.tag:
            self.tagged_units += units

    def keep(self, ticket: LiveTicket) -> None:
        """Remember a ticket that is closed, for the season's statistics."""
        if self.over is not None:
            self.over.append(ticket.told())
        self.trades += 1
        self.tagged_trades += bool(ticket.tag)
        self.wins += ticket.net > 0
        self._closed.extend(
            (
                ticket.symbol,
                int(ticket.intent.side),
                ticket.steps,
                ticket.entry_ticks,
                ticket.entry_ns,
                ticket.closed_ns,
                ticket.net,
                ticket.commission + ticket.swap,
                ticket.spread,
                not ticket.tag,
            )
        )

    def closed(self) -> NDArray[np.void]:
        """(trades,) TRADE records of the tickets that are closed, in the order they closed."""
        return np.frombuffer(self._closed, TRADE) if self._closed else np.zeros(0, TRADE)

    def move_stop(self, ticket: LiveTicket, stop_ticks: int) -> None:
        """A new stop is on its way; in a bar that it reaches too late the old one is still hit."""
        ticket.old_stop_ticks = ticket.old_stop_ticks or ticket.stop_ticks
        ticket.stop_ticks = stop_ticks
        self.amending = True

    def guarded(self) -> tuple[Ticket, ...]:
        """The tickets as the guardian counts them: of an old and a new stop the worse.

        Else a stop that is drawn nearer would free risk for a new ticket while the old stop
        can still be hit.
        """
        if not self.amending:
            return self.tickets
        self.amending = False
        rows, marks = self.book.tickets[self.index], self.book.marks
        tickets = []
        for ticket in self.live.values():
            seen = ticket.shown or ticket.seen()
            if rows[ticket.slot]["amend_arrives_ns"] <= marks[ticket.symbol]["at_ns"]:
                ticket.old_stop_ticks = 0  # every bar to come opens with the new one
            if ticket.old_stop_ticks:
                self.amending = True
                if ticket.intent.side * (ticket.stop_ticks - ticket.old_stop_ticks) > 0:
                    stop = ticket.instrument.price(ticket.old_stop_ticks)
                    seen = msgspec.structs.replace(seen, stop=stop)
            tickets.append(seen)
        return tuple(tickets)

    def refresh(self, ticket: LiveTicket) -> None:
        """Show the engine its tickets as they are now that this one has changed."""
        ticket.shown = None
        symbol = ticket.instrument.symbol
        shown = tuple([one.shown or one.seen() for one in self.live.values()])
        self.tickets = shown
        mine = shown
        for one in shown:
            if one.symbol != symbol:
                mine = tuple([one for one in shown if one.symbol == symbol])
                break
        for view in self.views.get(symbol, ()):
            view.tickets = mine
