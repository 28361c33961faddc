"""Small seasons for tests of storage."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

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
