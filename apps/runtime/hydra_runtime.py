"""The daemon: builds a live season's objects and runs it. `hydra run`, or this file."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from threading import Event

import msgspec

from apps.cli.failures import warn
from apps.cli.followers import Logger, following, logged
from apps.cli.models import Models
from apps.cli.options import database_url, season_name
from apps.cli.season import Request
from apps.runtime import status
from apps.runtime.backlog import Backlog
from apps.runtime.chores import season_jobs
from apps.runtime.daemon import Daemon, Past
from apps.runtime.live_season import LiveSeason, asked_for, build_live, instruments_of, is_live
from apps.runtime.sentinel import Pulse, Sentinel
from apps.runtime.supervisor import Supervisor
from hydra.clock import NS_PER_S, SystemClock, SystemTimer
from hydra.errors import ConfigError
from hydra.feeds.barfile import load_bars
from hydra.feeds.listings import CRYPTO_VENUES
from hydra.feeds.minutes import FileMinutes, MinuteSource
from hydra.feeds.recorder import Recorder
from hydra.market import events
from hydra.market.catalogue import Catalogue
from hydra.market.instruments import Instrument
from hydra.market.timeframes import timeframe_ns
from hydra.settings import Settings, load_settings
from hydra.storage import queries
from hydra.storage.bars import SeasonBars, singly
from hydra.storage.database import place, reading
from hydra.storage.schema import ensure
from hydra.storage.store import next_season_name, open_season, try_writing
from hydra.tournament.season import SeasonRow

ASSETS = ("BTC-USD", "ETH-USD", "SOL-USD")
FEEDS = ("venues", "replay")
Listener = Callable[[Sequence[events.Event]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What `hydra run` was asked to do."""

    request: Request
    season: str | None
    assets: tuple[str, ...]
    feed: str
    venues: tuple[str, ...]
    bar: str | None
    speed: float
    warm_bars: int
    db: str | None
    quiet: bool
    audit: bool
    log: Path | None
    record: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Where a season's bars come from."""

    instruments: tuple[Instrument, ...]
    resolution_ns: int
    source: MinuteSource
    past: Past | None
    start_ns: int
    told: dict[str, object]  # for the season's row
    grace_ns: int = 0  # how long after its close a bar comes
    tap: Callable[[Listener], None] = lambda listen: None  # who listens hears all events


def run_season(asked: Running) -> None:
    """Play until the end or a stop. Raises HydraError."""
    settings = load_settings()
    with logged(settings, asked.log, "hydra.run") as log:
        _run_season(asked, settings, log)


def _run_season(asked: Running, settings: Settings, log: Logger | None) -> None:
    url = database_url(asked.db)
    if asked.feed not in FEEDS:
        raise ConfigError(f"--feed {asked.feed!r} is none of: {', '.join(FEEDS)}")
    if asked.season is not None:
        season_name(asked.season, "--season")
    ensure(url)
    name = asked.season or next_season_name(url, "live")
    stored = _stored(url, name)
    if stored is not None and stored.state == "finished":
        raise ConfigError(f"season {name} is finished; give another --season")
    before = stored.season if stored is not None else None
    request = asked.request if before is None else asked.request.over(asked_for(before))
    if settings.gladiators is not None and request.gladiators is None:
        request = replace(request, gladiators=str(settings.gladiators.expanduser().absolute()))
    say = partial(_say, log, not asked.quiet)
    market = _market(asked, request, settings, before, say)
    attempts = Attempts(asked, settings, url, name, request, market, say, log is not None, stored)
    if settings.kill_switch:
        warning = "KILL_SWITCH is set in the environment: no engine may trade"
        warn(warning)
        if log is not None:
            log.warning(warning, season=name)
    _play(attempts, log)


def _say(log: Logger | None, is_shown: bool, text: str) -> None:
    """To whoever looks, and to the log."""
    if is_shown:
        print(text, file=sys.stderr)
    if log is not None:
        log.info(text)


def _stored(url: str, name: str) -> queries.SeasonSummary | None:
    with reading(url) as connection:
        if name not in [one.season.name for one in queries.seasons(connection)]:
            return None
        found = queries.season(connection, name)
    if not is_live(found.season):
        raise ConfigError(f"season {name} was played by hydra replay; give another --season")
    return found


