"""Coarser bars from finer ones."""

from __future__ import annotations

import numpy as np
import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.market.resample import resampled
from tests.support.bars import START_NS, a_table

HOUR_NS = 3_600 * NS_PER_S


def test_four_hours_make_one_bar_that_opens_with_the_first_and_closes_with_the_last() -> None:
    hours = a_table(closes=[100.0, 101.0, 99.0, 102.0, 103.0, 104.0, 98.0, 105.0], resolution="1h")

    coarse = resampled(hours, 4 * HOUR_NS)

    assert coarse.open_ns.tolist() == [START_NS, START_NS + 4 * HOUR_NS]
    assert coarse.close.tolist() == [102.0, 105.0]
    assert coarse.open.tolist() == [hours.open[0], hours.open[4]]
    assert coarse.high.tolist() == [hours.high[:4].max(), hours.high[4:].max()]
    assert coarse.low.tolist() == [hours.low[:4].min(), hours.low[4:].min()]
    assert coarse.bid_close.tolist() == [hours.bid_close[3], hours.bid_close[7]]
    assert np.allclose(coarse.volume, [hours.volume[:4].sum(), hours.volume[4:].sum()])


def test_a_bar_that_the_data_does_not_cover_to_its_end_is_left_out() -> None:
    hours = a_table(closes=[100.0] * 6, resolution="1h")

    assert len(resampled(hours, 4 * HOUR_NS)) == 1


def test_only_multiples_can_be_gathered() -> None:
    hours = a_table(closes=[100.0] * 6, resolution="1h")

    with pytest.raises(ConfigError, match="take a multiple"):
        resampled(hours, HOUR_NS + HOUR_NS // 2)
