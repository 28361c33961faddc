"""What the guardian promises whatever happens: it never grows a size, and stops never breach.

A small ledger plays the worst that the guardian allows for: fills anywhere up to the worst
entry, every ticket ending at its stop with all the costs of the allowance, in any order,
with resets in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.clock import NS_PER_S
from hydra.guardian.guardian import Approved, Guardian, Refused
from hydra.guardian.profiles import PROFILES
from hydra.guardian.risks import Grid
from hydra.market.instruments import Instrument
from hydra.portfolio.account import AccountState, Touch
from hydra.portfolio.intents import Amend, Open, OrderType, Side, Ticket
from tests.support.bars import an_instrument
from tests.support.guarded import NOW_NS, FakeMarket, always_open, usd

INSTRUMENTS = {
    "XAUUSD": an_instrument(
        "XAUUSD", tick_size="0.01", lot_step="0.01", contract_size="100", commission_per_lot="2.5",
    ),
    "BTC-USD": an_instrument(commission_bps="10"),
}  # fmt: skip
MIDDLE = {"XAUUSD": 200_000, "BTC-USD": 4_200_000}
WITH_FLOORS = sorted(name for name, one in PROFILES.items() if one.daily is not None)


@dataclass
class Ledger:
    """Balance and tickets of one account, as a broker would keep them."""

    guardian: Guardian
    market: FakeMarket
    balance: int
    initial: int
    tickets: dict[int, Ticket] = field(default_factory=dict)
    worst: dict[int, int] = field(default_factory=dict)  # of pending tickets, ticks
    next_id: int = 1

    def grid(self, symbol: str) -> Grid:
        return Grid(INSTRUMENTS[symbol], self.guardian.profile.slippage_allowance_bps)

    def state(self) -> AccountState:
        return AccountState(
            name="a",
            initial_units=self.initial,
            balance_units=self.balance,
            equity_units=self.balance,
            margin_units=0,
            tickets=tuple(self.tickets.values()),
        )

    def loss(self, ticket: Ticket) -> int:
        """What the ticket still costs at its stop, entered as badly as it may be."""
        grid, one = self.grid(ticket.symbol), INSTRUMENTS[ticket.symbol]
        assert ticket.stop is not None
        stop, steps = one.ticks(ticket.stop), one.steps(ticket.lots)
        if ticket.entry is None:
            entry = self.worst[ticket.id]
            costs = grid.entry_cost_units(entry) + grid.exit_cost_units(stop)
        else:
            entry = one.ticks(ticket.entry)
            costs = grid.exit_cost_units(stop)
        return steps * (ticket.side * (entry - stop) * one.tick_value_units + costs)

    def wish(self, intent: Open) -> None:
        verdict = self.guardian.review(intent, self.state(), self.market)
        if isinstance(verdict, Refused):
            return
        one = INSTRUMENTS[intent.symbol]
        assert verdict.worst_entry_ticks is not None
        self.tickets[self.next_id] = Ticket(
            id=self.next_id,
            symbol=intent.symbol,
            side=intent.side,
            lots=one.lots(verdict.steps),
            stop=intent.stop,
            target=None,
            is_open=False,
            entry=None,
            entry_ns=self.market.now_ns,
        )
        self.worst[self.next_id] = verdict.worst_entry_ticks
        self.next_id += 1

    def fill(self, ticket: Ticket, better_ticks: int) -> None:
        """Fill a pending ticket at its worst entry or better, yet above its stop."""
        one, grid = INSTRUMENTS[ticket.symbol], self.grid(ticket.symbol)
        assert ticket.stop is not None
        worst, stop = self.worst[ticket.id], one.ticks(ticket.stop)
        better = min(better_ticks, ticket.side * (worst - stop) - 1)
        entry = worst - ticket.side * better
        self.balance -= grid.entry_cost_units(entry) * one.steps(ticket.lots)
        self.tickets[ticket.id] = msgspec.structs.replace(
            ticket, is_open=True, entry=one.price(entry)
        )

    def end(self, ticket: Ticket, *, gain_units: int | None = None) -> None:
        """End a ticket at its stop, or with a gain; cancel one that is pending."""
        if ticket.is_open:
            self.balance += -self.loss(ticket) if gain_units is None else gain_units
            self.guardian.on_peak("a", self.balance)
        del self.tickets[ticket.id]

    def reset(self) -> None:
        """The next day begins with every ticket just above its stop."""
        end_ns = self.guardian.next_reset_ns(self.market.now_ns)
        self.market = self.market.after((end_ns - self.market.now_ns) / NS_PER_S)
        rolled = self.guardian.roll_day("a", self.market.now_ns, self.balance, self.at_stops())
        assert rolled.breaches == ()

    def at_stops(self) -> int:
        """The balance once every open and pending ticket ended at its stop."""
        return self.balance - sum(max(0, self.loss(one)) for one in self.tickets.values())


def a_ledger(name: str, initial: int) -> Ledger:
    guardian = Guardian(
        msgspec.structs.replace(PROFILES[name], cooldown_s=None, max_positions=6),
        is_open=always_open,
    )
    guardian.open_account("a", initial, NOW_NS)
    touches: dict[str, Touch | None] = {
        symbol: Touch(bid_ticks=middle - 10, ask_ticks=middle + 10, at_ns=NOW_NS)
        for symbol, middle in MIDDLE.items()
    }
    instruments: dict[str, Instrument] = dict(INSTRUMENTS)
    market = FakeMarket(
        instruments=instruments,
        touches=touches,
        correlations={frozenset(MIDDLE): 0.2},
    )
    return Ledger(guardian=guardian, market=market, balance=initial, initial=initial)


def a_wish(data: st.DataObject) -> Open:
    symbol = data.draw(st.sampled_from(sorted(MIDDLE)))
    side = data.draw(st.sampled_from(Side))
    order = data.draw(st.sampled_from(OrderType))
    middle, one = MIDDLE[symbol], INSTRUMENTS[symbol]
    price = middle + data.draw(st.integers(-middle // 50, middle // 50))
    away = data.draw(st.integers(30, middle // 20))
    base = middle if order == OrderType.MARKET else price
    lots = data.draw(st.none() | st.integers(1, 3_000).map(lambda n: Decimal(n) / 100))
    return Open(
        symbol=symbol,
        side=side,
        order=order,
        price=None if order == OrderType.MARKET else one.price(price),
        stop=one.price(base - side * away),
        lots=lots,
        risk_frac=data.draw(st.none() | st.integers(1, 300).map(lambda n: Decimal(n) / 10_000)),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(name=st.sampled_from(WITH_FLOORS), data=st.data())
def test_stops_alone_never_take_an_account_to_its_floors(name: str, data: st.DataObject) -> None:
    ledger = a_ledger(name, usd(data.draw(st.sampled_from([25_000, 50_000, 200_000]))))
    for _ in range(data.draw(st.integers(1, 25))):
        ledger.market = ledger.market.after(data.draw(st.sampled_from([0, 61])))
        act = data.draw(st.sampled_from(["wish", "wish", "fill", "stop", "gain", "reset", "amend"]))
        open_ones = [one for one in ledger.tickets.values() if one.is_open]
        pending = [one for one in ledger.tickets.values() if not one.is_open]
        if act == "wish":
            ledger.wish(a_wish(data))
        elif act == "fill" and pending:
            ledger.fill(data.draw(st.sampled_from(pending)), data.draw(st.integers(0, 500)))
        elif act == "stop" and ledger.tickets:
            ledger.end(data.draw(st.sampled_from(list(ledger.tickets.values()))))
        elif act == "gain" and open_ones:
            ledger.end(
                data.draw(st.sampled_from(open_ones)),
                gain_units=usd(data.draw(st.integers(0, 20_000))),
            )
        elif act == "amend" and open_ones:
            ticket = data.draw(st.sampled_from(open_ones))
            one = INSTRUMENTS[ticket.symbol]
            stop = one.price(
                MIDDLE[ticket.symbol] - ticket.side * data.draw(st.integers(11, 9_000))
            )
            amend = Amend(ticket=ticket.id, stop=stop)
            verdict = ledger.guardian.review(amend, ledger.state(), ledger.market)
            if not isinstance(verdict, Refused):
                ledger.tickets[ticket.id] = msgspec.structs.replace(ticket, stop=stop)
        elif act == "reset" and ledger.guardian.latches("a") == ():
            ledger.reset()
        assert ledger.at_stops() > max(ledger.guardian.floors("a"))
        assert ledger.guardian.on_worst_equity(
            "a", ledger.at_stops(), ledger.balance, ledger.market.now_ns
        ) == ()  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(PROFILES)), data=st.data())
def test_a_size_never_grows(name: str, data: st.DataObject) -> None:
    ledger, free = a_ledger(name, usd(100_000)), a_ledger("none", usd(100_000))
    wish = a_wish(data)

    verdict = ledger.guardian.review(wish, ledger.state(), ledger.market)
    asked = free.guardian.review(wish, free.state(), free.market)

    if isinstance(verdict, Refused):
        assert verdict.rule
        assert verdict.text
        return
    assert isinstance(asked, Approved)
    one = INSTRUMENTS[wish.symbol]
    assert one.min_lots <= one.lots(verdict.steps)
    assert verdict.steps <= asked.steps
    if wish.lots is not None:
        assert one.lots(verdict.steps) <= wish.lots
    sizes = [change.from_steps for change in verdict.changes] + [verdict.steps]
    assert sizes == sorted(sizes, reverse=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(PROFILES)), data=st.data())
def test_a_restored_guardian_gives_the_same_verdicts(name: str, data: st.DataObject) -> None:
    ledger = a_ledger(name, usd(50_000))
    for _ in range(data.draw(st.integers(0, 4))):
        ledger.guardian.review(a_wish(data), ledger.state(), ledger.market)
    other = Guardian(ledger.guardian.profile, is_open=always_open)
    saved = msgspec.json.decode(msgspec.json.encode(ledger.guardian.snapshot()))
    other.restore(saved)

    assert other.snapshot() == saved
    wish = a_wish(data)
    for later in (0, 400):
        market = ledger.market.after(later)
        assert other.review(wish, ledger.state(), market) == ledger.guardian.review(
            wish, ledger.state(), market
        )
