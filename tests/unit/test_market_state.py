"""The market as the guardian may ask about it: touches, their age, correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hydra.clock import NS_PER_S
from hydra.engines.view import History
from hydra.market.bars import BarTable, Float64
from hydra.mother.market import CORRELATION_BARS, FEWEST_COMMON_BARS, STALE_BARS, BookMarket
from hydra.mother.moment import Moment
from hydra.portfolio.book import AccountBook
from hydra.portfolio.costs import costs_named, terms_of
from tests.support.bars import START_NS, a_table, an_instrument

HOUR_NS = 3_600 * NS_PER_S
Prices = Sequence[float] | Float64


class World:
    """A market over tables, which the test moves by hand."""

    def __init__(self, *tables: BarTable, costs: str = "none") -> None:
        chosen = costs_named(costs)
        self.moment = Moment(START_NS)
        self.book = AccountBook(
            accounts=1, initial_units=1, terms=terms_of(tuple(t.instrument for t in tables), chosen)
        )
        self.tables = tables
        self.histories = {
            t.symbol: History(
                instrument=t.instrument,
                resolution_ns=t.resolution_ns,
                open_ns=t.open_ns,
                open=t.open,
                high=t.high,
                low=t.low,
                close=t.close,
                volume=t.volume,
                bid_close=t.bid_close,
                ask_close=t.ask_close,
            )
            for t in tables
        }
        self.market = BookMarket(
            self.moment,
            self.book,
            [t.instrument for t in tables],
            self.histories,
            chosen.slippage,
        )

    def move(self, now_ns: int) -> BookMarket:
        """All bars that close up to `now_ns` have closed."""
        self.moment.cycle += 1
        self.moment.now_ns = now_ns
        for i, t in enumerate(self.tables):
            at = int(np.searchsorted(t.open_ns + t.resolution_ns, now_ns, side="right")) - 1
            self.histories[t.symbol].at = at
            if at >= 0:
                mark = self.book.marks[i]
                mark["bid"], mark["ask"] = t.bid_close[at], t.ask_close[at]
                mark["at_ns"] = t.open_ns[at] + t.resolution_ns
        return self.market


def hours(n: float) -> int:
    return START_NS + int(n * HOUR_NS)


# Slippage


def test_slippage_is_that_of_the_newest_bar_and_grows_with_size() -> None:
    closes = [100.0, 101.0, 150.0, 150.0, 90.0]
    world = World(a_table(closes=closes), costs="real")
    found = []
    for n in range(1, 6):
        market = world.move(hours(n))
        found.append([market.slippage_ticks("BTC-USD", steps) for steps in (1, 10_000, 1)])

    alone = []
    for n in range(1, 6):
        market = World(a_table(closes=closes), costs="real").move(hours(n))
        alone.append([market.slippage_ticks("BTC-USD", steps) for steps in (1, 10_000, 1)])
    assert found == alone
    assert len({tuple(one) for one in found}) > 3  # calm and wild bars
    assert all(small == again < large for small, large, again in found[1:3])


# Touches


def test_before_its_first_bar_a_symbol_has_no_touch() -> None:
    market = World(a_table("BTC-USD", start_ns=hours(5))).move(hours(3))

    assert market.touch("BTC-USD") is None
    assert not market.is_fresh("BTC-USD")


def test_a_touch_is_the_newest_close_and_its_instant() -> None:
    market = World(a_table("BTC-USD", [100.0, 101.0], spread=0.5)).move(hours(2.5))

    touch = market.touch("BTC-USD")
    assert touch is not None
    assert (touch.bid_ticks, touch.ask_ticks, touch.at_ns) == (10_100, 10_150, hours(2))


def test_an_instrument_is_known_by_its_symbol_alone() -> None:
    market = World(a_table("BTC-USD")).move(hours(1))

    assert market.instrument("BTC-USD") == an_instrument("BTC-USD")
    assert market.instrument("btc-usd") is None
    assert market.now_ns == hours(1)


def test_a_touch_is_stale_after_three_of_its_bars_while_the_market_is_open() -> None:
    world = World(a_table("BTC-USD", [100.0], "1h"))
    age_ns = STALE_BARS * HOUR_NS

    assert world.market.max_quote_age_ns("BTC-USD") == age_ns
    assert world.move(hours(1) + age_ns).is_fresh("BTC-USD")
    assert not world.move(hours(1) + age_ns + 1).is_fresh("BTC-USD")


def test_while_its_market_is_closed_the_last_price_stays_fresh() -> None:
    fx = an_instrument(
        "EURUSD",
        tick_size="0.00001",
        lot_step="0.01",
        contract_size="100000",
        calendar="fx",
        asset_class="fx",
    )
    friday_ns = START_NS + 4 * 24 * HOUR_NS + 21 * HOUR_NS  # 2024-01-05 21:00 UTC
    world = World(a_table("EURUSD", [1.1], "1h", start_ns=friday_ns, instrument=fx))

    assert world.move(friday_ns + 24 * HOUR_NS).is_fresh("EURUSD")  # Saturday
    assert not world.move(friday_ns + 3 * 24 * HOUR_NS).is_fresh("EURUSD")  # Monday evening


# Correlations


def two(first: Prices, second: Prices, shift_h: int = 0, second_of: str = "1h") -> World:
    return World(
        a_table("A", first, "1h"),
        a_table("B", second, second_of, start_ns=hours(shift_h)),
    )


def walk(seed: int, bars: int = 300) -> Float64:
    return np.round(100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, bars))), 2)


def returns(closes: Float64) -> Float64:
    return np.diff(np.log(closes))


def test_it_is_pearsons_over_the_returns_of_the_newest_hundred_common_bars() -> None:
    a, b = walk(1), walk(2) * 0.2 + walk(1) * 0.8
    b = np.round(b, 2)
    market = two(a, b).move(hours(250))

    window = slice(250 - CORRELATION_BARS - 1, 250)
    expected = np.corrcoef(returns(a[window]), returns(b[window]))[0, 1]
    assert market.correlation("A", "B") == pytest.approx(expected)
    assert market.correlation("B", "A") == market.correlation("A", "B")
    assert market.correlation("A", "A") == pytest.approx(1.0)


def test_opposite_moves_correlate_negatively() -> None:
    a = walk(3)

    assert (two(a, 10_000 / a).move(hours(200)).correlation("A", "B") or 0) < -0.99


def test_with_too_few_common_bars_it_is_unknown() -> None:
    world = two(walk(1), walk(2))

    assert world.move(hours(FEWEST_COMMON_BARS)).correlation("A", "B") is None
    assert world.move(hours(FEWEST_COMMON_BARS + 1)).correlation("A", "B") is not None


def test_a_symbol_that_has_not_begun_is_unknown() -> None:
    assert two(walk(1), walk(2), shift_h=250).move(hours(200)).correlation("A", "B") is None


def test_prices_that_do_not_move_have_no_correlation() -> None:
    assert two(walk(1), [100.0] * 300).move(hours(200)).correlation("A", "B") is None


def test_bars_are_matched_by_the_instant_at_which_they_close() -> None:
    whole = walk(4, 200)
    a = a_table("A", whole, "1h")
    kept = np.arange(200) % 3 != 0
    b = a_table("B", whole[kept], "1h", open_ns=a.open_ns[kept].tolist())
    market = World(a, b).move(hours(200))

    assert market.correlation("A", "B") == pytest.approx(1.0)


def test_nothing_after_now_enters() -> None:
    calm, wild = walk(5), walk(5)
    wild[150:] = walk(6)[150:]
    other = walk(7)

    assert two(calm, other).move(hours(150)).correlation("A", "B") == two(wild, other).move(
        hours(150)
    ).correlation("A", "B")


def test_it_is_worked_out_anew_each_cycle() -> None:
    world = two(walk(1), walk(2))
    first = world.move(hours(150)).correlation("A", "B")

    assert world.move(hours(220)).correlation("A", "B") != first
