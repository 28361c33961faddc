"""An order book of price levels: whole ticks to whole lot steps, best prices at hand."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from hydra.market.events import Levels


class OrderBook:
    """Both sides of one book.

    Sizes lie in a dict by price; the prices also in a sorted list whose best is the last (asks
    negated). Most changes are near the best, so a level comes and goes at the list's end, where
    inserting is cheap, and a mere change of size touches the dict alone.
    """

    __slots__ = ("_ask_keys", "_asks", "_bid_keys", "_bids")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Both sides empty."""
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._bid_keys: list[int] = []
        self._ask_keys: list[int] = []

    def load(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> None:
        """Replace the whole book. A later level of the same price counts; zero steps is none."""
        self._bids = _positive(bids)
        self._asks = _positive(asks)
        self._bid_keys = sorted(self._bids)
        self._ask_keys = sorted(-ticks for ticks in self._asks)

    def apply(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> None:
        """Set sizes of levels, in order. Zero steps deletes; deleting what is not there is fine."""
        _apply(self._bids, self._bid_keys, bids, 1)
        _apply(self._asks, self._ask_keys, asks, -1)

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """(ticks, steps) of the highest bid."""
        if not self._bid_keys:
            return None
        ticks = self._bid_keys[-1]
        return ticks, self._bids[ticks]

    @property
    def best_ask(self) -> tuple[int, int] | None:
        """(ticks, steps) of the lowest ask."""
        if not self._ask_keys:
            return None
        ticks = -self._ask_keys[-1]
        return ticks, self._asks[ticks]

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask: no matching engine leaves that."""
        return bool(self._bid_keys and self._ask_keys and self._bid_keys[-1] >= -self._ask_keys[-1])

    def depth(self, levels: int) -> tuple[Levels, Levels]:
        """Up to `levels` best bids and asks, best first. `levels` is at least 1."""
        bids = tuple((t, self._bids[t]) for t in reversed(self._bid_keys[-levels:]))
        asks = tuple((-t, self._asks[-t]) for t in reversed(self._ask_keys[-levels:]))
        return bids, asks

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)


def _positive(levels: Iterable[tuple[int, int]]) -> dict[int, int]:
    return {ticks: steps for ticks, steps in dict(levels).items() if steps}


def _apply(
    sizes: dict[int, int], keys: list[int], levels: Iterable[tuple[int, int]], sign: int
) -> None:
    for ticks, steps in levels:
        if steps:
            if ticks not in sizes:
                insort(keys, sign * ticks)
            sizes[ticks] = steps
        elif sizes.pop(ticks, 0):
            del keys[bisect_left(keys, sign * ticks)]
