"""What an engine is: one method, the features it reads, and when it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.portfolio.intents import Intent


class Engine(Protocol):
    """Turns what it sees into what it would like. Holds no money, reads no clock.

    `decide` is asked once for each closed bar of each symbol (or every `every_s` seconds of
    market time where that is set), as soon as all its features are warm. It may be a plain
    or an `async` method. It may keep state of its own, but nothing else: no I/O by rule
    engines, no global random generator.
    """

    @property
    def features(self) -> Sequence[Feature]:
        """What `View.features` holds, in this order."""
        ...

    def decide(self, view: View) -> Sequence[Intent] | Awaitable[Sequence[Intent]]: ...


@runtime_checkable
class Sleeper(Protocol):
    """An engine that says beforehand on which bars it has nothing to say.

    It is asked only on the others, which makes a season of many such engines several times
    faster. A second method beside `decide`, never instead of it.
    """

    def wakes(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(rows, features) → (rows,): bars on which `decide` might return an intent.

        Each row is to be judged by itself alone (`previous(...)` gives the bar before as a
        feature), whatever the account holds. Rows may be NaN while features are cold.
        """
        ...
