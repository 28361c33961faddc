"""Features on numbers small enough to work by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from hydra.clock import to_ns
from hydra.errors import ConfigError
from hydra.features.block import FeatureBlock
from hydra.features.specs import (
    Feature,
    atr,
    bar_count,
    bollinger_lower,
    bollinger_upper,
    close,
    ema,
    ewma_volatility,
    highest,
    lowest,
    macd,
    macd_signal,
    minutes_since_day_open,
    momentum,
    previous,
    previous_day_high,
    previous_day_low,
    rsi,
    sma,
    stdev,
    volume,
)

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
NAN = math.nan


def column(
    feature: Feature,
    closes: Sequence[float],
    *,
    highs: Sequence[float] | None = None,
    lows: Sequence[float] | None = None,
    open_ns: NDArray[np.int64] | None = None,
    resolution_ns: int = MINUTE_NS,
) -> list[float]:
    close_ = np.array(closes, float)
    block = FeatureBlock([feature], resolution_ns)
    values = block.extend(
        np.arange(len(close_), dtype=np.int64) * resolution_ns if open_ns is None else open_ns,
        close_,
        close_ if highs is None else np.array(highs, float),
        close_ if lows is None else np.array(lows, float),
        close_,
        np.full(len(close_), 7.0),
    )
    assert values.shape == (len(close_), 1)
    result: list[float] = values[:, 0].tolist()
    return result


def same(values: Sequence[float], expected: Sequence[float]) -> bool:
    return values == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_an_ema_starts_from_the_mean_of_its_first_closes() -> None:
    assert same(column(ema(3), [2, 4, 6, 10, 9]), [NAN, NAN, 4, 7, 8])


def test_sma_and_stdev_are_those_of_the_window() -> None:
    closes = [99, 2, 4, 4, 4, 5, 5, 7, 9]
    assert column(sma(8), closes)[-1] == 5
    assert column(stdev(8), closes)[-1] == 2
    assert column(bollinger_upper(8, 2), closes)[-1] == 9
    assert column(bollinger_lower(8, 1.5), closes)[-1] == 2
    assert same(column(sma(2), [1, 3, 5]), [NAN, 2, 4])


def test_a_price_that_stands_still_after_a_spike_has_no_deviation() -> None:
    assert column(stdev(3), [1e6, 0.1, 0.1, 0.1])[-1] == pytest.approx(0, abs=1e-16)


def test_atr_counts_the_gap_from_the_previous_close_and_smooths_as_wilder_does() -> None:
    values = column(
        atr(2), closes=[10, 12, 9, 9], highs=[11, 13, 10, 9.5], lows=[9, 12, 8, 8.5]
    )  # true ranges: -, 13-10, 12-8, 1
    assert same(values, [NAN, NAN, 3.5, 2.25])


def test_rsi_weighs_gains_against_losses() -> None:
    # changes +2 -1 +3: means 1, 0.5; then (1 + 3)/2, 0.5/2
    assert same(column(rsi(2), [10, 12, 11, 14]), [NAN, NAN, 100 * 2 / 3, 100 * 2 / 2.25])
    assert column(rsi(2), [1, 2, 3])[-1] == 100
    assert column(rsi(2), [3, 2, 1])[-1] == 0
    assert column(rsi(2), [3, 3, 3])[-1] == 50


def test_macd_is_the_distance_of_two_emas_and_its_signal_their_mean() -> None:
    closes = [float(x) for x in (1, 2, 4, 8, 16, 8)]
    fast, slow = column(ema(2), closes), column(ema(3), closes)
    line = [a - b for a, b in zip(fast, slow, strict=True)]
    assert same(column(macd(2, 3), closes), line)
    signal = column(macd_signal(2, 3, 2), closes)
    first = (line[2] + line[3]) / 2
    assert same(signal[:5], [NAN, NAN, NAN, first, first + (line[4] - first) * 2 / 3])


def test_highest_and_lowest_leave_the_newest_bar_out() -> None:
    highs, lows = [5, 7, 6, 9, 1], [4, 3, 5, 2, 1]
    assert same(column(highest(3), [5] * 5, highs=highs, lows=lows), [NAN, NAN, NAN, 7, 9])
    assert same(column(lowest(2), [5] * 5, highs=highs, lows=lows), [NAN, NAN, 3, 3, 2])
    assert same(column(highest(1), [5] * 5, highs=highs, lows=lows), [NAN, 5, 7, 6, 9])


def test_momentum_is_a_log_return() -> None:
    assert same(column(momentum(2), [1, 5, math.e]), [NAN, NAN, 1])


def test_ewma_volatility_is_riskmetrics() -> None:
    closes = np.exp(np.cumsum([0, 0.03, 0.01, 0.02])).tolist()
    seed = (0.03**2 + 0.01**2) / 2
    expected = [NAN, NAN, math.sqrt(seed), math.sqrt(0.5 * seed + 0.5 * 0.02**2)]
    assert same(column(ewma_volatility(0.5), closes), expected)
    warm = np.flatnonzero(~np.isnan(column(ewma_volatility(0.9), [1.0, 2.0] * 10)))
    assert warm[0] == 10


def test_bars_are_counted_and_passed_through() -> None:
    assert column(bar_count(), [3, 4]) == [1, 2]
    assert column(close(), [3, 4]) == [3, 4]
    assert column(volume(), [3, 4]) == [7, 7]


def test_previous_is_the_feature_as_it_was() -> None:
    assert same(column(previous(close(), 2), [1, 2, 3, 4]), [NAN, NAN, 1, 2])
    assert same(column(previous(previous(ema(2))), [2, 4, 4, 8]), [NAN, NAN, NAN, 3])


def hours(first: datetime, count: int) -> NDArray[np.int64]:
    return to_ns(first) + HOUR_NS * np.arange(count, dtype=np.int64)


def test_yesterdays_extremes_are_those_of_the_last_day_with_bars() -> None:
    friday, monday = datetime(2024, 1, 5, 22, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC)
    open_ns = np.concatenate((hours(friday, 2), hours(monday, 2)))
    given = {"highs": [5, 7, 6, 9], "lows": [4, 3, 2, 1], "open_ns": open_ns}

    high = column(previous_day_high("UTC", 0), [5] * 4, resolution_ns=HOUR_NS, **given)  # type: ignore[arg-type]
    low = column(previous_day_low("UTC", 0), [5] * 4, resolution_ns=HOUR_NS, **given)  # type: ignore[arg-type]

    assert same(high, [NAN, NAN, 7, 7])
    assert same(low, [NAN, NAN, 3, 3])


def test_the_day_turns_at_its_local_hour_in_summer_and_in_winter() -> None:
    # New York, 17:00: 22:00 UTC until the clocks change on 10 March 2024, then 21:00 UTC.
    open_ns = hours(datetime(2024, 3, 8, 20, tzinfo=UTC), 96)
    minutes = column(minutes_since_day_open(), [5] * 96, open_ns=open_ns, resolution_ns=HOUR_NS)
    first_bars = [int(row) for row in np.flatnonzero(np.array(minutes) == 60)]
    starts = [datetime.fromtimestamp(int(open_ns[row]) / 1e9, UTC) for row in first_bars]
    assert [(at.day, at.hour) for at in starts] == [(8, 20), (8, 22), (9, 22), (10, 21), (11, 21)]
    assert max(minutes) == 24 * 60


def test_an_empty_block_changes_nothing() -> None:
    none, no_instant = np.zeros(0), np.zeros(0, np.int64)
    block = FeatureBlock([ema(2), previous_day_high(), previous(close())], MINUTE_NS)
    assert block.extend(no_instant, none, none, none, none, none).shape == (0, 3)


def test_the_same_feature_asked_for_twice_stands_twice() -> None:
    closes = np.array([2.0, 4.0, 8.0])
    block = FeatureBlock([ema(2), ema(2), rsi(2), atr(2), ema(2)], MINUTE_NS)
    values = block.extend(np.arange(3) * MINUTE_NS, closes, closes, closes, closes, closes)
    assert np.array_equal(values[:, 0], values[:, 1], equal_nan=True)
    assert np.array_equal(values[:, 0], values[:, 4], equal_nan=True)


def test_a_feature_says_what_it_is() -> None:
    assert str(previous(ema(12))) == "ema(12)[-1]"
    assert str(previous_day_high("Europe/Prague", 0)) == "previous_day_high(0, Europe/Prague)"


def test_wrong_features_are_named() -> None:
    with pytest.raises(ConfigError, match=r"vwap\(3\) is of no known kind; there are: atr, "):
        FeatureBlock([Feature("vwap", (3,))], MINUTE_NS)
    with pytest.raises(ConfigError, match="ema: a period of 0 bars"):
        ema(0)
    with pytest.raises(ConfigError, match="decay 1 must lie between 0 and 1"):
        ewma_volatility(1)
    with pytest.raises(ConfigError, match="hour 24"):
        previous_day_low("UTC", 24)
    with pytest.raises(ConfigError, match="'Europe/Pragu' is unknown"):
        previous_day_low("Europe/Pragu", 0)


def test_a_fresh_block_knows_nothing_of_the_bars_before_and_leaves_the_old_one_alone() -> None:
    features = [ema(3), rsi(2), previous(close(), 2), previous_day_high("UTC", 0.0)]
    rng = np.random.default_rng(5)
    first, second = (100 + np.cumsum(rng.normal(0, 1, 40)) for _ in range(2))
    hours = np.arange(40, dtype=np.int64) * HOUR_NS

    def extend(block: FeatureBlock, closes: NDArray[np.float64]) -> NDArray[np.float64]:
        return block.extend(hours, closes, closes + 1, closes - 1, closes, closes)

    block = FeatureBlock(features, HOUR_NS)
    whole = extend(block, first)
    fresh = block.fresh()

    np.testing.assert_array_equal(
        extend(fresh, second), extend(FeatureBlock(features, HOUR_NS), second)
    )
    np.testing.assert_array_equal(extend(block.fresh(), first), whole)
    again = FeatureBlock(features, HOUR_NS)
    extend(again, first)
    np.testing.assert_array_equal(extend(block, second), extend(again, second))
