"""From a tick to fills, decisions and orders: a market of one quote a cycle, at a pace.

Each tick is a bar of one quote and a chunk of its own, as the daemon plays its minutes. Its
latency is counted from the instant at which it was due, so that a slow one is charged for those
that wait behind it, until its fills are drained, every engine was asked, and what they wish is
judged, laid down and, where the plan says so, committed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.daemon_process import usage
from hydra.clock import NS_PER_S
from hydra.engines.view import View
from hydra.features.specs import Feature, ema
from hydra.feeds.barfile import load_bars
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.feeds.tables import table_of_quotes
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable, Chunk
from hydra.market.catalogue import Catalogue
from hydra.market.instruments import UNITS_PER_USD
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Intent
from hydra.storage.memory import MemoryDatabase
from hydra.storage.store import open_season
from hydra.tournament.season import SeasonRow, SeasonStore

ROOT = Path(__file__).resolve().parents[1]
REAL = "ticks/lean_oanda_ticks_20140505_09_eurusd.parquet"
SAMPLE = ROOT / "data" / "sample" / "eurusd_1h.csv"
START_NS = 1_704_067_200 * NS_PER_S
WARM_TICKS = 1_000  # not counted: features that are not warm, caches that are empty
ENGINES = 20
# A minute of ticks at such a rate is a day of trading: its limits by the clock would refuse all.
PROFILE = msgspec.structs.replace(
    profile("ftmo-2step"), cooldown_s=None, max_orders_per_minute=None, max_orders_per_day=None
)
STOP_FRAC = 0.002  # of the close
LOTS = Decimal("0.1")


@dataclass(slots=True)
class Trader:
    """Is asked at every tick; turns round when its means cross, or every `every` ticks."""

    fast: int
    slow: int
    every: int | None = None
    _ticks: int = 0
    _was_above: bool | None = None

    @property
    def features(self) -> Sequence[Feature]:
        return (ema(self.fast), ema(self.slow))

    def decide(self, view: View) -> Sequence[Intent]:
        fast, slow = view.features
        above, self._ticks = fast > slow, self._ticks + 1
        if self.every is None:
            was, self._was_above = self._was_above, above
            if above is was or was is None:
                return ()
        elif self._ticks % self.every:
            return ()
        elif view.tickets:
            return [view.close_ticket(ticket) for ticket in view.tickets]
        enter = view.buy if above else view.sell
        stop = view.close * (1 - STOP_FRAC if above else 1 + STOP_FRAC)
        return [*(view.close_ticket(t) for t in view.tickets), enter(stop=stop, lots=LOTS)]


@dataclass(frozen=True, slots=True)
class Ticks:
    """What came of one run: microseconds of each tick."""

    latency_us: NDArray[np.float64]  # from the instant at which it was due
    cpu_us: NDArray[np.float64]  # of this thread, from the hand-over to Mother on
    trades: int  # closed, of all engines
    bytes_a_tick: float  # by which the process grew, from a tenth of the ticks on

    def row(self) -> dict[str, float]:
        """Milliseconds, and counts."""
        late, cpu = self.latency_us / 1e3, self.cpu_us / 1e3
        return {
            "p50_ms": float(np.percentile(late, 50)),
            "p99_ms": float(np.percentile(late, 99)),
            "max_ms": float(late.max()),
            "cpu_p50_ms": float(np.percentile(cpu, 50)),
            "cpu_p99_ms": float(np.percentile(cpu, 99)),
            "ticks": len(late),
            "trades": self.trades,
            "bytes_a_tick": self.bytes_a_tick,
        }


def market(ticks: int, rate: int, data: Path) -> tuple[BarTable, str]:
    """Quotes of EURUSD, `rate` a second, a bar each; and where they are from.

    Real ticks at `data`, played faster than they were; else the closes of the embedded sample.
    """
    (sample,) = load_bars([SAMPLE], catalogue=Catalogue.load(None)).tables
    path = data / REAL
    if path.exists():
        import polars as pl

        read = pl.read_parquet(path).head(ticks)
        bid, ask = (np.resize(read[name].to_numpy(), ticks) for name in ("bid", "ask"))
        source = "real ticks of EURUSD"
    else:
        tick = float(sample.instrument.tick_size)
        bid, ask = (np.resize(c, ticks) * tick for c in (sample.bid_close, sample.ask_close))
        source = "closes of the embedded sample of EURUSD"
    step_ns = NS_PER_S // rate
    open_ns = START_NS + step_ns * np.arange(ticks, dtype=np.int64)
    return table_of_quotes(
        sample.instrument, step_ns, source, open_ns, [bid] * 4, [ask] * 4
    ), source


def measure(
    table: BarTable,
    *,
    rate: int,
    commit_ms: int | None,
    every: int | None = None,
    engines: int = ENGINES,
    paced: bool = True,
) -> Ticks:
    """Play the table live. `commit_ms` None: rows stay in memory. `every`: see Trader."""
    plan = SeasonPlan(
        mode="independent",
        profile=PROFILE,
        costs=costs_named("real"),
        seed=1,
        start_ns=START_NS,
        sample_ns=3_600 * NS_PER_S,
        initial_units=1_000_000 * UNITS_PER_USD,
        is_live=True,
        commit_ms=commit_ms or 0,
        luck_traders=0,
        bootstrap_replicates=2,
    )
    row = SeasonRow(
        name="ticks", mode=plan.mode, profile=PROFILE.name, seed=1,
        initial_units=plan.initial_units, settings={}, inputs=(),
    )  # fmt: skip
    if commit_ms is None:
        return _play(
            table,
            MemoryDatabase().open_season(row, resume=False),
            plan,
            rate,
            every,
            engines,
            paced,
        )
    with (
        tempfile.TemporaryDirectory(prefix="hydra-bench-") as folder,
        open_season(f"sqlite:///{folder}/hydra.db", row, resume=False, durable=True) as store,
    ):
        return _play(table, store, plan, rate, every, engines, paced)


def _play(
    table: BarTable, store: SeasonStore, plan: SeasonPlan, rate: int, every: int | None,
    engines: int, paced: bool,
) -> Ticks:  # fmt: skip
    streams = streams_of([table])
    feed = ReplayFeed(streams, [table], chunk_cycles=1)
    mother = Mother(
        plan=plan,
        contestants=[
            Contestant(name=f"t{i}", engine=Trader(20 + i, 80 + 4 * i, every), title="Trader")
            for i in range(engines)
        ],
        streams=streams,
        store=store,
    )
    step_ns, tenth = NS_PER_S // rate, max(1, len(table) // 10)
    due_ns, done_ns, cpu_ns = (np.zeros(len(table), np.int64) for _ in range(3))
    rss_mb: list[float] = []  # after each tenth of the ticks

    async def ticks() -> AsyncIterator[Chunk]:
        began = time.perf_counter_ns()
        for i, chunk in enumerate(feed.chunks()):
            due = began + i * step_ns
            while paced and time.perf_counter_ns() < due:  # a sleep is not so fine
                pass
            due_ns[i] = due if paced else time.perf_counter_ns()
            before_ns = time.thread_time_ns()
            yield chunk
            cpu_ns[i] = time.thread_time_ns() - before_ns
            done_ns[i] = time.perf_counter_ns()
            if not (i + 1) % tenth:
                rss_mb.append(usage(os.getpid())[1])

    asyncio.run(mother.run(ticks()))
    counted = slice(min(WARM_TICKS, tenth), None)
    return Ticks(
        (done_ns - due_ns)[counted] / 1e3,
        cpu_ns[counted] / 1e3,
        trades=sum(account.trades for account in mother.accounts),
        bytes_a_tick=(rss_mb[-1] - rss_mb[0]) * 1e6 / (len(rss_mb) - 1) / tenth,
    )
