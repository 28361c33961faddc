"""A venue's book on the grid of an instrument: never more, and never nearer, than there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hydra.feeds.cycles import joined
from hydra.feeds.depth import depth_of
from hydra.feeds.tables import rows_between
from hydra.market.bars import DEPTH_LEVELS, BarTable, no_depth
from hydra.market.events import Listing
from hydra.market.orderbook import OrderBook
from hydra.market.resample import resampled
from tests.support.bars import a_table, an_instrument

LISTING = Listing(
    source="coinbase", symbol="BTC-USD", venue_symbol="BTC-USD", price_decimals=2, size_decimals=4
)
Side = list[tuple[int, int]]


def levels(bids: Side, asks: Side, **changes: Any) -> tuple[Side, Side]:
    """What is kept of a book in hundredths and ten-thousandths."""
    book = OrderBook()
    book.load(bids, asks)
    depth = depth_of(book, LISTING, an_instrument(**changes))
    assert depth.shape == (2, DEPTH_LEVELS, 2)
    kept: list[Any] = [[tuple(one) for one in side if one[1]] for side in depth.tolist()]
    assert not depth[0, len(kept[0]) :].any() and not depth[1, len(kept[1]) :].any()
    return kept[0], kept[1]


def test_on_the_same_grid_it_is_the_book_as_distances_from_its_best() -> None:
    assert levels([(9_998, 7), (10_000, 3), (9_999, 5)], [(10_003, 2), (10_010, 9)]) == (
        [(0, 3), (1, 5), (2, 7)],
        [(0, 2), (7, 9)],
    )


def test_no_more_than_the_first_levels_are_kept() -> None:
    bids, asks = levels(
        [(10_000 - n, 1 + n) for n in range(50)], [(10_001 + n, 1 + n) for n in range(50)]
    )

    assert bids == asks == [(n, 1 + n) for n in range(DEPTH_LEVELS)]


def test_on_a_coarser_tick_bids_fall_asks_rise_and_levels_that_meet_are_one() -> None:
    """Ticks of 0.10: 99.97 and 99.91 are both 99.9, 100.01 and 100.10 both 100.1."""
    bids, asks = levels(
        [(9_997, 3), (9_991, 4), (9_990, 5), (9_989, 6)],
        [(10_001, 1), (10_010, 2), (10_011, 7)],
        tick_size="0.10",
    )

    assert bids == [(0, 12), (1, 6)]
    assert asks == [(0, 3), (1, 7)]


def test_on_a_finer_tick_distances_are_exact() -> None:
    assert levels([(10_000, 1), (9_999, 1)], [], tick_size="0.001")[0] == [(0, 1), (10, 1)]


def test_sizes_are_whole_steps_rounded_down_after_the_levels_of_a_tick_are_summed() -> None:
    """Steps of 0.001: of 0.0015 and 0.0007 on one tick there are two."""
    bids, _ = levels(
        [(10_009, 15), (10_000, 7), (9_995, 19)], [], lot_step="0.001", tick_size="0.10"
    )

    assert bids == [(0, 2), (1, 1)]


def test_a_best_level_too_small_to_count_leaves_the_next_as_far_away_as_it_is() -> None:
    bids, asks = levels([(10_000, 9), (9_997, 10)], [(10_001, 9)], lot_step="0.001")

    assert bids == [(3, 1)]
    assert asks == []


def test_sizes_are_of_lots_where_a_lot_is_many_units() -> None:
    bids, _ = levels([(10_000, 35_000_000)], [], lot_step="0.01", contract_size="1000")

    assert bids == [(0, 350)]  # 3,500 units in lot steps of 10


def test_numbers_beyond_all_measure_are_cut_and_break_nothing() -> None:
    bids, asks = levels([(10_000, 10**38), (1, 10**38)], [(10_001, 1), (10**38, 10**38)])

    assert [offset for offset, _ in bids] == [0, 9_999]
    assert sum(offset * steps for offset, steps in bids) < 2**61
    assert asks == [(0, 1)]


def test_a_side_that_is_empty_has_no_level() -> None:
    assert levels([], [(10_001, 4)]) == ([], [(0, 4)])


# Depth in tables


def with_depth(bars: int, first: int = 0) -> BarTable:
    """Bars whose best bids have as many steps as their number from `first`."""
    depth = no_depth(bars)
    depth[:, 0, 0, 1] = first + np.arange(bars)
    table = a_table(closes=[100.0 + n for n in range(bars)], resolution="1m")
    values = {name: getattr(table, name) for name in BarTable.__slots__}
    return BarTable(**(values | {"depth": depth}))


def steps_of(table: BarTable) -> list[int]:
    assert table.depth is not None
    found: list[int] = table.depth[:, 0, 0, 1].tolist()
    return found


def test_rows_of_a_table_keep_their_depth() -> None:
    assert steps_of(rows_between(with_depth(5), 2, 4)) == [2, 3]
    assert rows_between(a_table(), 0, 1).depth is None


def test_tables_that_are_joined_keep_it_and_have_none_where_they_had_none() -> None:
    plain = a_table(resolution="1m")

    assert steps_of(joined([with_depth(2, 1), plain, with_depth(1, 7)])) == [1, 2, 0, 0, 0, 7]
    assert steps_of(joined([plain, with_depth(1, 7)])) == [0, 0, 0, 7]
    assert joined([plain, plain]).depth is None


@pytest.mark.parametrize("bars", [0, 10])
def test_a_coarse_bar_has_none_for_nothing_fills_on_it(bars: int) -> None:
    coarse = resampled(rows_between(with_depth(10), 0, bars), 300 * 10**9)

    assert len(coarse) == bars // 5
    assert coarse.depth is None