def _market(
    asked: Running,
    request: Request,
    settings: Settings,
    before: SeasonRow | None,
    say: Callable[[str], None],
) -> Market:
    start_ns = None if before is None else _start_of(before)
    if asked.feed == "replay":
        if not request.bars:
            raise ConfigError("--feed replay needs recorded prices: --bars FILE")
        loaded = load_bars(
            [Path(path) for path in request.bars], catalogue=Catalogue.load(None), tz=request.tz
        )
        tables = loaded.tables
        lengths = {table.resolution_ns for table in tables}
        if len(lengths) > 1:
            raise ConfigError("--feed replay plays files of one bar length")
        source: MinuteSource = FileMinutes(tables, timer=SystemTimer(), speed=asked.speed)
        return Market(
            instruments=tuple(sorted((t.instrument for t in tables), key=lambda one: one.symbol)),
            resolution_ns=lengths.pop(),
            source=source,
            past=None,
            start_ns=start_ns or min(int(table.open_ns[0]) for table in tables),
            told={"kind": "replay", "inputs": [list(one) for one in loaded.inputs]},
        )
    from apps.runtime.venue_market import venue_market

    told, symbols = _heard_by(before)
    venues, bar = asked.venues or told.venues, asked.bar or told.bar
    resolution_ns = timeframe_ns(bar)
    now_ns = SystemClock().now_ns()
    instruments = instruments_of(asked.assets or symbols, request.instruments)
    live, past = venue_market(instruments, venues, resolution_ns, settings, say)
    return Market(
        instruments=tuple(instruments),
        resolution_ns=resolution_ns,
        source=live,
        past=past,
        start_ns=start_ns or now_ns - now_ns % resolution_ns + resolution_ns,
        told={"kind": "venues", "venues": list(venues), "bar": bar},
        grace_ns=round(live.limits.grace_s * NS_PER_S),
        tap=live.tap,
    )


class _Venues(msgspec.Struct):
    """What the row of a season says of its feed."""

    venues: tuple[str, ...] = CRYPTO_VENUES
    bar: str = "1m"


def _heard_by(before: SeasonRow | None) -> tuple[_Venues, tuple[str, ...]]:
    """Where the stored season was heard, and what it trades; what holds where nobody says."""
    if before is None:
        return _Venues(), ASSETS
    instruments = msgspec.convert(before.settings["instruments"], dict[str, object])
    return msgspec.convert(before.settings["feed"], _Venues), tuple(instruments)


def _start_of(row: SeasonRow) -> int:
    plan = row.settings.get("plan")
    start = plan.get("start_ns") if isinstance(plan, dict) else None
    if not isinstance(start, int):
        raise ConfigError(f"season {row.name} does not say when it began")
    return start


