"""A challenge is never failed but by a gap, whatever an engine asks for.

Engines that trade at random, and far too large, play ten thousand random paths of prices under
a firm's profile. Their accounts are judged here by the firm's own limits, apart from the
guardian: the lowest equity inside every bar against the balance at midnight and the initial
balance. Below a limit may be only what was lost beyond the stops, where a bar opened past them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from numpy.typing import NDArray

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.feeds.tables import rows_between, table_of_trades
from hydra.guardian.days import DayClock
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.mother.mother import Mother
from hydra.portfolio.columns import OPEN
from hydra.portfolio.costs import Costs, Slippage
from hydra.portfolio.intents import Intent, OrderType, Side
from tests.support.bars import START_NS, a_table, an_instrument
from tests.support.seasons import ScriptedEngine, a_contestant, play_bars

HOUR_NS = 3_600_000_000_000
SYMBOLS = 20  # of a season, and as many engines
BARS = 48  # hours: two days, with two midnights in Prague
LIMITS = {  # the firms' own: (of a day, at all), fractions of the initial balance
    "ftmo-2step": ("0.05", "0.10"),
    "ftmo-1step": ("0.03", "0.10"),
    "e8-one": ("0.04", "0.06"),
    "topstep-50k": ("1", "0.04"),  # its daily limit only ends the day
}


# Markets


def instruments(rng: random.Random) -> list[Instrument]:
    """Some that are dear to trade and some that are cheap, some with much leverage."""
    return [
        an_instrument(
            f"S{i:02}",
            tick_size=rng.choice(("0.001", "0.0001")),
            lot_step=rng.choice(("0.01", "0.1")),
            max_lots="1000000",
            spread_bps=rng.choice(("0", "1", "4")),
            commission_bps=rng.choice(("0", "2", "10")),
            commission_per_lot=rng.choice(("0", "0.1")),
            swap_long_bps=rng.choice(("0", "1", "3")),
            swap_short_bps=rng.choice(("-1", "1", "3")),
            swap_hours=rng.choice(((0,), (0, 8, 16), (22,))),
            triple_swap_weekday=rng.choice((None, 2)),
            leverage=rng.choice(("2", "30", "100")),
        )
        for i in range(SYMBOLS)
    ]


def a_path(rng: np.random.Generator, instrument: Instrument, hours: int) -> BarTable:
    """Fat tails, wide bars, bars that are missing, a weekend, and now and then a jump."""
    bars = BARS // hours
    shape = (bars,)
    daily = rng.choice((0.01, 0.03, 0.08))
    moves = daily * np.sqrt(hours / 24) * rng.standard_t(3, shape) / np.sqrt(3)
    jumps = (rng.random(shape) < rng.choice((0.0, 0.004))) * rng.normal(0, 0.08, shape)
    middle = 100 * np.exp(np.cumsum(np.clip(moves + jumps, -0.5, 0.5)))
    close = np.maximum(middle, 1.0)
    before = np.concatenate(([100.0], close[:-1]))
    open_ = before * np.exp(jumps + moves * 0.02 * rng.standard_normal(shape))
    wicks = np.abs(rng.standard_normal((2, bars))) * daily * np.sqrt(hours / 24) * close * 0.7
    tick = float(instrument.tick_size)
    grid = [np.rint(p / tick) * tick for p in (open_, close)]
    high = np.rint((np.maximum(*grid) + wicks[0]) / tick) * tick
    low = np.maximum(np.rint((np.minimum(*grid) - wicks[1]) / tick) * tick, 0.5)
    open_ns = START_NS + np.arange(bars) * hours * HOUR_NS
    volume = rng.lognormal(np.log(1e6), 1.0, bars)
    made = table_of_trades(
        instrument,
        hours * HOUR_NS,
        "test",
        open_ns,
        (grid[0], high, np.minimum(low, np.minimum(*grid)), grid[1]),
        volume,
    )
    missing = rng.random(bars) < 0.02
    if rng.random() < 0.3:
        missing |= (open_ns - START_NS) // (24 * HOUR_NS) == rng.integers(1, 6)
    missing[0] = False
    kept = np.flatnonzero(~missing)
    return replace(
        rows_between(made, 0, bars),
        **{
            name: getattr(made, name)[kept]
            for name in BarTable.__slots__
            if isinstance(getattr(made, name), np.ndarray)
        },
    )


# Engines


@dataclass(kw_only=True)
class Gambler:
    """Trades three symbols at random: too large, both sides, stops anywhere, never quietly."""

    seed: int
    symbols: frozenset[str]
    features: Sequence[Feature] = ()
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def decide(self, view: View) -> Sequence[Intent]:
        if view.symbol not in self.symbols:
            return ()
        dice = self.dice.random
        if dice() < 0.8:
            return ()
        if view.tickets and dice() < 0.5:
            return self.meddle(view)
        wishes: list[Intent] = [self.gamble(view)]
        if dice() < 0.1:
            wishes.append(self.gamble(view))
        return wishes

    def gamble(self, view: View) -> Intent:
        dice = self.dice
        side = dice.choice((Side.BUY, Side.SELL))
        price, stop_frac = view.close, 10 ** dice.uniform(-3.2, -1.2)
        order = dice.choice((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP))
        if order is OrderType.LIMIT:
            price *= 1 - side * stop_frac * dice.random()
        elif order is OrderType.STOP:
            price *= 1 + side * stop_frac * dice.random()
        wish = view.buy if side is Side.BUY else view.sell
        return wish(
            order=order,
            price=None if order is OrderType.MARKET else price,
            stop=price * (1 - side * stop_frac),
            target=price * (1 + side * stop_frac * 3) if dice.random() < 0.5 else None,
            risk_frac=dice.choice((None, Decimal("0.015"), Decimal("0.5"))),
            lots=Decimal(10_000) if dice.random() < 0.2 else None,
            expires_s=dice.choice((None, 7_200.0)),
        )

    def meddle(self, view: View) -> Sequence[Intent]:
        dice = self.dice
        ticket = dice.choice(view.tickets)
        if dice.random() < 0.3:
            part = dice.choice((None, ticket.lots / 2))
            return (view.close_ticket(ticket, lots=part),)
        stop = view.close * (1 - ticket.side * 10 ** dice.uniform(-3, -1.2))
        if dice.random() < 0.5:
            return (view.amend(ticket, stop=stop), self.gamble(view))
        return (view.amend(ticket, stop=stop),)


# The judge


class Judge:
    """Compares accounts with the firm's limits after every cycle; collects what fell short."""

    def __init__(self, name: str, tables: Sequence[BarTable], engines: int) -> None:
        chosen = profile(name)
        daily, total = (Decimal(frac) for frac in LIMITS[name])
        self._days = DayClock(chosen.reset.zone, chosen.reset.at)
        self._mode = chosen.max.mode if chosen.max else "static"
        self._lock = chosen.max.lock_at_frac if chosen.max else None
        initial = 25_000 * 10**8
        self._initial = initial
        self._daily_units, self._total_units = int(daily * initial), int(total * initial)
        self._engines = engines
        self._base = np.full(engines, initial)  # balance at the reset
        self._peak = np.full(engines, initial)
        self._before = self._base  # balance after the cycle before
        self._live = np.zeros(engines, np.int64)
        self._day_end = 0
        self._tickets: NDArray[np.void] | None = None  # as the cycle before left them
        self._gap_day = np.zeros(engines, np.int64)
        self._gap_all = np.zeros(engines, np.int64)
        self._bars = [
            dict(zip((t.open_ns + t.resolution_ns).tolist(), range(len(t)), strict=True))
            for t in tables
        ]
        self._tables = tables
        self.short: list[tuple[int, int, int]] = []  # (engine, ns, units beyond the gaps)
        self.breaches = 0  # of a limit, by gaps

    def look(self, mother: Mother, cycle: int, now_ns: int) -> None:
        book = mother.accounts[0].book
        n = self._engines
        accounts = book.accounts[:n]
        balance = accounts["balance"].copy()
        if self._day_end == 0:
            self._day_end = self._days.next_reset_ns(now_ns - 1)
        straddles = now_ns > self._day_end
        floor_before = self._daily_floor()
        if straddles:
            self._new_day(self._before, now_ns - 1)
        self._count_gaps(book.tickets[:n], now_ns)
        # The book marks an account only in cycles that could change it.
        low = np.where(self._live > 0, np.minimum(accounts["worst"], accounts["equity"]), balance)
        self._live = accounts["live"].copy()
        daily = self._daily_floor()
        if straddles:
            daily = np.maximum(daily, floor_before)
        total = self._total_floor()
        shortfall = np.maximum(daily - self._gap_day - low, total - self._gap_all - low)
        self.breaches += int((low < np.maximum(daily, total)).sum())
        for k in np.flatnonzero(shortfall > 0).tolist():
            self.short.append((k, now_ns, int(shortfall[k])))
        if self._mode == "trailing_closed":
            self._peak = np.maximum(self._peak, balance)
        if now_ns == self._day_end:
            self._new_day(balance, now_ns)
        self._before = balance
        self._tickets = book.tickets[:n].copy()

    def _new_day(self, balance: NDArray[np.int64], at_ns: int) -> None:
        self._base = balance
        if self._mode != "static":
            self._peak = np.maximum(self._peak, balance)
        self._gap_day[:] = 0
        self._day_end = self._days.next_reset_ns(at_ns)

    def _daily_floor(self) -> NDArray[np.int64]:
        return self._base - self._daily_units

    def _total_floor(self) -> NDArray[np.int64]:
        if self._mode == "static":
            return np.full(self._engines, self._initial - self._total_units)
        floor = self._peak - self._total_units
        if self._lock is not None:
            floor = np.minimum(floor, int(self._lock * self._initial))
        return floor

    def _count_gaps(self, now: NDArray[np.void], now_ns: int) -> None:
        """Losses beyond the stops of the tickets whose bar opened past them."""
        before = self._tickets
        if before is None:
            return
        for row, col in zip(*np.nonzero(before["state"] == OPEN), strict=True):
            ticket = before[row, col]
            bar = self._bars[ticket["symbol"]].get(now_ns)
            if bar is None:
                continue
            table = self._tables[ticket["symbol"]]
            stop = int(ticket["stop_at"])
            amended_ns = int(ticket["amend_arrives_ns"])
            if 0 < amended_ns <= table.open_ns[bar] and ticket["new_stop"] >= 0:
                stop = int(ticket["new_stop"])
            side = int(ticket["side"])
            start = int(table.bid_open[bar] if side > 0 else table.ask_open[bar])
            gap = side * (stop - start)
            if gap > 0:
                value = table.instrument.tick_value_units
                lost = gap * int(ticket["steps"]) * value
                self._gap_day[row] += lost
                self._gap_all[row] += lost


