"""The daemon's jobs: when they run, what a restart makes up for, what a failure leaves alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from apps.runtime.jobs import RETRY_S, WATCH_S, Job, Jobs
from hydra.clock import NS_PER_S, SystemClock, iso, to_ns
from hydra.errors import ConfigError
from hydra.guardian.days import DayClock
from hydra.storage.jobs import JobRun, SeasonJobs
from hydra.storage.schema import ensure
from hydra.storage.store import open_season
from tests.support.hand_time import HandTime, rest
from tests.support.seasons import a_season

HOUR_S = 3_600
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)  # 13:00 in Prague


@pytest.fixture
def memory(tmp_path: Path) -> SeasonJobs:
    url = f"sqlite:///{tmp_path}/hydra.db"
    ensure(url)
    with open_season(url, a_season(), resume=False) as store:
        return SeasonJobs(url, store.season_id)


@pytest.fixture
def wall() -> Iterator[time_machine.Traveller]:
    """The machine's clock, which stands still at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@dataclass
class Runs:
    """Work that notes when it was done, with which mark; fails where it is told to."""

    marks: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    next_mark: str = ""
    fails: Exception | None = None

    def __call__(self, mark: str) -> str:
        self.times.append(iso(SystemClock().now_ns()))
        self.marks.append(mark)
        if self.fails is not None:
            raise self.fails
        return self.next_mark


