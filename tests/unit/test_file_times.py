"""How the times of price files are read."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from hydra.clock import iso
from hydra.errors import ConfigError
from hydra.feeds.times import READ, SKIPPED_HOUR, UNREADABLE, Times, WallClock, read_times


def read(values: list[object], tz: str | None = None, name: str = "time") -> Times:
    column = pl.Series(values)
    clock = None if tz is None else WallClock.named(tz)
    return read_times(column, np.zeros(len(column), np.int32), clock, name)


def shown(times: Times) -> list[str]:
    return [iso(int(a)) for a in times.at_ns]


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-31T08:00:00Z", "2024-01-31 08:00:00Z", "2024-01-31T09:00:00+01:00",
        "2024-01-31 03:00:00-0500", "2024-01-31 08:00:00 UTC", "2024-01-31T08:00:00.000Z",
        1706688000, 1706688000000, 1706688000000000, 1706688000000000000, 1706688000.0,
        "1706688000", "1706688000.0",
    ],
)  # fmt: skip
def test_a_time_that_fixes_its_instant(value: object) -> None:
    times = read([value])

    assert shown(times) == ["2024-01-31T08:00:00Z"]
    assert times.had_zone


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-31T08:00:00", "2024-01-31 08:00", "2024.01.31 08:00", "2024/1/31 08:00:00",
        "20240131 080000", "2024-01-31 08:00:00.000", " 2024-01-31 08:00 ",
    ],
)  # fmt: skip
def test_a_naive_time_is_read_on_the_clock_given_else_as_utc(value: object) -> None:
    assumed = read([value])

    assert shown(assumed) == ["2024-01-31T08:00:00Z"]
    assert not assumed.had_zone
    assert shown(read([value], "Europe/Prague")) == ["2024-01-31T07:00:00Z"]


@pytest.mark.parametrize("value", ["2024-01-31", "20240131", 20240131, date(2024, 1, 31)])
def test_days_are_read_as_midnights(value: object) -> None:
    assert shown(read([value], "Europe/Prague")) == ["2024-01-30T23:00:00Z"]


def test_a_column_that_says_utc_needs_no_zone() -> None:
    assert read(["2024-01-31 08:00"], name="time_utc").had_zone


@pytest.mark.parametrize(
    ("tz", "winter", "summer"),
    [
        ("UTC+3", "05:00:00Z", "05:00:00Z"),
        ("+03:00", "05:00:00Z", "05:00:00Z"),
        ("EST", "13:00:00Z", "13:00:00Z"),
        ("America/New_York", "13:00:00Z", "12:00:00Z"),
        ("America/New_York+7", "06:00:00Z", "05:00:00Z"),
    ],
)
def test_clocks_that_brokers_keep(tz: str, winter: str, summer: str) -> None:
    times = read(["2024-01-31 08:00", "2024-07-31 08:00"], tz)

    assert shown(times) == [f"2024-01-31T{winter}", f"2024-07-31T{summer}"]


def test_the_hour_that_autumn_repeats_is_read_in_the_order_of_the_rows() -> None:
    walls = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]

    times = read([f"2024-10-27 {wall}" for wall in walls], "Europe/Prague")

    assert (np.diff(times.at_ns) == 1_800 * 10**9).all()


def test_a_local_time_that_spring_skips_is_marked() -> None:
    times = read(["2024-03-31 01:30", "2024-03-31 02:30", "2024-03-31 03:30"], "Europe/Prague")

    assert times.state.tolist() == [READ, SKIPPED_HOUR, READ]


def test_what_cannot_be_read_is_marked_row_by_row() -> None:
    assert read(["2024-01-31T08:00:00Z", "soon", None]).state.tolist() == [
        READ, UNREADABLE, UNREADABLE,
    ]  # fmt: skip
    assert read(["31/01/2024 08:00"]).state.tolist() == [UNREADABLE]
    assert read(["2024-01-31T08:00:00Z", "2024-01-31T08:00:00"]).state[1] == UNREADABLE
    assert read([True]).state.tolist() == [UNREADABLE]
    assert read([1706688000.0, float("nan")]).state.tolist() == [READ, UNREADABLE]


@pytest.mark.parametrize("wrong", ["Europe/Prage", "Mars+3", "tomorrow", ""])
def test_a_wrong_zone_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="--tz"):
        WallClock.named(wrong)
