"""What an engine would have had without the guardian's changes.

Until the guardian first changes something, the shadow is the account. From then on it is a
double of the account in the same book, without floors, which gets every intent as it was
asked for: a resized ticket at the size that was wished, a refused one after all. Repeated
wishes for a side that the shadow already holds on a symbol are one wish (an engine that was
refused asks again), and a shadow ticket without a counterpart ends at its stop, its target
or when the engine next closes or turns on that symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.guardian.guardian import Approved, Guardian, Refused
from hydra.mother.ledgers import Account, LiveTicket
from hydra.portfolio.columns import BY_ENGINE
from hydra.portfolio.intents import Open

if TYPE_CHECKING:
    from hydra.mother.desk import Desk


class Shadows:
    """The shadow accounts of a season: rows `first` and up of the same book."""

    def __init__(self, *, first: int, sizers: Sequence[Guardian]) -> None:
        self._first = first
        self._sizers = sizers  # of the profile "none": they size a wish and refuse nothing
        self._cast: set[int] = set()  # accounts whose shadow has left them

    def equity_units(self, account: Account, equities: Sequence[int]) -> int:
        """The shadow's equity of all rows': the account's own while nothing was changed."""
        is_cast = account.index in self._cast
        return equities[account.index + self._first * is_cast]

    def cast(self, account: Account) -> None:
        """From here on the shadow goes its own way (it does already: nothing happens)."""
        if account.index in self._cast:
            return
        self._cast.add(account.index)
        account.book.copy_account(account.index, self._first + account.index)

    def refused(self, desk: Desk, account: Account, intent: Open, latency_ns: int) -> None:
        """The account did not get it; the shadow does."""
        self.cast(account)
        self._open(desk, account, intent, latency_ns, ticket=0)

    def approved(
        self, desk: Desk, account: Account, verdict: Approved, latency_ns: int, ticket: LiveTicket
    ) -> None:
        """The account got it, perhaps smaller; the shadow gets what was asked for."""
        if verdict.changes and account.index not in self._cast:
            # The order is in the book already: the double must not hold the small one.
            self.cast(account)
            self._free(account, ticket.slot)
        if account.index in self._cast:
            self._open(desk, account, verdict.intent, latency_ns, ticket=ticket.id)

    def _free(self, account: Account, slot: int) -> None:
        shadow = self._first + account.index
        account.book.tickets[shadow, slot]["state"] = 0
        account.book.accounts[shadow]["live"] -= 1

    def _open(
        self, desk: Desk, account: Account, intent: Open, latency_ns: int, *, ticket: int
    ) -> None:
        book, shadow = account.book, self._first + account.index
        symbol = desk.symbol_of(intent.symbol)
        if symbol is None:
            return
        for slot in book.live_slots(shadow):
            row = book.tickets[shadow, slot]
            if row["symbol"] != symbol:
                continue
            if ticket == 0 and row["side"] == intent.side:
                return
            if row["id"] == 0 and row["side"] != intent.side:
                self._end(account, slot, int(row["steps"]), desk.moment.now_ns + latency_ns)
        verdict = desk.size_freely(self._sizers[account.index], account, intent)
        if isinstance(verdict, Refused):
            return
        desk.lay_down(shadow, verdict, ticket=ticket, latency_ns=latency_ns)

    def closed(
        self, desk: Desk, account: Account, ticket: LiveTicket, steps: int, latency_ns: int
    ) -> None:
        """The engine closes a ticket: its counterpart goes in the same part, strays wholly."""
        if account.index not in self._cast:
            return
        book, shadow = account.book, self._first + account.index
        part = steps / max(1, ticket.left or ticket.steps)
        for slot in book.live_slots(shadow):
            row = book.tickets[shadow, slot]
            if row["id"] == ticket.id:
                self._end(
                    account, slot, max(1, int(row["steps"] * part)), desk.moment.now_ns + latency_ns
                )
            elif row["id"] == 0 and row["symbol"] == ticket.symbol:
                self._end(account, slot, int(row["steps"]), desk.moment.now_ns + latency_ns)

    def left(self, desk: Desk, account: Account) -> None:
        """Its engine is out, and would be without the guardian: all that is open ends."""
        if account.index not in self._cast:
            return
        shadow = self._first + account.index
        for slot in account.book.live_slots(shadow):
            steps = int(account.book.tickets[shadow, slot]["steps"])
            self._end(account, slot, steps, desk.moment.now_ns)

    def _end(self, account: Account, slot: int, steps: int, arrives_ns: int) -> None:
        account.book.request_close(
            self._first + account.index, slot, steps=steps, arrives_ns=arrives_ns, reason=BY_ENGINE
        )

    def amended(
        self,
        desk: Desk,
        account: Account,
        ticket: LiveTicket,
        stop_at: int,
        target_at: int,
        latency_ns: int,
    ) -> None:
        """The counterpart's stop and target move along."""
        if account.index not in self._cast:
            return
        shadow = self._first + account.index
        for slot in account.book.live_slots(shadow):
            if account.book.tickets[shadow, slot]["id"] == ticket.id:
                account.book.amend(
                    shadow,
                    slot,
                    stop_at=stop_at,
                    target_at=target_at,
                    arrives_ns=desk.moment.now_ns + latency_ns,
                )
