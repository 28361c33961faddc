"""The daemon's goals, measured: `python -m benchmarks.daemon [--quick] [--docs]`.

Ticks, book updates, durable events, a recovery after SIGKILL, start, load and memory; see
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import daemon_events, daemon_feeds, daemon_process, daemon_ticks
from benchmarks.report import AIM_COLUMNS, Aim, Rows
from benchmarks.suite import ROOT, machine

BEGIN, END = "<!-- daemon: begin -->", "<!-- daemon: end -->"
DATA = ROOT.parent / "shared" / "data"
SHM = Path("/dev/shm")
RATE = 2_000  # ticks a second
LISTENED = 100  # messages a second
TICKS = {  # name: (every so many ticks an engine trades, None: at crossings; ms between commits)
    "asked at every tick, nothing stored": (None, None),
    "asked at every tick, durable every 250 ms": (None, 250),
    "asked at every tick, durable every 5 ms": (None, 5),
    "asked at every tick, durable every tick": (None, 0),
    "all order at every second tick, nothing stored": (2, None),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    ticks: int
    growth_ticks: int  # as fast as they are played, for the memory that a tick leaves
    rounds: int
    events_s: float  # of each group and database
    records: int  # of the season that is recovered
    bars: int  # of each symbol in it, at most
    memory_bars: int
    listen_s: float  # 0: not measured, it takes a minute more than that


FULL = Plan(40_000, 200_000, 5, 5.0, 1_000_000, 22_000, 22_000, 120.0)
QUICK = Plan(2_000, 4_000, 1, 0.2, 500, 400, 300, 0.0)


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    plan: Plan
    machine: str
    source: str = ""  # of the ticks
    ticks: dict[str, dict[str, float]] = field(default_factory=dict)
    bytes_a_tick: float = 0.0
    updates: dict[str, float] = field(default_factory=dict)  # a second, by venue
    whole_way: float | None = None  # the same to bars
    events: dict[str, dict[int, float]] = field(default_factory=dict)  # a second
    stored: dict[str, int] = field(default_factory=dict)  # what was recovered
    recovery: dict[str, float] = field(default_factory=dict)
    start_s: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    load: dict[str, float] = field(default_factory=dict)


def measure(plan: Plan, data: Path, say: Callable[[str], None]) -> Found:
    """All of it. `data`: the folder of large real recordings, if there is one."""
    found = Found(plan, machine())
    market, found.source = daemon_ticks.market(plan.ticks, RATE, data)
    for name, (every, commit_ms) in TICKS.items():
        say(f"ticks: {name}")
        ticks = daemon_ticks.measure(market, rate=RATE, commit_ms=commit_ms, every=every)
        found.ticks[name] = ticks.row()
    say(f"memory of {plan.growth_ticks:,} ticks")
    market, _ = daemon_ticks.market(plan.growth_ticks, RATE, data)
    grown = daemon_ticks.measure(market, rate=RATE, commit_ms=250, paced=False)
    found.bytes_a_tick = grown.bytes_a_tick
    say("book updates")
    found.updates = daemon_feeds.played(plan.rounds)
    found.whole_way = daemon_feeds.whole_way(plan.rounds)
    say("durable events")
    found.events = daemon_events.measure(plan.events_s)
    place = SHM if SHM.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="hydra-bench-", dir=place) as folder:
        _measure_processes(found, Path(folder), data, say)
    return found


def _measure_processes(found: Found, folder: Path, data: Path, say: Callable[[str], None]) -> None:
    plan = found.plan
    homes = {name: folder / name for name in ("start", "memory", "recovery", "load")}
    for home in homes.values():
        home.mkdir()
    say("start to the first cycle")
    bars, _ = daemon_process.bars_file(plan.memory_bars, folder, data)
    found.start_s = daemon_process.start(homes["start"], bars)
    say(f"memory after {plan.memory_bars:,} minutes")
    found.memory = daemon_process.memory(homes["memory"], bars)
    say(f"a season of {plan.records:,} records, to be recovered")
    bars, _ = daemon_process.bars_file(plan.bars, folder, data)
    season = daemon_process.Season(
        homes["recovery"], daemon_process.replaying(bars), daemon_process.BUSY
    )
    found.stored = daemon_process.store(season, plan.records)
    say("its recovery")
    found.recovery = daemon_process.recovery(season)
    if plan.listen_s:
        say(f"{LISTENED} messages a second for {plan.listen_s:g} s")
        with daemon_feeds.pulse(LISTENED) as variables:
            found.load = daemon_process.load(homes["load"], variables, plan.listen_s)


# Tables


def aims(found: Found) -> list[Aim]:
    """The goals."""
    ticks = list(found.ticks.values())
    updates = min(found.updates.values()) if found.updates else None
    rows = found.stored.get("records", 0)
    return [
        Aim(
            f"{RATE:,} ticks a second, 20 engines: p99 of a tick",
            ticks[0]["p99_ms"], 1, at_least=False, unit=" ms",
        ),
        Aim("the same, its CPU time: p99", ticks[0]["cpu_p99_ms"], 1, at_least=False, unit=" ms"),
        Aim("the same, durable every 250 ms: p99", ticks[1]["p99_ms"], 1, at_least=False,
            unit=" ms"),
        Aim("book updates a second, the slowest venue", updates, 100_000),
        Aim("the same, as far as to bars (Coinbase)", found.whole_way, 100_000),
        *(
            Aim(f"durable events a second, {name}, best group", max(rates.values()), 20_000)
            for name, rates in found.events.items()
        ),
        Aim("memory, all engines, after all bars", found.memory.get("last_mb"), 512,
            at_least=False, unit=" MB"),
        Aim(f"{LISTENED} messages a second: share of a core",
            found.load["cpu_frac"] * 100 if found.load else None, 20, at_least=False, unit=" %"),
        Aim("start to the first cycle", found.start_s, 5, at_least=False, unit=" s"),
        Aim(f"recovery of {rows:,} records", found.recovery.get("took_s"), 5, at_least=False,
            unit=" s"),
        Aim("the same, CPU time", found.recovery.get("cpu_s"), 5, at_least=False, unit=" s"),
    ]  # fmt: skip


TICK_COLUMNS = ("ticks", "p50 ms", "p99 ms", "max ms", "CPU p50 ms", "CPU p99 ms", "trades")
EVENT_COLUMNS = ("durable events a second", *(f"{n:,} a commit" for n in daemon_events.GROUPS))
UPDATE_COLUMNS = ("book updates", "a second")


def tables(found: Found) -> list[tuple[Sequence[str], Rows]]:
    """Columns and rows of each table."""
    keys = ("p50_ms", "p99_ms", "max_ms", "cpu_p50_ms", "cpu_p99_ms")
    ticks: Rows = [
        (name, *(f"{row[key]:.3f}" for key in keys), f"{row['trades']:,.0f}")
        for name, row in found.ticks.items()
    ]
    events: Rows = [
        (name, *(f"{rates[group]:,.0f}" for group in daemon_events.GROUPS))
        for name, rates in found.events.items()
    ]
    updates: Rows = [(name, f"{rate:,.0f}") for name, rate in found.updates.items()]
    if found.whole_way is not None:
        updates.append(("coinbase, as far as to bars", f"{found.whole_way:,.0f}"))
    return [
        (AIM_COLUMNS, [aim.row() for aim in aims(found)]),
        (TICK_COLUMNS, ticks),
        (UPDATE_COLUMNS, updates),
        (EVENT_COLUMNS, events),
    ]


def remarks(found: Found) -> list[str]:
    """What the tables do not say."""
    stored, recovery, memory = found.stored, found.recovery, found.memory
    said = [
        f"Ticks: {found.source}. A tick leaves {found.bytes_a_tick:.0f} bytes behind.",
        f"Recovered: {stored['records']:,} records of {stored['cycles']:,} cycles and"
        f" {stored['bars']:,} bars, in {recovery['took_s']:.1f} s and {recovery['cpu_s']:.1f} s of"
        f" CPU; {recovery['memory_mb']:.0f} MB.",
        f"Memory: {memory['first_mb']:.0f} MB at the first cycle, {memory['last_mb']:.0f} MB after"
        f" {memory['cycles']:,.0f}.",
    ]
    if found.load:
        said.append(
            f"Listening to {LISTENED} messages a second: {found.load['cpu_frac']:.1%} of a core,"
            f" {found.load['memory_mb']:.0f} MB."
        )
    return said


def markdown(found: Found) -> str:
    """For docs/benchmarks.md."""
    parts = [f"Measured on {found.machine}."]
    for columns, rows in tables(found):
        lines = [columns, ["---"] * len(columns), *rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join([*parts, *remarks(found)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daemon", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small workloads: a look")
    parser.add_argument("--records", type=int, help="of the season that is recovered")
    parser.add_argument("--data", type=Path, default=DATA, help="large recordings; %(default)s")
    parser.add_argument("--docs", action="store_true", help="put the tables in docs/benchmarks.md")
    given = parser.parse_args(arguments)
    note = Console(stderr=True)
    plan = QUICK if given.quick else FULL
    found = measure(
        plan if given.records is None else replace(plan, records=given.records),
        given.data,
        say=lambda what: note.print(f"[dim]{what}[/dim]"),
    )
    console = Console(width=120)
    for columns, rows in tables(found):
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for remark in remarks(found):
        console.print(remark)
    out = ROOT / "benchmarks" / "results" / ("daemon_quick.json" if given.quick else "daemon.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(asdict(found), indent=1) + "\n")
    console.print(f"written: {out}")
    if given.docs:
        page = ROOT / "docs" / "benchmarks.md"
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(f"{before}{BEGIN}\n{markdown(found)}{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
