"""The reference that does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.portfolio.intents import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """Never trades. It holds no rank: who ends below it would have done better to wait.

    Source: the zero-exposure baseline; cash here earns no interest.
    """

    @property
    def features(self) -> Sequence[Feature]:
        return ()

    def decide(self, view: View) -> Sequence[Intent]:
        return ()
