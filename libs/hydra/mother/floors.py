"""The guardian's floors on every account: set in the book, and what follows when one is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from hydra.guardian.guardian import Guardian
from hydra.guardian.verdicts import Breach
from hydra.mother.ledgers import Account
from hydra.portfolio.book import AccountBook, Event
from hydra.portfolio.columns import BY_STOP_OUT, REASONS, TRAIL_BALANCE, TRAIL_EQUITY
from hydra.tournament.season import LatchRow, SeasonStore


class Floors:
    """Of all accounts. `on_total_breach` is told of an account that is lost, and why."""

    def __init__(
        self,
        *,
        book: AccountBook,
        guardians: Sequence[Guardian],
        store: SeasonStore,
        record: Callable[[str, str, Mapping[str, object]], None],
        on_total_breach: Callable[[Account, str], None],
    ) -> None:
        self._book = book
        self._guardians = guardians  # one for each account
        self._store = store
        self._record = record  # (engine, kind, body) to the journal
        self._on_total_breach = on_total_breach

    def set(self, account: Account) -> None:
        """Give the compiled step the floors to watch from now on."""
        guardian = self._guardians[account.index]
        row = self._book.accounts[account.index]
        row["daily_floor"], row["total_floor"] = guardian.floors(account.name)
        trail = guardian.trail(account.name)
        if trail is not None:
            row["trail"] = TRAIL_BALANCE if trail.on == "balance" else TRAIL_EQUITY
            row["trail_distance"] = trail.distance_units
            row["trail_lock"] = trail.lock_units

    def reached(self, account: Account, event: Event, now_ns: int) -> None:
        """The compiled step says that the account's equity fell to a floor."""
        reason = REASONS[event.reason]
        self._record(
            account.name, "breach", {"rule": reason, "worst_units": event.pnl, "at_ns": event.at_ns}
        )
        if event.reason == BY_STOP_OUT:
            return
        guardian = self._guardians[account.index]
        self.latch(
            account,
            guardian.on_worst_equity(account.name, event.pnl, account.equity_units, now_ns),
        )
        self.set(account)

    def latch(self, account: Account, breaches: Sequence[Breach]) -> None:
        """Record limits that were reached; an account that lost for good is out."""
        for breach in breaches:
            row = LatchRow(
                engine=account.name,
                rule=breach.rule,
                at_ns=breach.at_ns,
                until_ns=breach.until_ns,
                limit_units=breach.limit_units,
                figure_units=breach.figure_units,
                text=breach.text,
            )
            self._store.latch(row)
            self._record(account.name, "latch", msgspec.to_builtins(row))
        lasting = [breach for breach in breaches if breach.until_ns is None]
        if lasting:
            self._on_total_breach(account, lasting[0].text)
