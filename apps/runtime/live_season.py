"""Builds a season on a market that goes on: everything but the bars, which are still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from apps.cli.gladiator_seats import public
from apps.cli.season import (
    DEFAULTS,
    MS,
    NS_PER_HOUR,
    Request,
    cash_units,
    checked_latency_ms,
    checked_seed,
    one_of,
    request_of,
    who_enters,
)
from hydra.engines.llm.calls import ModelClient
from hydra.engines.llm.roster import Gladiator
from hydra.engines.registry import ENGINES
from hydra.errors import ConfigError
from hydra.feeds.replay import streams_of
from hydra.feeds.tables import rows_between, table_of_trades
from hydra.guardian.profiles import PROFILES, load_profiles, profile
from hydra.market.bars import BarTable, Stream
from hydra.market.catalogue import Catalogue
from hydra.market.instruments import Instrument
from hydra.market.resample import resampled
from hydra.market.timeframes import timeframe_name, timeframe_ns
from hydra.mother.contestants import Contestant
from hydra.mother.plan import MODES, SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.tournament.elimination import EliminationRules
from hydra.tournament.season import EngineRow, SeasonRow

DEFAULT_TIMEFRAME = "15m"  # of rule engines, where nobody says: minutes are mostly costs
ELIMINATE_EVERY_H = 24
DECIMALS = 2  # of prices of a symbol that nobody declared


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSeason:
    """A season that is ready to be played live."""

    row: SeasonRow
    plan: SeasonPlan
    contestants: tuple[Contestant, ...]
    absent: tuple[EngineRow, ...]
    gladiators: tuple[Gladiator, ...]  # those that play
    models: str
    streams: tuple[Stream, ...]
    empty: Mapping[str, BarTable]  # by symbol: its finest bars, none of them
    instruments: Mapping[str, Instrument]


def build_live(
    name: str,
    asked: Request,
    instruments: Sequence[Instrument],
    *,
    resolution_ns: int,
    start_ns: int,
    kill_switch: bool,
    memory_limit_mb: int,
    client: ModelClient,
    feed: Mapping[str, object],
    grace_ns: int = 0,
    before: SeasonRow | None = None,
) -> LiveSeason:
    """Put everything together. Raises ConfigError.

    `feed` tells the season's row where its bars come from, `grace_ns` how long after its close a
    bar of it comes. `before` is the stored season that
    is resumed.
    """
    request = asked.over(replace(DEFAULTS, eliminate_every_h=ELIMINATE_EVERY_H))
    latency_ns = checked_latency_ms(request.latency_ms) * MS
    among = PROFILES if request.profiles is None else load_profiles(Path(request.profiles))
    tables = [no_bars(one, resolution_ns) for one in instruments]
    entered = who_enters(request, before, default=default_specs(resolution_ns))
    request = replace(request, engines=entered.names)
    lengths = {length for length in entered.wanted(tables) if length is not None}
    coarse = [
        resampled(table, length) for length in sorted(lengths - {resolution_ns}) for table in tables
    ]
    streams = streams_of([*tables, *coarse])
    contestants, absent = entered.seated(tables, client=client, latency_ns=latency_ns)
    plan = SeasonPlan(
        mode=one_of(request.mode, MODES, "--mode"),
        profile=profile(str(request.profile), among),
        costs=costs_named(str(request.costs)),
        seed=checked_seed(request.seed),
        start_ns=start_ns,
        sample_ns=max(NS_PER_HOUR, resolution_ns),
        initial_units=cash_units(str(request.cash)),
        kill_switch=kill_switch,
        elimination=EliminationRules(every_h=request.eliminate_every_h or 0),
        memory_limit_mb=memory_limit_mb,
        counts_tagged=bool(request.count_tagged),
        is_live=True,
        grace_ns=grace_ns,
        commit_ms=0,
    )
    row = SeasonRow(
        name=name,
        mode=plan.mode,
        profile=plan.profile.name,
        seed=plan.seed,
        initial_units=plan.initial_units,
        settings={
            "plan": plan.record(),
            "request": msgspec.to_builtins(request),
            "feed": dict(feed),
            "engines": list(entered.names),
            "gladiators": {e.settings.name: public(e.settings) for e in entered.gladiators},
            "benched": {e.settings.name: e.benched for e in entered.gladiators if e.benched},
            "streams": [
                {"symbol": s.symbol, "resolution": timeframe_name(s.resolution_ns)} for s in streams
            ],
            "instruments": {one.symbol: msgspec.to_builtins(one) for one in instruments},
        },
        inputs=(),
    )
    return LiveSeason(
        row=row,
        plan=plan,
        contestants=contestants,
        absent=absent,
        gladiators=entered.playing,
        models=str(request.models),
        streams=streams,
        empty={table.symbol: table for table in tables},
        instruments={one.symbol: one for one in instruments},
    )


def default_specs(resolution_ns: int) -> tuple[str, ...]:
    """The rule engines on bars that are worth their costs, where the feed's are finer."""
    length_ns = timeframe_ns(DEFAULT_TIMEFRAME)
    suits = length_ns > resolution_ns and length_ns % resolution_ns == 0
    return tuple(
        f"{name}@{DEFAULT_TIMEFRAME}" if suits and not kind.is_reference else name
        for name, kind in ENGINES.items()
    )


def instruments_of(symbols: Sequence[str], path: str | None) -> list[Instrument]:
    """What the symbols are. Raises ConfigError where one is named twice, or cannot be settled."""
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ConfigError(f"--assets names {', '.join(twice)} twice")
    catalogue = Catalogue.load(None if path is None else Path(path))
    return [catalogue.instrument(symbol, DECIMALS) for symbol in sorted(symbols)]


def no_bars(instrument: Instrument, resolution_ns: int) -> BarTable:
    """A table of the instrument without rows."""
    one = np.ones(1)
    table = table_of_trades(instrument, resolution_ns, "", np.zeros(1, np.int64), [one * 1e4] * 4)
    return rows_between(table, 0, 0)


def is_live(row: SeasonRow) -> bool:
    """Whether a stored season was played on a live feed."""
    return "feed" in row.settings


def asked_for(row: SeasonRow) -> Request:
    """What a stored live season was asked for. Raises ConfigError where it is none."""
    if not is_live(row):
        raise ConfigError(
            f"season {row.name} was played by hydra replay; go on with it by hydra replay --resume"
        )
    return request_of(row)
