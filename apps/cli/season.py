"""Builds a season from what the command line says: bars, engines, plan, the row that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec

from apps.cli.gladiator_seats import (
    PRIVATE,
    Entry,
    check_names,
    default_names,
    entries_of,
    from_public,
    public,
    resolutions,
    seated,
)
from apps.cli.options import instant_ns
from hydra.engines.llm.calls import ModelClient
from hydra.engines.llm.recorded import RecordedModels
from hydra.engines.llm.roster import Gladiator, load_roster
from hydra.engines.registry import ENGINES, build
from hydra.errors import ConfigError
from hydra.feeds.barfile import LoadedBars, load_bars
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import PROFILES, load_profiles, profile
from hydra.market.bars import BarTable, Stream
from hydra.market.catalogue import Catalogue
from hydra.market.instruments import UNITS_PER_USD
from hydra.market.resample import resampled
from hydra.market.timeframes import timeframe_name
from hydra.mother.contestants import Contestant
from hydra.mother.plan import MODES, SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.tournament.elimination import EliminationRules
from hydra.tournament.season import EngineRow, SeasonRow

NS_PER_HOUR = 3_600 * 1_000_000_000
MS = 1_000_000
MOST_CASH_USD = 1_000_000_000  # so that sums of money stay far inside 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What decides a season, as it was asked for. None: not said.

    Paths are absolute, so that a season can be resumed from any folder.
    """

    bars: tuple[str, ...] | None = None
    engines: tuple[str, ...] | None = None
    profile: str | None = None
    profiles: str | None = None  # a TOML file
    start: str | None = None
    end: str | None = None
    seed: int | None = None
    tz: str | None = None
    skip_bad_rows: bool | None = None
    instruments: str | None = None
    costs: str | None = None
    mode: str | None = None
    cash: str | None = None  # USD
    latency_ms: int | None = None
    gladiators: str | None = None  # a TOML file
    models: str | None = None  # of MODELS
    recording: str | None = None  # the season whose replies are heard again
    eliminate_every_h: int | None = None  # of market time; 0: never
    count_tagged: bool | None = None  # decisions from before a model's cutoff hold ranks

    def over(self, other: Request) -> Request:
        """This request, with what it leaves unsaid taken from another."""
        unsaid = {
            one.name: getattr(other, one.name)
            for one in fields(self)
            if getattr(self, one.name) is None
        }
        return replace(self, **unsaid)


