"""No engine sees the future: what comes after a cut does not change what was done before it.

A season is played over real bars, and again with everything after a random instant replaced
by noise, some of it missing. Up to that instant all records must agree byte for byte. Every
registered engine is covered by being registered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydra.engines.registry import ENGINES
from hydra.engines.view import View
from hydra.feeds.tables import table_of_trades
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Intent, Side
from hydra.storage.memory import MemorySeason
from tests.support.processes import CRYPTO, EURUSD, Setup, sample_tables

SEEDS = (11, 12, 13)
MARKETS = {"crypto_4h": (CRYPTO, 400), "eurusd_1h": (EURUSD, 1200)}
Tables = Sequence[BarTable]


def with_another_future(tables: Tables, cut_ns: int, rng: np.random.Generator) -> Tables:
    """The tables up to the bars that close at `cut_ns`, then noise in which bars are missing."""
    return tuple(_with_noise(table, cut_ns, rng) for table in tables)


def _with_noise(table: BarTable, cut_ns: int, rng: np.random.Generator) -> BarTable:
    known = int(np.searchsorted(table.open_ns + table.resolution_ns, cut_ns, side="right"))
    n = len(table)
    tick = float(table.instrument.tick_size)
    drift = np.cumsum(rng.normal(0.0, 0.03, n - known)) + rng.normal(0.0, 0.2)
    last = table.close[known - 1] if known else table.open[0]
    close = np.maximum(np.rint(last * np.exp(drift) / tick), 10) * tick
    open_ = np.concatenate(([last], close[:-1]))[: n - known]
    high = np.maximum(open_, close) * 1.01
    low = np.minimum(open_, close) * 0.99
    joined = [
        np.concatenate((old[:known], new))
        for old, new in zip(
            (table.open, table.high, table.low, table.close), (open_, high, low, close), strict=True
        )
    ]
    volume = np.concatenate((table.volume[:known], rng.lognormal(3.0, 2.0, n - known)))
    noisy = table_of_trades(
        table.instrument, table.resolution_ns, table.source, table.open_ns, joined, volume
    )
    kept = np.arange(n) < known
    kept[known:] = rng.random(n - known) < 0.8
    return _rows(noisy, kept)


def _rows(table: BarTable, kept: NDArray[np.bool_]) -> BarTable:
    columns: dict[str, Any] = {
        one.name: getattr(table, one.name)[kept]
        for one in fields(table)
        if isinstance(getattr(table, one.name), np.ndarray)
    }
    return replace(table, **columns)


def records_until(season: MemorySeason, cut_ns: int) -> list[object]:
    """All that a season had left behind once the cycle at `cut_ns` was over."""
    return [
        [row for row in season.journal if row[3] <= cut_ns],
        [row for _, row in sorted(season.equity.items()) if row.at_ns <= cut_ns],
        [row for _, row in sorted(season.scores.items()) if row.at_ns <= cut_ns],
        [row for _, row in sorted(season.latches.items()) if row.at_ns <= cut_ns],
        [row.ticket for _, row in sorted(season.tickets.items()) if row.decided_ns <= cut_ns],
    ]


def played(setup: Setup) -> MemorySeason:
    _, database = setup.play_in_memory()
    return database.seasons[setup.name]


def cuts(tables: Tables) -> list[tuple[int, np.random.Generator]]:
    """Random instants at which bars close, in the middle nine tenths of the season."""
    instants = np.unique(np.concatenate([t.open_ns + t.resolution_ns for t in tables]))
    chosen = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        chosen.append((int(rng.choice(instants[len(instants) // 10 : -5])), rng))
    return chosen


def looks_ahead(setup_for: Callable[[Tables], Setup], tables: Tables) -> bool:
    """Whether another future changes what a season did before it."""
    season = played(setup_for(tables))
    for cut_ns, rng in cuts(tables):
        other = played(setup_for(with_another_future(tables, cut_ns, rng)))
        if records_until(season, cut_ns) != records_until(other, cut_ns):
            return True
    return False


def market(name: str) -> Tables:
    path, bars = MARKETS[name]
    return sample_tables(path, bars)


@cache
def alone(engine: str, name: str) -> MemorySeason:
    return played(Setup(tables=market(name), specs=(engine,)))


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("engine", ENGINES)
def test_another_future_leaves_the_past_of_an_engine_as_it_was(engine: str, name: str) -> None:
    def season(tables: Tables) -> Setup:
        return Setup(tables=tables, specs=(engine,), chunk_cycles=333)

    assert not looks_ahead(season, market(name))


def test_the_engines_do_something_that_another_future_could_change() -> None:
    idle = {
        engine
        for engine in ENGINES
        if all(len(alone(engine, name).tickets) < 5 for name in MARKETS)
    }

    assert idle <= {"flat", "buy_and_hold"}


@pytest.mark.parametrize("mode", ["independent", "consensus"])
def test_nor_does_the_season_of_all_engines_see_it(mode: str) -> None:
    tables = market("crypto_4h")

    def season(tables: Tables) -> Setup:
        return Setup(tables=tables, mode=mode, profile="production")

    assert not looks_ahead(season, tables)


class Peeker:
    """Is on the side on which the price will be a day later: it holds the feed's own table."""

    features = ()
    AHEAD = 24  # bars

    def __init__(self, table: BarTable) -> None:
        self._table = table

    def decide(self, view: View) -> Sequence[Intent]:
        there = int(np.searchsorted(self._table.open_ns, view.now_ns)) + self.AHEAD
        rises = self._table.close[min(there, len(self._table) - 1)] > view.close
        if not view.tickets:
            return (
                view.buy(stop=view.close * 0.95) if rises else view.sell(stop=view.close * 1.05),
            )
        wrong = [t for t in view.tickets if (t.side is Side.BUY) != rises]
        return [view.close_ticket(ticket) for ticket in wrong]


def test_an_engine_that_peeks_is_caught() -> None:
    def season(tables: Tables) -> Setup:
        return Setup(tables=tables, specs=("flat",), more=lambda: {"peeker": Peeker(tables[0])})

    assert looks_ahead(season, market("eurusd_1h"))


def test_what_is_replaced_is_the_future_alone() -> None:
    tables = market("crypto_4h")
    for cut_ns, rng in cuts(tables):
        for table, other in zip(tables, with_another_future(tables, cut_ns, rng), strict=True):
            known = int((table.open_ns + table.resolution_ns <= cut_ns).sum())
            for column in ("open_ns", "bid_open", "ask_close", "high", "low", "volume"):
                before, after = getattr(table, column), getattr(other, column)
                np.testing.assert_array_equal(before[:known], after[:known])
            assert not np.isin(other.close[known:], table.close[known:]).all()
