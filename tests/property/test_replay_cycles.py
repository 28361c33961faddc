"""Replay loses nothing, invents nothing, and does not depend on how it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.errors import ConfigError
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.market.bars import BarTable
from hydra.market.timeframes import timeframe_ns
from tests.support.bars import START_NS, a_table

MINUTE = timeframe_ns("1m")
RESOLUTIONS = ("1m", "5m", "1h")


@st.composite
def markets(draw: st.DrawFn) -> list[BarTable]:
    """Up to five tables with gaps, each starting and stopping where it likes."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(["A", "B", "C"]), st.sampled_from(RESOLUTIONS)),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    tables = []
    for symbol, resolution in keys:
        slots = draw(st.lists(st.integers(0, 60), min_size=1, max_size=40, unique=True))
        open_ns = [START_NS + slot * timeframe_ns(resolution) for slot in sorted(slots)]
        closes = [i + 1.0 for i in range(len(open_ns))]
        tables.append(a_table(symbol, closes, resolution, open_ns=open_ns))
    return tables


def rows_of(feed: ReplayFeed) -> list[tuple[int, int, int, float]]:
    """(instant, stream, open of the bar, its close) in the order of replay."""
    rows = []
    for chunk in feed.chunks():
        for cycle, close_ns in enumerate(chunk.close_ns):
            for row in range(chunk.first_row[cycle], chunk.first_row[cycle + 1]):
                stream, bar = int(chunk.row_stream[row]), int(chunk.row_bar[row])
                table = chunk.tables[stream]
                rows.append(
                    (int(close_ns), stream, int(table.open_ns[bar]), float(table.close[bar]))
                )
    return rows


@settings(max_examples=60, deadline=None)
@given(markets(), st.integers(1, 70))
def test_every_bar_comes_once_when_it_closes_whatever_the_chunks(
    tables: list[BarTable], chunk_cycles: int
) -> None:
    streams = streams_of(tables)
    feed = ReplayFeed(streams, tables, chunk_cycles)
    expected = sorted(
        (int(open_ns) + table.resolution_ns, stream.index, int(open_ns), float(close))
        for stream in streams
        for table in tables
        if (table.symbol, table.resolution_ns) == (stream.symbol, stream.resolution_ns)
        for open_ns, close in zip(table.open_ns, table.close, strict=True)
    )

    rows = rows_of(feed)

    assert rows == expected
    assert feed.cycles == len({close_ns for close_ns, *_ in expected})
    assert (feed.first_ns, feed.last_ns) == (expected[0][0], expected[-1][0])


@settings(max_examples=30, deadline=None)
@given(markets(), st.integers(1, 70))
def test_chunks_hold_whole_cycles_and_views_of_the_tables(
    tables: list[BarTable], chunk_cycles: int
) -> None:
    streams = streams_of(tables)
    seen = 0
    for chunk in ReplayFeed(streams, tables, chunk_cycles).chunks():
        cycles = len(chunk.close_ns)
        assert 1 <= cycles <= chunk_cycles
        assert (np.diff(chunk.close_ns) > 0).all()
        assert chunk.first_row[0] == 0
        assert (np.diff(chunk.first_row) > 0).all()
        assert chunk.first_row[-1] == len(chunk.row_bar) == sum(map(len, chunk.tables))
        for table in chunk.tables:
            assert any(np.shares_memory(table.close, whole.close) for whole in tables) or not len(
                table
            )
        seen += cycles
    assert seen == ReplayFeed(streams, tables).cycles


@settings(max_examples=40, deadline=None)
@given(markets(), st.integers(-5, 4_000))
def test_a_feed_until_an_instant_is_the_beginning_of_the_whole(
    tables: list[BarTable], minutes: int
) -> None:
    feed = ReplayFeed(streams_of(tables), tables, 7)
    end_ns = START_NS + minutes * MINUTE

    assert rows_of(feed.until(end_ns)) == [row for row in rows_of(feed) if row[0] <= end_ns]


def test_the_finest_stream_of_each_symbol_executes() -> None:
    tables = [a_table("B", resolution="5m"), a_table("A", resolution="1h")]
    tables += [a_table("B", resolution="1m"), a_table("B", resolution="1h")]

    streams = streams_of(tables)

    assert [(s.index, s.symbol, s.resolution_ns // MINUTE, s.execution) for s in streams] == [
        (0, "A", 60, True),
        (1, "B", 1, True),
        (2, "B", 5, False),
        (3, "B", 60, False),
    ]


def test_streams_and_tables_must_belong_together() -> None:
    hour, minute = a_table(resolution="1h"), a_table(resolution="1m")

    with pytest.raises(ConfigError, match="same symbol and resolution"):
        streams_of([hour, hour])
    with pytest.raises(ConfigError, match="do not match"):
        ReplayFeed(streams_of([hour]), [hour, minute])
    with pytest.raises(ConfigError, match="chunks of 0 cycles"):
        ReplayFeed(streams_of([hour]), [hour], 0)
