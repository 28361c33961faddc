"""What a season is played by: everything beside the engines and the bars."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hydra.guardian.profiles import Profile
from hydra.market.instruments import UNITS_PER_USD
from hydra.portfolio.costs import Costs

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
    counts_tagged: bool = False  # decisions from before a model's cutoff count for ranks
    is_live: bool = False  # the market does not wait for answers
    kill_switch: bool = False  # by the environment
    poll_ms: int = 20  # between two looks at the kill switch; live cycles are longer
    commit_ms: int = 250  # between two commits; 0: one every cycle
    luck_traders: int = 10_000
    bootstrap_replicates: int = 10_000

    def record(self) -> dict[str, object]:
        """What enters the journal's first record, JSON values only."""
        return {
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
