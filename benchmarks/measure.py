"""One measurement in a process of its own: `python -m benchmarks.measure TASK`, TASK in JSON.

Prints the Measurement as JSON, on the last line of standard output.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

from benchmarks.workload import Peer, Workload


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be measured."""

    peer: str  # a module of benchmarks.peers
    bars: int
    engines: int
    sample: int | None = None  # measure only so many of the engines, evenly spread
    runs: int = 1  # in this one process, one after the other
    options: dict[str, str] = field(default_factory=dict)  # of the peer's `prepare`


@dataclass(slots=True)
class Measurement:
    """What came of a task. Seconds are CPU time of the process, all its threads."""

    task: Task
    version: str
    engine_bars: int  # of one run
    cpu_s: list[float]  # of each run
    wall_s: list[float]
    trades: int  # of the last run, as what follows
    pnl_usd: float
    not_counted_s: float
    notes: dict[str, float]
    peak_mb: float  # resident, of the whole process, in units of 1e6 bytes

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    @property
    def rate(self) -> float:
        """Engine-bars a CPU second, of the fastest run."""
        return self.engine_bars / min(self.cpu_s)


def from_json(text: str) -> Measurement:
    """Reads what this module printed."""
    values = json.loads(text)
    return Measurement(**{**values, "task": Task(**values["task"])})


def measure(task: Task) -> Measurement:
    """Runs in this process: best called in a fresh one."""
    peer = cast(Peer, importlib.import_module(f"benchmarks.peers.{task.peer}"))
    workload = Workload.of(task.bars, task.engines, task.sample)
    run = peer.prepare(workload, **task.options)
    cpu_s, wall_s = [], []
    for _ in range(task.runs):
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = run()
        cpu_s.append(time.process_time() - cpu - outcome.not_counted_s)
        wall_s.append(time.perf_counter() - wall)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measurement(
        task=task,
        version=peer.version(),
        engine_bars=workload.engine_bars,
        cpu_s=cpu_s,
        wall_s=wall_s,
        trades=outcome.trades,
        pnl_usd=outcome.pnl_usd,
        not_counted_s=outcome.not_counted_s,
        notes=dict(outcome.notes),
        peak_mb=peak_kib * 1024 / 1e6,
    )


if __name__ == "__main__":
    print(json.dumps(measure(Task(**json.loads(sys.argv[1]))).as_json()))
