"""Minutes that wait until they are durable: a fault of the database loses none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hydra.feeds.minutes import Minute, MinuteSource


class Backlog:
    """The oldest minute that nobody is done with, and behind it those that the source holds.

    Belongs to one event loop, and outlives those who read it.
    """

    def __init__(self, source: MinuteSource) -> None:
        self._source = source
        self._minutes: AsyncIterator[Minute] | None = None
        self._coming: asyncio.Task[Minute | None] | None = None

    def oldest(self) -> asyncio.Task[Minute | None]:
        """The oldest minute, when it has come; None: there are no more. Begins to listen."""
        if self._minutes is None:
            self._minutes = self._source.minutes()
        if self._coming is None:
            self._coming = asyncio.create_task(_next(self._minutes), name="minute")
        return self._coming

    async def waiting(self) -> Minute | None:
        """The oldest minute where it is there already."""
        task = self.oldest()
        await asyncio.sleep(0)  # one turn: a source that has one gives it at once
        return task.result() if task.done() else None

    def done(self) -> None:
        """The oldest minute is durable: on to the next one."""
        self._coming = None
        self.oldest()

    async def aclose(self) -> None:
        """Hang up. Raises what the source raises while it is hung up."""
        await self._source.aclose()
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})
            if not self._coming.cancelled():
                self._coming.exception()  # whoever awaited it has had it


async def _next(minutes: AsyncIterator[Minute]) -> Minute | None:
    return await anext(minutes, None)
