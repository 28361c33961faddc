"""The house account: what following the tournament's weights would have earned.

It trades nothing itself. Over every sampling interval it earns the sum of weight × engine return,
with the weights that were set *before* the interval, so that no weight profits from what it was
given for. Engines' returns are net of their costs; moving money between engines is free. What
the weights leave over lies in cash.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction


class House:
    """An account in units of 1e-8 USD. Deterministic: whole numbers only."""

    def __init__(self, initial_units: int) -> None:
        self.equity_units = initial_units
        self._weights: dict[str, Fraction] = {}
        self._seen: dict[str, int] = {}

    def advance(self, equity_units: Mapping[str, int]) -> int:
        """Take the engines' equities now, return the house's.

        Each engine's share is rounded down to a unit. An engine that is new, or whose equity was
        not above zero, earns nothing in this interval; one that is missing keeps its last.
        """
        stake = self.equity_units
        for engine, weight in self._weights.items():
            before = self._seen.get(engine, 0)
            now = equity_units.get(engine, before)
            if before > 0 and now != before:
                gain = stake * weight.numerator * (now - before)
                self.equity_units += gain // (weight.denominator * before)
        self._seen.update(equity_units)
        return self.equity_units

    def reweigh(self, weights: Mapping[str, Fraction]) -> None:
        """Set the weights of the intervals to come. Raises ValueError below 0 or above 1 in sum."""
        if any(weight < 0 for weight in weights.values()) or sum(weights.values()) > 1:
            raise ValueError(f"house weights {dict(weights)}: none below 0, at most 1 together")
        self._weights = {engine: weight for engine, weight in weights.items() if weight}
