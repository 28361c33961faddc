"""A book of accounts that a test moves bar by bar: what the compiled step does, to the last unit.

One tick on one step is worth one unit, and a bar lasts a hundred nanoseconds, unless a test
says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hydra.portfolio.book import AccountBook, Event
from hydra.portfolio.columns import BAR, BY_ENGINE, MARKET, TERMS

BAR_NS = 100
NEVER = 2**61
Prices = tuple[int, int, int, int]  # open, high, low, close


def terms(symbols: int = 1, **fields: int) -> NDArray[np.void]:
    made = np.zeros(symbols, TERMS)
    for name, value in ({"tick_value": 1, "leverage_x100": 10_000} | fields).items():
        made[name] = value
    return made


@dataclass
class Tape:
    """A book, moved bar by bar."""

    book: AccountBook
    now_ns: int = 0
    tickets: int = 0
    all_events: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, balance: int = 1_000_000, accounts: int = 1, **changes: int) -> Tape:
        symbols = changes.pop("symbols", 1)
        slots, grace_ns = changes.pop("slots", 4), changes.pop("grace_ns", 0)
        made = terms(symbols, **changes)
        return cls(
            AccountBook(
                accounts=accounts, initial_units=balance, terms=made, slots=slots, grace_ns=grace_ns
            )
        )

    def play(
        self,
        *bars: Prices | None,
        spread: int = 0,
        book: NDArray[np.int64] | None = None,
        **fields: float,
    ) -> list[Event]:
        """One cycle: a bar for each symbol in turn, None where it has none. `book`: the levels
        of them all as in `fills.walked`."""
        if book is not None:
            self.book.terms["levels"] = book
            fields["is_walked"] = 1
        there = [(symbol, bar) for symbol, bar in enumerate(bars) if bar is not None]
        rows = np.zeros(len(there), BAR)
        for row, (symbol, prices) in zip(rows, there, strict=True):
            row["symbol"] = symbol
            row["open_ns"], row["close_ns"] = self.now_ns, self.now_ns + BAR_NS
            for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
                row[f"bid_{name}"], row[f"ask_{name}"] = price, price + spread
            for name, value in fields.items():
                row[name] = value
        self.now_ns += BAR_NS
        events = self.book.events(self.book.step(rows, 0, len(rows), self.now_ns))
        self.all_events += events
        return events

    def order(self, side: int, steps: int, **changes: int) -> int:
        """Submit a market order, or another; returns its slot."""
        self.tickets += 1
        values = {
            "account": 0, "ticket": self.tickets, "symbol": 0, "order": MARKET, "price": 0,
            "stop_at": 0, "target_at": 0, "arrives_ns": self.now_ns, "expires_ns": 0,
            "worst_entry": 0,
        }  # fmt: skip
        return self.book.submit(side=side, steps=steps, **(values | changes))

    def close(self, slot: int, steps: int, account: int = 0) -> None:
        self.book.request_close(
            account, slot, steps=steps, arrives_ns=self.now_ns, reason=BY_ENGINE
        )

    def __getitem__(self, name: str) -> int:
        return int(self.book.accounts[0][name])


def flat(price: int) -> Prices:
    return price, price, price, price


def kinds(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.kind, event.reason) for event in events]
