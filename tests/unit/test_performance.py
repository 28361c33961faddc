from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.errors import ConfigError
from hydra.portfolio.performance import (
    Performance,
    drawdowns,
    max_drawdown,
    performance,
    periods_per_year,
)

USD = 100_000_000
HOUR_NS = 3_600 * 10**9


def figures(
    equity: list[float],
    *,
    periods: float | None = 252.0,
    trades: list[int] | None = None,
    traded: float = 0.0,
) -> Performance:
    return performance(
        np.array(equity),
        periods_per_year=periods,
        trade_pnl_units=trades or [],
        traded_usd=traded,
        exposure_frac=0.25,
        costs_units=3 * USD,
    )


def test_a_curve_worked_by_hand() -> None:
    found = figures([100.0, 110.0, 99.0, 108.9], periods=12.0)  # +10 %, -10 %, +10 %
    mean, deviation = 0.1 / 3, math.sqrt(0.04 / 3)

    assert found.total_return_frac == pytest.approx(0.089)
    assert found.max_drawdown_frac == pytest.approx(0.1)
    assert found.sharpe == pytest.approx(mean / deviation * math.sqrt(12))
    assert found.sortino == pytest.approx(mean / math.sqrt(0.01 / 3) * math.sqrt(12))
    assert found.calmar == pytest.approx((1.089**4 - 1) / 0.1)  # three months of a year


def test_trades_worked_by_hand() -> None:
    found = figures([100.0, 101.0], trades=[3 * USD, -2 * USD, 0, 1 * USD], traded=250.0)

    assert found.profit_factor == 2.0
    assert found.win_rate_frac == 0.5  # a trade without gain is no win
    assert found.expectancy_usd == 0.5
    assert (found.trades, found.wins) == (4, 2)
    assert (found.best_trade_usd, found.worst_trade_usd) == (3.0, -2.0)
    assert (found.turnover, found.exposure_frac, found.costs_usd) == (2.5, 0.25, 3.0)


def test_what_has_no_value_is_none() -> None:
    idle = figures([100.0, 100.0, 100.0])
    rising = figures([100.0, 101.0, 103.0], trades=[3 * USD])

    assert (idle.sharpe, idle.sortino, idle.calmar) == (None, None, None)
    assert (idle.profit_factor, idle.win_rate_frac, idle.expectancy_usd) == (None, None, None)
    assert (idle.best_trade_usd, idle.worst_trade_usd) == (None, None)
    assert rising.sharpe is not None
    assert (rising.sortino, rising.calmar, rising.profit_factor) == (None, None, None)


def test_nothing_is_annualised_without_a_year() -> None:
    found = figures([100.0, 90.0, 105.0], periods=None)

    assert (found.sharpe, found.sortino, found.calmar) == (None, None, None)
    assert found.max_drawdown_frac == pytest.approx(0.1)


def test_a_pace_beyond_any_year_has_no_calmar() -> None:
    assert figures([100.0, 50.0, 200.0], periods=525_600.0).calmar is None


def test_ruin_leaves_the_drawdown_and_no_ratio() -> None:
    ruined = figures([100.0, 50.0, -20.0])

    assert ruined.max_drawdown_frac == pytest.approx(1.2)
    assert (ruined.sharpe, ruined.sortino, ruined.calmar) == (None, None, None)


@pytest.mark.parametrize("equity", [[], [0.0, 1.0], [100.0, math.nan]])
def test_a_curve_that_is_none_is_refused(equity: list[float]) -> None:
    with pytest.raises(ConfigError, match="equity curve"):
        figures(equity)


def test_drawdowns_are_measured_from_the_peak_so_far() -> None:
    assert drawdowns(np.array([100.0, 80.0, 120.0, 60.0])) == pytest.approx([0.0, 0.2, 0.0, 0.5])
    assert max_drawdown(np.array([1.0, 2.0, 3.0])) == 0.0


def test_periods_per_year_are_the_markets_own() -> None:
    always = np.arange(1001) * HOUR_NS
    weekdays = np.array([at for at in range(52 * 168 + 1) if at % 168 < 120]) * HOUR_NS

    assert periods_per_year(always) == pytest.approx(8766)
    assert periods_per_year(weekdays) == pytest.approx(8766 * 120 / 168, rel=1e-3)
    assert periods_per_year(always[:1]) is None


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=20),
    st.lists(st.integers(-(10**15), 10**15), max_size=6),
    st.sampled_from([None, 12.0, 8766.0, 525_960.0]),
)
def test_no_figure_is_ever_nan_or_infinite(
    later: list[float], trades: list[int], periods: float | None
) -> None:
    found = figures([25_000.0, *later], periods=periods, trades=trades)

    for value in msgspec.structs.asdict(found).values():
        assert value is None or math.isfinite(value)
