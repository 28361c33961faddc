"""Plays a season for `hydra replay`, shows it, and says what to look at next."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from apps.cli.failures import INTERRUPTED, STORAGE, UNSOUND, complain, warn
from apps.cli.followers import Followers, Logger, following, logged
from apps.cli.live import Lines, Screen, Silence, View
from apps.cli.models import Models, recording_of
from apps.cli.options import database_url, season_name
from apps.cli.season import Request, Season, build_season, request_of
from apps.cli.standings import show_standings, standing_rows
from apps.cli.tables import make_console
from apps.runtime.again import AGAIN, Again, repeat
from hydra.clock import monotonic_ns
from hydra.engines.llm.roster import Gladiator
from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.market.bars import Chunk, Stream
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.settings import Settings, load_settings
from hydra.storage import queries
from hydra.storage.compare import compare
from hydra.storage.database import place, reading
from hydra.storage.schema import ensure
from hydra.storage.store import next_season_name, open_season
from hydra.tournament.ranking import Standing
from hydra.tournament.season import EngineRow, SeasonRow

WATCHED_COMMIT_MS = 20  # of a short season, so that it is seen to run
SHORT_CYCLES = 20_000
_PATHS = ("bars", "instruments", "profiles", "gladiators")


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """What `hydra replay` was asked to do."""

    request: Request
    season: str | None
    db: str | None
    resume: bool
    quiet: bool
    as_json: bool
    audit: bool = False
    log: Path | None = None
    again: str | None = None  # a live season that is played again
    recorded: Path | None = None  # the folder of its recording


class Playable(Protocol):
    """A season that is ready to be played: of files, or a live one again."""

    @property
    def row(self) -> SeasonRow: ...
    @property
    def plan(self) -> SeasonPlan: ...
    @property
    def contestants(self) -> tuple[Contestant, ...]: ...
    @property
    def absent(self) -> tuple[EngineRow, ...]: ...
    @property
    def gladiators(self) -> tuple[Gladiator, ...]: ...
    @property
    def models(self) -> str: ...
    @property
    def streams(self) -> tuple[Stream, ...]: ...
    @property
    def feed(self) -> Feed: ...
    @property
    def engine_bars(self) -> int: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...


class Feed(Protocol):
    """Whole cycles of bars, and how many there are."""

    @property
    def cycles(self) -> int: ...
    def chunks(self) -> Iterator[Chunk]: ...


def play(asked: Playing) -> None:
    """Play, show, report. Raises HydraError; typer.Exit when it was interrupted."""
    settings = load_settings()
    url = database_url(asked.db)
    if asked.season is not None:
        season_name(asked.season, "--season")
    if asked.again is not None or asked.recorded is not None:
        _refuse_more(asked)
    stored = _stored_season(url, asked) if asked.resume else None
    if stored is not None and stored.state == "finished":
        print(f"season {stored.season.name} is finished; nothing is left to play", file=sys.stderr)
        # Its process may have been killed before it looked a last time.
        with following(url, stored.season.name, audit=_audit_file(asked, settings)):
            pass
        _show_end(asked, settings, url, stored.season.name, elapsed_s=None)
        return
    with logged(settings, asked.log, "hydra.replay") as log:
        _play(with_gladiators(asked, settings), settings, url, stored, log)


def _play(
    asked: Playing,
    settings: Settings,
    url: str,
    stored: queries.SeasonSummary | None,
    log: Logger | None,
) -> None:
    season, models = _ready(asked, settings, url, stored.season if stored else None)
    warnings = list(season.warnings)
    if settings.kill_switch:
        warnings.append("KILL_SWITCH is set in the environment: no engine may trade")
    for warning in warnings:
        warn(warning)
        if log is not None:
            log.warning(warning, season=season.row.name)
    _say_who_pays(asked, season)
    started_ns = monotonic_ns()
    try:
        along = following(
            url,
            season.row.name,
            audit=_audit_file(asked, settings),
            logs=log is not None,
            after_seq=stored.journal_count if stored else 0,
        )
        with _prompt_interrupts():
            _run(asked, url, season, models, along)
    except KeyboardInterrupt:
        if log is not None:
            log.warning("season interrupted", season=season.row.name)
        complain(
            f"interrupted; season {season.row.name} keeps what is committed",
            hint=_way_on(asked, season.row.name),
        )
        raise typer.Exit(INTERRUPTED) from None
    _show_end(asked, settings, url, season.row.name, elapsed_s=(monotonic_ns() - started_ns) / 1e9)
    if models.missed:
        warn(
            f"{models.missed} questions had no recorded reply, and their gladiators abstained:"
            " the season differs from the one that was recorded"
        )
    if isinstance(season, Again):
        _compare(asked, url, season)


def _refuse_more(asked: Playing) -> None:
    """Raises ConfigError where what is played again is to be played in another way."""
    said = {f.name for f in fields(Request) if getattr(asked.request, f.name) is not None}
    if asked.resume or said - {"start", "end"}:
        raise ConfigError(
            "--again and --recorded play a season as it was: beside them only --from, --to and"
            " --season say how"
        )


def _ready(
    asked: Playing, settings: Settings, url: str, stored: SeasonRow | None
) -> tuple[Playable, Models]:
    if asked.again is None and asked.recorded is None:
        return _season(asked, settings, url, stored)
    ensure(url)
    folder = None if asked.recorded is None else asked.recorded.expanduser().absolute()
    stem = asked.again or (folder.name if folder is not None else "season")
    return repeat(
        url,
        asked.season or next_season_name(url, f"{stem}-again"),
        season=asked.again,
        recorded=folder,
        start=asked.request.start,
        end=asked.request.end,
    )


def _compare(asked: Playing, url: str, season: Again) -> None:
    """Say whether the journal is that of the season that was played again."""
    if not season.compares:
        return
    with reading(url) as connection:
        found = compare(
            connection,
            season.repeats,
            season.row.name,
            until_cycle=None if season.is_whole else season.feed.cycles,
        )
    said = f"{found.equal:,} of {found.records:,} records equal those of season {season.repeats}"
    if found.difference:
        complain(f"{said}: {found.difference}")
        raise typer.Exit(UNSOUND)
    if not asked.quiet:
        whole = "its whole journal" if season.is_whole else f"up to cycle {season.feed.cycles:,}"
        print(f"{said}: {whole}", file=sys.stderr)


def with_gladiators(asked: Playing, settings: Settings) -> Playing:
    """The request with the settings' file of gladiators, where it names none itself."""
    if asked.request.gladiators is not None or settings.gladiators is None:
        return asked
    path = str(settings.gladiators.expanduser().absolute())
    return replace(asked, request=replace(asked.request, gladiators=path))


