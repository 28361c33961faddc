"""Money is neither made nor lost but by postings, whatever the bars and the engines do."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.mother.mother import Mother
from hydra.portfolio.book import AccountBook
from hydra.portfolio.columns import (
    BAR,
    FREE,
    LIMIT,
    MARKET,
    OPEN,
    OPENED,
    STOP,
    TERMS,
)
from hydra.portfolio.costs import Costs, Slippage
from hydra.portfolio.fills import stop_fill, target_fill
from hydra.portfolio.intents import Amend, Close, Intent, OrderType, Side
from tests.support.bars import a_random_walk, an_instrument
from tests.support.seasons import Played, Record, a_contestant, play_bars

OPENING = 25_000 * 10**8
PROFILES = ("none", "ftmo-2step", "the5ers-high-stakes", "topstep-50k", "e8-one", "learning")
seeds = st.integers(0, 2**32 - 1)


# Markets and engines, each made from a seed


def an_odd_instrument(dice: random.Random, symbol: str) -> Instrument:
    return an_instrument(
        symbol,
        tick_size=dice.choice(("0.01", "0.5", "0.00001")),
        lot_step=dice.choice(("0.01", "1")),
        contract_size=dice.choice(("1", "100")),
        spread_bps=dice.choice(("0", "3", "50")),
        commission_bps=dice.choice(("0", "0.333", "7")),
        commission_per_lot=dice.choice(("0", "2.5", "0.0001")),
        swap_long_bps=dice.choice(("0", "1.7")),
        swap_short_bps=dice.choice(("0.3", "-1.1")),
        swap_hours=dice.choice(((), (0,), (1, 2, 3))),
        triple_swap_weekday=dice.choice((None, 0, 2)),
        leverage=dice.choice(("1", "33", "100")),
    )


def some_tables(seed: int) -> list[BarTable]:
    """One to three symbols whose bars have their own lengths and gaps."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    return [
        a_random_walk(
            rng,
            dice.choice((40, 90)),
            symbol,
            dice.choice(("15m", "1h", "4h")),
            volatility_frac=dice.choice((0.001, 0.02, 0.1)),
            gap_share=dice.choice((0.0, 0.3)),
            instrument=an_odd_instrument(dice, symbol),
        )
        for symbol in ("AAA", "BBB", "CCC")[: dice.randint(1, 3)]
    ]


def some_costs(seed: int) -> Costs:
    dice = random.Random(seed)
    slippage = Slippage(base_bps=dice.choice((0.0, 5.0)), impact=dice.choice((0.0, 1.0)))
    return Costs(
        name="some",
        spread=dice.random() < 0.5,
        commission=dice.random() < 0.7,
        swap=dice.random() < 0.7,
        slippage=dice.choice((None, slippage)),
    )


@dataclass(kw_only=True)
class Monkey:
    """Wishes for anything that an engine may wish for, sensible or not."""

    seed: int
    features: Sequence[Feature] = ()
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def decide(self, view: View) -> Sequence[Intent]:
        return [self.wish(view) for _ in range(self.dice.choice((0, 0, 0, 1, 1, 2)))]

    def wish(self, view: View) -> Intent:
        dice = self.dice
        if view.tickets and dice.random() < 0.5:
            ticket = dice.choice(view.account.tickets)
            if dice.random() < 0.5:
                lots = dice.choice((None, ticket.lots / 3, ticket.lots * 2))
                return Close(ticket=ticket.id, lots=lots)
            near = view.instrument.ticks(view.close * (1 + dice.gauss(0, 0.02)))
            level = view.instrument.price(max(1, near))
            return dice.choice(
                (Amend(ticket=ticket.id, stop=level), Amend(ticket=ticket.id, target=level))
            )
        side = dice.choice((Side.BUY, Side.SELL))
        order = dice.choice(tuple(OrderType))
        price = view.close * (1 + dice.gauss(0, 0.01))
        distance = price * dice.choice((0.002, 0.01, 0.1))
        wish = view.buy if side is Side.BUY else view.sell
        return wish(
            order=order,
            price=None if order is OrderType.MARKET else price,
            stop=price - side * distance if dice.random() < 0.8 else None,
            target=price + side * distance * 2 if dice.random() < 0.5 else None,
            lots=dice.choice((None, None, Decimal(1), Decimal(1_000))),
            expires_s=dice.choice((None, None, 600.0, 90_000.0)),
        )


