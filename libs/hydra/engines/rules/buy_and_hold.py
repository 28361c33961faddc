"""The reference that believes in the market: bought once, never sold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.portfolio.intents import Intent


@dataclass(slots=True, kw_only=True)
class BuyAndHold:
    """Buys each symbol at its first bar with an equal share of the opening equity, unlevered.

    It has no stop and holds no rank: it shows what the market alone would have given.

    Source: the buy-and-hold benchmark of W. F. Sharpe, The Arithmetic of Active Management,
    Financial Analysts Journal 47 (1991) 7–9.
    """

    symbols: tuple[str, ...]  # that share the equity
    _opening: Decimal | None = field(default=None, init=False)  # equity at the first bar, USD
    _ordered: set[str] = field(default_factory=set, init=False)

    @property
    def features(self) -> Sequence[Feature]:
        return ()

    def decide(self, view: View) -> Sequence[Intent]:
        if view.symbol in self._ordered:
            return ()
        self._ordered.add(view.symbol)
        if self._opening is None:
            self._opening = view.equity
        share = self._opening / max(1, len(self.symbols))
        steps = view.instrument.steps(share / (view.ask * view.instrument.contract_size))
        if not steps:
            return ()
        lots = view.instrument.lots(steps)
        return (view.buy(lots=lots, thesis=f"{share:.2f} USD of {view.symbol}, held to the end"),)
