"""Whatever a book holds, taking more of it is never cheaper, and never better than the best."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hydra.market.bars import DEPTH_LEVELS, no_depth
from hydra.portfolio.columns import TERMS
from hydra.portfolio.fills import slippage, walked

UNKNOWN = -1
Level = tuple[int, int]
sizes = st.integers(1, 10**9)
impacts = st.floats(0, 100)


@st.composite
def sides(draw: st.DrawFn) -> list[Level]:
    """Levels of one side, the best first."""
    first = draw(st.integers(0, 2))
    steps = draw(st.lists(st.integers(1, 1_000), max_size=DEPTH_LEVELS - 1))
    return [(offset, draw(sizes)) for offset in accumulate(steps, initial=first)]


def walk(levels: list[Level], steps: int, impact: float) -> int:
    terms = np.zeros(1, TERMS)
    book = no_depth(1)[0]
    book[1, : len(levels)] = levels
    terms["levels"][0] = book
    ticks: int = walked(terms[0], +1, steps, impact, UNKNOWN)
    return ticks


@given(sides(), sizes, impacts)
def test_it_is_the_mean_of_the_ticks_step_by_step_rounded_up(
    levels: list[Level], steps: int, impact: float
) -> None:
    left, paid = steps, 0
    for offset, size in levels:
        part = min(left, size)
        paid, left = paid + part * offset, left - part
    paid += left * (levels[-1][0] + slippage(0.0, impact, steps))

    assert walk(levels, steps, impact) == math.ceil(Fraction(paid, steps))


@given(sides(), sizes, sizes, impacts)
def test_more_is_never_cheaper_and_never_better_than_the_best(
    levels: list[Level], some: int, more: int, impact: float
) -> None:
    dear = walk(levels, some + more, impact)

    assert levels[0][0] <= walk(levels, some, impact) <= dear
    known = sum(size for _, size in levels)
    if some + more <= known:
        assert dear <= levels[-1][0]


@given(sides(), sizes, impacts)
def test_far_beyond_the_book_it_is_the_last_level_and_the_models_impact(
    levels: list[Level], steps: int, impact: float
) -> None:
    known = sum(size for _, size in levels)
    far = 10**9 * known + steps  # so much that what is known hardly counts
    at_most = levels[-1][0] + slippage(0.0, impact, far)

    assert at_most - 1 - at_most / 10**6 <= walk(levels, far, impact) <= at_most


@given(sizes, impacts)
def test_a_side_without_levels_is_not_known(steps: int, impact: float) -> None:
    terms = np.zeros(1, TERMS)

    assert walked(terms[0], +1, steps, impact, UNKNOWN) == UNKNOWN