class Machine:
    """One program after the other on one machine, with a clock that the test moves."""

    def __init__(self, memory: SeasonJobs, wall: time_machine.Traveller, *jobs: Job) -> None:
        self._memory = memory
        self._wall = wall
        self._jobs = jobs
        self._timer = HandTime()
        self.said: list[str] = []
        self.jobs: Jobs = self._new()

    def _new(self) -> Jobs:
        return Jobs(
            jobs=self._jobs, day=DayClock, memory=self._memory, clock=SystemClock(),
            timer=self._timer, say=self.said.append,
        )  # fmt: skip

    async def __aenter__(self) -> Machine:
        self.jobs.start(lambda: None)
        await self.settle()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.jobs.aclose()

    async def settle(self) -> None:
        await rest()
        await self.jobs.idle()
        await rest()

    async def restart(self, *, away_s: float = 0) -> None:
        await self.jobs.aclose()
        self._wall.shift(away_s)
        self.jobs = self._new()
        self.jobs.start(lambda: None)
        await self.settle()

    async def live(self, seconds: int) -> None:
        """Time passes as it does."""
        for _ in range(seconds // WATCH_S):
            self._wall.shift(WATCH_S)
            await self._timer.run(WATCH_S)
            await self.settle()

    async def sleep(self, seconds: int) -> None:
        """The lid is closed: the clock goes on, timers do not. Then it is opened."""
        self._wall.shift(seconds)
        await self.live(WATCH_S)

    async def set_to(self, at: datetime) -> None:
        """Somebody sets the clock."""
        self._wall.move_to(at, tick=False)
        await self.live(WATCH_S)


def a_daily(work: Callable[[str], str], name: str = "daily") -> Job:
    return Job(name=name, work=work)


# Once a day


async def test_a_job_that_never_ran_runs_on_start_and_not_again_on_the_same_day(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, a_daily(work)) as machine:
        assert len(work.times) == 1
        for _ in range(3):
            await machine.restart(away_s=HOUR_S)

    assert len(work.times) == 1


async def test_five_days_away_are_made_up_for_once(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, a_daily(work)) as machine:
        await machine.restart(away_s=5 * 24 * HOUR_S)
        await machine.live(600)
        await machine.restart(away_s=60)

    assert work.times == ["2026-01-15T12:00:00Z", "2026-01-20T12:00:00Z"]


async def test_it_runs_a_minute_after_the_guardians_midnight(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, a_daily(work)) as machine:
        await machine.set_to(datetime(2026, 1, 15, 22, 58, tzinfo=UTC))
        await machine.live(600)
        await machine.set_to(datetime(2026, 1, 16, 22, 58, tzinfo=UTC))
        await machine.live(600)

    assert work.times[1:] == ["2026-01-15T23:01:00Z", "2026-01-16T23:01:00Z"]


@pytest.mark.parametrize(
    ("before", "runs"),
    [
        # The clocks go forward on 29 March, back on 25 October: 23 and 25 hours apart.
        ("2026-03-28T21:58", ["2026-03-28T23:01:00Z", "2026-03-29T22:01:00Z"]),
        ("2026-10-24T20:58", ["2026-10-24T22:01:00Z", "2026-10-25T23:01:00Z"]),
    ],
)
async def test_days_of_23_and_25_hours(
    memory: SeasonJobs, wall: time_machine.Traveller, before: str, runs: list[str]
) -> None:
    work = Runs()
    wall.move_to(datetime.fromisoformat(before).replace(tzinfo=UTC), tick=False)
    async with Machine(memory, wall, a_daily(work)) as machine:
        work.times.clear()
        for _ in range(27):
            await machine.live(240)  # awake around each full hour
            await machine.sleep(HOUR_S - 240 - WATCH_S)

    assert work.times == runs


async def test_a_machine_that_slept_over_midnight_runs_it_when_it_wakes(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, a_daily(work)) as machine:
        await machine.sleep(60 * HOUR_S)
        assert work.times[1:] == ["2026-01-18T00:00:15Z"]
        await machine.live(300)

    assert len(work.times) == 2


async def test_a_clock_that_is_set_back_over_midnight_makes_no_second_day(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, a_daily(work)) as machine:
        await machine.set_to(datetime(2026, 1, 15, 23, 5, tzinfo=UTC))
        assert len(work.times) == 2
        await machine.set_to(datetime(2026, 1, 15, 22, 55, tzinfo=UTC))
        await machine.live(900)
        await machine.restart()

    assert len(work.times) == 2


async def test_a_clock_that_was_years_ahead_does_not_stop_it_for_years(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    memory.keep("daily", JobRun(to_ns(datetime(2036, 1, 1, tzinfo=UTC))))
    async with Machine(memory, wall, a_daily(work)):
        assert work.times == ["2026-01-15T12:00:00Z"]


async def test_it_is_given_the_mark_that_it_left(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs(next_mark="page 7")
    async with Machine(memory, wall, a_daily(work)) as machine:
        await machine.restart(away_s=24 * HOUR_S)

    assert work.marks == ["", "page 7"]
    assert memory.last("daily") == JobRun(to_ns(NOON) + 86_400 * NS_PER_S, "page 7")


# Every minute


async def test_every_minute_whatever_becomes_of_the_clock(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, Job(name="minute", work=work, every_s=60)) as machine:
        await machine.live(300)
        assert len(work.times) == 5
        await machine.sleep(8 * HOUR_S)
        assert len(work.times) == 6  # not one for each minute of the night
        await machine.set_to(datetime(2026, 1, 15, 11, tzinfo=UTC))  # nine hours back
        await machine.live(120)
        assert len(work.times) >= 7
        assert memory.last("minute") is None


async def test_one_that_takes_longer_than_its_pause_does_not_run_beside_itself(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    go, begun, both = threading.Event(), [], threading.Lock()

    def slow(mark: str) -> str:
        assert both.acquire(blocking=False)
        begun.append(1)
        assert go.wait(30)
        both.release()
        return ""

    machine = Machine(memory, wall, Job(name="slow", work=slow, every_s=60))
    async with machine:
        for _ in range(20):
            wall.shift(WATCH_S)
            await machine._timer.run(WATCH_S)
        assert len(begun) == 1
        go.set()
        await machine.settle()
        await machine.live(60)

    assert len(begun) == 2
    assert not machine.said


# Failures


async def test_a_job_that_fails_is_told_of_once_and_the_others_go_on(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    bad, good = Runs(fails=ZeroDivisionError("of nothing")), Runs()
    jobs = (Job(name="bad", work=bad, every_s=60), Job(name="good", work=good, every_s=60))
    async with Machine(memory, wall, *jobs) as machine:
        await machine.live(180)
        assert machine.said == ["job bad failed: ZeroDivisionError: of nothing"]
        assert len(bad.times) == len(good.times) == 3
        told = machine.jobs.shown()["bad"]
        assert (told.error, told.ran_ns) == ("ZeroDivisionError: of nothing", None)

        bad.fails = None
        await machine.live(60)
        told = machine.jobs.shown()["bad"]

    assert machine.said[1:] == ["job bad works again"]
    assert told.ran_ns is not None and told.failed_ns is not None
    assert told.ran_ns > told.failed_ns


async def test_a_daily_job_that_failed_is_tried_again_soon_and_remembers_nothing(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs(fails=ConfigError("the disk is full"))
    async with Machine(memory, wall, a_daily(work)) as machine:
        assert machine.said == ["job daily failed: the disk is full; again in 5 minutes"]
        assert memory.last("daily") is None
        await machine.live(RETRY_S - WATCH_S)
        assert len(work.times) == 1
        work.fails = None
        await machine.live(WATCH_S)
        assert len(work.times) == 2
        await machine.live(2 * RETRY_S)

    assert len(work.times) == 2
    assert memory.last("daily") is not None


async def test_a_database_that_is_gone_fails_the_job_and_nothing_else(
    tmp_path: Path, wall: time_machine.Traveller
) -> None:
    work, minute = Runs(), Runs()
    gone = SeasonJobs(f"sqlite:///{tmp_path}/gone.db", 1)
    jobs = (a_daily(work), Job(name="minute", work=minute, every_s=60))
    async with Machine(gone, wall, *jobs) as machine:
        await machine.live(60)

    assert "there is no database" in machine.said[0]
    assert (len(work.times), len(minute.times)) == (0, 1)


# By the market's time


def day_end(day: int) -> int:
    return to_ns(datetime(2024, 1, day, 23, tzinfo=UTC))  # midnight in Prague


async def test_one_by_the_market_runs_when_the_markets_day_is_over(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    async with Machine(memory, wall, Job(name="report", work=work, by_market=True)) as machine:
        machine.jobs.committed(day_end(3) - 1)
        await machine.live(30)
        runs = len(work.times)
        machine.jobs.committed(day_end(3) - 1)
        await machine.live(30)
        assert len(work.times) == runs

        machine.jobs.committed(day_end(3))
        await machine.live(15)

        assert len(work.times) == runs + 1
        assert machine.jobs.shown()["report"].next_ns == day_end(4)


async def test_many_days_in_a_second_are_one_run_and_the_last_is_not_missed(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    seen: list[int] = []
    now = [0]

    def look(mark: str) -> str:
        seen.append(now[0])
        return ""

    async with Machine(memory, wall, Job(name="report", work=look, by_market=True)) as machine:
        for day in range(1, 29):
            now[0] = day
            machine.jobs.committed(day_end(day))
        await machine.live(15)
        assert seen == [0, 28]
        now[0] = 29

    assert seen == [0, 28, 29]  # a last look when the season ends


async def test_a_day_that_ends_while_it_runs_is_looked_at_again(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    go, runs = threading.Event(), []

    def work(mark: str) -> str:
        runs.append(1)
        assert go.wait(30)
        return ""

    job = Job(name="report", work=work, by_market=True)
    machine = Machine(memory, wall, job)
    machine.jobs.start(lambda: None)
    await rest()
    machine.jobs.committed(day_end(1))  # it runs, and may have looked already
    await rest()
    go.set()
    await machine.settle()
    await machine.live(15)
    assert len(runs) == 2
    await machine.jobs.aclose()


async def test_to_close_waits_for_what_runs_and_leaves_nothing_behind(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    before = asyncio.all_tasks()
    go, done = threading.Event(), []

    def work(mark: str) -> str:
        assert go.wait(30)
        done.append(1)
        return ""

    machine = Machine(memory, wall, a_daily(work))
    machine.jobs.start(lambda: None)
    await rest()
    closing = asyncio.ensure_future(machine.jobs.aclose())
    await rest()
    assert not closing.done()
    go.set()
    await closing
    await machine.jobs.aclose()
    await rest()

    assert done == [1]
    assert asyncio.all_tasks() == before


async def test_a_status_that_cannot_be_written_stops_no_job(
    memory: SeasonJobs, wall: time_machine.Traveller
) -> None:
    work = Runs()
    machine = Machine(memory, wall, Job(name="minute", work=work, every_s=60))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    machine.jobs.start(full)
    await machine.live(180)
    await machine.jobs.aclose()

    assert len(work.times) == 3
    assert len(machine.said) == 1
    assert "No space left" in machine.said[0]
