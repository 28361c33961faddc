"""Prices become ticks without loss, and a made-up spread is never in a trader's favour."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.feeds.barfile import decimals_of
from hydra.feeds.tables import grid_error, half_spread_ticks, to_ticks
from hydra.market.catalogue import Catalogue
from tests.support.bars import a_table, an_instrument

TICKS = st.sampled_from(["0.00000001", "0.00001", "0.001", "0.01", "0.05", "0.25", "1", "5"])
COUNTS = st.lists(st.integers(1, 10**10), min_size=1, max_size=20)


@settings(deadline=None)
@given(TICKS, COUNTS)
def test_prices_on_the_grid_come_back_as_the_ticks_they_are(tick: str, counts: list[int]) -> None:
    prices = np.array([float(Decimal(tick) * count) for count in counts])

    assert to_ticks(prices, an_instrument(tick_size=tick, lot_step="1")).tolist() == counts
    assert grid_error(prices, Decimal(tick)) < 1e-4


@given(st.sampled_from(["0.01", "0.05", "0.25"]), st.integers(1, 10**7))
def test_prices_between_two_ticks_are_found_out(tick: str, count: int) -> None:
    between = np.array([float(Decimal(tick) * (count + Decimal("0.4")))])

    assert grid_error(between, Decimal(tick)) > 0.3


@settings(deadline=None)
@given(st.integers(0, 8), st.lists(st.integers(10**5, 10**7 - 1), min_size=1, max_size=20))
def test_the_decimals_of_prices_are_enough_and_no_more(places: int, counts: list[int]) -> None:
    prices = np.array([float(Decimal(count).scaleb(-places)) for count in counts])

    decimals, enough = decimals_of([prices])

    assert enough
    assert decimals <= places
    assert np.array_equal(np.round(prices, decimals), prices)


@given(st.integers(1, 10**14), st.decimals("0.0001", "1000", places=4))
def test_half_a_spread_is_exact_and_rounded_up(price: int, spread_bps: Decimal) -> None:
    exact = Decimal(price) * spread_bps / 20_000

    (half,) = half_spread_ticks(np.array([price]), spread_bps).tolist()

    assert half == exact.to_integral_value(ROUND_CEILING)


@settings(deadline=None)
@given(st.lists(st.integers(100, 10**8), min_size=1, max_size=20), st.decimals("0", "50", places=2))
def test_bid_and_ask_lie_on_either_side_of_the_price(counts: list[int], spread: Decimal) -> None:
    made = an_instrument(spread_bps=str(spread))

    table = a_table(closes=[count / 100 for count in counts], instrument=made)

    for side in ("open", "high", "low", "close"):
        mid = np.rint(getattr(table, side) * 100)
        bid, ask = getattr(table, f"bid_{side}"), getattr(table, f"ask_{side}")
        assert ((bid <= mid) & (mid <= ask)).all()
        assert (ask > bid).all() if spread else (ask == bid).all()
        assert ((ask - bid) >= mid * float(spread) / 10_000 * (1 - 1e-12)).all()


@settings(deadline=None)
@given(
    st.sampled_from([*sorted(Catalogue.load().values), "FOO", "BAR-USDT", "NEWUSD"]),
    st.integers(0, 8),
)
def test_whatever_the_data_money_stays_whole(symbol: str, decimals: int) -> None:
    made = Catalogue.load().instrument(symbol, decimals)

    assert made.tick_value_units >= 1
    assert made.tick_size <= Decimal(1).scaleb(-decimals) or not made.is_default
    assert made.min_lots % made.lot_step == 0
    assert made.min_lots <= made.max_lots