# After every cycle


def worth(book: AccountBook, row: int) -> tuple[int, int, int]:
    """(equity, margin, tickets) of an account, counted anew in Python's integers."""
    equity, margin, live = int(book.accounts[row]["balance"]), 0, 0
    for ticket in book.tickets[row]:
        live += ticket["state"] != FREE
        if ticket["state"] == OPEN:
            terms, mark = book.terms[ticket["symbol"]], book.marks[ticket["symbol"]]
            side, entry = int(ticket["side"]), int(ticket["entry_price"])
            units = int(ticket["steps"]) * int(terms["tick_value"])
            equity += side * (int(mark["bid"] if side > 0 else mark["ask"]) - entry) * units
            margin -= -100 * entry * units // int(terms["leverage_x100"])
    return equity, margin, live


def balanced(mother: Mother, cycle: int, now_ns: int) -> None:
    book = mother.accounts[0].book
    for row, account in enumerate(book.accounts):  # the shadows' as well
        told = (int(account["equity"]), int(account["margin"]), int(account["live"]))
        assert told == worth(book, row)
        assert account["worst"] <= account["equity"] or account["live"] == 0
        assert account["day_worst"] <= account["equity"]


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    profile=st.sampled_from(PROFILES),
    latency_ns=st.sampled_from((0, 1, 10**9, 1_200 * 10**9, 7_200 * 10**9)),
    chunk_cycles=st.sampled_from((1, 7, 1_024)),
)
def test_balances_add_up_after_every_cycle_and_at_the_end(
    seed: int, profile: str, latency_ns: int, chunk_cycles: int
) -> None:
    played = play_bars(
        some_tables(seed),
        [
            a_contestant(f"m{k}", Monkey(seed=seed + k), latency_ns=latency_ns * (k > 0))
            for k in range(3)
        ],
        profile=profile,
        costs=some_costs(seed),
        chunk_cycles=chunk_cycles,
        on_cycle=balanced,
    )

    for account in played.mother.accounts:
        records = played.records(account.name)
        posted = sum(record.amount_units or 0 for record in records)
        told = [r.body["balance_units"] for r in records if r.kind == "balance"]
        closed = [t.pnl_units for t in played.tickets_of(account.name) if t.status == "CLOSED"]

        assert OPENING + posted == account.balance_units == account.equity_units
        assert told == [account.balance_units]
        assert account.balance_units - OPENING == sum(one or 0 for one in closed)
        assert all(t.status in ("CLOSED", "CANCELLED") for t in played.tickets_of(account.name))
        assert not account.live


@settings(max_examples=30, deadline=None)
@given(seed=seeds, profile=st.sampled_from(PROFILES))
def test_every_posting_follows_from_prices_and_lots(seed: int, profile: str) -> None:
    played = play_bars(
        some_tables(seed), {"m": Monkey(seed=seed)}, profile=profile, costs=some_costs(seed)
    )
    entries = {r.body["ticket"]: Decimal(r.body["price"]) for r in played.records("m", "opened")}
    rows = {ticket.ticket: ticket for ticket in played.tickets}
    instruments = {s.symbol: s.instrument for s in played.mother._streams}

    for record in played.records("m", "closed"):
        ticket = rows[record.body["ticket"]]
        side = 1 if ticket.direction == "LONG" else -1
        moved = side * (Decimal(record.body["price"]) - entries[ticket.ticket])
        size = Decimal(record.body["lots"]) * instruments[ticket.asset].contract_size
        assert record.amount_units == moved * size * 10**8 - record.body["commission_units"]
        assert record.body["commission_units"] >= 0
        assert record.body["spread_units"] >= 0


# Nothing that one does moves another


def own(played: Played, engine: str) -> list[object]:
    """An engine's records, tickets and line, its tickets numbered from 1."""
    rows = played.tickets_of(engine)
    numbers = {row.ticket: place for place, row in enumerate(rows, start=1)}

    def renumbered(value: object) -> object:
        if isinstance(value, Mapping):
            return {
                key: numbers.get(one, one) if key == "ticket" else renumbered(one)
                for key, one in value.items()
            }
        return value

    def fields(record: Record) -> object:
        return (
            record.cycle, record.at_ns, record.kind, record.amount_units, renumbered(record.body)
        )  # fmt: skip

    told: list[object] = [fields(record) for record in played.records(engine)]
    told += [renumbered({k: getattr(row, k) for k in row.__struct_fields__}) for row in rows]
    samples = played.store.season.equity
    told += [
        (row.at_ns, row.equity_units, row.balance_units, row.shadow_units)
        for row in samples.values()
        if row.engine == engine
    ]
    return told


