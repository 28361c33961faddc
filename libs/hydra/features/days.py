"""Trading days of a stream: yesterday's extremes, and how old today is."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from hydra.clock import NS_PER_DAY, NS_PER_S, to_datetime

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).min


def utc_offsets_ns(at_ns: Int64, zone: ZoneInfo) -> Int64:
    """What local time in `zone` is ahead of UTC, ns, at rising instants: (n,) → (n,).

    Where two instants less than a week apart have the same offset, so has all between them.
    """
    offsets = np.empty(len(at_ns), np.int64)

    def look_up(row: int) -> int:
        ahead = to_datetime(int(at_ns[row])).astimezone(zone).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds()) * NS_PER_S

    def settle(first: int, first_ns: int, last: int, last_ns: int) -> None:
        if last - first < 2 or (
            first_ns == last_ns and at_ns[last] - at_ns[first] < 7 * NS_PER_DAY
        ):
            offsets[first:last] = first_ns
            offsets[last] = last_ns
            return
        middle = (first + last) // 2
        middle_ns = look_up(middle)
        settle(first, first_ns, middle, middle_ns)
        settle(middle, middle_ns, last, last_ns)

    settle(0, look_up(0), len(at_ns) - 1, look_up(len(at_ns) - 1))
    return offsets


class Days:
    """Follows the days of one stream. A day starts at `reset_hour` local time in `zone`."""

    def __init__(self, zone: str, reset_hour: float) -> None:
        self._zone = ZoneInfo(zone)
        self._shift_ns = int(reset_hour * 3600) * NS_PER_S
        # What is carried: one summary row for yesterday, one for today so far.
        self._day = np.array([_NEVER, _NEVER + 1], np.int64)
        self._start_ns = np.zeros(2, np.int64)
        self._high = np.full(2, np.nan)
        self._low = np.full(2, np.nan)

    def extend(self, open_ns: Int64, high: Float64, low: Float64) -> tuple[Float64, Float64, Int64]:
        """Yesterday's high and low, and the open of today's first bar, for each row (rows,)."""
        local_ns = open_ns + utc_offsets_ns(open_ns, self._zone) - self._shift_ns
        day = np.concatenate((self._day, local_ns // NS_PER_DAY))
        start_ns = np.concatenate((self._start_ns, open_ns))
        first = np.flatnonzero(np.concatenate(([True], day[1:] != day[:-1])))
        day_high = np.maximum.reduceat(np.concatenate((self._high, high)), first)
        day_low = np.minimum.reduceat(np.concatenate((self._low, low)), first)
        day_start_ns = start_ns[first]
        which = np.repeat(np.arange(len(first)), np.diff(first, append=len(day)))[2:]

        self._day = day[first][-2:]
        self._start_ns = day_start_ns[-2:]
        self._high, self._low = day_high[-2:], day_low[-2:]
        return day_high[which - 1], day_low[which - 1], day_start_ns[which]
