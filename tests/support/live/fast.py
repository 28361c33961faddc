"""A whole program by a clock that runs faster than the machine's.

    HYDRA_TEST_SPEED=60 HYDRA_TEST_ORIGIN_NS=… python -m tests.support.live.fast run --paper …

is `hydra run --paper …` in which an hour passes in a minute: for Hydra's clock, and for all
that waits on the event loop (pauses, time-outs, pings). Nothing in Hydra is changed; the one
place that reads the time reads another one, and the loop's own time is stretched alike.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import time
from dataclasses import dataclass
from typing import Any

SPEED, ORIGIN = "HYDRA_TEST_SPEED", "HYDRA_TEST_ORIGIN_NS"


@dataclass(frozen=True)
class FastTime:
    """In the place of the module `time`: equal to the machine's at `origin_ns`, faster after."""

    speed: float
    origin_ns: int

    def time_ns(self) -> int:
        return self.origin_ns + round((time.time_ns() - self.origin_ns) * self.speed)

    def monotonic_ns(self) -> int:
        return round(time.monotonic_ns() * self.speed)

    def variables(self) -> dict[str, str]:
        """For a child that shall live by the same time."""
        return {SPEED: str(self.speed), ORIGIN: str(self.origin_ns)}


class _Selector(selectors.DefaultSelector):
    speed = 1.0

    def select(self, timeout: float | None = None) -> Any:
        return super().select(None if timeout is None else timeout / self.speed)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds are shorter."""

    def __init__(self, speed: float) -> None:
        selector = _Selector()
        selector.speed = speed
        self._speed = speed
        super().__init__(selector)

    def time(self) -> float:
        return super().time() * self._speed


class _Policy(asyncio.DefaultEventLoopPolicy):
    speed = 1.0

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return FastLoop(self.speed)


def hurry(fast: FastTime) -> None:
    """From now on this process lives by that time."""
    from hydra import clock

    clock.__dict__["time"] = fast
    policy = _Policy()
    policy.speed = fast.speed
    asyncio.set_event_loop_policy(policy)


def main() -> int:
    hurry(FastTime(float(os.environ[SPEED]), int(os.environ[ORIGIN])))
    from apps.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
