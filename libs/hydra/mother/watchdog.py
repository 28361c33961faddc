"""Ends a decision of a plain (not async) engine that never returns.

Python cannot stop a function from outside, but a signal handler of the main thread can raise
inside it. A timer looks a few times a second whether the same decision is still going on;
while decisions are short this costs the season nothing.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from hydra.clock import monotonic_ns
from hydra.mother.moment import Moment

TICKS_A_DEADLINE = 4


class DecisionTimeout(Exception):
    """Raised inside an engine that overran its deadline."""


class Watchdog:
    """A context: within it, set `deciding` around the engines' turn of each cycle.

    Outside the main thread, and on systems without interval timers, it watches nothing.
    """

    def __init__(self, deadline_s: float, moment: Moment) -> None:
        self.deciding = False
        self._moment = moment
        self._deadline_ns = int(deadline_s * 1e9)
        self._tick_s = deadline_s / TICKS_A_DEADLINE
        self._seen = (-1, 0)  # cycle, since when (monotonic ns)
        self._armed = False

    def __enter__(self) -> Watchdog:
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

    def _look(self, number: int, frame: FrameType | None) -> None:
        now = monotonic_ns()
        if not self.deciding or self._seen[0] != self._moment.cycle:
            self._seen = (self._moment.cycle, now)
        elif now - self._seen[1] >= self._deadline_ns:
            self._seen = (self._moment.cycle, now)
            raise DecisionTimeout
