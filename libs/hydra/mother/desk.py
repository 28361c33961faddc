"""The desk: from an engine's wish through the guardian to the book, and back as fills.

It is the only place that changes an account, and it records everything that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from hydra.engines.protocol import Answer
from hydra.engines.view import Ruling
from hydra.guardian.guardian import Allowed, Approved, Guardian, Refused
from hydra.guardian.verdicts import GuardianDay
from hydra.market.instruments import Instrument
from hydra.mother.floors import Floors
from hydra.mother.invalidations import proved_wrong
from hydra.mother.ledgers import Account, LiveTicket
from hydra.mother.market import BookMarket
from hydra.mother.moment import Moment
from hydra.mother.records import facts_of, resizing_of, verdict_of
from hydra.mother.shadow import Shadows
from hydra.portfolio.account import AccountState
from hydra.portfolio.book import AccountBook, Event
from hydra.portfolio.columns import (
    BREACHED,
    BY_ENGINE,
    BY_INVALIDATION,
    BY_RISK_BUDGET,
    CANCELLED,
    CLOSED,
    LIMIT,
    MARKET,
    OPENED,
    REASONS,
    STOP,
)
from hydra.portfolio.intents import Amend, Close, Intent, Open, OrderType
from hydra.tournament.season import TAG_CUTOFF, GuardianDayRow, SeasonStore

ORDER_CODES = {OrderType.MARKET: MARKET, OrderType.LIMIT: LIMIT, OrderType.STOP: STOP}
NS_PER_S = 1_000_000_000
encode = msgspec.json.Encoder(order="deterministic").encode


class Desk:
    """Trades for all accounts of a season."""

    def __init__(
        self,
        *,
        moment: Moment,
        book: AccountBook,
        accounts: Sequence[Account],
        on_total_breach: Callable[[Account, str], None],
        guardians: Sequence[Guardian],
        instruments: Sequence[Instrument],
        market: BookMarket,
        shadows: Shadows,
        store: SeasonStore,
    ) -> None:
        self.book = book
        self.accounts = accounts
        self.moment = moment
        self._guardians = guardians  # one for each account
        self._instruments = instruments
        self._symbols: Mapping[str, int] = {one.symbol: i for i, one in enumerate(instruments)}
        self._market = market
        self._shadows = shadows
        self._store = store
        self.floors = Floors(
            book=book,
            guardians=guardians,
            store=store,
            record=self.record,
            on_total_breach=on_total_breach,
        )
        self._next_ticket = 1
        self.watched: dict[int, tuple[Account, LiveTicket]] = {}  # with something to prove wrong
        self._changed: dict[int, tuple[Account, LiveTicket]] = {}

    # Records

    def record(
        self, engine: str, kind: str, body: Mapping[str, object], amount_units: int | None = None
    ) -> None:
        """Append to the journal."""
        moment = self.moment
        self._store.journal(moment.cycle, moment.now_ns, engine, kind, amount_units, encode(body))

    def write_tickets(self) -> None:
        """Hand over the rows of tickets that changed; those of stored cycles the store has."""
        if self.moment.cycle >= self._store.stored_cycle:
            for account, ticket in self._changed.values():
                self._store.ticket(ticket.row(account.name))
        self._changed.clear()

    # From wish to order

    def wish(self, account: Account, intents: Sequence[Intent], latency_ns: int) -> None:
        """Judge and carry out what an engine asked for."""
        for intent in intents:
            if isinstance(intent, Open):
                self._open(account, intent, latency_ns)
            elif isinstance(intent, Close):
                self._close(account, intent, latency_ns)
            else:
                self._amend(account, intent, latency_ns)

    def state(self, account: Account, symbol: str | None = None) -> AccountState:
        """The account as the guardian is shown it; `symbol` is known to be fresh."""
        row = self.book.accounts[account.index].item()
        equity: int | None = row[1]
        for ticket in account.tickets:
            known = ticket.symbol == symbol or not ticket.is_open
            if not known and not self._market.is_fresh(ticket.symbol):
                equity = None
                break
        return AccountState(
            name=account.name,
            initial_units=account.initial_units,
            balance_units=row[0],
            equity_units=equity,
            margin_units=row[3],
            tickets=account.guarded(),
        )

    def _open(self, account: Account, intent: Open, latency_ns: int) -> None:
        verdict = self._guardians[account.index].review(
            intent, self.state(account, intent.symbol), self._market
        )
        if isinstance(verdict, Refused):
            self._refuse(account, intent.symbol, {"intent": intent}, verdict_of(verdict))
            self._shadows.refused(self, account, intent, latency_ns)
            return
        ticket = self._submit(account, verdict, latency_ns)
        body = {"ticket": ticket.id, "lots": ticket.instrument.lots(ticket.steps), "intent": intent}
        if verdict.changes:
            body["changes"] = verdict.changes
            account.rulings.append(resizing_of(verdict, ticket, self.moment.now_ns))
        self.record(account.name, "approved", body)
        self._shadows.approved(self, account, verdict, latency_ns, ticket)

    def _refuse(
        self, account: Account, symbol: str, body: dict[str, object], refused: dict[str, object]
    ) -> None:
        """Record a refusal, and remember it for its engine to see."""
        self.record(account.name, "refused", body | {"refused": refused})
        account.rulings.append(
            Ruling(
                at_ns=self.moment.now_ns,
                symbol=symbol,
                kind="refused",
                rule=str(refused["rule"]),
                text=str(refused["text"]),
            )
        )

    def hear(self, account: Account, answer: Answer) -> None:
        """Keep what was asked of a model for an answer."""
        account.tally.add_calls(answer)
        for call in answer.calls:
            self._store.model_call(call)
            self.record(account.name, "model", facts_of(call))
        for lesson in answer.lessons:
            self._store.lesson(lesson)

    def take(self, account: Account, answer: Answer, latency_ns: int) -> None:
        """Record what an answer says beside its intents, and wish for those."""
        account.tally.add_answer(answer)
        if answer.abstention is not None:
            why = answer.abstention
            self.record(account.name, "abstained", {"reason": why.reason, "text": why.text})
            return
        if answer.holds:
            self.record(account.name, "held", {"texts": answer.holds})
        for one in answer.refusals:
            refused: dict[str, object] = {
                "rule": one.rule, "limit": one.limit, "figure": one.figure, "text": one.text,
            }  # fmt: skip
            self._refuse(account, one.symbol, {"decision": one.decision}, refused)
        self.wish(account, answer.intents, latency_ns)

    def _submit(self, account: Account, verdict: Approved, latency_ns: int) -> LiveTicket:
        intent = verdict.intent
        symbol = self._symbols[intent.symbol]
        instrument = self._instruments[symbol]
        ticks = instrument.ticks
        ticket = LiveTicket(
            id=self._next_ticket,
            slot=0,
            symbol=symbol,
            instrument=instrument,
            intent=intent,
            steps=verdict.steps,
            decided_ns=self.moment.now_ns,
            stop_ticks=ticks(intent.stop) if intent.stop is not None else 0,
            target_ticks=ticks(intent.target) if intent.target is not None else 0,
            tag=TAG_CUTOFF if self.moment.now_ns < account.cutoff_ns else "",
        )
        self._next_ticket += 1
        if intent.invalidation is not None:
            self.watched[ticket.id] = (account, ticket)
        ticket.slot = self.lay_down(account.index, verdict, ticket=ticket.id, latency_ns=latency_ns)
        account.live[ticket.id] = ticket
        self._changed[ticket.id] = (account, ticket)
        account.refresh(ticket)
        return ticket

    def lay_down(self, account: int, verdict: Approved, *, ticket: int, latency_ns: int) -> int:
        """Put an approved order into the book; returns its slot."""
        intent = verdict.intent
        symbol = self._symbols[intent.symbol]
        ticks = self._instruments[symbol].ticks
        life_ns = int(intent.expires_s * NS_PER_S) if intent.expires_s else 0
        return self.book.submit(
            account=account,
            ticket=ticket,
            symbol=symbol,
            side=int(intent.side),
            steps=verdict.steps,
            order=ORDER_CODES[intent.order],
            price=ticks(intent.price) if intent.price is not None else 0,
            stop_at=ticks(intent.stop) if intent.stop is not None else 0,
            target_at=ticks(intent.target) if intent.target is not None else 0,
            arrives_ns=self.moment.now_ns + latency_ns,
            expires_ns=self.moment.now_ns + life_ns if life_ns else 0,
            worst_entry=verdict.worst_entry_ticks or 0,
        )

    def symbol_of(self, name: str) -> int | None:
        """The number of a symbol in the book."""
        return self._symbols.get(name)

    def size_freely(self, sizer: Guardian, account: Account, intent: Open) -> Approved | Refused:
        """What a guardian of the profile "none" makes of a wish."""
        return sizer.review(intent, self.state(account, intent.symbol), self._market)

    def _close(self, account: Account, intent: Close, latency_ns: int) -> None:
        ticket = account.live.get(intent.ticket)
        verdict = self._review_change(account, intent, ticket)
        if verdict is None or ticket is None:
            return
        self.book.request_close(
            account.index,
            ticket.slot,
            steps=verdict.steps,
            arrives_ns=self.moment.now_ns + latency_ns,
            reason=BY_ENGINE,
        )
        self._shadows.closed(self, account, ticket, verdict.steps, latency_ns)

    def _review_change(
        self, account: Account, intent: Close | Amend, ticket: LiveTicket | None
    ) -> Allowed | None:
        """What the guardian lets be done to a ticket; None, recorded, where it does not."""
        symbol = ticket.instrument.symbol if ticket is not None else None
        verdict = self._guardians[account.index].review(
            intent, self.state(account, symbol), self._market
        )
        if isinstance(verdict, Refused):
            self._refuse(account, symbol or "", {"intent": intent}, verdict_of(verdict))
            return None
        self.record(account.name, "approved", {"intent": intent})
        return verdict

    def _amend(self, account: Account, intent: Amend, latency_ns: int) -> None:
        ticket = account.live.get(intent.ticket)
        if self._review_change(account, intent, ticket) is None or ticket is None:
            return
        ticks = ticket.instrument.ticks
        stop = ticks(intent.stop) if intent.stop is not None else -1
        target = ticks(intent.target) if intent.target is not None else -1
        if stop >= 0:
            account.move_stop(ticket, stop)
        ticket.target_ticks = target if target >= 0 else ticket.target_ticks
        self.book.amend(
            account.index,
            ticket.slot,
            stop_at=stop,
            target_at=target,
            arrives_ns=self.moment.now_ns + latency_ns,
        )
        self._changed[ticket.id] = (account, ticket)
        account.refresh(ticket)
        self._shadows.amended(self, account, ticket, stop, target, latency_ns)

    # From fill to ledger

    def drain(self, n: int) -> None:
        """Take in the `n` events of the newest step."""
        for event in self.book.events(n):
            if event.account >= len(self.accounts):
                continue  # a shadow's: it leaves no rows
            account = self.accounts[event.account]
            if event.kind == BREACHED:
                self.floors.reached(account, event, self.moment.now_ns)
                continue
            ticket = account.live[event.ticket]
            self._changed[ticket.id] = (account, ticket)
            if event.kind == OPENED:
                self._opened(account, ticket, event)
            elif event.kind == CLOSED:
                self._closed(account, ticket, event)
            elif event.kind == CANCELLED:
                del account.live[ticket.id]
                self.watched.pop(ticket.id, None)
                ticket.status = "CANCELLED"
                ticket.reason = REASONS[event.reason]
                ticket.closed_ns = event.at_ns
                self.record(
                    account.name, "cancelled", {"ticket": ticket.id, "reason": ticket.reason}
                )
            else:
                ticket.swap -= event.pnl
                account.post(ticket, event.pnl)
                self.record(account.name, "swap", {"ticket": ticket.id}, event.pnl)
            account.refresh(ticket)

    def _opened(self, account: Account, ticket: LiveTicket, event: Event) -> None:
        ticket.status = "OPEN"
        ticket.entry_ticks = event.price
        ticket.entry_ns = event.at_ns
        ticket.left = event.steps
        ticket.commission += event.commission
        ticket.spread += event.spread
        ticket.balance_before = account.initial_units + account.posted_units
        account.post(ticket, -event.commission)
        account.turnover_units += self._notional(ticket, event)
        self._guardians[account.index].on_opened(account.name, event.at_ns)
        self.record(
            account.name,
            "opened",
            {
                "ticket": ticket.id,
                "price": ticket.instrument.price(event.price),
                "at_ns": event.at_ns,
                "spread_units": event.spread,
            },
            -event.commission,
        )

    def _closed(self, account: Account, ticket: LiveTicket, event: Event) -> None:
        ticket.close(event)
        account.post(ticket, event.pnl - event.commission)
        account.turnover_units += self._notional(ticket, event)
        self.record(
            account.name,
            "closed",
            {
                "ticket": ticket.id,
                "price": ticket.instrument.price(event.price),
                "lots": ticket.instrument.lots(event.steps),
                "at_ns": event.at_ns,
                "reason": REASONS[event.reason],
                "commission_units": event.commission,
                "spread_units": event.spread,
            },
            event.pnl - event.commission,
        )
        guardian = self._guardians[account.index]
        if guardian.trail(account.name) is not None:
            guardian.on_peak(account.name, account.balance_units)
        if event.left == 0:
            del account.live[ticket.id]
            self.watched.pop(ticket.id, None)
            account.keep(ticket)
            if not account.live:
                self._flat(account)

    def _notional(self, ticket: LiveTicket, event: Event) -> int:
        return event.price * event.steps * int(self.book.terms[ticket.symbol]["tick_value"])

    def _flat(self, account: Account) -> None:
        reached = self._guardians[account.index].on_flat(
            account.name, account.balance_units, self.moment.now_ns
        )
        if reached is not None:
            self.record(account.name, "target", msgspec.to_builtins(reached))

    def shed_risk(self, account: Account) -> None:
        """Close the tickets that risk most until the rest fits the guardian's budget.

        Without an intent the risk of what is open only grows by swap, and by a reset that
        raises the floor.
        """
        guardian = self._guardians[account.index]
        excess = guardian.excess_risk_units(self.state(account), self._market)
        if excess == 0:
            return
        self.record(account.name, "shed", {"excess_units": excess})
        tickets = sorted(account.live.values(), key=lambda t: (self._risk(t), t.id), reverse=True)
        for ticket in tickets:
            self._ask_to_close(account, ticket, BY_RISK_BUDGET, self.moment.now_ns)
            if excess is not None:
                excess -= self._risk(ticket)
                if excess <= 0:
                    return

    def _risk(self, ticket: LiveTicket) -> int:
        """Units that the ticket loses from its entry to its stop; unknown risks count most."""
        if not ticket.stop_ticks:
            return 2**62
        value = int(self.book.terms[ticket.symbol]["tick_value"])
        entry = ticket.entry_ticks or ticket.stop_ticks
        steps = ticket.left or ticket.steps
        return int(ticket.intent.side) * (entry - ticket.stop_ticks) * steps * value

    # Invalidations

    def judge_invalidations(self, closes: Mapping[tuple[str, int], float]) -> None:
        """Close the tickets whose thesis the newest bars prove wrong.

        `closes` are those of this cycle's bars, by symbol and length of the bar in ns.
        """
        for account, ticket in list(self.watched.values()):
            why = proved_wrong(ticket, closes, self.moment.now_ns)
            if not why:
                continue
            del self.watched[ticket.id]
            self.record(account.name, "invalidated", {"ticket": ticket.id, "text": why})
            now_ns = self.moment.now_ns
            self._ask_to_close(account, ticket, BY_INVALIDATION, now_ns)
            self._shadows.closed(self, account, ticket, ticket.left or ticket.steps, 0)

    # Orders of the house

    def close_all(self, account: Account, reason: int, arrives_ns: int) -> None:
        """Ask to close every ticket of the account at the first bar from `arrives_ns` on."""
        for ticket in account.live.values():
            self._ask_to_close(account, ticket, reason, arrives_ns)

    def _ask_to_close(
        self, account: Account, ticket: LiveTicket, reason: int, arrives_ns: int
    ) -> None:
        self.book.request_close(
            account.index,
            ticket.slot,
            steps=ticket.left or ticket.steps,
            arrives_ns=arrives_ns,
            reason=reason,
        )

    def settle(self, account: Account, reason: int) -> None:
        """Close every ticket of the account at the last marks, now."""
        self.drain(self.book.settle(account.index, self.moment.now_ns, reason))

    def day(self, finished: GuardianDay) -> None:
        """Record a guardian's day that ended."""
        facts = msgspec.structs.asdict(finished)
        self._store.guardian_day(GuardianDayRow(**facts))
        self.record(finished.engine, "day", facts)
