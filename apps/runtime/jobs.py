"""The daemon's jobs beside the season: by the machine's clock, or when a guardian's day is over.

APScheduler says when; what is missed while the program was away is made up for once, on start,
because the table `jobs` remembers when each daily job last ended well. The work is done in a
thread, so that the market never waits for it. A job that fails is told of and tried again, and
neither the season nor the other jobs hear of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from apps.runtime.status import Feed, JobStatus
from hydra.clock import NS_PER_DAY, NS_PER_S, Clock, Timer, to_datetime, to_ns
from hydra.errors import HydraError
from hydra.guardian.days import DayClock
from hydra.operations.logs import get_logger
from hydra.storage.jobs import JobRun, SeasonJobs

AFTER_RESET_S = 60  # daily jobs let the minute that ends at midnight be played first
SOON_S = 1  # after which a job runs that is asked for
PAUSE_S = 10  # at least, from one run of it to the next: a replay has many days in a second
RETRY_S = 300  # after which a daily job that failed is tried again
WATCH_S = 15  # between two looks at whether the machine slept, or its clock was set


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done again and again. `work` runs in a thread.

    Every `every_s` seconds, and then nothing is remembered; or once a guardian's day, and then
    `work` is given the mark that it returned when it last ended well ("": never). `by_market`:
    also whenever a guardian's day is over by the market's time, and on start and at the end.
    """

    name: str
    work: Callable[[str], str]
    every_s: float | None = None  # None: once a day
    by_market: bool = False


