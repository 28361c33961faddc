"""Fine bars one by one give the cycles that their whole table gives."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.cycles import Cycles
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable
from hydra.market.resample import resampled
from tests.support.bars import START_NS, a_random_walk

MINUTE_NS = 60 * NS_PER_S
FIVE_NS, HOUR_NS = 5 * MINUTE_NS, 60 * MINUTE_NS
Row = tuple[int, str, int, tuple[float, ...]]


def fine(symbol: str, seed: int, gap_share: float) -> BarTable:
    return a_random_walk(np.random.default_rng(seed), 360, symbol, "1m", gap_share=gap_share)


def row_of(close_ns: int, table: BarTable, row: int) -> Row:
    numbers = tuple(
        float(getattr(table, one.name)[row])
        for one in fields(table)
        if isinstance(getattr(table, one.name), np.ndarray)
    )
    return close_ns, table.symbol, table.resolution_ns, numbers


@pytest.mark.parametrize("gap_share", [0.0, 0.3])
def test_bar_by_bar_the_coarse_ones_are_those_of_the_whole_table(gap_share: float) -> None:
    tables = [fine("BTC-USD", 1, gap_share), fine("ETH-USD", 2, gap_share)]
    coarse = [
        resampled(table, length, is_covered=True)
        for length in (FIVE_NS, HOUR_NS)
        for table in tables
    ]
    streams = streams_of([*tables, *coarse])
    whole: list[Row] = []
    for chunk in ReplayFeed(streams, [*tables, *coarse]).chunks():
        for c, close_ns in enumerate(chunk.close_ns.tolist()):
            for row in range(chunk.first_row[c], chunk.first_row[c + 1]):
                table = chunk.tables[chunk.row_stream[row]]
                whole.append(row_of(close_ns, table, int(chunk.row_bar[row])))

    cycles = Cycles(streams, {t.symbol: rows_between(t, 0, 0) for t in tables})
    found: list[Row] = []
    for minute in range(1, 361):
        close_ns = START_NS + minute * MINUTE_NS
        bars = {}
        for table in tables:
            at = int(np.searchsorted(table.open_ns, close_ns - MINUTE_NS))
            if at < len(table) and table.open_ns[at] == close_ns - MINUTE_NS:
                bars[table.symbol] = rows_between(table, at, at + 1)
        one = cycles.chunk(close_ns, bars)
        if one is not None:
            found += [
                row_of(close_ns, one.tables[s], int(b))
                for s, b in zip(one.row_stream, one.row_bar, strict=True)
            ]

    np.testing.assert_equal(found, whole)


def test_a_season_that_begins_inside_a_coarse_bar_has_it_whole_from_the_bars_before() -> None:
    table = fine("BTC-USD", 3, 0.0)
    streams = streams_of([table, resampled(table, HOUR_NS)])
    cycles = Cycles(streams, {"BTC-USD": rows_between(table, 0, 0)})
    cycles.begin({"BTC-USD": rows_between(table, 0, 90)}, START_NS + 90 * MINUTE_NS)
    for row in range(90, 120):
        chunk = cycles.chunk(
            int(table.open_ns[row]) + MINUTE_NS, {"BTC-USD": rows_between(table, row, row + 1)}
        )

    assert chunk is not None
    (hour,) = [t for t in chunk.tables if t.resolution_ns == HOUR_NS]
    assert hour.open[0] == table.open[60]
    assert hour.volume[0] == pytest.approx(table.volume[60:120].sum())


def test_bars_of_a_coarse_one_that_was_over_before_the_season_are_none_of_it() -> None:
    """A market shut at 1:30; the season begins two days later."""
    table = fine("EURUSD", 3, 0.0)
    streams = streams_of([table, resampled(table, HOUR_NS)])
    cycles = Cycles(streams, {"EURUSD": rows_between(table, 0, 0)})
    begins_ns = START_NS + 48 * HOUR_NS
    cycles.begin({"EURUSD": rows_between(table, 0, 90)}, begins_ns)

    monday = fine("EURUSD", 5, 0.0)
    monday.open_ns[:] += 48 * HOUR_NS
    for row in range(60):
        bars = {"EURUSD": rows_between(monday, row, row + 1)}
        chunk = cycles.chunk(int(monday.open_ns[row]) + MINUTE_NS, bars)

    assert chunk is not None
    (hour,) = [t for t in chunk.tables if t.resolution_ns == HOUR_NS]
    assert (len(hour), hour.open[0]) == (1, monday.open[0])


@pytest.mark.parametrize("first", [1, 37, 60])
def test_a_coarse_bar_that_had_begun_before_anybody_listened_does_not_close(first: int) -> None:
    """It would lack what was before; the next one is whole."""
    table = fine("BTC-USD", 5, 0.0)
    coarse = resampled(table, HOUR_NS)
    cycles = Cycles(streams_of([table, coarse]), {"BTC-USD": rows_between(table, 0, 0)})
    cycles.begin({}, int(table.open_ns[first]))
    closed: list[int] = []
    for row in range(first, 180):
        chunk = cycles.chunk(
            int(table.open_ns[row]) + MINUTE_NS, {"BTC-USD": rows_between(table, row, row + 1)}
        )
        assert chunk is not None
        closed += [int(t.open_ns[0]) for t in chunk.tables if len(t) and t.resolution_ns == HOUR_NS]

    assert closed == [START_NS + hour * HOUR_NS for hour in (1, 2)]


def test_where_nothing_closes_there_is_no_cycle() -> None:
    table = fine("BTC-USD", 4, 0.0)
    cycles = Cycles(streams_of([table]), {"BTC-USD": rows_between(table, 0, 0)})

    assert cycles.chunk(START_NS + MINUTE_NS, {}) is None