# What the guardian allows a stop to slip; the market's slippage stays inside it here.
WITHIN_ALLOWANCE = Costs(name="within", slippage=Slippage(base_bps=1.9, impact=0.0))


@dataclass(frozen=True)
class Outcome:
    """Of one season: what fell short, how often a gap broke a limit, how much was traded."""

    seed: int
    short: tuple[tuple[int, int, int], ...]  # (engine, ns, units beyond the gaps)
    breaches: int
    tickets: int


def play_season(name: str, seed: int, guarded_by: str | None = None) -> Outcome:
    """Twenty engines on twenty paths, judged by the firm's limits of a profile."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    coarse = dice.choice((1, 1, 4))  # hours of the longer bars among the symbols
    tables = [
        a_path(rng, instrument, coarse if i % 2 else 1)
        for i, instrument in enumerate(instruments(dice))
    ]
    names = [table.symbol for table in tables]
    contestants = [
        a_contestant(
            f"g{k:02}",
            Gambler(
                seed=seed * 1_000 + k,
                symbols=frozenset(names[(k + step) % SYMBOLS] for step in (0, 7, 12)),
            ),
            latency_ns=0 if k % 2 else dice.choice((50_000_000, 600_000_000_000)),
        )
        for k in range(SYMBOLS)
    ]
    judge = Judge(name, tables, SYMBOLS)
    played = play_bars(
        tables,
        contestants,
        profile=guarded_by or name,
        costs=WITHIN_ALLOWANCE,
        on_cycle=judge.look,
        sample_ns=24 * HOUR_NS,
    )
    judge.look(played.mother, 0, max(int(t.open_ns[-1]) + t.resolution_ns for t in tables))
    return Outcome(seed, tuple(judge.short), judge.breaches, len(played.store.season.tickets))


def play_seasons(name: str, first: int, count: int) -> list[Outcome]:
    """On two processors."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(play_season, name), range(first, first + count), chunksize=5))


