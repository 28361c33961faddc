from __future__ import annotations

import numpy as np
import pytest

from hydra.errors import ConfigError
from hydra.tournament.betting import betting_evidence, hedge
from hydra.tournament.overfitting import overfitting
from hydra.tournament.sharpe import (
    Moments,
    expected_maximum,
    moments,
    null_variance,
    probabilistic_sharpe,
    sharpe_to_beat,
)


def test_a_series_that_stands_still_has_no_sharpe() -> None:
    assert moments(np.full(100, 0.1)) is None
    assert moments(np.array([0.1])) is None


def test_a_sharpe_at_its_benchmark_is_as_likely_above_as_below() -> None:
    found = Moments(sharpe=0.1, skew=-1.0, kurtosis=5.0, observations=100)

    assert probabilistic_sharpe(found, 0.1) == 0.5


def test_two_point_returns_at_the_edge_of_moments_still_have_an_answer() -> None:
    coin = moments(np.array([0.02, -0.01] * 50))

    assert coin is not None
    assert coin.kurtosis == pytest.approx(1.0)
    assert 0.5 < probabilistic_sharpe(coin) <= 1.0


def test_one_trial_has_nothing_to_beat() -> None:
    assert expected_maximum(1) == 0.0
    assert sharpe_to_beat(1, null_variance(101)) == 0.0
    assert null_variance(101) == 0.01
    with pytest.raises(ValueError, match="0 trials"):
        expected_maximum(0)


def test_a_strategy_that_leads_everywhere_is_not_overfit() -> None:
    returns = np.random.default_rng(1).normal(0.0, 0.01, (400, 12))
    returns[:, 5] += 0.02

    found = overfitting(returns, blocks=8)

    assert found.probability == 0.0
    assert found.logits == pytest.approx([np.log(12.0)] * found.splits)


def test_equal_strategies_take_the_middle_and_idle_ones_are_allowed() -> None:
    assert overfitting(np.zeros((40, 3)), blocks=4).logits == (0.0,) * 6


@pytest.mark.parametrize(("blocks", "shape"), [(5, (100, 3)), (10, (19, 3)), (4, (100, 1))])
def test_splits_that_say_nothing_are_refused(blocks: int, shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="even number of blocks"):
        overfitting(np.ones(shape), blocks=blocks)


def test_evidence_needs_a_bound_that_losses_keep() -> None:
    with pytest.raises(ConfigError, match="worse than the worst loss"):
        betting_evidence(np.array([0.01, -0.03]), worst_loss=0.02)
    with pytest.raises(ConfigError, match="above 0"):
        betting_evidence(np.array([0.01]), worst_loss=0.0)


def test_evidence_starts_at_nothing_and_ignores_a_loser() -> None:
    assert betting_evidence(np.empty(0), 0.02).p_anytime == 1.0
    assert betting_evidence(np.full(50, -0.01), 0.02).wealth == 1.0


def test_experts_that_are_alike_keep_equal_weights() -> None:
    found = hedge(np.full((10, 4), 0.3))

    assert found.weights == pytest.approx([0.25] * 4)
    assert found.regret == 0.0
