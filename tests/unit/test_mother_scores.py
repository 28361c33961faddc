"""What a season writes down of its accounts: samples, scores, weights, the house, the days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hydra.clock import to_datetime
from hydra.engines.registry import build
from hydra.engines.view import View
from hydra.guardian.days import DayClock
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Intent
from hydra.tournament.season import EquityRow, ScoreRow
from tests.support.bars import START_NS, a_random_walk, a_table
from tests.support.seasons import HOUR_NS, USD, Played, ScriptedEngine, a_contestant, play_bars

NAMES = ("ema_trend:fast=3,slow=8", "donchian_breakout:entry=6,exit=3", "mean_reversion", "flat")


class Holds:
    """Buys at the first bar and holds on."""

    features = ()

    def decide(self, view: View) -> Sequence[Intent]:
        return [] if view.tickets else [view.buy(lots=10 * view.instrument.lot_step)]


def walk(bars: int, resolution: str = "1h", seed: int = 21, **how: Any) -> BarTable:
    return a_random_walk(
        np.random.default_rng(seed), bars, "BTC-USD", resolution, volatility_frac=0.01, **how
    )


def play_many(table: BarTable, **how: Any) -> Played:
    built = [build(name, (table.symbol,)) for name in NAMES]
    contestants = [
        a_contestant(one.name, one.engine, is_reference=one.is_reference) for one in built
    ]
    return play_bars([table], contestants, profile="ftmo-2step", **how)


def curve(season: Played, engine: str) -> list[EquityRow]:
    rows = [row for row in season.store.season.equity.values() if row.engine == engine]
    return sorted(rows, key=lambda row: row.at_ns)


def scored(season: Played) -> list[list[ScoreRow]]:
    """Score rows by scoring cycle."""
    rows = season.store.season.scores.values()
    cycles = sorted({row.scoring_cycle for row in rows})
    return [[row for row in rows if row.scoring_cycle == cycle] for cycle in cycles]


# Samples


@pytest.mark.parametrize(
    ("resolution", "bars", "shift_h"), [("1h", 100, 0), ("4h", 40, 0), ("4h", 40, 2), ("1d", 20, 0)]
)
def test_a_sample_is_what_the_account_was_worth_at_its_instant(
    resolution: str, bars: int, shift_h: int
) -> None:
    """Also on days that end inside a bar, as Prague's do in bars of 4 hours."""
    table = walk(bars, resolution, start_ns=START_NS + shift_h * HOUR_NS)
    season = play_bars([table], {"one": Holds()})

    (ticket,) = season.tickets
    assert ticket.entry_price is not None
    value = 10 * int(table.instrument.tick_size * table.instrument.lot_step * USD)
    entry = int(ticket.entry_price / table.instrument.tick_size)
    worth = {
        int(table.open_ns[i]) + table.resolution_ns: (
            (int(table.bid_close[i]) - entry) * value if i else 0
        )
        for i in range(bars)
    }
    points = curve(season, "one")
    known = [point for point in points if point.at_ns in worth]
    assert len(known) >= bars // 2
    for point in known:
        assert point.equity_units - 25_000 * USD == worth[point.at_ns], to_datetime(point.at_ns)


