from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from arch.bootstrap import SPA
from numpy.typing import NDArray

from hydra.tournament import kernels
from hydra.tournament.bootstrap import (
    block_length,
    joint_block_length,
    probability_first,
    rank_sets,
    resampled_sums,
    running_sums,
    season_uncertainty,
)
from hydra.tournament.multiple import reality_check, step_down_superior, superior_ability

Float64 = NDArray[np.float64]


def noise(length: int, engines: int, seed: int = 1) -> Float64:
    return np.random.default_rng(seed).normal(0.0, 0.01, (length, engines))


def test_below_168_observations_it_is_too_early_for_an_interval() -> None:
    early = season_uncertainty(noise(167, 3), seed=1)

    assert early.note == "too early: 167 of 168 observations"
    assert [e.low_frac for e in early.engines] == [None, None, None]
    assert season_uncertainty(noise(168, 3), seed=1).note == ""


def test_references_get_an_interval_but_no_chance_of_being_first() -> None:
    found = season_uncertainty(noise(200, 3), seed=1, holds_rank=(True, False, True))
    ranked, reference, other = found.engines

    assert reference.low_frac is not None
    assert (reference.p_first, reference.rank_low, reference.rank_high) == (None, None, None)
    assert ranked.p_first is not None
    assert other.p_first is not None
    assert ranked.p_first + other.p_first == pytest.approx(1.0)


def test_an_interval_holds_the_total_it_is_about() -> None:
    returns = noise(500, 4)
    for engine, total in zip(
        season_uncertainty(returns, seed=1).engines, returns.sum(axis=0), strict=True
    ):
        assert engine.low_frac is not None
        assert engine.high_frac is not None
        assert engine.low_frac < total < engine.high_frac


def test_a_clear_leader_is_first_and_has_the_first_rank_alone() -> None:
    returns = noise(500, 4)
    returns[:, 2] += 0.01

    leader = season_uncertainty(returns, seed=1).engines[2]

    assert leader.p_first == pytest.approx(1.0, abs=1e-3)
    assert (leader.rank_low, leader.rank_high) == (1, 1)


def test_engines_that_never_traded_share_what_can_be_said() -> None:
    idle = season_uncertainty(np.zeros((200, 4)), seed=1)

    assert idle.mean_block == 1.0
    assert [e.p_first for e in idle.engines] == [0.25] * 4
    assert [(e.rank_low, e.rank_high) for e in idle.engines] == [(1, 4)] * 4
    assert [(e.low_frac, e.high_frac) for e in idle.engines] == [(0.0, 0.0)] * 4


def test_luck_of_the_leader_is_discounted() -> None:
    """Ten near-equal engines: the leader wins 0.43 of the resamples and is best in 0.11."""
    naive, shrunk = [], []
    for seed in range(60):
        returns = noise(250, 10, seed) + 0.8 * noise(250, 1, 1000 + seed)
        totals = returns.sum(axis=0)
        sums = resampled_sums(returns, mean_block=1.0, seed=seed, replicates=500)
        leader = int(totals.argmax())
        naive.append(float((sums.argmax(axis=1) == leader).mean()))
        shrunk.append(probability_first(totals, sums - totals)[leader])

    assert np.mean(naive) > 0.38
    assert np.mean(shrunk) < 0.20


def test_near_equal_engines_may_hold_any_rank() -> None:
    returns = noise(500, 5)
    returns -= returns.mean(axis=0)
    totals = returns.sum(axis=0)
    sums = resampled_sums(returns, mean_block=1.0, seed=1, replicates=2000)

    assert rank_sets(totals, sums - totals, 0.9) == [(1, 5)] * 5


def test_a_replicate_does_not_depend_on_the_others_nor_on_the_threads() -> None:
    returns = noise(300, 3)
    whole = resampled_sums(returns, mean_block=4.0, seed=9, replicates=64)
    upto, guide = kernels.geometric_table(4.0, 300)
    alone = np.empty((1, 3))
    kernels.bootstrap_sums(running_sums(returns), 41, upto, guide, np.uint64(9), alone)

    assert (alone[0] == whole[41]).all()
    assert (whole == resampled_sums(returns, mean_block=4.0, seed=9, replicates=64)).all()
    assert (whole != resampled_sums(returns, mean_block=4.0, seed=10, replicates=64)).any()


