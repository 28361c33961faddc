"""Computes features for a stream of bars, block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError
from hydra.features.days import Days
from hydra.features.kernels import smooth
from hydra.features.kinds import DAILY, SMOOTHED, WINDOWED, Day, Smooth, Window
from hydra.features.specs import Feature

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
DaysByKey = Mapping[tuple[str, float], Day]  # (zone, hour of reset)
Compute = Callable[[Window, DaysByKey, Float64], Float64]

_TILE_ROWS = 64  # few enough for a hundred levels to stay in the cache


class _Recursions:
    """All recursions over one source, run together; they keep their state."""

    def __init__(self, parts: Sequence[tuple[Smooth, int]]) -> None:
        self._seed_bars = np.array([part.seed_bars for part, _ in parts], np.float64)
        self._weight = np.array([part.weight for part, _ in parts])
        self._place = np.array([place for _, place in parts], np.int64)
        self._count = np.zeros(1)
        self._level = np.zeros(len(parts))
        self._tile = np.empty((_TILE_ROWS, len(parts)))

    def fresh(self) -> _Recursions:
        """The same recursions before their first value."""
        other = copy(self)
        other._count, other._level = np.zeros(1), np.zeros(len(self._level))
        return other

    def run(self, x: Float64, out: Float64) -> None:
        """x: (rows,); out: (any, rows), into whose rows the levels go."""
        smooth(
            x,
            self._seed_bars,
            self._weight,
            self._place,
            self._count,
            self._level,
            self._tile,
            out,
        )


class FeatureBlock:
    """The features `specs` of one stream, kept up to date as bars come.

    Row i of what `extend` returns depends on bar i and the bars before it, never on later
    ones, and comes out the same to the last bit however the bars are cut into blocks.
    Raises ConfigError for a kind of feature that does not exist.
    """

    def __init__(self, specs: Sequence[Feature], resolution_ns: int) -> None:
        self._specs = tuple(specs)
        self._resolution_ns = resolution_ns
        needed = _closure(self._specs)
        places, recursions = _places(self._specs, needed)
        self._steps = [(_compute(feature, places), recursions.get(feature)) for feature in needed]
        self._daily = [(f.zone, f.params[0]) for f in needed if f.kind in DAILY]
        self._width = max([len(self._specs), *(place + 1 for place in places.values())])
        self._tail = max([1, *(_lookback(feature) for feature in needed)])
        # Columns to fill once all steps are done: (column, step, lag).
        self._columns = [
            (column, needed.index(_newest(feature)), feature.lag)
            for column, feature in enumerate(self._specs)
            if feature.lag or not _is_in_place(feature, column, places)
        ]
        self._begin()

    def _begin(self) -> None:
        """Forget all bars."""
        self._high = np.full(self._tail, np.nan)
        self._low = np.full(self._tail, np.nan)
        self._close = np.full(self._tail, np.nan)
        self._bars = 0
        self._days = {(zone, hour): Days(zone, hour) for zone, hour in self._daily}
        self._past: dict[int, Float64] = {}  # by step: its newest values, for lags
        for _, step, lag in self._columns:
            if lag > len(self._past.get(step, ())):
                self._past[step] = np.full(lag, np.nan)

    def fresh(self) -> FeatureBlock:
        """The same features before the first bar: far cheaper than to build them anew."""
        other = copy(self)
        other._steps = [
            (compute, recursions and recursions.fresh()) for compute, recursions in self._steps
        ]
        other._begin()
        return other

    @property
    def specs(self) -> tuple[Feature, ...]:
        """The columns, in order."""
        return self._specs

    def extend(
        self,
        open_ns: Int64,
        open: Float64,
        high: Float64,
        low: Float64,
        close: Float64,
        volume: Float64,
    ) -> Float64:
        """The features of the next bars: (rows,) each → (rows, len(specs)), NaN until warm.

        Each column of the result lies in one piece (Fortran order).
        """
        rows = len(close)
        if not rows:
            return np.empty((0, len(self._specs)))
        window = Window(
            tail=self._tail,
            high=np.concatenate((self._high, high)),
            low=np.concatenate((self._low, low)),
            close=np.concatenate((self._close, close)),
            volume=volume,
            bar_count=np.arange(self._bars + 1, self._bars + 1 + rows, dtype=np.float64),
        )
        days: DaysByKey = {
            key: self._day(follower, open_ns, high, low) for key, follower in self._days.items()
        }
        out = np.empty((self._width, rows))
        self._fill(out, window, days)
        self._high = window.high[-self._tail :].copy()
        self._low = window.low[-self._tail :].copy()
        self._close = window.close[-self._tail :].copy()
        self._bars += rows
        return out[: len(self._specs)].T

    def _day(self, follower: Days, open_ns: Int64, high: Float64, low: Float64) -> Day:
        day_high, day_low, start_ns = follower.extend(open_ns, high, low)
        return Day(
            high=day_high, low=day_low, start_ns=start_ns, close_ns=open_ns + self._resolution_ns
        )

    def _fill(self, out: Float64, window: Window, days: DaysByKey) -> None:
        known: list[Float64] = []
        for compute, recursions in self._steps:
            value = compute(window, days, out)
            if recursions is not None:
                recursions.run(value, out)
            known.append(value)
        for column, step, lag in self._columns:
            if lag:
                self._fill_lagged(out[column], known[step], self._past[step], lag)
            else:
                out[column] = known[step]
        for step, past in self._past.items():
            kept = len(past)
            self._past[step] = np.concatenate((past, known[step][-kept:]))[-kept:]

    @staticmethod
    def _fill_lagged(out: Float64, newest: Float64, past: Float64, lag: int) -> None:
        from_past = min(lag, len(out))
        first = len(past) - lag
        out[:from_past] = past[first : first + from_past]
        out[from_past:] = newest[: len(out) - from_past]


def _closure(specs: Sequence[Feature]) -> list[Feature]:
    """All features to compute, unlagged, each after those that it is made of."""
    ordered: dict[Feature, None] = {}

    def need(feature: Feature) -> None:
        if feature in ordered:
            return
        for part in _parts(feature):
            need(part.source)
        if not any(feature.kind in table for table in (SMOOTHED, WINDOWED, DAILY)):
            names = ", ".join(sorted({*SMOOTHED, *WINDOWED, *DAILY}))
            raise ConfigError(f"feature {feature} is of no known kind; there are: {names}")
        ordered[feature] = None

    for feature in specs:
        need(_newest(feature))
    return list(ordered)


def _places(
    specs: Sequence[Feature], needed: Sequence[Feature]
) -> tuple[dict[Smooth, int], dict[Feature, _Recursions]]:
    """Where each recursion is written, and the recursions of each source.

    One that is itself asked for goes straight into its column of the result, the others
    behind the last.
    """
    places: dict[Smooth, int] = {}
    for column, feature in enumerate(specs):
        if not feature.lag and _is_one_recursion(feature):
            places.setdefault(_parts(feature)[0], column)
    spare = len(specs)
    for feature in needed:
        for part in _parts(feature):
            if part not in places:
                places[part] = spare
                spare += 1
    by_source: dict[Feature, list[tuple[Smooth, int]]] = {}
    for part, place in places.items():
        by_source.setdefault(part.source, []).append((part, place))
    return places, {source: _Recursions(parts) for source, parts in by_source.items()}


def _compute(feature: Feature, places: Mapping[Smooth, int]) -> Compute:
    """What gives the feature's newest values, (rows,), from a block."""
    params = feature.params
    if feature.kind in WINDOWED:
        windowed = WINDOWED[feature.kind].value
        return lambda window, days, out: windowed(window, params)
    if feature.kind in DAILY:
        daily, key = DAILY[feature.kind], (feature.zone, params[0])
        return lambda window, days, out: daily(days[key])
    combine = SMOOTHED[feature.kind].value
    rows = [places[part] for part in _parts(feature)]
    if combine is None:
        return lambda window, days, out: out[rows[0]]
    return lambda window, days, out: combine([out[row] for row in rows])


def _parts(feature: Feature) -> tuple[Smooth, ...]:
    kind = SMOOTHED.get(feature.kind)
    return () if kind is None else kind.parts(feature.params)


def _is_one_recursion(feature: Feature) -> bool:
    kind = SMOOTHED.get(feature.kind)
    return kind is not None and kind.value is None


def _is_in_place(feature: Feature, column: int, places: Mapping[Smooth, int]) -> bool:
    """Whether its recursion is written into this very column."""
    return _is_one_recursion(feature) and places[_parts(feature)[0]] == column


def _newest(feature: Feature) -> Feature:
    return msgspec.structs.replace(feature, lag=0) if feature.lag else feature


def _lookback(feature: Feature) -> int:
    kind = WINDOWED.get(feature.kind)
    return 0 if kind is None else kind.lookback(feature.params)
