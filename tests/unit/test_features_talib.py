"""The features agree with TA-Lib, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from hydra.features.block import FeatureBlock
from hydra.features.specs import (
    Feature,
    atr,
    bollinger_lower,
    bollinger_upper,
    ema,
    highest,
    lowest,
    rsi,
    sma,
    stdev,
)
from tests.support.engine_driver import random_walk

talib = pytest.importorskip("talib", reason="TA-Lib is not installed")


def test_what_talib_also_has_is_equal_to_it_from_the_first_warm_bar() -> None:
    t = random_walk(11, 700)
    upper, _, lower = talib.BBANDS(t.close, 20, 2.0, 2.0)
    oracle: dict[Feature, np.ndarray] = {
        ema(26): talib.EMA(t.close, 26),
        sma(50): talib.SMA(t.close, 50),
        stdev(20): talib.STDDEV(t.close, 20),
        bollinger_upper(20, 2): upper,
        bollinger_lower(20, 2): lower,
        atr(14): talib.ATR(t.high, t.low, t.close, 14),
        rsi(14): talib.RSI(t.close, 14),
        highest(20): np.concatenate(([np.nan], talib.MAX(t.high, 20)[:-1])),
        lowest(20): np.concatenate(([np.nan], talib.MIN(t.low, 20)[:-1])),
    }
    ours = FeatureBlock(tuple(oracle), t.resolution_ns).extend(
        t.open_ns, t.open, t.high, t.low, t.close, t.volume
    )
    for column, (feature, theirs) in enumerate(oracle.items()):
        np.testing.assert_allclose(ours[:, column], theirs, rtol=1e-8, err_msg=str(feature))
