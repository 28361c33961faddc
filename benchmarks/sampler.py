"""Where a season's CPU time goes, by sampling: exact profilers would distort it.

A timer of the process's CPU time interrupts every few milliseconds; the time since the last
sample goes to the innermost frame that belongs to a phase. Python sees the signal once a call
into compiled code has returned, so such calls are weighed in full by whoever made them.
"""

from __future__ import annotations

import linecache
import signal
import time
from collections import defaultdict
from types import FrameType, TracebackType

INTERVAL_S = 0.002

# The first whose text is in "file:function: source line" of a frame names its phase. The
# compiled step has no frame of its own: it is the line that calls it.
PHASES = (
    ("/peers/hydra_season.py:decide", "engines"),
    ("/hydra/engines/", "engines"),
    ("/hydra/features/", "features"),
    ("/hydra/storage/", "store"),
    ("/hydra/mother/mother.py:_play: events = self._book.step(", "compiled step"),
    ("/hydra/guardian/", "guardian"),
    ("/hydra/mother/desk.py:record", "journal records"),
    ("/hydra/mother/desk.py:write_tickets", "ticket rows"),
    ("/hydra/mother/desk.py", "desk"),
    ("/hydra/mother/floors.py", "desk"),
    ("/hydra/mother/ledgers.py", "desk"),
    ("/hydra/mother/shadow.py", "desk"),
    ("/hydra/mother/scorekeeper.py", "samples, scores, statistics"),
    ("/hydra/tournament/", "samples, scores, statistics"),
    ("/hydra/mother/seats.py", "features"),
    ("/hydra/portfolio/costs.py", "features"),
    ("/hydra/feeds/", "features"),
    ("/hydra/mother/mother.py:_load", "features"),
    ("/hydra/mother/", "loop"),
)


class PhaseSampler:
    """A context of the main thread; `shares` tells afterwards."""

    def __init__(self) -> None:
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._last_s = 0.0
        self._known: dict[tuple[str, int], str] = {}

    def __enter__(self) -> PhaseSampler:
        self._before = signal.signal(signal.SIGPROF, self._sample)
        self._last_s = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, self._before)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        now = time.process_time()
        self._spent_s[self._phase(frame)] += now - self._last_s
        self._last_s = time.process_time()

    def _phase(self, frame: FrameType | None) -> str:
        while frame is not None:
            code, line = frame.f_code, frame.f_lineno or 0
            key = (code.co_filename, line)
            phase = self._known.get(key)
            if phase is None:
                text = linecache.getline(code.co_filename, line).strip()
                where = f"{code.co_filename}:{code.co_name}: {text}"
                phase = next((name for part, name in PHASES if part in where), "")
                self._known[key] = phase
            if phase:
                return phase
            frame = frame.f_back
        return "other"

    def shares(self) -> dict[str, float]:
        """Of the CPU time between entry and exit, by phase, largest first."""
        total = sum(self._spent_s.values()) or 1.0
        spent = sorted(self._spent_s.items(), key=lambda item: -item[1])
        return {phase: seconds / total for phase, seconds in spent}
