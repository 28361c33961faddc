"""Hydra again, with engines that are asked only at the bars for which they asked to be woken."""

from __future__ import annotations

from benchmarks.peers import hydra_season
from benchmarks.peers.hydra_season import SleepingEmaCross, version
from benchmarks.workload import Run, Workload

__all__ = ["prepare", "version"]


def prepare(workload: Workload) -> Run:
    return hydra_season.prepare(workload, rule=SleepingEmaCross)