def _say_who_pays(asked: Playing, season: Playable) -> None:
    """Before the first question: real models cost real money."""
    if asked.quiet or asked.as_json or season.models != "live":
        return
    for one in season.gladiators:
        if one.usd_per_mtok_in == 0 and one.usd_per_mtok_out == 0:
            continue
        print(
            f"{', '.join(one.names())} asks {one.model} of {one.provider}:"
            f" at most {one.daily_budget_usd:.2f} USD today (--models off plays without)",
            file=sys.stderr,
        )


def _stored_season(url: str, asked: Playing) -> queries.SeasonSummary:
    ensure(url)
    with reading(url) as connection:
        return queries.season(connection, asked.season)


def _season(
    asked: Playing, settings: Settings, url: str, stored: SeasonRow | None
) -> tuple[Season, Models]:
    if stored is not None:
        return _resumed(asked, settings, url, stored)
    request, before = asked.request, None
    if request.models == "recorded":
        before = recording_of(url, request.recording).season
        request = replace(request.over(request_of(before)), recording=before.name)
    elif not request.bars:
        # Said before the database is looked at, which may not even be there.
        build_season("", request, kill_switch=False)
    models = Models(url, recording=before.name if before else None)
    season = build_season(
        asked.season or next_season_name(url),
        request,
        kill_switch=settings.kill_switch,
        client=models,
        before=before,
    )
    models.seat(season.gladiators)
    return season, models


def _resumed(
    asked: Playing, settings: Settings, url: str, stored: SeasonRow
) -> tuple[Season, Models]:
    if AGAIN in stored.settings:
        raise ConfigError(f"season {stored.name} repeats another: play it again under a new name")
    before = request_of(stored)
    request = asked.request.over(before)
    # What was answered before it was interrupted is heard again, and not asked (or paid) twice.
    models = Models(url, recording=request.recording, resumed=stored.name)
    season = build_season(
        stored.name, request, kill_switch=settings.kill_switch, client=models, before=stored
    )
    models.seat(season.gladiators)
    # Files may have moved: their content, which `inputs` tells, is what must not change.
    same = {name: getattr(before, name) for name in _PATHS}
    said = msgspec.convert(season.row.settings["request"], Request)
    told = msgspec.to_builtins(replace(said, **same))
    row = msgspec.structs.replace(season.row, settings=season.row.settings | {"request": told})
    return replace(season, row=row), models


