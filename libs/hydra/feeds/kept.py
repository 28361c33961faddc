"""Kept bars played again: whole columns as chunks, cut so that nothing comes out differently.

The same cycles as from `Cycles`, one at a time, but thousands of them in a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydra.feeds.cycles import Cycles, joined
from hydra.feeds.replay import ReplayFeed
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk, Int64

NO_BAR = "no bar of it closed just now"
MADE_UP = "made up from the venue's candles: the program was not there"
LATE = "played too late to trade on: the program was held up"
SETTLES = (MADE_UP, LATE)  # on such bars orders are settled and nobody is asked
CHUNK_CYCLES = 1024


class KeptBars(NamedTuple):
    """Bars of one symbol and length, oldest first, and why no new risk was to be taken on each."""

    table: BarTable
    unfit: Sequence[str]  # "" where it was

    @property
    def close_ns(self) -> Int64:
        """(n,) instants."""
        return self.table.open_ns + self.table.resolution_ns

    def between(self, low: int, high: int) -> KeptBars:
        """The bars `low` to before `high`."""
        return KeptBars(rows_between(self.table, low, high), self.unfit[low:high])


def parted(kept: Sequence[KeptBars], at_ns: int) -> tuple[list[KeptBars], list[KeptBars]]:
    """The bars that close by an instant, and those that close later."""
    early, late = [], []
    for one in kept:
        row = int(np.searchsorted(one.close_ns, at_ns, side="right"))
        early.append(one.between(0, row))
        late.append(one.between(row, len(one.table)))
    return [one for one in early if one.unfit], [one for one in late if one.unfit]


def chunks_of(cycles: Cycles, kept: Sequence[KeptBars], known_cycles: int) -> Iterator[Chunk]:
    """The cycles of kept bars of the finest lengths, in order; `cycles` goes on after them.

    `kept`: of each symbol in the order of time, in one piece or in several. The first
    `known_cycles` come in large chunks, each of the later ones alone: those are lived through for
    the first time.
    """
    if not kept:
        return
    pieces: dict[str, list[KeptBars]] = {}
    for one in kept:
        pieces.setdefault(one.table.symbol, []).append(one)
    tables = {symbol: joined([one.table for one in parts]) for symbol, parts in pieces.items()}
    feed = ReplayFeed(cycles.streams, cycles.gathered(tables), CHUNK_CYCLES)
    marks = [_marks(feed.close_ns, pieces.get(symbol, ())) for symbol in cycles.symbols]
    reasons, real = (np.stack([mark[i] for mark in marks]) for i in range(2))
    # A coarse bar that ended while no fine one closed is played with the bars that came next.
    settled = np.logical_or.reduce([reasons == why for why in SETTLES])
    settles_only = _of_next(settled.any(axis=0), (reasons != NO_BAR).any(axis=0))
    changes = np.concatenate((reasons, real, settles_only[np.newaxis]))
    is_new = (changes[:, 1:] != changes[:, :-1]).any(axis=0)
    cuts = {0, feed.cycles, *(np.flatnonzero(is_new) + 1).tolist()}
    cuts.update(range(0, min(known_cycles, feed.cycles), CHUNK_CYCLES))
    cuts.update(range(known_cycles, feed.cycles))
    is_real = dict(zip(cycles.symbols, real, strict=True))
    for low, high in pairwise(sorted(cuts)):
        unfit = dict(zip(cycles.symbols, reasons[:, low].tolist(), strict=True))
        chunk = feed.chunk(low, high)
        yield replace(
            chunk,
            tables=tuple(
                _quoted(table, bool(is_real[table.symbol][low])) for table in chunk.tables
            ),
            unfit={symbol: why for symbol, why in unfit.items() if why},
            settles_only=bool(settles_only[low]),
        )


def _marks(
    instants: Int64, pieces: Sequence[KeptBars]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Of one symbol in each cycle: why it was unfit, and whether its spread was a real one."""
    reasons = np.full(len(instants), NO_BAR, object)
    real = np.full(len(instants), False, object)
    for one in pieces:
        at = np.searchsorted(instants, one.close_ns)
        reasons[at] = one.unfit
        real[at] = one.table.real_spread
    return reasons, real


def _of_next(values: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a value is not known, the next one that is; the last one is known."""
    at = np.where(known, np.arange(len(values)), len(values))
    return values[np.minimum.accumulate(at[::-1])[::-1]]


def _quoted(table: BarTable, is_real: bool) -> BarTable:
    return table if table.real_spread == is_real else replace(table, real_spread=is_real)