NOBODY = RecordedModels(())  # answers nothing
DEFAULTS = Request(
    profile="ftmo-2step",
    seed=1,
    skip_bad_rows=False,
    costs="real",
    mode="independent",
    cash="25000",
    latency_ms=0,
    models="live",
    eliminate_every_h=0,
    count_tagged=False,
)
MODELS = ("live", "recorded", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A season that is ready to be played."""

    row: SeasonRow
    plan: SeasonPlan
    contestants: tuple[Contestant, ...]
    absent: tuple[EngineRow, ...]  # on the bench before the season begins
    gladiators: tuple[Gladiator, ...]  # those that play
    models: str  # of MODELS
    streams: tuple[Stream, ...]
    feed: ReplayFeed
    loaded: LoadedBars
    engine_bars: int  # bars on which engines are asked, over all engines
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Who was named for a season: engines by their specs, and gladiators."""

    names: tuple[str, ...]  # as they were named
    specs: tuple[str, ...]  # of rule engines
    gladiators: tuple[Entry, ...]

    @property
    def playing(self) -> tuple[Gladiator, ...]:
        """The gladiators that are not on the bench."""
        return tuple(entry.settings for entry in self.gladiators if not entry.benched)

    def wanted(self, tables: Sequence[BarTable]) -> list[int | None]:
        """The lengths of bars in ns that they read, None: the finest there are."""
        sees = resolutions(self.gladiators, tables)
        return [build(spec, ()).resolution_ns for spec in self.specs] + [
            length for lengths in sees.values() for length in lengths
        ]

    def seated(
        self, tables: Sequence[BarTable], *, client: ModelClient, latency_ns: int
    ) -> tuple[tuple[Contestant, ...], tuple[EngineRow, ...]]:
        """The contestants, and the rows of those on the bench. `tables`: the finest of each
        symbol. Raises ConfigError where nobody can play."""
        symbols = sorted({table.symbol for table in tables})
        ruled = tuple(
            Contestant(
                name=one.name,
                engine=one.engine,
                title=one.title,
                params=one.params,
                is_reference=one.is_reference,
                latency_ns=latency_ns,
                resolution_ns=one.resolution_ns,
            )
            for one in (build(spec, symbols) for spec in self.specs)
        )
        sees = resolutions(self.gladiators, tables)
        asking, absent = seated(self.gladiators, client=client, sees=sees, latency_ns=latency_ns)
        if not ruled and not asking:
            raise ConfigError(
                "nobody can play: "
                + "; ".join(f"{row.engine} is on the bench ({row.reason})" for row in absent)
            )
        return ruled + asking, absent


def who_enters(
    request: Request, before: SeasonRow | None, default: Sequence[str] = tuple(ENGINES)
) -> Entered:
    """Who plays, as the request says, else `default` and the gladiators there are.

    Raises ConfigError on names that nobody has, or twice.
    """
    models = one_of(request.models, MODELS, "--models")
    roster = _roster(request, before)
    names = request.engines
    if names is None:
        names = (*default, *default_names(roster))
    _checked_engines(names)
    return Entered(
        names=names,
        specs=tuple(spec for spec in names if spec not in roster),
        gladiators=entries_of(
            [roster[name] for name in names if name in roster],
            models=models,
            benched=None if before is None else _benched(before),
        ),
    )


def build_season(
    name: str,
    asked: Request,
    *,
    kill_switch: bool,
    client: ModelClient = NOBODY,
    before: SeasonRow | None = None,
) -> Season:
    """Read the bars and put everything together. Raises ConfigError and DataFault.

    `client` answers the gladiators. `before` is a stored season that is resumed, or whose
    replies are heard again: its gladiators play, and who was on its bench stays there.
    """
    request = asked.over(DEFAULTS)
    start_ns = instant_ns(request.start, "--from")
    end_ns = instant_ns(request.end, "--to")
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"--from {request.start} is not before --to {request.end}")
    seed = checked_seed(request.seed)
    mode = one_of(request.mode, MODES, "--mode")
    costs = costs_named(str(request.costs))
    initial_units = cash_units(str(request.cash))
    latency_ms = checked_latency_ms(request.latency_ms)
    among = PROFILES if request.profiles is None else load_profiles(Path(request.profiles))
    rules = profile(str(request.profile), among)
    catalogue = Catalogue.load(None if request.instruments is None else Path(request.instruments))
    entered = who_enters(request, before)
    request = replace(request, engines=entered.names)
    loaded = load_bars(
        [Path(path) for path in _checked_files(request.bars)],
        catalogue=catalogue,
        tz=request.tz,
        skip_bad_rows=bool(request.skip_bad_rows),
        start_ns=start_ns,
        end_ns=end_ns,
    )
    tables = with_timeframes(loaded.tables, entered.wanted(loaded.tables))
    streams = streams_of(tables)
    feed = ReplayFeed(streams, tables)
    contestants, absent = entered.seated(loaded.tables, client=client, latency_ns=latency_ms * MS)
    finest_ns = min(stream.resolution_ns for stream in streams)
    plan = SeasonPlan(
        mode=mode,
        profile=rules,
        costs=costs,
        seed=seed,
        start_ns=min(int(table.open_ns[0]) for table in tables),
        sample_ns=max(NS_PER_HOUR, finest_ns),
        inputs=tuple(digest for _, digest in loaded.inputs),
        initial_units=initial_units,
        kill_switch=kill_switch,
        elimination=EliminationRules(every_h=request.eliminate_every_h or 0),
        counts_tagged=bool(request.count_tagged),
    )
    lengths = {(table.symbol, table.resolution_ns): len(table) for table in tables}
    return Season(
        row=_season_row(name, plan, request, loaded, streams, entered.gladiators),
        plan=plan,
        contestants=contestants,
        absent=absent,
        gladiators=entered.playing,
        models=str(request.models),
        streams=streams,
        feed=feed,
        loaded=loaded,
        engine_bars=sum(
            length
            for contestant in contestants
            for stream in streams
            for length in (lengths[stream.symbol, stream.resolution_ns],)
            if (
                stream.execution
                if contestant.resolution_ns is None
                else stream.resolution_ns == contestant.resolution_ns
            )
        ),
        warnings=(
            *loaded.warnings,
            *(f"{one.file}: {one.rows} rows left out: {one.reason}" for one in loaded.skipped),
        ),
    )


def with_timeframes(
    tables: Sequence[BarTable], wanted: Sequence[int | None]
) -> tuple[BarTable, ...]:
    """The tables, and for every bar length that an engine wants but the files lack, gathered ones.

    Raises ConfigError where a wanted length is no multiple of a symbol's own.
    """
    found = list(tables)
    for resolution_ns in sorted({length for length in wanted if length is not None}):
        for symbol in sorted({table.symbol for table in tables}):
            mine = [table for table in tables if table.symbol == symbol]
            if any(table.resolution_ns == resolution_ns for table in mine):
                continue
            finest = min(mine, key=lambda table: table.resolution_ns)
            gathered = resampled(finest, resolution_ns)
            if len(gathered):
                found.append(gathered)
    return tuple(found)


