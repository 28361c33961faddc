"""The guardian's day: from one reset to the next, by an IANA zone and a local time.

Sources: FTMO.md, section 1. FTMO resets at 00:00 Europe/Prague, so a day has 23 or 25 hours
when the clocks change. MetaTrader servers run on New York + 7 h all year: their midnight is
17:00 America/New_York on every day of the year.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hydra.clock import to_datetime, to_ns
from hydra.errors import ConfigError

_DAY = timedelta(days=1)


class DayClock:
    """Names days and their bounds. Raises ConfigError on an unknown zone.

    A day is labelled by the date on which most of it falls: one that begins at noon or later
    carries the next date (server midnight, 17:00 in New York, begins the server's new date).
    The bounds of the day asked for last are kept, so that a run through time is cheap.
    """

    __slots__ = ("_end_ns", "_label", "_label_shift", "_reset", "_start_ns", "_zone")

    def __init__(self, zone: str = "Europe/Prague", reset: time = time(0)) -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"the guardian's day: {zone!r} is no IANA time zone, such as Europe/Prague"
            ) from error
        self._reset = reset
        self._label_shift = _DAY if reset.hour >= 12 else timedelta()
        self._start_ns = 0
        self._end_ns = 0
        self._label = ""

    def day_of(self, at_ns: int) -> str:
        """The label of the day that holds the instant: 2024-01-31."""
        if not self._start_ns <= at_ns < self._end_ns:
            self._find(at_ns)
        return self._label

    def day_start_ns(self, at_ns: int) -> int:
        """The reset at or before the instant."""
        if not self._start_ns <= at_ns < self._end_ns:
            self._find(at_ns)
        return self._start_ns

    def next_reset_ns(self, at_ns: int) -> int:
        """The first reset after the instant; one that falls on it is behind it."""
        if not self._start_ns <= at_ns < self._end_ns:
            self._find(at_ns)
        return self._end_ns

    def bounds_ns(self, label: str) -> tuple[int, int]:
        """First instant of the day of that label, and the first after it.

        Raises ConfigError where the label is no date.
        """
        try:
            day = date.fromisoformat(label) - self._label_shift
            return self._reset_on(day), self._reset_on(day + _DAY)
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{label!r} is no day; write 2024-01-31") from error

    def _reset_on(self, day: date) -> int:
        # A local time that the clocks skip maps forward, one that they repeat means the first.
        return to_ns(datetime.combine(day, self._reset, tzinfo=self._zone))

    def _find(self, at_ns: int) -> None:
        day = to_datetime(at_ns).astimezone(self._zone).date()
        start_ns = self._reset_on(day)
        if at_ns < start_ns:
            day -= _DAY
            end_ns, start_ns = start_ns, self._reset_on(day)
        else:
            end_ns = self._reset_on(day + _DAY)
        self._start_ns, self._end_ns = start_ns, end_ns
        self._label = (day + self._label_shift).isoformat()
