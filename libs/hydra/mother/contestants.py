"""Who plays: an engine with its name, its latency and its place among the accounts."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra.engines.protocol import Engine
from hydra.tournament.season import PromptRow

NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One engine of a season. Raises nothing: names are checked where they are given."""

    name: str  # unique within a season
    engine: Engine
    title: str  # one line: what it does
    params: dict[str, object] = field(default_factory=dict)
    is_reference: bool = False  # plays, but holds no rank and no guardian shrinks it
    is_scalper: bool = False  # trades at high frequency: the guardian allows it less risk
    latency_ns: int = 0  # from the close of the bar to the arrival of the order
    resolution_ns: int | None = None  # of the bars it reads; None: the finest of each symbol
    context_ns: int | None = None  # coarser bars that it sees beside them, in View.wider
    every_s: int | None = None  # asked so often in market time; None: at every closed bar
    # Of one decision, on the machine's clock. Plain engines share the longest of a season: all
    # of them decide in one turn.
    deadline_s: float = 10.0
    answer_s: float | None = None  # how long an answer is waited for; None: deadline_s
    keeps_history: bool = False  # it is shown its closed tickets
    # Decisions before this instant are tagged: its model may have read about what came next.
    # 0: none are; NEVER: all are, since nobody says up to when it has read.
    cutoff_ns: int = 0
    family: str = ""  # replicas of one gladiator share it
    prompts: tuple[PromptRow, ...] = ()  # what its questions refer to
