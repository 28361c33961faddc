"""How an engine is asked for by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hydra.engines.registry import ENGINES, build, parameter_types, params
from hydra.engines.rules.buy_and_hold import BuyAndHold
from hydra.engines.rules.donchian_breakout import DonchianBreakout
from hydra.errors import ConfigError
from hydra.portfolio.intents import Open
from tests.support.engine_driver import drive, random_walk


def test_a_bare_name_gives_the_defaults() -> None:
    built = build("donchian_breakout", ["EURUSD"])
    assert built.name == "donchian_breakout"
    assert built.engine == DonchianBreakout()
    assert built.params == {"entry": 20, "exit": 10, "atr_period": 20, "stop_atr": 2.0}
    assert built.resolution_ns is None
    assert not built.is_reference


def test_parameters_and_timeframe_are_read_from_the_name() -> None:
    built = build(" donchian_breakout@4h:entry=55, exit=20,stop_atr=2.5 ", ["EURUSD"])
    assert built.engine == DonchianBreakout(entry=55, exit=20, stop_atr=2.5)
    assert built.resolution_ns == 4 * 3_600 * 10**9
    assert built.name == "donchian_breakout@4h:entry=55, exit=20,stop_atr=2.5"


@pytest.mark.parametrize(
    ("timeframe", "seconds"), [("30s", 30), ("5m", 300), ("1d", 86_400), ("1w", 604_800)]
)
def test_timeframes(timeframe: str, seconds: int) -> None:
    assert build(f"flat@{timeframe}", []).resolution_ns == seconds * 10**9


def test_text_parameters() -> None:
    built = build("previous_day_breakout:zone=Europe/Prague,reset_hour=0", ["EURUSD"])
    assert built.params["zone"] == "Europe/Prague"
    assert built.params["reset_hour"] == 0.0


def test_buy_and_hold_is_given_the_symbols() -> None:
    built = build("buy_and_hold", ["A", "B"])
    assert isinstance(built.engine, BuyAndHold)
    assert built.engine.symbols == ("A", "B")
    assert built.params == {}
    assert built.is_reference


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_recorded_builds_the_same_engine_again(name: str) -> None:
    built = build(name, ["A"])
    recorded = json.loads(json.dumps(built.params))
    assert set(recorded) == set(parameter_types(name))
    text = ",".join(f"{key}={value}" for key, value in recorded.items())
    assert params(build(f"{name}:{text}", ["A"]).engine) == built.params


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("ema_trnd", "there is no engine 'ema_trnd'; did you mean 'ema_trend'?"),
        ("zzz", r"there is no engine 'zzz' \(there are: ema_trend, "),
        ("", "cannot be read"),
        ("ema_trend:fats=3", "has no parameter 'fats'; did you mean 'fast'?"),
        ("ema_trend:fast=2.5", "fast must be a whole number, not '2.5'"),
        ("ema_trend:stop_atr=far", "stop_atr must be a number, not 'far'"),
        ("ema_trend:fast", "'fast' is not of the form parameter=value"),
        ("ema_trend:fast=3,fast=4", "fast is given twice"),
        ("ema_trend:fast=0", "fast is 0, must be above 0"),
        ("ema_trend:stop_atr=nan", "stop_atr is nan, must be above 0"),
        ("ema_trend:fast=30", "fast is 30, must be below slow, 26"),
        ("ema_trend@4x", "'4x' is no length of a bar"),
        ("ema_trend@", "'' is no length of a bar"),
        ("flat:x=1", r"has no parameter 'x' \(there are: none\)"),
        ("buy_and_hold:symbols=A", "has no parameter 'symbols'"),
        ("previous_day_breakout:reset_hour=25", "hour 25"),
        ("previous_day_breakout:zone=Mars/Base", "'Mars/Base' is unknown"),
        ("volatility_targeted_trend:decay=1.5", "decay 1.5 must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_built_is_explained(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(spec, ["A"])


@pytest.mark.parametrize("name", ENGINES)
def test_the_documentation_names_every_engine_and_parameter(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 2  # what it does; its parameters
    for parameter in parameter_types(name):
        assert f"`{parameter}`" in rows[1]


def test_the_engine_written_in_the_documentation_works() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    module = ModuleType("dip_buyer")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(page.split("```python\n")[1].split("```")[0], module.__dict__)
    wishes = drive(module.DipBuyer(mean=50), random_walk(1, 2_000))
    assert any(isinstance(intent, Open) for _, intents in wishes for intent in intents)