def _season_row(
    name: str,
    plan: SeasonPlan,
    request: Request,
    loaded: LoadedBars,
    streams: Sequence[Stream],
    entries: Sequence[Entry],
) -> SeasonRow:
    return SeasonRow(
        name=name,
        mode=plan.mode,
        profile=plan.profile.name,
        seed=plan.seed,
        initial_units=plan.initial_units,
        settings={
            "plan": plan.record(),
            "request": msgspec.to_builtins(request),
            "engines": list(request.engines or ()),
            "gladiators": {one.settings.name: public(one.settings) for one in entries},
            "benched": {one.settings.name: one.benched for one in entries if one.benched},
            "streams": [
                {"symbol": s.symbol, "resolution": timeframe_name(s.resolution_ns)} for s in streams
            ],
            "bars": sum(len(table) for table in loaded.tables),
            "instruments": {
                s.symbol: msgspec.to_builtins(s.instrument) for s in streams if s.execution
            },
        },
        inputs=loaded.inputs,
    )


def _roster(request: Request, before: SeasonRow | None) -> dict[str, Gladiator]:
    """The gladiators there are: of a stored season its own, at the addresses of today."""
    roster = load_roster(None if request.gladiators is None else Path(request.gladiators))
    check_names(roster)
    if before is None:
        return roster
    stored = before.settings.get("gladiators", {})
    told = stored if isinstance(stored, dict) else {}
    private = {name: _private(roster.get(name)) for name in told}
    return {name: from_public({**values, **private[name]}) for name, values in told.items()}


def _private(now: Gladiator | None) -> dict[str, object]:
    return {} if now is None else {name: getattr(now, name) for name in PRIVATE}


def _benched(before: SeasonRow) -> dict[str, str]:
    found = before.settings.get("benched", {})
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def request_of(row: SeasonRow) -> Request:
    """What a stored season was asked for; nothing where something else than this stored it."""
    try:
        return msgspec.convert(row.settings.get("request", {}), Request)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"season {row.name} was not played by hydra replay and cannot be resumed by it"
        ) from error


def split_engines(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """The engines of `--engines a,b:p=1,q=2`: a comma before `name=` continues the parameters."""
    if texts is None:
        return None
    specs: list[str] = []
    for text in texts:
        for piece in text.split(","):
            head, equals, _ = piece.partition("=")
            if equals and ":" not in head and specs:
                specs[-1] += f",{piece.strip()}"
            elif piece.strip():
                specs.append(piece.strip())
    return tuple(specs)


def _checked_engines(specs: Sequence[str]) -> Sequence[str]:
    if not specs:
        raise ConfigError(f"--engines names no engine; there are: {', '.join(ENGINES)}")
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise ConfigError(
            f"--engines names {', '.join(twice)} twice; give one of them other parameters"
        )
    return specs


def _checked_files(paths: Sequence[str] | None) -> Sequence[str]:
    if not paths:
        raise ConfigError(
            "no price file given; name one with --bars, for example"
            " --bars data/sample/crypto_4h.csv"
        )
    return paths


def checked_seed(seed: int | None) -> int:
    """Raises ConfigError unless the seed is one."""
    if seed is None or not 0 <= seed < 2**63:
        raise ConfigError(f"--seed {seed} must be a whole number from 0 to 2^63 - 1")
    return seed


def checked_latency_ms(latency_ms: int | None) -> int:
    """Raises ConfigError unless it is a latency."""
    if latency_ms is None or not 0 <= latency_ms <= 86_400_000:
        raise ConfigError(f"--latency-ms {latency_ms} must lie between 0 and 86400000 (a day)")
    return latency_ms


def cash_units(text: str) -> int:
    """An amount of USD as money units. Raises ConfigError."""
    try:
        units = Decimal(text) * UNITS_PER_USD
        if units == units.to_integral_value() and 0 < units <= MOST_CASH_USD * UNITS_PER_USD:
            return int(units)
    except ArithmeticError:
        pass
    raise ConfigError(f"--cash {text} must be an amount of USD above 0 and up to {MOST_CASH_USD:,}")


def one_of(value: str | None, known: Sequence[str], option: str) -> str:
    """The value. Raises ConfigError, naming those there are, unless it is known."""
    if value not in known:
        raise ConfigError(f"{option} {value!r} is none of: {', '.join(known)}")
    return cast(str, value)
