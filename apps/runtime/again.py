"""A live season played again: from the bars that it kept, hearing what it heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from apps.cli.models import Models
from apps.cli.options import instant_ns
from apps.runtime.kept import begin
from apps.runtime.live_season import LiveSeason, asked_for, build_live
from hydra.engines.llm.roster import Gladiator
from hydra.errors import ConfigError, JournalFault
from hydra.feeds.cycles import Cycles
from hydra.feeds.kept import KeptBars, chunks_of, parted
from hydra.feeds.recording import Recording
from hydra.market.bars import BarTable, Chunk, Stream
from hydra.market.instruments import Instrument
from hydra.market.timeframes import timeframe_ns
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.storage import queries
from hydra.storage.bars import SeasonBars
from hydra.storage.database import reading
from hydra.storage.journal import read_chain
from hydra.storage.store import SqlSeasonStore
from hydra.tournament.season import EngineRow, SeasonRow

COMMIT_MS = 250  # as of any replay
LATEST_NS = 2**63 - 1
ALL_CYCLES = 2**62  # more than any season has
AGAIN = "again"  # of a season's settings: which season it repeats


class KeptFeed:
    """The cycles of kept bars, oldest first."""

    def __init__(self, cycles: Cycles, bars: Sequence[KeptBars], most: int | None) -> None:
        """Of `bars` the first `most` cycles; coarse bars are gathered from what `cycles` has."""
        self.cycles = 0
        self._chunks: list[Chunk] = []
        for chunk in chunks_of(cycles, bars, ALL_CYCLES if most is None else most):
            if self.cycles == most:
                break
            self._chunks.append(chunk)
            self.cycles += len(chunk.close_ns)

    def chunks(self) -> Iterator[Chunk]:
        """All of them."""
        return iter(self._chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A live season that is ready to be played again under another name."""

    live: LiveSeason
    row: SeasonRow
    plan: SeasonPlan
    repeats: str  # the season that is played again
    compares: bool  # whether its journal is there, and the repetition is to equal it
    is_whole: bool  # to its very end
    feed: KeptFeed
    engine_bars: int
    warnings: tuple[str, ...]
    warm: Sequence[BarTable]  # what it saw before: a table a stream, or none
    external: tuple[tuple[int, str, bytes], ...]

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return self.live.contestants

    @property
    def absent(self) -> tuple[EngineRow, ...]:
        return self.live.absent

    @property
    def gladiators(self) -> tuple[Gladiator, ...]:
        return self.live.gladiators

    @property
    def models(self) -> str:
        return self.live.models

    @property
    def streams(self) -> tuple[Stream, ...]:
        return self.live.streams

    def begin(self, mother: Mother) -> None:
        """What the season saw before its first bar. To be called before it is played."""
        if self.warm:
            mother.warm(self.warm)

    def listen(self, store: SqlSeasonStore) -> None:
        """Let the season hear what the other one heard, at the same cycles. Before Mother is."""
        if self.compares:
            store.hear(self.external, self.feed.cycles)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The season in the database."""

    summary: queries.SeasonSummary
    season_id: int
    external: tuple[tuple[int, str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """The season that is to be played again."""

    row: SeasonRow
    stored: _Stored | None  # None: of a recording alone
    bars: Sequence[KeptBars]
    instruments: Mapping[str, Instrument]
    start_ns: int


def repeat(
    url: str,
    new_name: str,
    *,
    season: str | None,
    recorded: Path | None,
    start: str | None,
    end: str | None,
) -> tuple[Again, Models]:
    """Build it, from the database's bars, or from those of a recording's folder.

    `start`, `end` leave out bars as in any replay. Raises ConfigError, StorageError, DataFault
    and JournalFault.
    """
    before = _before(url, season, recorded)
    stored, name, start_ns = before.stored, before.row.name, before.start_ns
    from_ns, to_ns = instant_ns(start, "--from"), instant_ns(end, "--to")
    if from_ns is not None and from_ns <= start_ns:
        from_ns = None  # all of it
    compares = stored is not None and from_ns is None
    request = asked_for(before.row)
    is_off = stored is None or request.models == "off"
    models = Models(
        url,
        recording=None if stored is None else name,
        lost_until_ns=stored.summary.at_ns if stored is not None and compares else None,
    )
    live = build_live(
        new_name,
        replace(
            request,
            models="off" if is_off else "recorded",
            recording=None if is_off else name,
        ),
        list(before.instruments.values()),
        resolution_ns=_resolution_ns(before.row),
        start_ns=start_ns if from_ns is None else from_ns,
        kill_switch=False,
        memory_limit_mb=0,
        client=models,
        feed={},
        grace_ns=_of_plan(before.row, "grace_ns") or 0,
        before=before.row,
    )
    models.seat(live.gladiators)
    ends_ns = LATEST_NS if to_ns is None else to_ns
    warm, played = parted(before.bars, start_ns)
    played, _ = parted(played, ends_ns)
    if from_ns is not None:
        seen, played = parted(played, from_ns)
        warm += _seen(live, warm, seen, start_ns)
    cycles = Cycles(live.streams, live.empty)
    shown = begin(cycles, warm, start_ns if from_ns is None else from_ns)
    most = max(0, stored.summary.cycle) if stored is not None and compares else None
    feed = KeptFeed(cycles, played, most)
    if not feed.cycles:
        raise ConfigError(f"season {name} has no bars to play between --from and --to")
    told = {AGAIN: {"season": name, "from": start, "to": end}}
    settings = {k: v for k, v in live.row.settings.items() if k != "feed"} | told
    again = Again(
        live=live,
        row=msgspec.structs.replace(live.row, settings=settings),
        plan=replace(live.plan, is_live=False, commit_ms=COMMIT_MS),
        repeats=name,
        compares=compares,
        is_whole=(
            stored is not None
            and stored.summary.state == "finished"
            and feed.cycles == stored.summary.cycle
        ),
        feed=feed,
        engine_bars=sum(len(one.table) for one in played) * len(live.contestants),
        warnings=_warnings(name, is_part=from_ns is not None, is_stored=stored is not None),
        warm=shown,
        external=stored.external if stored is not None else (),
    )
    return again, models


def _warnings(name: str, *, is_part: bool, is_stored: bool) -> tuple[str, ...]:
    if is_part:
        return (
            f"it begins in the middle of season {name}, with accounts as at a beginning: its"
            " journal is one of its own, and what the kill switch did then is not heard",
        )
    if not is_stored:
        return (
            f"the database has no season {name}: neither what the kill switch did nor what models"
            " answered can be heard, and there is no journal to compare with",
        )
    return ()


def _before(url: str, season: str | None, recorded: Path | None) -> _Before:
    recording = None if recorded is None else Recording(recorded)
    row = None if recording is None else recording.season
    name = season or ("" if row is None else row.name)
    stored = _stored(url, name, row)
    row = row if stored is None else stored.summary.season
    if row is None:
        raise ConfigError(f"there is no season {name} in the database; hydra seasons lists them")
    asked_for(row)  # a live one?
    instruments = _instruments(row)
    if recording is not None:
        bars = recording.bars(instruments)
    else:
        assert stored is not None
        bars = SeasonBars(url, stored.season_id).load(instruments)
    return _Before(
        row=row, stored=stored, bars=bars, instruments=instruments, start_ns=_start_ns(row)
    )


def _stored(url: str, name: str, recorded: SeasonRow | None) -> _Stored | None:
    """The season of that name, its journal verified; None where there is none."""
    with reading(url) as connection:
        if name not in [one.season.name for one in queries.seasons(connection)]:
            return None
        summary = queries.season(connection, name)
        season_id = queries.find_season(connection, name).id
        if recorded is not None and recorded != _as_json(summary.season):
            raise ConfigError(
                f"season {name} of the database is not the one that was recorded: give another --db"
            )
        chain = read_chain(
            connection, season_id, count=summary.journal_count, digest=summary.digest
        )
    if chain.fault:
        raise JournalFault(f"season {name} cannot be played again: {chain.fault}")
    return _Stored(summary=summary, season_id=season_id, external=chain.external)


def _as_json(row: SeasonRow) -> SeasonRow:
    return msgspec.json.decode(msgspec.json.encode(row), type=SeasonRow)


def _seen(
    live: LiveSeason, warm: Sequence[KeptBars], later: Sequence[KeptBars], start_ns: int
) -> list[KeptBars]:
    """Bars from before a part but after `warm`, those gathered from finer ones included."""
    cycles = Cycles(live.streams, live.empty)
    begin(cycles, warm, start_ns)
    return [
        KeptBars(table, [""] * len(table))
        for chunk in chunks_of(cycles, later, ALL_CYCLES)
        for table in chunk.tables
        if len(table)
    ]


def _instruments(row: SeasonRow) -> dict[str, Instrument]:
    try:
        return msgspec.convert(row.settings.get("instruments"), dict[str, Instrument])
    except msgspec.ValidationError as error:
        raise ConfigError(f"season {row.name} does not say what it traded: {error}") from error


def _start_ns(row: SeasonRow) -> int:
    start_ns = _of_plan(row, "start_ns")
    if start_ns is None:
        raise ConfigError(f"season {row.name} does not say when it began")
    return start_ns


def _of_plan(row: SeasonRow, name: str) -> int | None:
    """A whole number of a stored season's plan."""
    plan = row.settings.get("plan")
    value = plan.get(name) if isinstance(plan, dict) else None
    return value if isinstance(value, int) else None


def _resolution_ns(row: SeasonRow) -> int:
    """Of the finest bars."""
    streams = row.settings.get("streams")
    names = [one["resolution"] for one in streams] if isinstance(streams, list) else []
    if not names:
        raise ConfigError(f"season {row.name} does not say which bars it played")
    return min(timeframe_ns(str(name)) for name in names)
