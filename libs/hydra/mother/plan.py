"""What a season is played by: everything beside the engines and the bars."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hydra.guardian.profiles import Profile
from hydra.market.instruments import UNITS_PER_USD
from hydra.portfolio.costs import Costs
from hydra.tournament.elimination import NO_ELIMINATION, EliminationRules

MODES = ("independent", "consensus")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonPlan:
    """Settings of one season. Those in `record()` decide its outcome; the rest do not."""

    mode: str  # of MODES
    profile: Profile
    costs: Costs
    seed: int
    start_ns: int  # instant at which the first bar opens
    sample_ns: int  # between two samples of equity
    inputs: tuple[str, ...] = ()  # SHA-256 of each file of bars
    initial_units: int = 25_000 * UNITS_PER_USD
    failures_to_bench: int = 3  # in a row
    elimination: EliminationRules = NO_ELIMINATION
    counts_tagged: bool = False  # decisions from before a model's cutoff count for ranks
    is_live: bool = False  # the market does not wait for answers
    grace_ns: int = 0  # how long after its close a bar is told; no order arrives sooner
    kill_switch: bool = False  # by the environment
    poll_ms: int = 20  # between two looks at the kill switch; live cycles are longer
    memory_limit_mb: int = 0  # that engines may take while they decide; 0: any
    commit_ms: int = 250  # between two commits; 0: one every cycle
    luck_traders: int = 10_000
    bootstrap_replicates: int = 10_000

    def record(self) -> dict[str, object]:
        """What enters the journal's first record, JSON values only."""
        told: dict[str, object] = {
            "mode": self.mode,
            "profile": msgspec.to_builtins(self.profile),
            "costs": msgspec.to_builtins(self.costs),
            "seed": self.seed,
            "start_ns": self.start_ns,
            "sample_ns": self.sample_ns,
            "inputs": self.inputs,
            "initial_units": self.initial_units,
            "failures_to_bench": self.failures_to_bench,
            "counts_tagged": self.counts_tagged,
        }
        if self.elimination.every_h:  # else its rules decide nothing
            told["elimination"] = msgspec.to_builtins(self.elimination)
        if self.grace_ns:
            told["grace_ns"] = self.grace_ns
        return told
