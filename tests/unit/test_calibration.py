"""Brier score, reliability and Murphy's parts, on values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hydra.portfolio.columns import REASONS
from hydra.tournament.calibration import (
    Bin,
    base_rate,
    base_rate_brier,
    brier,
    murphy,
    reliability,
    resolved,
)

STATED = (0.9, 0.8, 0.3, 0.1)
CAME = (True, True, False, True)


def test_brier_score_of_four_statements() -> None:
    # (0.1² + 0.2² + 0.3² + 0.9²) ÷ 4
    assert brier(STATED, CAME) == pytest.approx(0.2375)


@pytest.mark.parametrize(
    ("stated", "came", "score"),
    [((1.0, 0.0), (True, False), 0.0), ((0.0, 1.0), (True, False), 1.0), ((0.5,), (True,), 0.25)],
)
def test_brier_score_of_the_best_the_worst_and_a_coin(
    stated: tuple[float, ...], came: tuple[bool, ...], score: float
) -> None:
    assert brier(stated, came) == score


def test_the_base_rate_is_the_constant_that_scores_best() -> None:
    assert base_rate(CAME) == 0.75
    assert base_rate_brier(CAME) == pytest.approx(0.1875)
    scores = {share: brier([share] * 4, CAME) for share in np.linspace(0, 1, 101).tolist()}
    assert min(scores, key=scores.__getitem__) == 0.75
    assert scores[0.75] == pytest.approx(base_rate_brier(CAME))


def test_reliability_in_two_bins() -> None:
    low, high = reliability(STATED, CAME, bins=2)

    assert low == Bin(0.0, 0.5, 2, 0.2, 0.5)
    assert high._replace(stated=0.0) == Bin(0.5, 1.0, 2, 0.0, 1.0)
    assert high.stated == pytest.approx(0.85)


def test_a_statement_on_an_edge_belongs_to_the_upper_bin_and_one_to_the_last() -> None:
    stated = [i / 100 for i in range(101)]
    bins = reliability(stated, [True] * 101, bins=100)

    assert [one.cases for one in bins] == [1] * 99 + [2]
    assert all(one.low <= one.stated for one in bins)
    assert [(one.low, one.high) for one in reliability([0.2, 1.0], [True, False])] == [
        (0.2, 0.4), (0.8, 1.0),
    ]  # fmt: skip


def test_murphys_parts_of_two_groups() -> None:
    # 0.8 is said four times and comes three times, 0.2 four times and comes twice.
    stated = [0.8] * 4 + [0.2] * 4
    came = [True, True, True, False, True, True, False, False]

    parts = murphy(stated, came)

    assert parts.reliability == pytest.approx((0.05**2 + 0.3**2) / 2)
    assert parts.resolution == pytest.approx(0.125**2)
    assert parts.uncertainty == pytest.approx(0.625 * 0.375)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(
        brier(stated, came)
    )


@pytest.mark.parametrize("seed", range(20))
def test_murphys_parts_add_up_to_the_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stated = rng.integers(0, 11, 60) / 10
    came = rng.random(60) < stated * 0.7

    parts = murphy(stated.tolist(), came.tolist())

    whole = parts.reliability - parts.resolution + parts.uncertainty
    assert whole == pytest.approx(brier(stated.tolist(), came.tolist()), abs=1e-14)


def test_only_target_and_stop_put_a_statement_to_the_test() -> None:
    assert resolved("target") is True
    assert resolved("stop") is False
    others = {*REASONS, "invalidation", ""} - {"target", "stop"}
    assert {resolved(reason) for reason in others} == {None}


@pytest.mark.parametrize(
    ("stated", "came"),
    [((), ()), ((0.5,), ()), ((1.1,), (True,)), ((-0.1,), (True,)), ((float("nan"),), (True,))],
)
def test_what_is_no_probability_is_refused(
    stated: tuple[float, ...], came: tuple[bool, ...]
) -> None:
    for score in (brier, reliability, murphy):
        with pytest.raises(ValueError):
            score(stated, came)


def test_nothing_has_no_base_rate_and_no_bins_no_diagram() -> None:
    with pytest.raises(ValueError, match="nothing has come"):
        base_rate(())
    with pytest.raises(ValueError, match="at least one"):
        reliability(STATED, CAME, bins=0)
