"""What the daemon's jobs do: the checkpoint, the clean-up, the report of each guardian's day."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from apps.cli.daily import day_clock, folder_of, write_days
from apps.runtime.jobs import Job, Jobs
from apps.runtime.status import AssetFeed, Feed, VenueFeed
from hydra.clock import Clock, Timer
from hydra.errors import ConfigError
from hydra.operations import retention
from hydra.operations.logs import get_logger
from hydra.settings import Settings
from hydra.storage.database import checkpoint, reading
from hydra.storage.jobs import SeasonJobs
from hydra.tournament.season import SeasonRow

if TYPE_CHECKING:
    from hydra.feeds.venue_minutes import Stats

CHECKPOINT_S = 60.0
CHECKPOINT, CLEAN_UP, REPORT = "checkpoint", "clean-up", "daily report"

Say = Callable[[str], None]


@runtime_checkable
class Heard(Protocol):
    """A source of minutes that knows what its venues told."""

    def stats(self) -> Stats | None:
        """None: nobody listens yet."""
        ...


def season_jobs(
    season: SeasonRow,
    season_id: int,
    url: str,
    *,
    settings: Settings,
    source: object,
    clock: Clock,
    timer: Timer,
    say: Say,
    log: Path | None = None,
) -> Jobs:
    """The jobs of a season whose rows are at `url`. `log` is this process's, where it has one."""
    reports = folder_of(settings.data_folder, season.name)

    def move_pages(_mark: str) -> str:
        checkpoint(url)
        return ""

    def clean_up(_mark: str) -> str:
        clean(settings, clock, say, log)
        return ""

    def report(mark: str) -> str:
        with reading(url) as connection:
            days = write_days(connection, season.name, reports, after=mark)
        for day in days:
            get_logger("hydra.jobs").info("daily report", day=day, folder=str(reports))
        return days[-1] if days else mark

    return Jobs(
        jobs=(
            Job(name=CHECKPOINT, work=move_pages, every_s=CHECKPOINT_S),
            Job(name=CLEAN_UP, work=clean_up),
            Job(name=REPORT, work=report, by_market=True),
        ),
        day=lambda: day_clock(season),
        memory=SeasonJobs(url, season_id),
        clock=clock,
        timer=timer,
        say=say,
        feed=lambda: feed_of(source),
    )


def clean(settings: Settings, clock: Clock, say: Say, log: Path | None) -> None:
    """Delete what was kept long enough. Raises ConfigError naming what could not be deleted."""
    found = retention.expired_of(settings, clock.now_ns(), log=log)
    done = retention.clean(found)
    for one in done.deleted:
        get_logger("hydra.jobs").info(
            "deleted", kind=one.kind, path=str(one.path), size_bytes=one.size_bytes
        )
    if done.deleted:
        say(f"clean-up: {done}")
    if done.faults:
        raise ConfigError("; ".join(done.faults))


def feed_of(source: object) -> Feed | None:
    """What a source's venues told, as the status has it; None of recorded prices."""
    stats = source.stats() if isinstance(source, Heard) else None
    if stats is None:
        return None
    return Feed(
        venues={
            name: VenueFeed(
                connected=one.connected,
                reconnects=one.reconnects,
                bad=one.bad,
                resyncs=one.resyncs,
                down=one.down,
            )
            for name, one in stats.venues.items()
        },
        assets={
            symbol: AssetFeed(source=one.source, late=one.late, switches=one.switches)
            for symbol, one in stats.assets.items()
        },
        restarts=stats.restarts,
    )