class Attempts:
    """Makes the daemons of one season, of what is stored of it by then."""

    def __init__(
        self,
        asked: Running,
        settings: Settings,
        url: str,
        name: str,
        request: Request,
        market: Market,
        say: Callable[[str], None],
        logs: bool,
        stored: queries.SeasonSummary | None,
    ) -> None:
        """Raises ConfigError where no season can be made of what was asked."""
        self.asked, self.settings, self.url, self.name = asked, settings, url, name
        self.market, self.say = market, say
        self._request = request
        self._logs = logs
        self._stored = stored
        ready = self._build()
        self._ready: tuple[Models, LiveSeason] | None = ready
        clock = SystemClock()
        now_ns = clock.now_ns()
        self.recorder: Recorder | None = None
        if asked.record:
            _, season = ready
            self.recorder = Recorder(settings.recordings_folder, season.row, clock=clock, say=say)
            market.tap(self.recorder.hear)
        self.backlog = Backlog(market.source)
        paced = asked.feed == "venues"
        self.pulse = Pulse(bar_s=market.resolution_ns / NS_PER_S if paced else None)
        self.board = status.Board(
            status.path_of(settings.home, name),
            status.Status(
                season=name, state="starting", pid=os.getpid(), db=place(url),
                started_ns=now_ns, updated_ns=now_ns,
            ),
        )  # fmt: skip

    def _build(self) -> tuple[Models, LiveSeason]:
        """Engines that have seen nothing yet, and who answers them."""
        models = Models(
            self.url,
            resumed=self.name if self._stored is not None else None,
            timely=self.asked.feed == "venues",
            # What was asked in the last cycle that is stored can still be answered.
            lost_until_ns=self._stored.at_ns - 1 if self._stored is not None else None,
        )
        season = build_live(
            self.name,
            self._request,
            self.market.instruments,
            resolution_ns=self.market.resolution_ns,
            start_ns=self.market.start_ns,
            kill_switch=self.settings.kill_switch,
            memory_limit_mb=self.settings.memory_limit_mb,
            client=models,
            feed=self.market.told,
            grace_ns=self.market.grace_ns,
            before=self._stored.season if self._stored is not None else None,
        )
        models.seat(season.gladiators)
        return models, season

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """A daemon on the database as it is. Raises StorageError where that cannot be used."""
        if self._ready is None:
            self._stored = _stored(self.url, self.name)
        models, season = self._ready or self._build()
        self._ready = None
        resume = self._stored is not None
        along = following(
            self.url,
            self.name,
            audit=self.settings.audit_file if self.asked.audit else None,
            logs=self._logs,
            after_seq=self._stored.journal_count if self._stored is not None else 0,
            durable=True,
        )
        opened = open_season(self.url, season.row, resume=resume, durable=True)
        with opened as store, along as followers:
            self.say(f"season {self.name} in {place(self.url)}: hydra stop ends it,"
                     " hydra status looks")  # fmt: skip
            kept = SeasonBars(self.url, store.season_id)
            if self.recorder is not None:
                self.recorder.complete(singly(kept.load(season.instruments)))
            yield Daemon(
                season=season,
                store=store,
                kept=kept,
                models=models,
                backlog=self.backlog,
                past=self.market.past,
                warm_bars=self.asked.warm_bars,
                clock=SystemClock(),
                pulse=self.pulse,
                board=self.board,
                say=self.say,
                followed=followers.update,
                jobs=season_jobs(
                    season.row,
                    store.season_id,
                    self.url,
                    settings=self.settings,
                    source=self.market.source,
                    clock=SystemClock(),
                    timer=SystemTimer(),
                    say=self.say,
                    log=self.asked.log,
                ),
                on_kept=self.recorder.keep if self.recorder is not None else lambda bars: None,
            )


def _play(attempts: Attempts, log: Logger | None) -> None:
    name, say = attempts.name, attempts.say
    settings = attempts.settings

    async def run() -> str | None:
        supervisor = Supervisor(
            attempts.daemon,
            partial(try_writing, attempts.url, name),
            backlog=attempts.backlog,
            pulse=attempts.pulse,
            board=attempts.board,
            say=say,
            rng=Random(SystemClock().now_ns()),  # noqa: S311, it draws pauses
        )
        return await supervisor.run()

    recording: AbstractContextManager[object] = nullcontext()
    if attempts.recorder is not None:
        recording = attempts.recorder
        say(f"recording to {attempts.recorder.folder}")
    with (
        recording,
        Sentinel(
            attempts.pulse,
            attempts.board,
            folder=settings.home.expanduser(),
            prices_s=settings.alarm_after_s,
            command=shlex.split(settings.alarm_command),
            warn=partial(_warn, log),
        ),
    ):
        digest = asyncio.run(run())
    if digest is None:
        say(f"season {name} has stopped; hydra run --season {name} goes on")
    else:
        say(f"season {name} is finished, digest {digest}")


def _warn(log: Logger | None, text: str) -> None:
    """To whoever looks, even where nothing else is to be shown, and to the log."""
    warn(text)
    if log is not None:
        log.warning(text)


def stop_season(name: str | None, *, wait_s: float) -> str:
    """Tell the season to stop and wait until it has; returns its name.

    Raises ConfigError where it does not run, or has not stopped in time.
    """
    home = load_settings().home
    running = [one for one in status.all_of(home) if one.runs and name in (None, one.season)]
    if not running:
        raise ConfigError(
            "no live season runs" if name is None else f"season {name} does not run; hydra status"
        )
    if len(running) > 1:
        names = ", ".join(one.season for one in running)
        raise ConfigError(f"several seasons run; name one by --season: {names}")
    (one,) = running
    os.kill(one.pid, signal.SIGTERM)
    pause = Event()
    for _ in range(int(wait_s * 10)):
        if not status.is_alive(one.pid):
            return one.season
        pause.wait(0.1)
    raise ConfigError(
        f"season {one.season} (process {one.pid}) has not stopped in {wait_s:g} s; it may be"
        " waiting for a model's answer: try again, or kill it, which loses nothing"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m apps.runtime.hydra_runtime …` is `hydra run …`."""
    from apps.cli.main import run

    return run(["run", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
