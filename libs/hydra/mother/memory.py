"""How much memory engines may take while they decide.

The system refuses this process more than it has and `limit_mb` on top: whoever asks for it gets
a MemoryError, an engine's failure like any other. Between decisions there is no limit, so what an
engine keeps is no other's trouble: the next limit counts from there.

Linux alone counts a process's own pages so (RLIMIT_DATA); elsewhere nothing is limited. Not seen:
memory that grows by less than the limit at each decision, answers that are awaited, and processes
that an engine starts. Native code that does not look whether it got its memory may crash.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "linux":
    import resource


class MemoryLimit:
    """On top of what the process has when it is set. One at a time in a process."""

    def __init__(self, limit_mb: int) -> None:
        self._limit_bytes = limit_mb << 20
        self._statm = -1
        if sys.platform == "linux":
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._page_bytes = os.sysconf("SC_PAGE_SIZE")
            self._before = resource.getrlimit(resource.RLIMIT_DATA)

    def set(self) -> None:
        if sys.platform == "linux":
            pages = int(os.pread(self._statm, 128, 0).split()[5])
            hard = self._before[1]
            limit = pages * self._page_bytes + self._limit_bytes
            if hard != resource.RLIM_INFINITY:
                limit = min(limit, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))

    def lift(self) -> None:
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, self._before)

    def __del__(self) -> None:
        if self._statm >= 0:
            os.close(self._statm)