def test_all_engines_are_resampled_at_the_same_instants() -> None:
    one = noise(300, 1)
    sums = resampled_sums(np.hstack([one, 2.0 * one]), mean_block=4.0, seed=1, replicates=100)

    assert sums[:, 1] == pytest.approx(2.0 * sums[:, 0])


def test_block_lengths_are_geometric() -> None:
    upto, guide = kernels.geometric_table(4.0, 10_000)
    shares = np.diff(upto.astype(float)) / 2**32

    assert shares[:3] == pytest.approx([0.25, 0.1875, 0.140625], abs=1e-9)
    assert (shares * np.arange(1, len(shares) + 1)).sum() == pytest.approx(4.0, abs=1e-6)
    assert upto[-1] == 2**32
    assert guide[0] == 1


def test_blocks_grow_with_memory_and_a_still_series_has_none() -> None:
    shocks = noise(2000, 1)[:, 0]
    slow = np.zeros(2000)
    for t in range(1, 2000):
        slow[t] = 0.8 * slow[t - 1] + shocks[t]
    forgetful, remembering = block_length(shocks), block_length(slow)

    assert forgetful is not None
    assert remembering is not None
    assert forgetful.stationary < 5.0 < remembering.stationary
    assert block_length(np.full(2000, 0.1)) is None
    assert joint_block_length(np.zeros((2000, 2))) == 1.0


def test_the_reality_check_agrees_with_arch() -> None:
    """arch 8.0.0 divides by no standard error, whatever it is asked: its upper p is White's."""
    excess = noise(250, 5) + 0.0006
    arch = SPA(np.zeros(250), -excess, block_size=5, reps=2000, seed=1)
    arch.compute()

    mine = reality_check(excess, seed=1, mean_block=5.0)

    assert mine == pytest.approx(arch.pvalues["upper"], abs=0.04)


def test_hopeless_strategies_weaken_the_upper_p_value_only() -> None:
    good = noise(250, 1) + 0.0012
    hopeless = noise(250, 20, seed=2) - 0.02
    found = superior_ability(np.hstack([good, hopeless]), seed=1, mean_block=1.0)
    alone = superior_ability(good, seed=1, mean_block=1.0)

    assert found.p_lower == found.p_consistent == pytest.approx(alone.p_consistent, abs=0.01)
    assert found.p_upper > found.p_consistent + 0.1


def test_superior_ability_of_strategies_that_never_traded_is_none() -> None:
    assert superior_ability(np.zeros((200, 3)), seed=1).p_consistent == 1.0
    assert step_down_superior(np.zeros((200, 3)), seed=1, replicates=100) == ()


def test_all_strategies_may_be_superior() -> None:
    assert step_down_superior(noise(300, 3) + 0.01, seed=1, replicates=1000) == (0, 1, 2)


def test_on_short_fat_tailed_noise_few_superior_strategies_are_found() -> None:
    found = 0
    for seed in range(60):
        dice = np.random.default_rng(seed).standard_t(3, (48, 30))
        found += bool(step_down_superior(dice, seed=seed, replicates=400))

    assert found <= 8  # nominal 5 % of 60 is 3; one fixed standard error finds about 40


def test_scipy_is_not_loaded_before_it_is_needed() -> None:
    modules = "bootstrap, luck, sharpe, overfitting, multiple, betting, ranking, scoring, house"
    code = (
        f"import sys; from hydra.tournament import {modules}"
        "; sys.exit('scipy.special' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_long_season_is_resampled_in_about_a_thousand_blocks() -> None:
    found = season_uncertainty(noise(20_000, 2), seed=1, replicates=200)

    assert found.mean_block is not None
    assert found.mean_block >= 20.0
