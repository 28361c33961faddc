"""What an engine is: one method, the features it reads, and when it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.portfolio.intents import Intent
from hydra.tournament.season import LessonRow, ModelCallRow


class Abstention(msgspec.Struct, frozen=True, kw_only=True):
    """An engine had no decision to give: not the same as deciding to do nothing."""

    reason: str  # a word: late, unreachable, unparseable, over-budget, …
    text: str  # in a sentence
    lasting: bool = False  # it will not pass by itself: an engine that keeps it up is benched


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that makes no sense on this market, found before it became an intent."""

    symbol: str  # as the engine named it
    rule: str  # a word: unknown-asset, stop-side, far-price, …
    limit: str  # what it was held against
    figure: str  # what it said
    text: str  # in a sentence
    decision: dict[str, object]  # as it was read, JSON values


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says that has more to say than its intents: a gladiator.

    It is recorded whatever is in it, so that abstaining, holding and being refused can be told
    apart. Orders arrive `latency_ns` after the question.
    """

    intents: tuple[Intent, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    holds: tuple[str, ...] = ()  # reasons for doing nothing, one a symbol or for all
    abstention: Abstention | None = None  # then there is nothing of the other three
    latency_ns: int = 0
    calls: tuple[ModelCallRow, ...] = ()  # what was asked of a model for it
    lessons: tuple[LessonRow, ...] = ()  # what it has learned since the last answer


Decision = Sequence[Intent] | Answer


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

    def decide(self, view: View) -> Decision | Awaitable[Decision]: ...


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