@settings(max_examples=25, deadline=None)
@given(seed=seeds, profile=st.sampled_from(PROFILES), others=st.integers(1, 4))
def test_an_engine_plays_the_same_alone_and_beside_others(
    seed: int, profile: str, others: int
) -> None:
    play = partial(play_bars, some_tables(seed), profile=profile, costs=some_costs(seed))
    crowd = [a_contestant(f"m{k}", Monkey(seed=seed + k)) for k in range(others)]

    alone = play({"z": Monkey(seed=seed + 99)})
    beside = play([*crowd, a_contestant("z", Monkey(seed=seed + 99))])

    assert own(beside, "z") == own(alone, "z")


# Fills


@st.composite
def a_bar(draw: st.DrawFn) -> np.void:
    """A bar with a spread, as the compiled step reads it."""
    first, last = draw(st.integers(50, 150)), draw(st.integers(50, 150))
    high = max(first, last) + draw(st.integers(0, 30))
    low = min(first, last) - draw(st.integers(0, 30))
    bar = np.zeros(1, BAR)
    bar["close_ns"] = 100
    bar["slip_base"] = draw(st.floats(0, 3))
    bar["slip_impact"] = draw(st.floats(0, 1))
    for name, price in (("open", first), ("high", high), ("low", low), ("close", last)):
        bar[f"bid_{name}"] = price
        bar[f"ask_{name}"] = price + draw(st.shared(st.integers(0, 9), key="spread"))
    made: np.void = bar[0]
    return made


sides = st.sampled_from((1, -1))
prices = st.integers(30, 180)


@given(
    bar=a_bar(), side=sides, order=st.sampled_from((MARKET, LIMIT, STOP)), price=prices,
    steps=st.integers(1, 50), arrives_ns=st.integers(-10, 99), fee=st.integers(0, 2_000),
)  # fmt: skip
def test_a_fill_alone_never_makes_money(
    bar: np.void, side: int, order: int, price: int, steps: int, arrives_ns: int, fee: int
) -> None:
    terms = np.zeros(1, TERMS)
    terms["tick_value"], terms["leverage_x100"], terms["commission_ppm"] = 10, 100, fee
    book = AccountBook(accounts=1, initial_units=10**9, terms=terms)
    book.submit(
        account=0, ticket=1, symbol=0, side=side, steps=steps, order=order, price=price, stop_at=0,
        target_at=0, arrives_ns=arrives_ns, expires_ns=0, worst_entry=0,
    )  # fmt: skip

    events = book.events(book.step(np.array([bar]), 0, 1, 100))

    assume(events)
    (event,) = events
    assert event.kind == OPENED
    assert event.spread >= 0
    spread = int(bar["ask_open"] - bar["bid_open"])
    # The touch at which it was filled: of the bar's open, or where the order's price was met.
    if event.at_ns == 100 and order != MARKET:
        middle_x2 = 2 * price - side * spread
    else:
        middle_x2 = int(bar["bid_open"] + bar["ask_open"])
    at_middle = side * (middle_x2 - 2 * event.price) * steps * 10 // 2
    assert int(book.accounts[0]["balance"]) + at_middle <= 10**9


@given(bar=a_bar(), side=sides, price=prices, inside=st.booleans(), slip=st.integers(0, 5))
def test_a_stop_never_fills_better_than_asked(
    bar: np.void, side: int, price: int, inside: bool, slip: int
) -> None:
    filled = stop_fill(side, price, bar, slip, inside)

    reached = bar["bid_low"] <= price if side > 0 else bar["ask_high"] >= price
    assert (filled != 0) == reached
    if filled:
        assert side * (filled - price) <= -slip or filled == 1


@given(bar=a_bar(), side=sides, price=prices)
def test_a_target_never_fills_where_nobody_traded(bar: np.void, side: int, price: int) -> None:
    filled = target_fill(side, price, bar)

    if filled:
        quote = "bid" if side > 0 else "ask"
        assert side * (filled - price) >= 0
        assert bar[f"{quote}_low"] <= filled <= bar[f"{quote}_high"]
