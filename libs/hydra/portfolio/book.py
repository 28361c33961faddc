"""The accounts of a season as arrays: the ledger that the compiled step settles at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydra.market.bars import Int64
from hydra.portfolio.columns import (
    ACCOUNT,
    EVENT,
    FREE,
    MARK,
    NO_FLOOR,
    OPEN,
    PENDING,
    TICKET,
)
from hydra.portfolio.kernels import settle_account, step_cycle

Records = NDArray[np.void]


class Event(NamedTuple):
    """What a step did, fields as in `columns.EVENT`."""

    kind: int
    account: int
    slot: int
    ticket: int
    price: int
    steps: int
    pnl: int
    commission: int
    spread: int
    at_ns: int
    reason: int
    left: int


class AccountBook:
    """All accounts of a season. Money is 1e-8 USD; see `columns` for the fields.

    Orders go in (`submit`, `request_close`, `amend`), bars move it (`step`), events come
    out. An account's tickets sit in slots; a slot is named by (account, slot).
    """

    def __init__(
        self,
        *,
        accounts: int,
        initial_units: int,
        terms: Records,
        slots: int = 4,
        grace_ns: int = 0,
    ) -> None:
        """`grace_ns`: how long after its close a bar is told. Whoever acts on it acts so much
        later: it is added to every `arrives_ns`."""
        self.accounts: Records = np.zeros(accounts, ACCOUNT)
        for name in ("balance", "equity", "worst", "peak", "day_worst"):
            self.accounts[name] = initial_units
        self.accounts["daily_floor"] = self.accounts["total_floor"] = NO_FLOOR
        self.tickets: Records = np.zeros((accounts, slots), TICKET)
        self.terms = terms
        self._grace_ns = grace_ns
        self.marks: Records = np.zeros(len(terms), MARK)
        self.marks["row"] = -1
        self._bind()

    def _bind(self) -> None:
        """Make room for events, and `step`: (bars, first, last, now_ns) → number of events.

        `step` plays the bars `first:last`, which close at `now_ns`. It is replaced when the
        arrays are: call it as an attribute.
        """
        accounts, slots = self.tickets.shape
        self._events: Records = np.zeros(accounts * (3 * slots + 1), EVENT)
        self.step = partial(
            step_cycle, self.accounts, self.tickets, self.terms, self.marks, self._events
        )

    def show(self, bars: Records, books: Mapping[int, Int64], first: int, last: int) -> None:
        """Lay down the books, by row, of the bars `first:last` that are to be walked in the next
        step; each as in `BarTable.depth`."""
        for row in range(first, last):
            if row in books:
                self.terms["levels"][bars["symbol"][row]] = books[row]

    def settle(self, account: int, now_ns: int, reason: int) -> int:
        """Close all of one account's tickets at the last marks; returns the event count."""
        return settle_account(
            self.accounts, self.tickets, self.terms, self.marks, self._events, account, now_ns,
            reason,
        )  # fmt: skip

    def events(self, n: int) -> list[Event]:
        """The first `n` events of the newest step, in the order they happened."""
        return [Event(*row) for row in self._events[:n].tolist()]

    def submit(
        self,
        *,
        account: int,
        ticket: int,
        symbol: int,
        side: int,
        steps: int,
        order: int,
        price: int,
        stop_at: int,
        target_at: int,
        arrives_ns: int,
        expires_ns: int,
        worst_entry: int,
    ) -> int:
        """Lay an order down; returns its slot. Prices in ticks, 0 for none."""
        states: list[int] = self.tickets[account]["state"].tolist()
        try:
            slot = states.index(FREE)
        except ValueError:
            slot = len(states)
            self._grow()
        self.tickets[account, slot] = (
            PENDING, ticket, symbol, side, steps, order, price, stop_at, target_at,
            arrives_ns + self._grace_ns, expires_ns, worst_entry, 0, 0, 0, 0, 0, -1, -1, 0,
        )  # fmt: skip
        self.accounts[account]["live"] += 1
        return slot

    def _grow(self) -> None:
        self.tickets = np.concatenate((self.tickets, np.zeros_like(self.tickets)), axis=1)
        self._bind()

    def request_close(
        self, account: int, slot: int, *, steps: int, arrives_ns: int, reason: int
    ) -> None:
        """Ask to close `steps` of a ticket, or to cancel it while it is pending.

        Asking again for what is under way does not delay it.
        """
        arrives_ns += self._grace_ns
        row = self.tickets[account, slot]
        if row["close_steps"] >= steps and row["close_arrives_ns"] <= arrives_ns:
            return
        row["close_steps"] = steps
        row["close_arrives_ns"] = arrives_ns
        row["close_reason"] = reason

    def amend(
        self, account: int, slot: int, *, stop_at: int, target_at: int, arrives_ns: int
    ) -> None:
        """Replace stop and target (ticks; -1 leaves one as it is) from `arrives_ns` on.

        An earlier amendment that is still under way arrives together with this one.
        """
        arrives_ns += self._grace_ns
        row = self.tickets[account, slot]
        under_way = row["amend_arrives_ns"] != 0
        if under_way and row["amend_arrives_ns"] <= self.marks[row["symbol"]]["at_ns"]:
            # It arrived inside the newest bar and holds from its close on.
            for now, new in (("stop_at", "new_stop"), ("target_at", "new_target")):
                if row[new] >= 0:
                    row[now] = row[new]
            under_way = False
        if stop_at >= 0 or not under_way:
            row["new_stop"] = stop_at
        if target_at >= 0 or not under_way:
            row["new_target"] = target_at
        row["amend_arrives_ns"] = arrives_ns

    def open_slots(self, account: int) -> list[int]:
        """Slots of the account that hold an open ticket."""
        return np.flatnonzero(self.tickets[account]["state"] == OPEN).tolist()

    def live_slots(self, account: int) -> list[int]:
        """Slots of the account that hold an open ticket or a pending order."""
        return np.flatnonzero(self.tickets[account]["state"] != FREE).tolist()

    def copy_account(self, source: int, target: int) -> None:
        """Make `target` the double of `source`, tickets included, without its floors."""
        floors = ("daily_floor", "total_floor", "trail")
        kept: Sequence[int] = [int(self.accounts[target][name]) for name in floors]
        self.accounts[target] = self.accounts[source]
        for name, value in zip(floors, kept, strict=True):
            self.accounts[target][name] = value
        self.tickets[target] = self.tickets[source]
