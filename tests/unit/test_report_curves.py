"""Curves are thinned without losing an extreme, and drawn on round scales."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from apps.cli.curves import Curve, chart, drawdowns, nice_ticks, thinned
from apps.cli.live import sparkline

DAY_NS = 86_400 * 10**9
values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3_000)


@given(values)
def test_thinning_keeps_both_ends_and_both_extremes(found: list[float]) -> None:
    kept = thinned(found, 60)

    assert len(kept) <= max(60, 1)
    assert kept == sorted(set(kept))
    assert {0, len(found) - 1} <= set(kept)
    assert min(found[i] for i in kept) == min(found)
    assert max(found[i] for i in kept) == max(found)


def test_a_short_curve_stays_whole() -> None:
    assert thinned([3.0, 1.0, 2.0], 600) == [0, 1, 2]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_inside_and_are_few(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span, 6)

    assert 2 <= len(ticks) <= 13
    assert all(low - 1e-6 * span - 1e-9 <= tick <= low + span * (1 + 1e-6) + 1e-9 for tick in ticks)


def test_drawdown_counts_from_the_opening_balance() -> None:
    assert drawdowns([75.0, 120.0, 60.0, 130.0], 100.0) == [-0.25, 0.0, -0.5, 0.0]


def test_a_chart_holds_its_curves_and_marks_inside_the_frame() -> None:
    curve = Curve("a", [i * DAY_NS for i in range(10)], [100.0 + math.sin(i) for i in range(10)])

    drawn = chart([curve], include=[90.0])

    lines = drawn["lines"]
    assert isinstance(lines, list)
    points = [tuple(map(float, pair.split(","))) for pair in lines[0]["path"][1:].split("L")]
    assert all(0 <= x <= drawn["width"] and 0 <= y <= drawn["height"] for x, y in points)  # type: ignore[operator]
    assert points[0][0] < points[-1][0]
    assert 90.0 in drawn["marks"]  # type: ignore[operator]


def test_a_chart_of_nothing_is_empty() -> None:
    assert chart([])["lines"] == []
    assert chart([Curve("a", [5], [1.0])])["lines"]


def test_a_sparkline_is_as_wide_as_asked_and_rises() -> None:
    assert sparkline([1, 2, 3, 4], 4) == "▁▃▆█"
    assert len(sparkline(list(range(1_000)), 24)) == 24
    assert sparkline([5, 5], 10) == "▄▄"
    assert sparkline([], 10) == ""
