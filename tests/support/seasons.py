"""Small seasons: invented rows for tests of storage (`play`), and whole seasons over bars,
played by Mother in memory (`play_bars`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from hydra.engines.protocol import Engine
from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import Profile
from hydra.guardian.profiles import profile as profile_named
from hydra.market.bars import BarTable
from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import Costs, costs_named
from hydra.portfolio.intents import Intent
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from hydra.tournament.season import (
    EngineRow,
    EquityRow,
    GuardianDayRow,
    LatchRow,
    ScoreRow,
    SeasonRow,
    SeasonStore,
    StandingRow,
    TicketRow,
)

USD = 100_000_000  # units
OPENING = 25_000 * USD
START_NS = 1_704_067_200_000_000_000  # 2024-01-01 00:00 UTC
HOUR_NS = 3_600_000_000_000


def a_season(name: str = "season-1", **changes: object) -> SeasonRow:
    values: dict[str, object] = {
        "name": name,
        "mode": "independent",
        "profile": "ftmo-2step",
        "seed": 7,
        "initial_units": OPENING,
        "settings": {"sample_s": 3600, "engines": ["ema", "donchian"]},
        "inputs": (("btc.csv", "ab" * 32),),
    }
    return SeasonRow(**(values | changes))  # type: ignore[arg-type]


def a_ticket(ticket: int, engine: str = "ema", **changes: object) -> TicketRow:
    values: dict[str, object] = {
        "ticket": ticket,
        "engine": engine,
        "asset": "BTC-USD",
        "direction": "LONG",
        "status": "OPEN",
        "decided_ns": START_NS,
        "opened_ns": START_NS + HOUR_NS,
        "closed_ns": None,
        "lots": Decimal("0.120"),
        "entry_price": Decimal("42000.10"),
        "exit_price": None,
        "stop_price": Decimal("41000"),
        "target_price": None,
        "pnl_units": None,
        "pnl_frac": None,
        "gross_units": None,
        "commission_units": 2 * USD,
        "swap_units": 0,
        "spread_units": USD // 2,
        "outcome": None,
        "exit_reason": None,
        "confidence": 0.75,
        "thesis": "fast above slow",
    }
    return TicketRow(**(values | changes))  # type: ignore[arg-type]


def closed(ticket: int, engine: str, pnl_units: int, hour: int) -> TicketRow:
    return a_ticket(
        ticket,
        engine,
        status="CLOSED",
        closed_ns=START_NS + hour * HOUR_NS,
        exit_price=Decimal("42100.5"),
        pnl_units=pnl_units,
        pnl_frac=pnl_units / OPENING,
        gross_units=pnl_units + 2 * USD,
        outcome="win" if pnl_units > 0 else "loss",
        exit_reason="target" if pnl_units > 0 else "stop",
    )


# Of each engine's tickets, in the order in which they close, one a cycle.
RESULTS = {
    "ema": (120 * USD, -50 * USD - 1, 30 * USD),
    "donchian": (-80 * USD, -20 * USD, 10 * USD),
}


def play(
    store: SeasonStore,
    *,
    cycles: int = 3,
    commit_every: int = 1,
    close: bool = True,
    on_commit: Callable[[int], None] = lambda cycle: None,
) -> str:
    """Play the season in which two engines trade once a cycle; its digest, "" if not closed."""
    for name in RESULTS:
        store.engine(EngineRow(engine=name, title=name, params={"n": 20}, is_reference=False))
    store.journal(0, START_NS, "", "season", None, b'{"seed":7}')
    store.commit(0, START_NS)
    ticket = 0
    balances = dict.fromkeys(RESULTS, OPENING)
    wins = dict.fromkeys(RESULTS, 0)
    for cycle in range(1, cycles + 1):
        now = START_NS + cycle * HOUR_NS
        for rank, (engine, results) in enumerate(RESULTS.items(), start=1):
            pnl = results[(cycle - 1) % len(results)]
            ticket += 1
            balances[engine] += pnl
            wins[engine] += pnl > 0
            store.journal(cycle, now, engine, "approved", None, b'{"ticket":%d}' % ticket)
            store.ticket(a_ticket(ticket, engine))
            store.journal(cycle, now, engine, "opened", -2 * USD, b'{"ticket":%d}' % ticket)
            store.journal(cycle, now, engine, "closed", pnl + 2 * USD, b'{"ticket":%d}' % ticket)
            store.ticket(closed(ticket, engine, pnl, cycle))
            store.journal(
                cycle, now, engine, "refused", None, b'{"refused":{"rule":"max open","limit":3}}'
            )
            store.equity(
                EquityRow(
                    at_ns=now,
                    engine=engine,
                    equity_units=balances[engine],
                    balance_units=balances[engine],
                    shadow_units=OPENING,
                    weight=0.5,
                )
            )
            store.score(
                ScoreRow(
                    at_ns=now,
                    scoring_cycle=cycle,
                    engine=engine,
                    rank=rank,
                    total_points=10.0 * cycle / rank,
                    weight=0.4 if rank == 1 else 0.3,
                    net_pnl_units=balances[engine] - OPENING,
                    trades=cycle,
                    wins=wins[engine],
                )
            )
            store.guardian_day(
                GuardianDayRow(
                    engine=engine,
                    day="2024-01-01",
                    start_balance_units=OPENING,
                    daily_floor_units=OPENING * 95 // 100,
                    total_floor_units=None,
                    worst_equity_units=OPENING - 60 * USD,
                    end_balance_units=balances[engine],
                    opened=cycle,
                    refused=cycle,
                    resized=0,
                    breach="",
                )
            )
        if cycle == 2:
            store.journal(cycle, now, "", "external.kill", None, b"{}")
            store.latch(
                LatchRow(
                    engine="donchian",
                    rule="daily_loss",
                    at_ns=now,
                    until_ns=now + HOUR_NS,
                    limit_units=1,
                    figure_units=2,
                    text="below the floor",
                )
            )
        if cycle % commit_every == 0:
            store.commit(cycle, now)
            on_commit(cycle)
    if not close:
        return ""
    now = START_NS + cycles * HOUR_NS
    for engine, balance in balances.items():
        store.journal(cycles, now, engine, "balance", None, b'{"balance_units":%d}' % balance)
    lines = tuple(
        StandingRow(engine=engine, rank=rank, metrics={"sharpe": 1.5, "trades": cycles})
        for rank, engine in enumerate(RESULTS, start=1)
    )
    return store.close(cycles, now, lines)


# Whole seasons over bars, by Mother, in memory

Decision = Sequence[Intent] | Callable[[View], Sequence[Intent]]


class ScriptedEngine:
    """Decides what a script says: by number of the bar of a symbol, the first being 0.

    A key of `decisions` is a bar's number (of any symbol), or (symbol, number). A decision is
    a list of intents, or a function of the view that returns one.
    """

    def __init__(
        self,
        decisions: Mapping[int | tuple[str, int], Decision] | None = None,
        features: Sequence[Feature] = (),
    ) -> None:
        self.features = features
        self._decisions = dict(decisions or {})
        self._bars: dict[str, int] = {}  # seen so far, by symbol

    def decide(self, view: View) -> Sequence[Intent]:
        bar = self._bars.get(view.symbol, 0)
        self._bars[view.symbol] = bar + 1
        decision = self._decisions.get((view.symbol, bar), self._decisions.get(bar, ()))
        return decision(view) if callable(decision) else decision


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the journal, its body decoded."""

    cycle: int
    at_ns: int
    engine: str
    kind: str
    amount_units: int | None
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Played:
    """A season that has been played, and what it left behind."""

    mother: Mother
    digest: str
    store: MemorySeasonStore

    @property
    def standings(self) -> tuple[StandingRow, ...]:
        return self.mother.standings

    @property
    def tickets(self) -> list[TicketRow]:
        """All tickets, in the order in which they were approved."""
        return [row for _, row in sorted(self.store.season.tickets.items())]

    def tickets_of(self, engine: str) -> list[TicketRow]:
        return [row for row in self.tickets if row.engine == engine]

    @property
    def journal(self) -> list[Record]:
        return [
            Record(
                cycle=row[2],
                at_ns=row[3],
                engine=row[4],
                kind=row[5],
                amount_units=row[6],
                body=msgspec.json.decode(row[7]),
            )
            for row in self.store.season.journal
        ]

    def records(self, engine: str, kind: str | None = None) -> list[Record]:
        """The journal's records of one engine, of one kind or all."""
        return [r for r in self.journal if r.engine == engine and kind in (None, r.kind)]

    def account(self, engine: str) -> Account:
        return next(account for account in self.mother.accounts if account.name == engine)