def _audit_file(asked: Playing, settings: Settings) -> Path | None:
    return settings.audit_file if asked.audit else None


def _run(
    asked: Playing,
    url: str,
    season: Playable,
    models: Models,
    along: AbstractContextManager[Followers],
) -> None:
    console = make_console()
    shown = not asked.quiet and not asked.as_json
    is_short = season.feed.cycles <= SHORT_CYCLES
    plan = replace(season.plan, commit_ms=WATCHED_COMMIT_MS) if shown and is_short else season.plan
    view: View = Silence()
    with open_season(url, season.row, resume=asked.resume) as store, along as followers:
        if isinstance(season, Again):
            season.listen(store)

        def on_commit(cycle: int, now_ns: int) -> None:
            view.update(cycle, now_ns)
            followers.update()

        mother = Mother(
            plan=plan,
            contestants=season.contestants,
            streams=season.streams,
            store=store,
            absent=season.absent,
            on_commit=on_commit,
        )
        if isinstance(season, Again):
            season.begin(mother)
        if shown:
            view = _view(console, season, mother.places)
        try:
            with view:
                asyncio.run(_played(mother, season, models))
        except JournalFault:
            raise  # it would end there again
        except StorageError as error:
            complain(str(error), hint=_way_on(asked, season.row.name))
            raise typer.Exit(STORAGE) from error


def _way_on(asked: Playing, name: str) -> str:
    again = shlex.join(["replay", "--resume", "--season", name, *_db_words(asked)])
    return f"go on with: {called_as()} {again}"


async def _played(mother: Mother, season: Playable, models: Models) -> None:
    try:
        await models.open()
        await mother.run(season.feed.chunks())
    finally:
        await models.aclose()


def _view(console: Console, season: Playable, places: Callable[[], Sequence[Standing]]) -> View:
    if not console.is_terminal:
        return Lines(season.feed.cycles, places)
    return Screen(
        console,
        title=season.row.name,
        cycles=season.feed.cycles,
        engine_bars=season.engine_bars,
        initial_units=season.plan.initial_units,
        standings=places,
    )


@contextmanager
def _prompt_interrupts() -> Iterator[None]:
    """Ctrl-C ends the season now; asyncio's own handler would wait for its next pause."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# After the season


def _show_end(
    asked: Playing, settings: Settings, url: str, name: str, *, elapsed_s: float | None
) -> None:
    from apps.cli.report import default_path, write_report

    with reading(url) as connection:
        rows = standing_rows(connection, name)
        summary = queries.season(connection, name)
        path = write_report(connection, name, default_path(settings, name))
    title = f"{name}: {summary.season.profile}, {summary.cycle:,} cycles"
    if elapsed_s is not None:
        title += f" in {elapsed_s:.1f} s"
    if asked.as_json or not asked.quiet:
        show_standings(rows, as_json=asked.as_json, title=title)
    if not asked.as_json and not asked.quiet:
        _print_ways_on(make_console(), asked, url, name, path, summary.digest, rows)


def _print_ways_on(
    console: Console,
    asked: Playing,
    url: str,
    name: str,
    report: Path,
    digest: str,
    rows: Sequence[dict[str, object]],
) -> None:
    leader = next((str(row["engine"]) for row in rows if row["rank"] == 1), None)
    for label, value in (("database", place(url)), ("report", str(report)), ("digest", digest)):
        console.print(Text.assemble((f"{label:9}", "dim"), value), soft_wrap=True)
    trades = ["trades", "--season", name, "--limit", "20"]
    if leader is not None:
        trades[1:1] = ["--engine", leader]
    console.print(Text("next", style="dim"))
    for words in (trades, ["guardian", "--season", name], ["db", "verify", "--season", name]):
        line = shlex.join([*words, *_db_words(asked)])
        console.print(Text(f"  {called_as()} {line}", style="cyan"), soft_wrap=True)


def _db_words(asked: Playing) -> list[str]:
    return [] if asked.db is None else ["--db", asked.db]


def called_as() -> str:
    """How this program is called from the current folder."""
    script = Path(sys.argv[0])
    found = shutil.which("hydra")
    if script.name != "hydra" or (found and Path(found).resolve() == script.resolve()):
        return "hydra"
    full = script.absolute()
    here = Path.cwd()
    return shlex.quote(str(full.relative_to(here) if full.is_relative_to(here) else full))
