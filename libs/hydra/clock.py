"""The one place that reads the time.

Instants inside Hydra are `int` nanoseconds since 1970-01-01 UTC (`*_ns`); at the edges
they are aware `datetime` in UTC.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time. Replay moves it by the market's events; live reads the machine."""

    def now_ns(self) -> int: ...


class SystemClock:
    """The machine's clock, UTC."""

    def now_ns(self) -> int:
        return time.time_ns()


class ManualClock:
    """A clock that stands still until it is told otherwise: for replay and tests."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def set_ns(self, now_ns: int) -> None:
        """Move to `now_ns`. Raises ValueError when that would go back in time."""
        if now_ns < self._now_ns:
            raise ValueError(f"clock would go back from {self._now_ns} to {now_ns}")
        self._now_ns = now_ns


class Timer(Protocol):
    """Lets time pass, on a clock that only goes forward: for pauses, never for records."""

    def now_ns(self) -> int: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemTimer:
    """The machine's own passing of time."""

    def now_ns(self) -> int:
        return monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def to_datetime(at_ns: int) -> datetime:
    """The aware UTC datetime of an instant, to the microsecond (rounded down)."""
    return _EPOCH + timedelta(microseconds=at_ns // 1_000)


def to_ns(at: datetime) -> int:
    """The instant of an aware datetime. Raises ValueError on a naive one."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1_000


def iso(at_ns: int) -> str:
    """2024-01-31T08:00:00Z; fractions of a second only where there are any."""
    return to_datetime(at_ns).isoformat().replace("+00:00", "Z")


def monotonic_ns() -> int:
    """Nanoseconds on a clock that only goes forward: for pauses, never for records."""
    return time.monotonic_ns()
