"""Engines that sleep in a season: asked where they wake, and no harm done where they cannot say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from hydra.engines.view import View
from hydra.features.specs import close
from hydra.portfolio.intents import Intent
from tests.support.bars import a_random_walk
from tests.support.seasons import Played, play_bars

TABLE = a_random_walk(np.random.default_rng(3), 200, "BTC-USD", "1h", volatility_frac=0.004)
CHUNKS = (1, 50, 1024)
Wakes = Callable[[NDArray[np.float64]], object]


class Sleepy:
    """In and out by turns, whenever it is asked."""

    features = (close(),)

    def __init__(self, wakes: Wakes) -> None:
        self._wakes = wakes
        self.asked: list[float] = []

    def wakes(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        return self._wakes(features)  # type: ignore[return-value]

    def decide(self, view: View) -> Sequence[Intent]:
        self.asked.append(view.close)
        if view.tickets:
            return [view.close_ticket(ticket) for ticket in view.tickets]
        return [view.buy(stop=view.close * 0.9)]


def play(wakes: Wakes, chunk_cycles: int = 1024) -> tuple[Played, Sleepy]:
    engine = Sleepy(wakes)
    return play_bars([TABLE], {"one": engine}, chunk_cycles=chunk_cycles), engine


def above(level: float) -> Wakes:
    return lambda features: features[:, 0] > level


@pytest.mark.parametrize("chunk_cycles", CHUNKS)
def test_it_is_asked_on_the_bars_on_which_it_wakes(chunk_cycles: int) -> None:
    level = float(np.median(TABLE.close))
    season, engine = play(above(level), chunk_cycles)

    assert engine.asked == [price for price in TABLE.close.tolist() if price > level]
    assert season.digest == play(above(level))[0].digest


def test_an_engine_that_wakes_always_plays_as_if_it_never_slept() -> None:
    class Sleepless:
        features = (close(),)

        def __init__(self) -> None:
            self._engine = Sleepy(above(0.0))

        def decide(self, view: View) -> Sequence[Intent]:
            return self._engine.decide(view)

    assert play(above(0.0))[0].digest == play_bars([TABLE], {"one": Sleepless()}).digest


@pytest.mark.parametrize("chunk_cycles", CHUNKS)
def test_where_it_cannot_say_it_fails_at_that_bar_and_at_no_other(chunk_cycles: int) -> None:
    once = [i for i, price in enumerate(TABLE.close) if (TABLE.close == price).sum() == 1]
    bad = [next(i for i in once if i >= at) for at in (40, 60, 120)]

    def wakes(features: NDArray[np.float64]) -> object:
        if np.isin(features[:, 0], TABLE.close[bad]).any():
            raise ValueError("no price of mine")
        return np.ones(len(features), np.bool_)

    season, engine = play(wakes, chunk_cycles)

    assert [record.cycle for record in season.records("one", "failed")] == [bar + 1 for bar in bad]
    assert season.records("one", "failed")[0].body["text"] == "ValueError: no price of mine"
    assert season.records("one", "benched") == []
    assert len(engine.asked) == 197
    assert season.digest == play(wakes)[0].digest


@pytest.mark.parametrize("chunk_cycles", CHUNKS)
@pytest.mark.parametrize(
    "answer",
    [
        lambda features: None,
        lambda features: True,
        lambda features: [True] * len(features),
        lambda features: np.ones(len(features) + 1, np.bool_),
        lambda features: np.ones((len(features), 1), np.bool_),
        lambda features: np.ones(len(features)),
        lambda features: np.full(len(features), 2),
        lambda features: np.full(len(features), "yes"),
    ],
    ids=["None", "True", "list", "longer", "two-dimensional", "float", "int", "text"],
)
def test_what_is_no_bool_for_each_row_is_a_failure_of_the_engine(
    answer: Wakes, chunk_cycles: int
) -> None:
    season, engine = play(answer, chunk_cycles)

    assert [record.cycle for record in season.records("one", "failed")] == [1, 2, 3]
    assert season.records("one", "benched")[0].cycle == 3
    assert engine.asked == []
