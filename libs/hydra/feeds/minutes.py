"""Minutes as the daemon lives through them: all that closed at one instant, when it has closed.

`FileMinutes` replays recorded bars at a pace; `VenueMinutes` (venue_minutes.py) listens to venues.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from hydra.clock import NS_PER_S, Timer
from hydra.errors import ConfigError
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable


class Minute(NamedTuple):
    """Everything that closed at one instant."""

    close_ns: int  # market time, on the grid of the resolution
    bars: dict[str, BarTable]  # by symbol, one row each; a symbol without a bar is absent
    fit: dict[str, str]  # by symbol: "", or in words why no new risk may be taken on it


class MinuteSource(Protocol):
    """Where minutes come from. One reader; `aclose` in any case, after which nothing runs on."""

    def minutes(self) -> AsyncIterator[Minute]:
        """Minutes, each later than the one before; ends when there are no more or on `aclose`."""

    async def aclose(self) -> None: ...


class FileMinutes:
    """Recorded bars as minutes, one for each distinct instant at which any of them closed."""

    def __init__(self, tables: Sequence[BarTable], *, timer: Timer, speed: float = 60.0) -> None:
        """`tables`: one a symbol, of any resolution. `speed`: market time per time of `timer`
        (60: an hour a minute); 0 and infinity: as fast as the reader takes them.

        Raises ConfigError when there is no bar, a symbol has two tables, or `speed` is negative
        or no number.
        """
        if not speed >= 0:
            raise ConfigError(
                f"a speed of {speed:g}; take 60 for an hour a minute, 0 for no pauses"
            )
        if not any(len(table) for table in tables):
            raise ConfigError("no bar to replay")
        streams = streams_of(tables)
        for stream in streams:
            if not stream.execution:
                raise ConfigError(f"{stream.symbol} has bars of two lengths; give one of them")
        self._symbols = [stream.symbol for stream in streams]
        self._feed = ReplayFeed(streams, tables)
        self._timer = timer
        self._speed = 0.0 if math.isinf(speed) else speed
        self._is_closed = False
        self._nap: asyncio.Task[None] | None = None

    async def minutes(self) -> AsyncIterator[Minute]:
        """The first at once, each other when it is due counted from the first, so that neither
        pauses nor a slow reader add up. Can be had anew: it starts from the beginning.

        A symbol without a bar at an instant is unfit then: its last price is an old one.
        """
        began_ns = self._timer.now_ns()
        for chunk in self._feed.chunks():
            firsts = chunk.first_row.tolist()
            row_stream, row_bar = chunk.row_stream.tolist(), chunk.row_bar.tolist()
            for cycle, close_ns in enumerate(chunk.close_ns.tolist()):
                if self._speed:
                    past_ns = close_ns - self._feed.first_ns
                    await self._wait_until(began_ns + round(past_ns / self._speed))
                if self._is_closed:
                    return
                bars = {
                    self._symbols[row_stream[row]]: rows_between(
                        chunk.tables[row_stream[row]], row_bar[row], row_bar[row] + 1
                    )
                    for row in range(firsts[cycle], firsts[cycle + 1])
                }
                fit = {name: "" if name in bars else "no bar" for name in self._symbols}
                yield Minute(close_ns, bars, fit)

    async def aclose(self) -> None:
        """End the iteration, in the middle of a wait too."""
        self._is_closed = True
        if self._nap is not None:
            self._nap.cancel()

    async def _wait_until(self, due_ns: int) -> None:
        """Returns early on `aclose`."""
        left_ns = due_ns - self._timer.now_ns()
        if left_ns <= 0 or self._is_closed:
            return
        nap = self._nap = asyncio.create_task(self._timer.sleep(left_ns / NS_PER_S))
        try:
            await asyncio.wait({nap})
        finally:
            self._nap = None
            if nap.cancel():  # the reader was cancelled
                await asyncio.wait({nap})
        if not nap.cancelled():
            nap.result()
