"""However bars are cut into blocks, and whatever comes later: a row stays the same."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hydra.features.block import FeatureBlock
from hydra.features.specs import (
    atr,
    bar_count,
    bollinger_lower,
    bollinger_upper,
    ema,
    ewma_volatility,
    highest,
    lowest,
    macd_signal,
    minutes_since_day_open,
    momentum,
    previous,
    previous_day_high,
    previous_day_low,
    rsi,
    sma,
)
from hydra.market.bars import BarTable
from tests.support.engine_driver import joined, random_walk

EVERY_FAMILY = (
    ema(3),
    atr(5),
    previous(ema(3), 4),
    macd_signal(3, 6, 4),
    rsi(7),
    sma(9),
    bollinger_upper(6, 2),
    bollinger_lower(6, 2),
    highest(11),
    previous(lowest(4)),
    momentum(8),
    ewma_volatility(0.9),
    previous_day_high("Europe/Prague", 0),
    previous_day_low("Europe/Prague", 0),
    minutes_since_day_open("Europe/Prague", 0),
    bar_count(),
)


def values(table: BarTable, cuts: list[int]) -> NDArray[np.float64]:
    block = FeatureBlock(EVERY_FAMILY, table.resolution_ns)
    edges = [0, *sorted(cuts), len(table)]
    parts = []
    for first, end in itertools.pairwise(edges):
        rows = slice(first, end)
        parts.append(
            block.extend(
                table.open_ns[rows],
                table.open[rows],
                table.high[rows],
                table.low[rows],
                table.close[rows],
                table.volume[rows],
            )
        )
    return np.concatenate(parts)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 120), max_size=12))
def test_any_cut_into_blocks_gives_the_same_bits(seed: int, cuts: list[int]) -> None:
    table = random_walk(seed, 120, "3h")
    whole = values(table, [])
    assert whole.tobytes() == values(table, cuts).tobytes()
    assert not np.isnan(whole[-1]).any()


def test_one_bar_at_a_time_gives_the_same_bits() -> None:
    table = random_walk(5, 400, "3h")
    assert values(table, []).tobytes() == values(table, list(range(1, 400))).tobytes()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 119))
def test_later_bars_never_reach_back(seed: int, cut: int) -> None:
    table = random_walk(seed, 120, "3h")
    other = random_walk(seed + 1, 120, "3h", first=50.0)
    assert (
        values(table, [])[:cut].tobytes() == values(joined(table, other, cut), [])[:cut].tobytes()
    )
