"""Keeps a live season going through faults of its database: waits, then plays it again.

What a daemon that cannot write holds in memory is worth nothing: all that counts is durable, and
what the market told meanwhile waits in the backlog. So the next attempt is a start like any other.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

from apps.runtime.backlog import Backlog
from apps.runtime.daemon import Daemon
from apps.runtime.sentinel import Pulse
from apps.runtime.status import Board
from hydra.errors import JournalFault, StorageError
from hydra.feeds.connector import Backoff

PAUSES = Backoff(first_s=1.0, longest_s=30.0)
ENDS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Plays one season, by as many daemons as that takes. Belongs to one event loop."""

    def __init__(
        self,
        attempt: Callable[[], AbstractContextManager[Daemon]],
        can_write: Callable[[], None],
        *,
        backlog: Backlog,
        pulse: Pulse,
        board: Board,
        say: Callable[[str], None],
        rng: Random,
        backoff: Backoff = PAUSES,
    ) -> None:
        """`attempt` makes a daemon of what is stored, and closes what it opened afterwards.
        `can_write` raises StorageError while the database cannot be written; it is called in a
        thread, for that may take a while."""
        self._attempt = attempt
        self._can_write = can_write
        self._backlog = backlog
        self._pulse = pulse
        self._board = board
        self._say = say
        self._rng = rng
        self._backoff = backoff
        self._daemon: Daemon | None = None
        self._has_begun = False
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End after the minute that is being played."""
        self._stopping.set()
        if self._daemon is not None:
            self._daemon.stop()

    async def run(self) -> str | None:
        """The season's digest where its feed came to its end, None where it was told to stop.

        Raises StorageError where the first attempt could not begin, and JournalFault: no waiting
        mends that.
        """
        loop = asyncio.get_running_loop()
        for number in ENDS:
            loop.add_signal_handler(number, self.stop)
        try:
            return await self._play()
        except BaseException as error:
            self._board.tell(state="failed", text=f"{type(error).__name__}: {error}"[:500])
            raise
        finally:
            for number in ENDS:
                loop.remove_signal_handler(number)
            await self._backlog.aclose()

    async def _play(self) -> str | None:
        failures = 0
        while True:
            # What a failed attempt left goes now: a season that begins keeps all there is.
            gc.collect()
            try:
                return await self._play_once()
            except JournalFault:
                raise
            except StorageError as error:
                if not self._has_begun:
                    raise
                if self._daemon is not None and self._daemon.has_played:
                    failures = 0
                self._daemon = None
                if not await self._wait(str(error), failures):
                    self._board.tell(state="stopped", text="")
                    return None
                failures += 1
                self._board.tell(text="")

    async def _play_once(self) -> str | None:
        with self._attempt() as daemon:
            self._daemon = daemon
            self._has_begun = True
            self._pulse.storage = ""
            if self._stopping.is_set():
                daemon.stop()
            return await daemon.play()

    async def _wait(self, reason: str, failures: int) -> bool:
        """Until the database can be written; False when told to stop."""
        self._pulse.storage = reason
        self._board.tell(state="waiting", text=reason)
        self._say(f"the season waits for its database: {reason}")
        while True:
            failures += 1
            try:
                async with asyncio.timeout(self._backoff.pause_s(failures, self._rng)):
                    await self._stopping.wait()
                return False
            except TimeoutError:
                pass
            try:
                await asyncio.to_thread(self._can_write)
            except StorageError as error:
                self._pulse.storage = str(error)
                self._board.tell(text=str(error))
            else:
                self._say("the database can be used again: the season goes on")
                return True
