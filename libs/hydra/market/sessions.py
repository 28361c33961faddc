"""When a market is open, and when holding a position over night is charged.

Calendars are `24/7`, `fx` (Sunday 17:00 to Friday 17:00, New York), `cfd` (the same week
with a break from 17:00 to 18:00 each day: metals and indices at most brokers) and the names of
exchange_calendars such as XNYS or CMES. Instants are int ns, UTC.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np

from hydra.clock import NS_PER_DAY, to_datetime, to_ns
from hydra.errors import ConfigError
from hydra.market.bars import Int64
from hydra.market.instruments import Instrument

NEW_YORK = "America/New_York"
FX_TURN_HOUR = 17  # New York: the currency day, and its week, turn at this hour
_FRIDAY = 4
_SATURDAY = 5
_SUNDAY = 6

# Trading days, and hours open on each, of a usual year: 252 sessions of 6.5 h in New York;
# 260 weekdays of 24 h in currencies, of 23 h in CFDs; 252 of 23 h on the futures exchange.
_YEARS = {"24/7": (365, 24.0), "fx": (260, 24.0), "cfd": (260, 23.0), "CMES": (252, 23.0)}
_EXCHANGE_YEAR = (252, 6.5)


@dataclass(frozen=True, slots=True)
class Rollovers:
    """Instants at which swap or funding is due, and how many nights each charges."""

    at_ns: Int64  # (n,) rising
    nights: Int64  # (n,) 1, or 3 on the triple day


@dataclass(frozen=True, slots=True)
class Sessions:
    """Times at which a market trades: `open_ns[i]` until before `close_ns[i]`, rising."""

    open_ns: Int64  # (n,)
    close_ns: Int64  # (n,)


def rollovers(instrument: Instrument, start_ns: int, end_ns: int) -> Rollovers:
    """The swap hours of `instrument` after `start_ns` and up to `end_ns`, that included.

    With a triple weekday the charge falls on Monday to Friday, three nights on that day (it
    stands for the weekend); without one it falls on every day, as funding of crypto does.
    Hours are local, so an hour that the clocks skip is charged when they have moved, and one
    that they repeat is charged once, the first time. None where both swaps are zero.
    """
    is_free = instrument.swap_long_bps == 0 and instrument.swap_short_bps == 0
    if is_free or not instrument.swap_hours or end_ns <= start_ns:
        return Rollovers(np.empty(0, np.int64), np.empty(0, np.int64))
    zone = named_zone(instrument.swap_zone, f"instrument {instrument.symbol}: swap_zone")
    triple = instrument.triple_swap_weekday
    at: list[int] = []
    nights: list[int] = []
    for day in _days(start_ns, end_ns, zone):
        if triple is not None and day.weekday() in (_SATURDAY, _SUNDAY):
            continue
        for hour in instrument.swap_hours:
            due_ns = _instant(day, hour, zone)
            if start_ns < due_ns <= end_ns:
                at.append(due_ns)
                nights.append(3 if day.weekday() == triple else 1)
    return Rollovers(np.array(at, np.int64), np.array(nights, np.int64))


def is_open(instrument: Instrument, at_ns: int) -> bool:
    """Whether the instrument's market trades at this instant (a close is no longer open).

    Raises ConfigError when an exchange's calendar does not reach the instant.
    """
    if instrument.calendar == "24/7":
        return True
    near = sessions(instrument.calendar, at_ns - NS_PER_DAY, at_ns + NS_PER_DAY)
    row = int(np.searchsorted(near.open_ns, at_ns, side="right")) - 1
    return row >= 0 and at_ns < int(near.close_ns[row])


def next_close_ns(instrument: Instrument, at_ns: int) -> int | None:
    """When the session that is open now, or else the next one, closes; None: never."""
    if instrument.calendar == "24/7":
        return None
    ahead = sessions(instrument.calendar, at_ns - 7 * NS_PER_DAY, at_ns + 14 * NS_PER_DAY)
    row = int(np.searchsorted(ahead.close_ns, at_ns, side="right"))
    return int(ahead.close_ns[row]) if row < len(ahead.close_ns) else None


def sessions(calendar: str, start_ns: int, end_ns: int) -> Sessions:
    """The sessions of a calendar that overlap `start_ns` to `end_ns`; of fx: its weeks.

    Raises ConfigError on an unknown calendar, or where an exchange's does not reach.
    """
    if calendar == "24/7":
        return Sessions(np.array([start_ns], np.int64), np.array([end_ns], np.int64))
    if calendar == "fx":
        zone = ZoneInfo(NEW_YORK)
        weeks = [
            (_instant(day, FX_TURN_HOUR, zone), _instant(day + timedelta(5), FX_TURN_HOUR, zone))
            for day in _days(start_ns - 7 * NS_PER_DAY, end_ns, zone)
            if day.weekday() == _SUNDAY
        ]
        return _overlapping(weeks, start_ns, end_ns)
    if calendar == "cfd":
        zone = ZoneInfo(NEW_YORK)
        days = [
            (
                _instant(day, FX_TURN_HOUR + 1, zone),
                _instant(day + timedelta(1), FX_TURN_HOUR, zone),
            )
            for day in _days(start_ns - 2 * NS_PER_DAY, end_ns, zone)
            if day.weekday() not in (_FRIDAY, _SATURDAY)
        ]
        return _overlapping(days, start_ns, end_ns)
    first, last = to_datetime(start_ns).date(), to_datetime(end_ns).date()
    opens, closes = _exchange_hours(calendar, first.year - 1, last.year + 1)
    low = int(np.searchsorted(closes, start_ns, side="right"))
    high = int(np.searchsorted(opens, end_ns, side="left"))
    return Sessions(opens[low:high], closes[low:high])


def trading_days_per_year(calendar: str) -> int:
    """Days with trading in a usual year: 365, 260 (fx, cfd) or 252; to annualise daily figures."""
    check_calendar(calendar, "calendar")
    return _YEARS.get(calendar, _EXCHANGE_YEAR)[0]


def seconds_open_per_year(calendar: str) -> float:
    """Seconds of trading in a usual year; to annualise figures of bars shorter than a day."""
    check_calendar(calendar, "calendar")
    days, hours = _YEARS.get(calendar, _EXCHANGE_YEAR)
    return days * hours * 3_600.0


def named_zone(name: str, where: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises ConfigError, `where` first, on any other."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        close = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else "; take a name such as Europe/Prague"
        raise ConfigError(f"{where}: {name!r} is no time zone{hint}") from error


def check_calendar(name: str, where: str) -> None:
    """Raises ConfigError, `where` first, when there is no such calendar."""
    if name in {"24/7", "fx", "cfd", "XNYS", "CMES"}:
        return  # without the half second that the library takes to import
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names():
        raise ConfigError(
            f"{where}: {name!r} is no calendar; take 24/7, fx, cfd or a name of"
            " exchange_calendars such as XNYS"
        )


def _days(start_ns: int, end_ns: int, zone: ZoneInfo) -> list[date]:
    """Local days from the one of `start_ns` to that of `end_ns`."""
    first = to_datetime(start_ns).astimezone(zone).date()
    last = to_datetime(end_ns).astimezone(zone).date()
    return [first + timedelta(n) for n in range((last - first).days + 1)]


def _instant(day: date, hour: int, zone: ZoneInfo) -> int:
    """The instant of a local hour; of a skipped one, the instant at which the clocks moved on."""
    return to_ns(datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC))


def _overlapping(spans: list[tuple[int, int]], start_ns: int, end_ns: int) -> Sessions:
    kept = [span for span in spans if span[0] < end_ns and span[1] > start_ns]
    table = np.array(kept, np.int64).reshape(-1, 2)
    return Sessions(table[:, 0], table[:, 1])


@lru_cache(maxsize=16)
def _exchange_hours(calendar: str, first_year: int, last_year: int) -> tuple[Int64, Int64]:
    """Opens and closes of an exchange's sessions in whole years (its breaks left aside)."""
    check_calendar(calendar, "calendar")
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    try:
        found = exchange_calendars.get_calendar(
            calendar, start=f"{first_year}-01-01", end=f"{last_year}-12-31"
        )
    except (CalendarError, ValueError) as error:
        raise ConfigError(
            f"calendar {calendar} does not reach {first_year} to {last_year}: {error}"
        ) from error
    schedule = found.schedule
    epoch = [
        schedule[name].to_numpy("datetime64[ns]").astype(np.int64) for name in ("open", "close")
    ]
    return epoch[0], epoch[1]