class _EverySeconds(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Counted from the last time, so that a clock that is set makes up for nothing."""

    def __init__(self, seconds: float) -> None:
        self._pause = timedelta(seconds=seconds)

    def get_next_fire_time(self, before: datetime | None, now: datetime) -> datetime:
        return now + self._pause


class _EveryDay(BaseTrigger):  # type: ignore[misc]
    """A minute after each reset of the guardian's day, which may have 23 or 25 hours."""

    def __init__(self, day: DayClock) -> None:
        self._day = day

    def get_next_fire_time(self, before: datetime | None, now: datetime) -> datetime:
        late_ns = AFTER_RESET_S * NS_PER_S
        return to_datetime(self._day.next_reset_ns(to_ns(now) - late_ns) + late_ns)


@dataclass(slots=True)
class _State:
    """How a job stands."""

    began_ns: int = 0
    ran_ns: int | None = None
    error: str = ""  # of the last failure
    failed_ns: int | None = None
    is_failing: bool = False
    is_wanted: bool = False  # asked for, and not begun since
    is_running: bool = False


@dataclass(kw_only=True)
class Jobs:
    """Of one season. `start` and `aclose` on the event loop, in this order."""

    jobs: Sequence[Job]
    day: Callable[[], DayClock]  # makes one: they keep the day last asked for
    memory: SeasonJobs
    clock: Clock
    timer: Timer
    say: Callable[[str], None]
    feed: Callable[[], Feed | None] = lambda: None
    _states: dict[str, _State] = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _changed: Callable[[], None] = field(default=lambda: None, init=False)
    _scheduler: AsyncIOScheduler | None = field(default=None, init=False)
    _watching: asyncio.Task[None] | None = field(default=None, init=False)
    _is_closing: bool = field(default=False, init=False)
    _market_day_end_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._states = {job.name: _State() for job in self.jobs}
        self._wall_day, self._market_day = self.day(), self.day()

    def start(self, changed: Callable[[], None]) -> None:
        """Begin. `changed` is called when a job has run: there is news for the status.

        Daily jobs look at once whether they have missed a run.
        """
        self._changed = changed
        scheduler = self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        now = to_datetime(self.clock.now_ns())
        for job in self.jobs:
            trigger = _EveryDay(self.day()) if job.every_s is None else _EverySeconds(job.every_s)
            first = now if job.every_s is None else trigger.get_next_fire_time(None, now)
            scheduler.add_job(
                self._on_time, trigger, args=[job], id=job.name, name=job.name, next_run_time=first
            )
        scheduler.start()
        self._watching = asyncio.create_task(self._watch(scheduler), name="jobs' watch")

    def committed(self, at_ns: int) -> None:
        """The season is committed up to an instant of the market."""
        if at_ns >= self._market_day_end_ns:
            self._market_day_end_ns = self._market_day.next_reset_ns(at_ns)
            for job in self.jobs:
                if job.by_market:
                    self._ask(job)

    def shown(self) -> dict[str, JobStatus]:
        """For the status. The next run of a job by the market is in the market's time."""
        found = {}
        for job in self.jobs:
            state = self._states[job.name]
            found[job.name] = JobStatus(
                ran_ns=state.ran_ns,
                next_ns=self._next_ns(job),
                error=state.error,
                failed_ns=state.failed_ns,
            )
        return found

    async def aclose(self) -> None:
        """Let those that run end, give jobs by the market a last turn, and stop. Twice does no
        harm."""
        scheduler = self._scheduler
        if scheduler is None or self._is_closing:
            return
        self._is_closing = True
        scheduler.pause()
        if self._watching is not None:
            self._watching.cancel()
        await self.idle()
        for job in self.jobs:
            if job.by_market:
                await self._run(job)
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it stops in the loop's next turn

    async def idle(self) -> None:
        """Until nothing runs."""
        await asyncio.sleep(0)  # what was just begun takes its first step
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)

    def _next_ns(self, job: Job) -> int | None:
        if self._scheduler is None or self._is_closing:
            return None
        if job.by_market and self._market_day_end_ns and not self._states[job.name].is_failing:
            return self._market_day_end_ns
        found = self._scheduler.get_job(job.name)
        return None if found is None else to_ns(found.next_run_time)

    def _ask(self, job: Job) -> None:
        """Run it soon; once more where it runs and may have looked already."""
        state = self._states[job.name]
        if not state.is_wanted:
            state.is_wanted = True
            if not state.is_running:
                self._plan(job)

    def _plan(self, job: Job) -> None:
        """Tell APScheduler of a run that its trigger does not know, or of a clock that was set."""
        if self._scheduler is None or self._is_closing:
            return
        state, now_ns = self._states[job.name], self.clock.now_ns()
        found = self._scheduler.get_job(job.name)
        if state.is_wanted:
            since_s = (now_ns - state.began_ns) / NS_PER_S
            pause_s = max(SOON_S, PAUSE_S - since_s) if since_s >= 0 else PAUSE_S
            at = to_datetime(now_ns + round(pause_s * NS_PER_S))
        elif state.is_failing and job.every_s is None:
            at = to_datetime(now_ns + RETRY_S * NS_PER_S)
        else:
            at = found.trigger.get_next_fire_time(None, to_datetime(now_ns))
        found.modify(next_run_time=at)

    async def _on_time(self, job: Job) -> None:
        """What APScheduler calls."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self._run(job)

    async def _run(self, job: Job) -> None:
        """Do it; raises nothing but cancellation."""
        state, now_ns = self._states[job.name], self.clock.now_ns()
        state.is_wanted, state.is_running, state.began_ns = False, True, now_ns
        day_start_ns = self._wall_day.day_start_ns(now_ns)
        try:
            state.ran_ns = await asyncio.to_thread(self._work, job, now_ns, day_start_ns)
            self._changed()
        except Exception as error:  # whatever it is, the season goes on
            self._failed(job, state, error)
            self._plan(job)
            with suppress(OSError):  # a status that cannot be written may be what failed
                self._changed()
        else:
            if state.is_failing:
                self.say(f"job {job.name} works again")
            state.is_failing = False
        finally:
            state.is_running = False
        if state.is_wanted:
            self._plan(job)

    def _work(self, job: Job, now_ns: int, day_start_ns: int) -> int:
        """In a thread. Returns when the job last ended well, which is now unless it is not due."""
        if job.every_s is not None:
            job.work("")
            return now_ns
        last = self.memory.last(job.name)
        if last is not None and not job.by_market and not _is_due(last, now_ns, day_start_ns):
            return last.ran_ns
        mark = job.work("" if last is None else last.mark)
        self.memory.keep(job.name, JobRun(now_ns, mark))
        return now_ns

    def _failed(self, job: Job, state: _State, error: Exception) -> None:
        told = str(error) if isinstance(error, HydraError) else f"{type(error).__name__}: {error}"
        told = " ".join(told.split())[:500]
        if not (state.is_failing and told == state.error):
            again = "" if job.every_s is not None else f"; again in {RETRY_S // 60} minutes"
            self.say(f"job {job.name} failed: {told}{again}")
        log = get_logger("hydra.jobs")
        if isinstance(error, HydraError):
            log.error("job failed", job=job.name, reason=told)
        else:
            log.error("job failed", job=job.name, exc_info=error)
        state.is_failing, state.error, state.failed_ns = True, told, self.clock.now_ns()

    async def _watch(self, scheduler: AsyncIOScheduler) -> None:
        """Timers stand still while the machine sleeps, and hear nothing of a clock that is set."""
        seen_ns = self.clock.now_ns()
        while True:
            await self.timer.sleep(WATCH_S)
            now_ns = self.clock.now_ns()
            if now_ns < seen_ns:
                # What was to come within a minute would come an hour late.
                for job in self.jobs:
                    self._plan(job)
            seen_ns = now_ns
            scheduler.wakeup()


def _is_due(last: JobRun, now_ns: int, day_start_ns: int) -> bool:
    """Whether a daily job has not run yet on the guardian's day that holds `now_ns`.

    A last time that lies more than a day ahead was told by a clock that was wrong.
    """
    return last.ran_ns < day_start_ns or last.ran_ns > now_ns + NS_PER_DAY
