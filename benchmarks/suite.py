"""Which measurements are made, each in a fresh process, and the best of each kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.measure import Measurement, Task, from_json

ROOT = Path(__file__).resolve().parents[1]
HYDRA, SLEEPING = "hydra_season", "hydra_sleeping"
TITLES = {
    HYDRA: "Hydra",
    SLEEPING: "Hydra, woken at crossings",
    "backtesting_py": "backtesting.py",
    "backtrader_py": "backtrader",
    "nautilus": "nautilus_trader",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    one_bars: int  # of the season with one engine
    few_bars: int  # of the short one, for flatness
    many_bars: int  # of the season with many engines
    engines: int
    rounds: int  # fresh processes for each figure; the best counts
    slow_rounds: int  # likewise of peers that take minutes
    sample: int  # engines of `engines` that a peer plays, one by one


FULL = Plan(500_000, 25_000, 100_000, 50, rounds=3, slow_rounds=1, sample=10)
QUICK = Plan(10_000, 5_000, 5_000, 10, rounds=1, slow_rounds=1, sample=2)
SLOW = frozenset({"backtrader_py", "nautilus"})


@dataclass(slots=True)
class Results:
    """Everything that was measured. Of several rounds, the one with the least CPU time."""

    plan: Plan
    machine: str
    python: str
    one: dict[str, Measurement] = field(default_factory=dict)  # by peer
    many: dict[str, Measurement] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # peer: why
    few: Measurement | None = None
    again_one: Measurement | None = None  # two runs in one process
    again_many: Measurement | None = None
    store: dict[str, float] = field(default_factory=dict)  # share of CPU, by workload
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class PeerFailed(Exception):
    """A measurement's process ended in an error; the text is its last line."""


def run(task: Task, python: str = sys.executable) -> Measurement:
    """Measure in a fresh process of the interpreter `python`. Raises PeerFailed."""
    done = subprocess.run(
        [python, "-m", "benchmarks.measure", json.dumps(asdict(task))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PeerFailed((done.stderr.strip().splitlines() or ["no message"])[-1])
    return from_json(done.stdout.strip().splitlines()[-1])


def measure_all(
    plan: Plan,
    *,
    peers: Sequence[str],
    pythons: dict[str, str],
    say: Callable[[str], None],
) -> Results:
    """Run the whole plan. `pythons` names interpreters of peers that live elsewhere.

    Rounds go around all programs, so that a slow minute of the machine hits them alike.
    """
    results = Results(plan, machine(), platform.python_version())

    def attempt(task: Task, what: str, kept: dict[str, Measurement]) -> None:
        if task.peer in results.absent:
            return
        say(f"{TITLES[task.peer]}: {what}")
        try:
            found = run(task, pythons.get(task.peer, sys.executable))
        except PeerFailed as error:
            results.absent[task.peer] = str(error)
            return
        best = kept.get(task.peer)
        if best is None or min(found.cpu_s) < min(best.cpu_s):
            kept[task.peer] = found

    for number in range(plan.rounds):
        for peer in (HYDRA, SLEEPING, *peers):
            if peer in SLOW and number >= plan.slow_rounds:
                continue
            sample = None if peer in (HYDRA, SLEEPING) else plan.sample
            attempt(Task(peer, plan.one_bars, 1), f"{plan.one_bars:,} bars", results.one)
            attempt(
                Task(peer, plan.many_bars, plan.engines, sample),
                f"{plan.many_bars:,} bars, {plan.engines} engines",
                results.many,
            )
    for peer in (HYDRA, SLEEPING):
        if peer in results.absent:
            raise PeerFailed(f"{TITLES[peer]}: {results.absent[peer]}")

    few: dict[str, Measurement] = {}
    for _ in range(plan.rounds):
        attempt(Task(HYDRA, plan.few_bars, 1), f"{plan.few_bars:,} bars", few)
    results.few = few[HYDRA]
    say("Hydra: twice in one process")
    results.again_one = _twice(Task(HYDRA, plan.one_bars, 1, runs=2), plan.rounds)
    results.again_many = _twice(Task(HYDRA, plan.many_bars, plan.engines, runs=2), plan.rounds)
    for name, bars, engines in (
        ("one", plan.one_bars, 1),
        ("many", plan.many_bars, plan.engines),
    ):
        say(f"Hydra: where the time goes, {engines} engine{'s' * (engines > 1)}")
        watched = run(Task(HYDRA, bars, engines, options={"watch": "store"}))
        results.store[name] = watched.notes["store"]
        results.phases[name] = run(Task(HYDRA, bars, engines, options={"watch": "phases"})).notes
    return results


def _twice(task: Task, rounds: int) -> Measurement:
    """Of each run its best over so many processes: one bad moment would spoil their ratio."""
    found = [run(task) for _ in range(rounds)]
    best = [min(seconds) for seconds in zip(*(m.cpu_s for m in found), strict=True)]
    return replace(found[0], cpu_s=best)


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"