def test_samples_are_as_far_apart_as_the_plan_says() -> None:
    points = curve(play_bars([walk(60, "1m")], {"one": Holds()}, sample_ns=HOUR_NS // 4), "one")

    minutes = [(point.at_ns - START_NS) // (HOUR_NS // 60) for point in points]
    assert minutes == [1, 15, 30, 45, 60]


def test_the_last_sample_is_the_balance_that_the_account_closed_with() -> None:
    season = play_many(walk(300))

    for account in season.mother.accounts:
        last = curve(season, account.name)[-1]
        assert last.equity_units == last.balance_units == account.balance_units


# Scores


def test_each_guardians_day_is_a_scoring_cycle_and_its_points_are_the_weights_in_percent() -> None:
    season = play_many(walk(24 * 6, start_ns=START_NS - HOUR_NS))  # from midnight in Prague

    cycles = scored(season)
    assert len(cycles) == 6
    for number, rows in enumerate(cycles, start=1):
        assert {row.engine for row in rows} == set(NAMES)
        assert sum(row.total_points for row in rows) == pytest.approx(100 * number)
        assert sum(row.weight for row in rows) == pytest.approx(1)
        assert next(row for row in rows if row.engine == "flat").rank is None
    for before, after in pairwise(cycles):
        points = {row.engine: row.total_points for row in before}
        for row in after:
            assert row.total_points == pytest.approx(points[row.engine] + 100 * row.weight)


def test_a_season_that_ends_with_its_day_does_not_score_it_twice() -> None:
    season = play_many(walk(48, start_ns=START_NS - HOUR_NS))

    assert [rows[0].scoring_cycle for rows in scored(season)] == [1, 2]


def test_ranks_follow_the_money_at_the_end_of_the_day() -> None:
    season = play_many(walk(24 * 6, start_ns=START_NS - HOUR_NS))

    for rows in scored(season):
        ranked = sorted(
            (row for row in rows if row.rank is not None), key=lambda row: row.rank or 0
        )
        pnl = [row.net_pnl_units for row in ranked]
        assert pnl == sorted(pnl, reverse=True)


def test_the_final_line_carries_the_points_and_the_weight_of_the_last_score() -> None:
    season = play_many(walk(100))

    last = {row.engine: row for row in scored(season)[-1]}
    for line in season.standings:
        assert line.metrics["points"] == pytest.approx(last[line.engine].total_points)
        assert line.metrics["weight"] == pytest.approx(last[line.engine].weight)


# The house


def test_the_house_earns_by_the_weights_that_were_set_before_each_interval() -> None:
    season = play_many(walk(24 * 8, "1h"))

    weights: dict[str, Fraction] = dict.fromkeys(NAMES[:3], Fraction(1, 3))
    changes = sorted(
        {(row.at_ns, row.scoring_cycle) for row in season.store.season.scores.values()}
    )
    by_time = {at_ns: rows for (at_ns, _), rows in zip(changes, scored(season), strict=True)}
    equity = {
        name: {point.at_ns: point.equity_units for point in curve(season, name)} for name in NAMES
    }
    house = dict.fromkeys(NAMES, 25_000 * USD)
    worth = 25_000 * USD
    for point in curve(season, "house"):
        stake = worth
        for name, weight in weights.items():
            gain = stake * weight * (equity[name][point.at_ns] - house[name]) / house[name]
            worth += int(gain // 1)
        house = {name: equity[name][point.at_ns] for name in NAMES}
        # The last tickets are settled after the last score: a cent for rounding and order.
        assert point.equity_units == pytest.approx(worth, abs=2 * USD // 100), point.at_ns
        for row in by_time.get(point.at_ns, ()):
            if row.rank is not None:
                weights[row.engine] = Fraction(row.weight).limit_denominator(10_000)


def test_before_the_first_score_all_engines_weigh_the_same() -> None:
    season = play_many(walk(20))

    first = {row.engine: row.weight for row in season.store.season.equity.values()
             if row.at_ns == START_NS + HOUR_NS}  # fmt: skip
    assert [first[name] for name in NAMES] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert first["house"] == 1


# The guardian's days


@pytest.mark.parametrize("resolution", ["1h", "4h"])
def test_the_days_are_whole_and_follow_one_another(resolution: str) -> None:
    bars = {"1h": 24 * 10, "4h": 6 * 10}[resolution]
    table = walk(bars, resolution)
    season = play_many(table)
    clock = DayClock("Europe/Prague", time(0))

    labels = sorted({clock.day_of(int(at) - 1) for at in table.open_ns + table.resolution_ns})
    for name in NAMES[:3]:
        days = sorted(
            (row for row in season.store.season.days.values() if row.engine == name),
            key=lambda row: row.day,
        )
        assert [row.day for row in days] == labels
        assert days[0].start_balance_units == 25_000 * USD
        assert days[-1].end_balance_units == season.account(name).balance_units
        for before, after in pairwise(days):
            assert after.start_balance_units == before.end_balance_units
        assert days[-1].worst_equity_units <= days[-1].end_balance_units


def test_the_days_count_what_the_journal_holds() -> None:
    season = play_many(walk(24 * 10))

    for name in NAMES[:3]:
        days = [row for row in season.store.season.days.values() if row.engine == name]
        kinds = Counter(record.kind for record in season.records(name))
        resized = [r for r in season.records(name, "approved") if r.body.get("changes")]
        assert sum(row.opened for row in days) == kinds["opened"]
        assert sum(row.refused for row in days) == kinds["refused"]
        assert sum(row.resized for row in days) == len(resized)


def test_bars_on_two_days_are_judged_by_the_stricter_floor() -> None:
    """The day ends inside the bar from 20:00 to 24:00 UTC; nobody knows when it fell."""
    closes = [100.0, 100.0, 100.0, 100.0, 100.0, 96.0, 100.0, 100.0]
    lows = [100.0, 100.0, 100.0, 100.0, 100.0, 60.0, 96.0, 100.0]
    table = a_table(closes=closes, lows=lows, resolution="4h")
    season = play_bars(
        [table],
        {"one": ScriptedEngine({0: lambda view: [view.buy(stop=90.0, risk_frac=None)]})},
        profile="ftmo-2step",
    )

    days = sorted(season.store.season.days.values(), key=lambda row: row.day)
    assert [row.day for row in days] == ["2024-01-01", "2024-01-02"]
    (ticket,) = season.tickets
    assert ticket.exit_reason == "stop"
    assert days[1].worst_equity_units < days[0].worst_equity_units <= 25_000 * USD


# Tickets


def test_a_ticket_is_measured_by_the_balance_on_which_it_was_opened() -> None:
    """As part of the balance before it, though it is opened and stopped within one bar."""
    table = a_table(closes=[100.0, 100.0, 80.0], lows=[100.0, 70.0, 80.0])
    season = play_bars(
        [table],
        {"one": ScriptedEngine({0: lambda view: [view.buy(stop=90.0, lots=Decimal(100))]})},
    )

    (ticket,) = season.tickets
    assert ticket.pnl_units == -1_000 * USD
    assert ticket.pnl_frac == pytest.approx(-1_000 / 25_000)
