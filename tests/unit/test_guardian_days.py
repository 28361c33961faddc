"""The guardian's day: Prague's calendar day, the server's, and days of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from hydra.clock import to_datetime, to_ns
from hydra.errors import ConfigError
from hydra.guardian.days import DayClock

HOUR_NS = 3_600_000_000_000


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return to_ns(datetime(year, month, day, hour, minute, tzinfo=UTC))


def test_prague_midnight_is_23_utc_in_winter_and_22_utc_in_summer() -> None:
    days = DayClock()

    assert days.day_of(at(2026, 1, 14, 22, 59)) == "2026-01-14"
    assert days.day_of(at(2026, 1, 14, 23, 0)) == "2026-01-15"
    assert days.day_of(at(2026, 7, 14, 21, 59)) == "2026-07-14"
    assert days.day_of(at(2026, 7, 14, 22, 0)) == "2026-07-15"


@pytest.mark.parametrize(
    ("noon", "hours"),
    [
        (at(2026, 3, 29, 12), 23),  # clocks go forward in the EU
        (at(2026, 10, 25, 12), 25),  # and back
        (at(2026, 3, 30, 12), 24),
    ],
)
def test_a_prague_day_has_23_24_or_25_hours(noon: int, hours: int) -> None:
    days = DayClock()

    assert days.next_reset_ns(noon) - days.day_start_ns(noon) == hours * HOUR_NS


def test_a_reset_belongs_to_the_day_that_it_begins() -> None:
    days = DayClock()
    reset = days.next_reset_ns(at(2026, 1, 14, 12))

    assert days.day_start_ns(reset) == reset
    assert days.day_of(reset) == "2026-01-15"
    assert days.day_of(reset - 1) == "2026-01-14"


@pytest.mark.parametrize(
    ("date", "server_hour"),
    [
        ((2026, 1, 15), 1),
        ((2026, 3, 8), 1),  # the US switches this morning
        ((2026, 3, 9), 2),
        ((2026, 3, 29), 2),  # the EU switches this morning
        ((2026, 3, 30), 1),
        ((2026, 7, 1), 1),
        ((2026, 10, 25), 1),
        ((2026, 10, 26), 2),
        ((2026, 11, 1), 2),
        ((2026, 11, 2), 1),
    ],
)
def test_prague_midnight_is_server_1_or_2_o_clock(
    date: tuple[int, int, int], server_hour: int
) -> None:
    prague = DayClock()
    midnight = prague.day_start_ns(at(*date, 12))

    new_york = to_datetime(midnight).astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
    server = new_york + timedelta(hours=7)

    assert (server.hour, server.date().timetuple()[:3]) == (server_hour, date)


def test_server_midnight_begins_the_servers_date() -> None:
    server = DayClock("America/New_York", time(17))

    assert server.day_of(at(2026, 1, 14, 21, 59)) == "2026-01-14"
    assert server.day_of(at(2026, 1, 14, 22, 0)) == "2026-01-15"  # 17:00 in New York
    assert server.day_of(at(2026, 7, 14, 21, 0)) == "2026-07-15"
    assert server.day_start_ns(at(2026, 7, 14, 21, 0)) == at(2026, 7, 14, 21, 0)


def test_days_follow_each_other_without_gap_in_either_direction() -> None:
    days = DayClock()
    resets = [days.day_start_ns(at(2026, 1, 1, 12))]
    while len(resets) < 366:
        resets.append(days.next_reset_ns(resets[-1]))

    lengths = [(b - a) // HOUR_NS for a, b in pairwise(resets)]
    assert sorted(set(lengths)) == [23, 24, 25]
    assert lengths.count(23) == lengths.count(25) == 1
    for reset in reversed(resets):
        assert days.day_start_ns(reset) == reset


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        DayClock("Mars/Olympus")
