"""The depth of a live book, on the grid of an instrument: what an order would have to walk."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from hydra.market.bars import DEPTH_LEVELS, Int64
from hydra.market.events import Levels, Listing
from hydra.market.instruments import Instrument
from hydra.market.orderbook import OrderBook

_LOOKED_AT = 10 * DEPTH_LEVELS  # levels of the venue: several may fall on one tick of ours
_MOST = 2**57  # ticks times steps of a level, so that all levels together stay in 61 bits


def depth_of(book: OrderBook, listing: Listing, instrument: Instrument) -> Int64:
    """(2, DEPTH_LEVELS, 2): bids and asks, the best level first: ticks from the best price of the
    side, lot steps; zeros beyond the last level.

    A grid of the instrument that is coarser than the venue's is rounded against whoever trades:
    bids down, asks up, sizes down. Levels that fall on one tick are one.
    """
    tick = Fraction(listing.price(1)) / Fraction(instrument.tick_size)
    step = Fraction(listing.size(1)) / Fraction(instrument.lot_step * instrument.contract_size)
    bids, asks = book.depth(_LOOKED_AT)
    out = np.zeros((2, DEPTH_LEVELS, 2), np.int64)
    _fill(out[0], bids, lambda ticks: max(ticks * tick // 1, 1), step)
    _fill(out[1], asks, lambda ticks: -(-ticks * tick // 1), step)
    return out


def _fill(out: Int64, levels: Levels, on_grid: Callable[[int], int], step: Fraction) -> None:
    sizes: dict[int, int] = {}  # by our tick, the best first
    for ticks, size in levels:
        at = on_grid(ticks)
        if at not in sizes and len(sizes) == DEPTH_LEVELS:
            break
        sizes[at] = sizes.get(at, 0) + size
    best = next(iter(sizes), 0)
    row = 0
    for at, size in sizes.items():
        offset = abs(at - best)
        if offset > _MOST:
            break
        steps = min(size * step // 1, _MOST // max(1, offset))
        if steps:
            out[row] = offset, steps
            row += 1
