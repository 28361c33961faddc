"""Bars in columns: what the feeds deliver and what everything else reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hydra.market.instruments import Instrument

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

DEPTH_LEVELS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BarTable:
    """All bars of one instrument at one resolution, oldest first, faults already refused.

    Prices are ticks of `instrument`. With real quotes the bid and the ask columns differ;
    without, they are the traded price less and plus half the instrument's spread, rounded
    away from the middle (adverse). A bar is known at `open_ns + resolution_ns`, no sooner.
    """

    instrument: Instrument
    resolution_ns: int
    source: str  # file name, for messages
    open_ns: Int64  # (n,) instants at which the bars open, strictly rising
    bid_open: Int64  # (n,) ticks
    bid_high: Int64
    bid_low: Int64
    bid_close: Int64
    ask_open: Int64
    ask_high: Int64
    ask_low: Int64
    ask_close: Int64
    open: Float64  # (n,) quote currency: traded price, or the middle of bid and ask
    high: Float64
    low: Float64
    close: Float64
    volume: Float64  # (n,) base units; NaN where the source has none
    real_spread: bool
    depth: Int64 | None = None
    # (n, 2, DEPTH_LEVELS, 2): the live book as it was first seen inside the bar, bids and asks,
    # the best level first: ticks from the best price of its side, lot steps. No steps: no further
    # level; none at all: nobody knows that side. None: of no bar is anything known.

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    def __len__(self) -> int:
        return len(self.open_ns)


def no_depth(bars: int) -> Int64:
    """The depth of so many bars of which nobody knows it."""
    return np.zeros((bars, 2, DEPTH_LEVELS, 2), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One (symbol, resolution) that engines may watch.

    The finest resolution of a symbol is its `execution` stream: orders fill on it, and
    only on it. Coarser ones are for engines to look at.
    """

    index: int
    instrument: Instrument
    resolution_ns: int
    execution: bool

    @property
    def symbol(self) -> str:
        return self.instrument.symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some whole cycles, oldest first. A cycle is all bars that close at one instant.

    `tables[s]` holds the bars of stream s that close within the chunk (possibly none).
    Rows of cycle c are `first_row[c]:first_row[c + 1]`; row r is bar `row_bar[r]` of
    `tables[row_stream[r]]`. Rows of one cycle are in stream order. How a season is cut into
    chunks never changes what happens in it: live, a chunk is one cycle.
    """

    close_ns: Int64  # (cycles,) instants, strictly rising
    first_row: Int64  # (cycles + 1,)
    row_stream: Int64  # (rows,)
    row_bar: Int64  # (rows,)
    tables: tuple[BarTable, ...]  # one for each stream
    unfit: Mapping[str, str] = field(default_factory=dict)
    # By symbol: why no new risk may be taken on its prices. Of a live cycle; a replay has none.
    settles_only: bool = False  # orders fill and stops are hit, but nobody is asked: a gap made up
