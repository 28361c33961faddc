"""Who plays: an engine with its name, its latency and its place among the accounts."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra.engines.protocol import Engine


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
    every_s: int | None = None  # asked so often in market time; None: at every closed bar
    # Of one decision, on the machine's clock. Plain engines share the longest of a season: all
    # of them decide in one turn.
    deadline_s: float = 10.0
