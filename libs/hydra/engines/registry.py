"""The engines that play, by name: one line each in `ENGINES`.

An engine of a season is given as `name[@timeframe][:parameter=value,…]`, for example
`ema_trend`, `ema_trend@4h` or `donchian_breakout@1d:entry=55,exit=20`. That text is its name
in the season, so one engine may play several times with different parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import cast, get_type_hints

from hydra.engines.protocol import Engine
from hydra.engines.rules.buy_and_hold import BuyAndHold
from hydra.engines.rules.donchian_breakout import DonchianBreakout
from hydra.engines.rules.ema_trend import EmaTrend
from hydra.engines.rules.flat import Flat
from hydra.engines.rules.mean_reversion import MeanReversion
from hydra.engines.rules.previous_day_breakout import PreviousDayBreakout
from hydra.engines.rules.time_series_momentum import TimeSeriesMomentum
from hydra.engines.rules.volatility_targeted_trend import VolatilityTargetedTrend
from hydra.errors import ConfigError
from hydra.market.timeframes import timeframe_ns


@dataclass(frozen=True, slots=True)
class EngineKind:
    """A kind of engine that a season may enter.

    `factory` is a dataclass; its fields are the parameters (int, float, bool or str). A field
    named `symbols` is no parameter: it receives the season's symbols.
    """

    factory: Callable[..., Engine]
    title: str  # one line: what it does
    is_reference: bool = False  # plays, but holds no rank


ENGINES: Mapping[str, EngineKind] = MappingProxyType(
    {
        "ema_trend": EngineKind(EmaTrend, "Trend: EMA 12/26 crossing, ATR stop"),
        "donchian_breakout": EngineKind(
            DonchianBreakout, "Breakout: Turtle channel 20/10, 2N stop"
        ),
        "mean_reversion": EngineKind(MeanReversion, "Reversion: Bollinger bands and RSI extremes"),
        "time_series_momentum": EngineKind(TimeSeriesMomentum, "Momentum: sign of the past return"),
        "volatility_targeted_trend": EngineKind(
            VolatilityTargetedTrend, "Trend: EMA 16/64 forecast, sized to a volatility target"
        ),
        "previous_day_breakout": EngineKind(
            PreviousDayBreakout, "Breakout: out of the previous day's range, until the day ends"
        ),
        "buy_and_hold": EngineKind(BuyAndHold, "Reference: buys at the start, holds", True),
        "flat": EngineKind(Flat, "Reference: never trades", True),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """An engine built for a season, with what is recorded of it."""

    name: str  # as it was given
    engine: Engine
    title: str
    params: dict[str, object]  # JSON values
    is_reference: bool
    resolution_ns: int | None  # of the bars it watches; None: the finest of each symbol


_SPEC = re.compile(r"(?P<name>[^@:]+)(?:@(?P<timeframe>[^:]*))?(?::(?P<params>.*))?")
_NOT_GIVEN = "symbols"  # a field that the season fills


def build(spec: str, symbols: Sequence[str]) -> BuiltEngine:
    """The engine that `spec` describes, for a season on `symbols`.

    Raises ConfigError for an unknown engine or parameter, or a value that does not fit.
    """
    spec = spec.strip()
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ConfigError(
            f"engine {spec!r} cannot be read; write name, name@4h or name:parameter=value"
        )
    name = match["name"].strip()
    kind = ENGINES.get(name)
    if kind is None:
        raise ConfigError(f"there is no engine {name!r}{_suggest(name, tuple(ENGINES))}")
    given = _given(spec, kind, match["params"])
    if _NOT_GIVEN in _types(kind, hidden=True):
        given[_NOT_GIVEN] = tuple(symbols)
    engine = kind.factory(**given)
    _ = engine.features  # raises where a parameter makes no feature
    timeframe = match["timeframe"]
    return BuiltEngine(
        name=spec,
        engine=engine,
        title=kind.title,
        params=params(engine),
        is_reference=kind.is_reference,
        resolution_ns=None if timeframe is None else timeframe_ns(timeframe),
    )


def params(engine: Engine) -> dict[str, object]:
    """The parameters of a registered engine as JSON values, in the order of its fields."""
    return {
        field.name: getattr(engine, field.name)
        for field in fields(engine)  # type: ignore[arg-type]  # registered engines are dataclasses
        if field.init and field.name != _NOT_GIVEN
    }


def parameter_types(name: str) -> dict[str, type]:
    """The parameters that an engine takes and their types. Raises KeyError when unknown."""
    return _types(ENGINES[name])


def _types(kind: EngineKind, *, hidden: bool = False) -> dict[str, type]:
    factory = cast(type, kind.factory)
    hints = get_type_hints(factory)
    return {
        field.name: hints[field.name]
        for field in fields(factory)
        if field.init and (hidden or field.name != _NOT_GIVEN)
    }


def _given(spec: str, kind: EngineKind, text: str | None) -> dict[str, object]:
    types = _types(kind)
    given: dict[str, object] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(
                f"engine {spec!r}: {part.strip()!r} is not of the form parameter=value"
            )
        if name not in types:
            raise ConfigError(
                f"engine {spec!r} has no parameter {name!r}{_suggest(name, tuple(types))}"
            )
        if name in given:
            raise ConfigError(f"engine {spec!r}: {name} is given twice")
        given[name] = _value(spec, name, types[name], value)
    return given


def _value(spec: str, name: str, wanted: type, text: str) -> object:
    if wanted is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif wanted in (int, float, str):
        try:
            return wanted(text)
        except ValueError:
            pass
    says = {int: "a whole number", float: "a number", bool: "true or false"}
    raise ConfigError(
        f"engine {spec!r}: {name} must be {says.get(wanted, wanted.__name__)}, not {text!r}"
    )


def _suggest(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (there are: {', '.join(known) or 'none'})"