def check(outcomes: Sequence[Outcome]) -> None:
    assert [(one.seed, one.short[0]) for one in outcomes if one.short] == []
    # The exception was put to the test as well, and nobody sat still.
    assert sum(one.breaches for one in outcomes) > len(outcomes)
    assert sum(one.tickets for one in outcomes) > 100 * len(outcomes)


@pytest.mark.slow
def test_ten_thousand_paths_never_fail_a_challenge_but_by_a_gap() -> None:
    check(play_seasons("ftmo-2step", 0, 10_000 // SYMBOLS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ftmo-1step", "e8-one", "topstep-50k"])
def test_trailing_limits_hold_on_five_hundred_paths(name: str) -> None:
    check(play_seasons(name, 1_000, 500 // SYMBOLS))


def test_without_the_guardian_the_same_engines_fail() -> None:
    outcome = play_season("ftmo-2step", 0, guarded_by="none")

    assert len({engine for engine, _, _ in outcome.short}) > SYMBOLS // 2


@pytest.mark.parametrize(("latency_ns", "limit"), [(600 * 10**9, "risk-budget"), (0, None)])
def test_a_stop_drawn_nearer_frees_no_risk_before_the_market_has_it(
    latency_ns: int, limit: str | None
) -> None:
    """Of 2.7 % a day, 1.5 % are at risk; until the new stop holds, 1.2 % are left."""
    risk = Decimal("0.0149")
    engine = ScriptedEngine(
        {
            0: lambda v: [v.buy(stop=98, risk_frac=risk)],
            3: lambda v: [v.amend(v.tickets[0], stop=99.9), v.buy(stop=98, risk_frac=risk)],
        }
    )

    played = play_bars(
        [a_table(closes=[100.0] * 6)],
        [a_contestant("e", engine, latency_ns=latency_ns)],
        profile="ftmo-1step",
    )

    rules = [c["rule"] for c in played.records("e", "approved")[-1].body.get("changes", ())]
    assert (limit in rules) if limit else ("risk-budget" not in rules)
