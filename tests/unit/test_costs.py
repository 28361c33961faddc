"""What trading costs, before it reaches the compiled step: terms, slippage, swap."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.errors import ConfigError
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.portfolio.costs import BarRecorder, Costs, Slippage, costs_named, terms_of
from tests.support.bars import START_NS, a_random_walk, a_table, an_instrument
from tests.support.seasons import ScriptedEngine, play_bars

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
REAL = costs_named("real")
WEDNESDAY = START_NS + 2 * DAY_NS


def charged_at(
    *hours: int, triple_on: int | None = None, zone: str = "America/New_York"
) -> Instrument:
    """Longs pay a basis point a night, shorts are paid half of one."""
    return an_instrument(
        spread_bps="2",
        swap_long_bps="1",
        swap_short_bps="-0.5",
        swap_hours=hours,
        swap_zone=zone,
        triple_swap_weekday=triple_on,
    )


def test_an_unknown_cost_model_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'cheap'; there are: real, none"):
        costs_named("cheap")


def test_terms_round_against_the_account() -> None:
    instrument = an_instrument(
        commission_bps="0.123", commission_per_lot="0.000123", swap_short_bps="-0.019"
    )

    (terms,) = terms_of((instrument,), REAL)

    assert terms["tick_value"] == 100
    assert terms["commission_ppm"] == 13  # 12.3
    assert terms["commission_step"] == 2  # 1.23 units on a step of 1e-4 lots
    assert terms["swap_short_ppm"] == -1  # what is paid out is rounded down
    assert terms["leverage_x100"] == 1_000


def test_without_costs_nothing_is_charged() -> None:
    instrument = an_instrument(
        commission_bps="5", commission_per_lot="1", swap_long_bps="1", swap_hours=(0,)
    )
    none = costs_named("none")

    (terms,) = terms_of((instrument,), none)
    records = BarRecorder(0, instrument, none).records(a_table(instrument=instrument))

    charged = ("commission_ppm", "commission_step", "swap_long_ppm", "swap_short_ppm")
    assert [int(terms[name]) for name in charged] == [0, 0, 0, 0]
    assert not records["swap_count"].any()
    assert not records["slip_base"].any()


def test_without_spread_both_sides_trade_at_the_traded_price() -> None:
    instrument = an_instrument(spread_bps="100")
    table = a_table(closes=[100.0, 101.0], instrument=instrument)

    bare = BarRecorder(0, instrument, costs_named("none")).records(table)
    real = BarRecorder(0, instrument, REAL).records(table)

    assert bare["bid_close"].tolist() == bare["ask_close"].tolist() == [10_000, 10_100]
    assert real["bid_close"].tolist() == [9_950, 10_049]  # rounded away from the middle
    assert real["ask_close"].tolist() == [10_050, 10_151]


def test_a_spread_that_was_recorded_is_kept_whatever_the_costs() -> None:
    table = a_table(closes=[100.0, 101.0], spread=0.5)

    records = BarRecorder(0, table.instrument, costs_named("none")).records(table)

    assert (records["ask_close"] - records["bid_close"]).tolist() == [50, 50]


# Slippage


def test_slippage_follows_range_and_volume_of_the_bar_before() -> None:
    instrument = an_instrument(tick_size="0.01", lot_step="0.01")
    costs = Costs(name="impact", slippage=Slippage(base_bps=1.0, impact=0.5))
    table = a_table(
        closes=[100, 100, 200], highs=[104, 100, 200], lows=[100, 100, 100], volumes=[4, 1, 1],
        instrument=instrument,
    )  # fmt: skip

    records = BarRecorder(0, instrument, costs).records(table)

    assert records["slip_base"].tolist() == pytest.approx([1, 1, 1])  # a bp of 100.00 in cents
    # Half of 400 ticks, times the root of a step of 0.01 in a volume of 4.
    assert records["slip_impact"].tolist() == pytest.approx([0, 200 * 0.05, 0])


def test_a_volume_that_nobody_reports_is_taken_to_be_a_million_dollars() -> None:
    instrument = an_instrument(lot_step="1")
    costs = Costs(name="impact", slippage=Slippage(base_bps=0.0, impact=1.0))
    table = a_table(
        closes=[100, 100, 100], highs=[101] * 3, lows=[100] * 3, volumes=[np.nan, 0, 1],
        instrument=instrument,
    )  # fmt: skip

    records = BarRecorder(0, instrument, costs).records(table)

    assert records["slip_impact"][1:].tolist() == pytest.approx([1, 1])  # 100 x root(1 / 10,000)


# Swap


def swaps(table: BarTable, *cuts: int) -> list[tuple[int, int]]:
    """(instant, nights) on each bar, recorded in chunks that end before the bars `cuts`."""
    recorder = BarRecorder(0, table.instrument, REAL)
    bounds = [0, *cuts, len(table)]
    chunks = [recorder.records(rows_between(table, low, high)) for low, high in pairwise(bounds)]
    rows = np.concatenate(chunks)
    return list(zip(rows["swap_ns"].tolist(), rows["swap_count"].tolist(), strict=True))


def test_a_rollover_falls_on_the_bar_that_it_lies_in() -> None:
    instrument = charged_at(2, zone="UTC")
    table = a_table(closes=[100.0] * 4, instrument=instrument)

    # 02:00 is the end of the second bar and the beginning of the third.
    assert swaps(table) == [(0, 0), (START_NS + 2 * HOUR_NS, 1), (0, 0), (0, 0)]


def test_wednesday_charges_three_nights_and_the_weekend_none() -> None:
    instrument = charged_at(17, triple_on=2)
    table = a_table(closes=[100.0] * 7, resolution="1d", instrument=instrument)

    assert [nights for _, nights in swaps(table)] == [1, 1, 3, 1, 1, 0, 0]


def test_rollovers_in_a_gap_are_due_at_the_bar_after_it() -> None:
    instrument = charged_at(17, triple_on=2)
    opens = [WEDNESDAY, WEDNESDAY + 2 * DAY_NS]  # nothing from Wednesday 01:00 to Friday
    table = a_table(closes=[100.0] * 2, open_ns=opens, instrument=instrument)

    thursday_17 = WEDNESDAY + DAY_NS + 22 * HOUR_NS
    assert swaps(table) == [(0, 0), (thursday_17, 4)]


@given(cuts=st.lists(st.integers(0, 60), max_size=5).map(sorted), seed=st.integers(0, 20))
def test_chunks_change_neither_swaps_nor_slippage(cuts: list[int], seed: int) -> None:
    instrument = charged_at(0, 8, 16)
    table = a_random_walk(
        np.random.default_rng(seed), 60, resolution="1h", gap_share=0.3, instrument=instrument
    )
    cuts = [min(cut, len(table)) for cut in cuts]
    whole = BarRecorder(0, instrument, REAL)
    pieces = BarRecorder(0, instrument, REAL)
    bounds = [0, *cuts, len(table)]

    in_one = whole.records(table)
    in_many = [pieces.records(rows_between(table, low, high)) for low, high in pairwise(bounds)]

    assert np.concatenate(in_many).tolist() == in_one.tolist()
    for one, many in zip(whole.closes(), pieces.closes(), strict=True):
        assert one.tolist() == many.tolist()


def test_a_ticket_held_over_a_weekend_pays_for_every_night() -> None:
    instrument = charged_at(17, triple_on=2)
    opens = [WEDNESDAY + hour * HOUR_NS for hour in (0, 1, 70, 94, 166)]
    table = a_table(closes=[100.0] * 5, open_ns=opens, instrument=instrument)
    lots = Decimal(10)
    engine = ScriptedEngine({0: lambda v: [v.buy(lots=lots)], 3: lambda v: [v.sell(lots=lots)]})

    played = play_bars(
        [table], {"e": engine}, costs=Costs(name="swap", spread=False, slippage=None)
    )
    held, late = played.tickets

    # Wednesday three, Thursday, Friday; Monday and Tuesday: seven nights of 1 bp of 1,000 USD.
    assert held.swap_units == 7 * 10 * 10**6
    # Sold into the last bar, at whose open all of them were over.
    assert late.swap_units == 0
    assert played.account("e").balance_units == 25_000 * 10**8 - held.swap_units
