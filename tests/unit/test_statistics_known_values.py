"""The statistics of the tournament against values found elsewhere.

Most stand on one deterministic table of ten strategies over 500 periods; `returns` builds it.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hydra.tournament.betting import betting_evidence, hedge
from hydra.tournament.bootstrap import block_length, resampled_sums, standard_error
from hydra.tournament.luck import chance_of_wins
from hydra.tournament.multiple import reality_check, step_down_superior, superior_ability
from hydra.tournament.overfitting import overfitting
from hydra.tournament.sharpe import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    minimum_backtest_years,
    moments,
    probabilistic_sharpe,
    sharpe_to_beat,
)

Float64 = NDArray[np.float64]


def hashed(t: Float64, k: Float64) -> Float64:
    raw = 43758.5453 * np.sin(12.9898 * t + 78.233 * k)
    scaled: Float64 = (raw - np.floor(raw) - 0.5) * np.sqrt(12.0)
    return scaled


@pytest.fixture(scope="module")
def returns() -> Float64:
    """(500, 10): noise of their own, a common market with an echo, and a rising edge."""
    t, k = np.arange(1.0, 501.0)[:, None], np.arange(1.0, 11.0)[None, :]
    zero = np.zeros((1, 1))
    market = hashed(t, zero) + 0.5 * hashed(t - 1.0, zero)
    table: Float64 = 0.008 * hashed(t, k) + 0.004 * market + 0.0001 * (k - 4.0)
    return table


@pytest.fixture(scope="module")
def tenth(returns: Float64) -> Float64:
    return np.ascontiguousarray(returns[:, 9])


def sharpe_variance(returns: Float64) -> float:
    return float(np.var([m.sharpe for m in map(moments, returns.T) if m is not None], ddof=1))


def test_the_table_is_the_one_meant(returns: Float64) -> None:
    assert returns.sum() == pytest.approx(4.358267434947, abs=1e-9)
    assert returns[0, 0] == pytest.approx(0.008732437645, abs=1e-9)


def test_value_1_the_published_example_of_the_deflated_sharpe() -> None:
    # Annual Sharpe 2.5 over 1,250 days of 250 a year, skew -3, kurtosis 10, V = 1/2 a year.
    found = Moments(sharpe=2.5 / 250**0.5, skew=-3.0, kurtosis=10.0, observations=1250)
    variance = 0.5 / 250

    assert sharpe_to_beat(100, variance) == pytest.approx(0.113172, abs=5e-7)
    assert deflated_sharpe(found, 100, variance) == pytest.approx(0.900397, abs=5e-7)
    assert deflated_sharpe(found, 46, variance) == pytest.approx(0.950502, abs=5e-7)
    normal = found._replace(skew=0.0, kurtosis=3.0)
    assert deflated_sharpe(normal, 88, variance) == pytest.approx(0.950491, abs=5e-7)


@pytest.mark.parametrize(
    ("trials", "expected"), [(10, 1.574598), (100, 2.530603), (1000, 3.255122), (5000, 3.687703)]
)
def test_value_2_the_best_of_n_dice(trials: int, expected: float) -> None:
    assert expected_maximum(trials) == pytest.approx(expected, abs=5e-7)


def test_value_2_45_variants_reach_a_sharpe_of_1_by_luck_within_5_years() -> None:
    assert minimum_backtest_years(45, 1.0) == pytest.approx(4.9981, abs=5e-5)


def test_value_3_sharpe_its_moments_and_its_deflation(returns: Float64, tenth: Float64) -> None:
    found = moments(tenth)

    assert found is not None
    assert found.sharpe == pytest.approx(0.138844648, abs=5e-10)
    assert found.skew == pytest.approx(-0.022652957, abs=1e-9)
    assert found.kurtosis == pytest.approx(2.166725328, abs=1e-9)
    assert probabilistic_sharpe(found) == pytest.approx(0.998992613, abs=5e-10)
    variance = sharpe_variance(returns)
    assert variance == pytest.approx(2.005667222e-3, abs=5e-13)
    assert deflated_sharpe(found, 10, variance) == pytest.approx(0.935701357, abs=1e-9)


@pytest.mark.parametrize(("blocks", "overfit", "splits"), [(4, 1, 6), (8, 14, 70), (10, 47, 252)])
def test_value_4_the_probability_of_overfitting(
    returns: Float64, blocks: int, overfit: int, splits: int
) -> None:
    found = overfitting(returns, blocks=blocks)

    assert (found.overfit, found.splits) == (overfit, splits)
    assert found.probability == overfit / splits


def test_value_5_the_automatic_block_length(tenth: Float64) -> None:
    found = block_length(tenth)

    assert found is not None
    assert found.stationary == pytest.approx(2.932219, abs=5e-7)
    assert found.circular == pytest.approx(3.356553, abs=5e-7)


def test_value_6_the_exact_error_of_the_mean_is_what_resampling_finds(tenth: Float64) -> None:
    exact = standard_error(tenth, 10.0)
    sums = resampled_sums(tenth[:, None], mean_block=10.0, seed=1, replicates=50_000)

    assert exact == pytest.approx(0.0004375771, abs=5e-11)
    assert sums.std() / len(tenth) == pytest.approx(exact, rel=0.015)


def test_value_7_three_strategies_are_superior_and_the_field_is_not_luck(
    returns: Float64,
) -> None:
    # The p-values were found with 10,000 replicates, an error of 0.0004 each.
    ability = superior_ability(returns, seed=1, mean_block=10.0, replicates=50_000)
    check = reality_check(returns, seed=1, mean_block=10.0, replicates=50_000)

    assert 0.0014 - 0.0008 < ability.p_consistent < 0.0016 + 0.0008
    assert ability.p_lower <= ability.p_consistent <= ability.p_upper
    assert check == pytest.approx(0.0015, abs=0.0008)
    assert step_down_superior(returns, seed=1, mean_block=10.0) == (7, 8, 9)  # k = 8, 9, 10


def test_value_8_evidence_that_may_be_looked_at_any_time(tenth: Float64) -> None:
    found = betting_evidence(tenth, worst_loss=0.02)

    assert found.wealth == pytest.approx(25.448761963, abs=1e-8)
    assert found.best_wealth == pytest.approx(68.166223195, abs=1e-8)
    assert found.p_anytime == pytest.approx(0.014670022, abs=5e-10)


def test_value_9_following_the_leaders_costs_less_than_its_bound(returns: Float64) -> None:
    found = hedge(returns)

    assert found.rate == pytest.approx(0.191941036, abs=5e-10)
    assert found.regret == pytest.approx(7.617474, abs=5e-7)
    assert found.bound == pytest.approx(23.992630, abs=5e-7)
    assert found.weights[[0, 9]] == pytest.approx([0.028367, 0.156184], abs=5e-7)


def test_value_10_how_often_a_coin_wins() -> None:
    assert chance_of_wins(60, 100) == pytest.approx(0.028443967, abs=5e-10)
    assert chance_of_wins(3, 5) == 0.5