def a_contestant(name: str, engine: Engine, **changes: Any) -> Contestant:
    """An engine with its name; `changes` as `latency_ns=50`."""
    values: dict[str, Any] = {"name": name, "engine": engine, "title": name}
    return Contestant(**(values | changes))


def play_bars(
    tables: Sequence[BarTable],
    engines: Mapping[str, Engine] | Sequence[Contestant],
    *,
    profile: str | Profile = "none",
    costs: str | Costs = "none",
    mode: str = "independent",
    seed: int = 1,
    initial_usd: int = 25_000,
    chunk_cycles: int = 1024,
    start_ns: int | None = None,
    sample_ns: int = HOUR_NS,
    on_cycle: Callable[[Mother, int, int], None] | None = None,
    store: MemorySeasonStore | None = None,
    absent: Sequence[EngineRow] = (),
    **plan: Any,
) -> Played:
    """Play a season over the tables, in memory.

    `on_cycle` is called with (mother, cycle, now_ns) after every cycle but the last, and
    `mother.accounts` may be looked at in it. `plan` goes to SeasonPlan.
    """
    streams = streams_of(tables)
    feed = ReplayFeed(streams, tables, chunk_cycles)
    settings: dict[str, Any] = {"luck_traders": 0, "bootstrap_replicates": 2}
    if on_cycle is not None:
        settings |= {"poll_ms": 0, "commit_ms": 0}
    season = SeasonPlan(
        mode=mode,
        profile=profile_named(profile) if isinstance(profile, str) else profile,
        costs=costs_named(costs) if isinstance(costs, str) else costs,
        seed=seed,
        start_ns=feed.first_ns if start_ns is None else start_ns,
        sample_ns=sample_ns,
        initial_units=initial_usd * USD,
        **(settings | plan),
    )
    if store is None:
        store = MemoryDatabase().open_season(a_season(), resume=False)
    contestants = (
        [a_contestant(name, engine) for name, engine in engines.items()]
        if isinstance(engines, Mapping)
        else list(engines)
    )

    def committed(cycle: int, now_ns: int) -> None:
        if on_cycle is not None and cycle > 0:
            on_cycle(mother, cycle, now_ns)

    mother = Mother(
        plan=season,
        contestants=contestants,
        streams=streams,
        store=store,
        absent=absent,
        on_commit=committed,
    )
    digest = asyncio.run(mother.run(feed.chunks()))
    return Played(mother=mother, digest=digest, store=store)
