"""Ends a decision that never returns, or takes memory without end.

Python cannot stop a function from outside, but a signal handler of the main thread can raise
inside it. A timer looks a few times a second which call of an engine is going on; while
decisions are short this costs the season nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Awaitable
from types import FrameType, TracebackType

from hydra.clock import monotonic_ns
from hydra.errors import EngineError
from hydra.mother.memory import MemoryLimit
from hydra.mother.moment import Moment

TICKS_A_DEADLINE = 4


class DecisionTimeout(BaseException):
    """Raised inside an engine that overran its deadline.

    Not an Exception, so that an engine that catches every one does not catch it.

    `waited`: it was an answer that Mother waited for, not a call.
    """

    def __init__(self, text: str = "", *, waited: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.waited = waited


async def answer_of(wish: Awaitable[object]) -> object:
    """What an async engine answers. It may leave the program or cancel only itself."""
    try:
        return await wish
    except SystemExit as error:
        raise EngineError(f"SystemExit: {error}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the deadline's doing
        raise EngineError("CancelledError") from error


class Watchdog:
    """A context: within it, set `deciding` around calls of engines from the same module.

    What an engine does inside `answer_of` is watched as well. Outside the main thread, and on
    systems without interval timers, nothing is.
    """

    def __init__(self, deadline_s: float, moment: Moment, memory_mb: int = 0) -> None:
        """`memory_mb`: see `MemoryLimit`; 0: none."""
        self._deciding = False
        self._memory = MemoryLimit(memory_mb) if memory_mb else None
        self._moment = moment
        self._deadline_ns = int(deadline_s * 1e9)
        self._tick_s = deadline_s / TICKS_A_DEADLINE
        # What was going on when the timer last looked: the cycle, the engine's call; since when.
        self._seen: tuple[int, FrameType | None] = (0, None)
        self._since_ns = 0
        self._home = ""
        self._armed = False

    @property
    def deciding(self) -> bool:
        """Whether engines are being asked."""
        return self._deciding

    @deciding.setter
    def deciding(self, deciding: bool) -> None:
        # Lifting comes first and makes nothing: there may be no memory left to make it of.
        if self._memory is not None:
            if deciding:
                self._memory.set()
            else:
                self._memory.lift()
        self._deciding = deciding

    def __enter__(self) -> Watchdog:
        self._home = sys._getframe(1).f_code.co_filename
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
            self._before = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, self._tick_s, self._tick_s)
            self._armed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)
            self._armed = False
        if self._memory is not None:
            self._memory.lift()
        self._seen = (0, None)

    def _look(self, number: int, frame: FrameType | None) -> None:
        now = monotonic_ns()
        call = self._engines_call(frame)
        if call is None or self._seen != (self._moment.cycle, call):
            self._seen, self._since_ns = (self._moment.cycle, call), now
        elif now - self._since_ns >= self._deadline_ns:
            self._since_ns = now
            raise DecisionTimeout

    def _engines_call(self, frame: FrameType | None) -> FrameType | None:
        """The frame in which an engine was called, of those that are on the stack."""
        call = None
        while frame is not None:
            if frame.f_code is answer_of.__code__:
                return call
            if self.deciding and frame.f_code.co_filename == self._home:
                return call
            call, frame = frame, frame.f_back
        return None
