"""Time that a test moves by hand: clock and timer in one, after trio's MockClock."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from hydra.clock import NS_PER_S

_TURNS = 8  # of the event loop: enough for what is awake to come to rest


class HandTime:
    """Stands still until it is told to pass; whoever sleeps is woken at his own instant."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns
        self._number = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self._now_ns

    @property
    def asleep(self) -> int:
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until_ns = self._now_ns + round(seconds * NS_PER_S)
        heapq.heappush(self._sleepers, (until_ns, next(self._number), future))
        await future

    async def run(self, seconds: float) -> None:
        """Let time pass as it does: instant by instant, all that wakes has its turn."""
        end_ns = self._now_ns + round(seconds * NS_PER_S)
        await rest()
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            at_ns, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self._now_ns = max(self._now_ns, at_ns)
                future.set_result(None)
                await rest()
        self._now_ns = end_ns
        await rest()

    async def jump(self, seconds: float) -> None:
        """As when the machine sleeps: all at once, nobody has a turn in between."""
        self._now_ns += round(seconds * NS_PER_S)
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
        await rest()


async def rest() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
