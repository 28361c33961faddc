"""Engines that say beforehand on which bars they have nothing to say."""

from __future__ import annotations

import numpy as np
import pytest

from hydra.engines.protocol import Sleeper
from hydra.engines.registry import ENGINES, build
from hydra.features.block import FeatureBlock
from tests.support.bars import a_random_walk
from tests.support.engine_driver import drive

SLEEPERS = [name for name in ENGINES if isinstance(build(name, ("BTC-USD",)).engine, Sleeper)]


def test_some_engines_sleep() -> None:
    assert "ema_trend" in SLEEPERS


@pytest.mark.parametrize("name", SLEEPERS)
def test_an_engine_says_nothing_on_a_bar_that_it_sleeps_through(name: str) -> None:
    table = a_random_walk(np.random.default_rng(7), bars=1_500, resolution="1h")
    engine = build(name, (table.symbol,)).engine
    assert isinstance(engine, Sleeper)
    block = FeatureBlock(tuple(engine.features), table.resolution_ns)
    features = block.extend(
        table.open_ns, table.open, table.high, table.low, table.close, table.volume
    )

    awake = engine.wakes(features)
    spoke = {bar for bar, intents in drive(engine, table) if intents}

    assert spoke
    assert spoke <= set(np.flatnonzero(awake).tolist())
    assert awake[~np.isnan(features).any(axis=1)].mean() < 0.5  # it does sleep


@pytest.mark.parametrize("name", SLEEPERS)
def test_each_row_is_judged_by_itself(name: str) -> None:
    table = a_random_walk(np.random.default_rng(8), bars=600, resolution="1h")
    engine = build(name, (table.symbol,)).engine
    assert isinstance(engine, Sleeper)
    block = FeatureBlock(tuple(engine.features), table.resolution_ns)
    features = block.extend(
        table.open_ns, table.open, table.high, table.low, table.close, table.volume
    )

    alone = np.concatenate([engine.wakes(features[i : i + 1]) for i in range(len(features))])

    assert np.array_equal(alone, engine.wakes(features))
