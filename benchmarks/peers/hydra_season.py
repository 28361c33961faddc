"""Hydra: one season of all engines, through Mother, with guardian, journal and database.

Each engine has its own periods and account; the orders go over the guardian's `ftmo-2step`
profile, and all that happens is written to a fresh SQLite file.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version as version_of
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.sampler import PhaseSampler
from benchmarks.workload import (
    CASH,
    COINS,
    MINUTE_NS,
    START_NS,
    STOP_FRAC,
    Candles,
    Outcome,
    Run,
    Workload,
    candles,
)
from hydra.engines.protocol import Engine
from hydra.engines.view import View
from hydra.features.specs import Feature, ema, previous
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.feeds.tables import table_of_trades
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Intent
from hydra.storage.memory import MemoryDatabase
from hydra.storage.store import open_season
from hydra.tournament.season import (
    EngineRow,
    EquityRow,
    GuardianDayRow,
    LatchRow,
    LessonRow,
    ModelCallRow,
    PromptRow,
    ScoreRow,
    SeasonRow,
    SeasonStore,
    StandingRow,
    TicketRow,
)

HOUR_NS = 60 * MINUTE_NS
# Whipsaws reverse within the profile's five minutes; the peers have no such rule.
PROFILE = msgspec.structs.replace(profile("ftmo-2step"), cooldown_s=None)
BTC = Instrument(
    symbol="BTC-USD",
    asset_class="crypto",
    quote="USD",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.0001"),
    min_lots=Decimal("0.0001"),
    max_lots=Decimal(1000),
    contract_size=Decimal(1),
    spread_bps=Decimal(0),
    commission_bps=Decimal(0),
    commission_per_lot=Decimal(0),
    swap_long_bps=Decimal(0),
    swap_short_bps=Decimal(0),
    swap_zone="UTC",
    swap_hours=(),
    triple_swap_weekday=None,
    leverage=Decimal(2),
    calendar="24/7",
)


@dataclass(slots=True)
class EmaCross:
    """Long when the fast mean comes above the slow one, short when below, with a stop."""

    fast: int
    slow: int
    above: bool | None = None

    @property
    def features(self) -> Sequence[Feature]:
        return (ema(self.fast), ema(self.slow))

    def decide(self, view: View) -> Sequence[Intent]:
        fast, slow = view.features
        above = fast > slow
        if above is self.above:
            return ()
        was, self.above = self.above, above
        return () if was is None else turn(view, above)


@dataclass(frozen=True, slots=True)
class SleepingEmaCross:
    """The same rule as an engine that says beforehand at which bars its means cross."""

    fast: int
    slow: int

    @property
    def features(self) -> Sequence[Feature]:
        fast, slow = ema(self.fast), ema(self.slow)
        return (fast, slow, previous(fast), previous(slow))

    def wakes(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        above = features[:, 0] > features[:, 1]
        crossed: NDArray[np.bool_] = above != (features[:, 2] > features[:, 3])
        return crossed

    def decide(self, view: View) -> Sequence[Intent]:
        fast, slow, fast_before, slow_before = view.features
        above = fast > slow
        return () if above is (fast_before > slow_before) else turn(view, above)


def turn(view: View, above: bool) -> Sequence[Intent]:
    """Close what is open and enter the other way."""
    intents: list[Intent] = [view.close_ticket(ticket) for ticket in view.tickets]
    close = view.close
    if above:
        intents.append(view.buy(stop=close * (1 - STOP_FRAC), lots=Decimal(COINS)))
    else:
        intents.append(view.sell(stop=close * (1 + STOP_FRAC), lots=Decimal(COINS)))
    return intents


class TimedStore:
    """A store that adds up the CPU time spent inside another one."""

    def __init__(self, store: SeasonStore) -> None:
        self._store = store
        self.spent_s = 0.0

    def journal(
        self,
        cycle: int,
        at_ns: int,
        engine: str,
        kind: str,
        amount_units: int | None,
        body: bytes,
    ) -> None:
        start = time.process_time()
        self._store.journal(cycle, at_ns, engine, kind, amount_units, body)
        self.spent_s += time.process_time() - start

    def ticket(self, row: TicketRow) -> None:
        start = time.process_time()
        self._store.ticket(row)
        self.spent_s += time.process_time() - start

    def equity(self, row: EquityRow) -> None:
        start = time.process_time()
        self._store.equity(row)
        self.spent_s += time.process_time() - start

    def score(self, row: ScoreRow) -> None:
        start = time.process_time()
        self._store.score(row)
        self.spent_s += time.process_time() - start

    def guardian_day(self, row: GuardianDayRow) -> None:
        start = time.process_time()
        self._store.guardian_day(row)
        self.spent_s += time.process_time() - start

    def latch(self, row: LatchRow) -> None:
        start = time.process_time()
        self._store.latch(row)
        self.spent_s += time.process_time() - start

    def prompt(self, row: PromptRow) -> None:
        start = time.process_time()
        self._store.prompt(row)
        self.spent_s += time.process_time() - start

    def model_call(self, row: ModelCallRow) -> None:
        start = time.process_time()
        self._store.model_call(row)
        self.spent_s += time.process_time() - start

    def lesson(self, row: LessonRow) -> None:
        start = time.process_time()
        self._store.lesson(row)
        self.spent_s += time.process_time() - start

    def engine(self, row: EngineRow) -> None:
        start = time.process_time()
        self._store.engine(row)
        self.spent_s += time.process_time() - start

    def commit(self, cycle: int, at_ns: int) -> None:
        start = time.process_time()
        self._store.commit(cycle, at_ns)
        self.spent_s += time.process_time() - start

    def close(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...]) -> str:
        start = time.process_time()
        digest = self._store.close(cycle, at_ns, standings)
        self.spent_s += time.process_time() - start
        return digest

    def kill_switch(self) -> bool:
        start = time.process_time()
        on = self._store.kill_switch()
        self.spent_s += time.process_time() - start
        return on

    @property
    def stored_cycle(self) -> int:
        return self._store.stored_cycle

    @property
    def heard_cycle(self) -> int:
        return self._store.heard_cycle

    def external_inputs(self) -> tuple[tuple[int, str, bytes], ...]:
        return self._store.external_inputs()


def version() -> str:
    return version_of("hydra-arena")


def table(bars: Candles) -> BarTable:
    return table_of_trades(
        BTC,
        MINUTE_NS,
        "generated",
        bars.open_ns,
        (bars.open, bars.high, bars.low, bars.close),
        bars.volume,
    )


def play(
    bars: BarTable,
    engines: Mapping[str, Engine],
    store: SeasonStore,
    plan: SeasonPlan,
) -> Mother:
    """The whole season, standings and their statistics included."""
    streams = streams_of([bars])
    mother = Mother(
        plan=plan,
        contestants=[
            Contestant(name=name, engine=engine, title="EMA cross")
            for name, engine in engines.items()
        ],
        streams=streams,
        store=store,
    )
    asyncio.run(mother.run(ReplayFeed(streams, [bars]).chunks()))
    return mother


def prepare(
    workload: Workload,
    *,
    store: str = "sqlite",
    watch: str = "",
    rule: Callable[[int, int], Engine] = EmaCross,
) -> Run:
    """`store`: sqlite or memory. `watch`: "store" times the store, "phases" all phases."""
    folder = tempfile.TemporaryDirectory(prefix="hydra-bench-")
    url = f"sqlite:///{Path(folder.name) / 'hydra.db'}"
    names = (f"season-{n}" for n in count(1))
    plan = SeasonPlan(
        mode="independent",
        profile=PROFILE,
        costs=costs_named("none"),
        seed=1,
        start_ns=START_NS,
        sample_ns=HOUR_NS,
        initial_units=CASH * UNITS_PER_USD,
    )

    def season(bars: BarTable) -> Outcome:
        engines = {f"ema_{fast}_{slow}": rule(fast, slow) for fast, slow in workload.periods}
        row = SeasonRow(
            name=next(names),
            mode=plan.mode,
            profile=PROFILE.name,
            seed=plan.seed,
            initial_units=plan.initial_units,
            settings={},
            inputs=(),
        )
        if store == "memory":
            opened: SeasonStore = MemoryDatabase().open_season(row, resume=False)
            return _outcome(play(bars, engines, opened, plan), {})
        with open_season(url, row, resume=False) as sql:
            if watch == "store":
                timed = TimedStore(sql)
                start = time.process_time()
                mother = play(bars, engines, timed, plan)
                spent = time.process_time() - start
                return _outcome(mother, {"store": timed.spent_s / spent})
            if watch == "phases":
                with PhaseSampler() as sampler:
                    mother = play(bars, engines, sql, plan)
                return _outcome(mother, sampler.shares())
            return _outcome(play(bars, engines, sql, plan), {})

    # Makes the database, loads the compiled step, and fills every cache there is.
    season(table(candles(5_000)))
    bars = table(candles(workload.bars))

    def run(folder: tempfile.TemporaryDirectory[str] = folder) -> Outcome:  # keeps the folder
        return season(bars)

    return run


def _outcome(mother: Mother, notes: dict[str, float]) -> Outcome:
    trades = sum(account.trades for account in mother.accounts)
    net = sum(int(account.closed()["net"].sum()) for account in mother.accounts)
    return Outcome(trades, net / UNITS_PER_USD, notes=notes)
