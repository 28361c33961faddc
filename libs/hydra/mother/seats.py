"""Seats: an engine before the screen of one stream of bars.

Work that does not depend on the engine is done once for all seats of a stream, a chunk of
bars at a time: histories, features, and the row of features of each distinct wish list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.engines.protocol import Decision
from hydra.engines.view import LOOK_BACK_BARS, History, View
from hydra.errors import EngineError
from hydra.features.block import FeatureBlock
from hydra.features.specs import Feature
from hydra.market.bars import BarTable, Stream
from hydra.mother.contestants import Contestant

Features = tuple[float, ...]
Wish = Decision | Awaitable[Decision]
Decide = Callable[[View], Wish]


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One contestant on one stream."""

    contestant: Contestant
    account: int
    view: View
    columns: tuple[int, ...]  # its features among the stream's
    wakes: Callable[[NDArray[np.float64]], object] | None = None  # of an engine that sleeps
    decide: Decide = field(init=False)

    def __post_init__(self) -> None:
        self.decide = self.contestant.engine.decide


Play = tuple[Decide, View, Sequence[Features | None], Seat]
Call = tuple[Decide, View, Features, Seat]


@dataclass(slots=True, kw_only=True)
class Screen:
    """One stream and the seats before it."""

    stream: Stream
    seats: list[Seat] = field(default_factory=list)
    history: History
    block: FeatureBlock | None = None
    base: int = 0  # row of the history that holds the chunk's first bar
    play: list[Play] = field(default_factory=list)  # asked at every bar
    on_clock: list[Play] = field(default_factory=list)  # asked when their time has come
    awake: list[list[Call]] = field(default_factory=list)  # by bar: sleepers to ask
    _specs: dict[Feature, int] = field(default_factory=dict)
    _asked: list[Seat] = field(default_factory=list)  # the seats, by when they are asked
    _timed: list[Seat] = field(default_factory=list)
    _sleepers: list[Seat] = field(default_factory=list)
    _wanted: frozenset[tuple[int, ...]] = frozenset()  # wish lists of those asked and timed

    @classmethod
    def of(cls, stream: Stream) -> Screen:
        """A screen without seats or bars."""
        none = np.zeros(0)
        no_instant = np.zeros(0, np.int64)
        return cls(
            stream=stream,
            history=History(
                instrument=stream.instrument,
                resolution_ns=stream.resolution_ns,
                open_ns=no_instant,
                open=none,
                high=none,
                low=none,
                close=none,
                volume=none,
                bid_close=no_instant,
                ask_close=no_instant,
            ),
        )

    def column_of(self, feature: Feature) -> int:
        """Where the feature stands among the stream's; equal wishes share a column."""
        return self._specs.setdefault(feature, len(self._specs))

    def start(self) -> None:
        """Call once all seats are taken."""
        if self._specs:
            self.block = FeatureBlock(tuple(self._specs), self.stream.resolution_ns)
        self._sort()

    def _sort(self) -> None:
        """By when they are asked."""
        self._sleepers = [seat for seat in self.seats if seat.wakes is not None]
        others = [seat for seat in self.seats if seat.wakes is None]
        self._asked = [seat for seat in others if seat.contestant.every_s is None]
        self._timed = [seat for seat in others if seat.contestant.every_s is not None]
        self._wanted = frozenset(seat.columns for seat in others)

    def load(self, table: BarTable) -> None:
        """Take in the bars of a chunk; `history.at` stays before them."""
        h = self.history
        keep = slice(max(0, len(h.open_ns) - LOOK_BACK_BARS), None)
        for name in (
            "open_ns", "open", "high", "low", "close", "volume", "bid_close", "ask_close",
        ):  # fmt: skip
            setattr(h, name, np.concatenate((getattr(h, name)[keep], getattr(table, name))))
        self.base = len(h.open_ns) - len(table)
        h.at = self.base - 1
        values = np.empty((len(table), 0))
        if self.block is not None and len(table):
            values = self.block.extend(
                table.open_ns, table.open, table.high, table.low, table.close, table.volume
            )
        rows = self._row(values) if len(table) == 1 else self._rows(values, self._wanted)
        self.play = [(one.decide, one.view, rows[one.columns], one) for one in self._asked]
        self.on_clock = [(one.decide, one.view, rows[one.columns], one) for one in self._timed]
        self._wake(self._sleepers, values)

    def _wake(self, sleepers: Sequence[Seat], values: NDArray[np.float64]) -> None:
        """Lay out which sleepers are to be asked at which bar."""
        self.awake = [[] for _ in range(len(values) if sleepers else 0)]
        for seat in sleepers if len(values) else ():
            mine = values[:, seat.columns]
            faults: dict[int, Exception] = {}
            try:
                asked = _wakes(seat, mine)
            except Exception:
                # Row by row, so that it fails at the bar at which it fails, however the bars
                # are cut into chunks.
                asked, faults = _wakes_by_row(seat, mine)
            bars = np.flatnonzero(asked & ~np.isnan(mine).any(axis=1))
            for bar, seen in zip(bars.tolist(), mine[bars].tolist(), strict=True):
                decide = _failing(faults[bar]) if bar in faults else seat.decide
                self.awake[bar].append((decide, seat.view, tuple(seen), seat))

    def _row(self, values: NDArray[np.float64]) -> dict[tuple[int, ...], list[Features | None]]:
        """As `_rows`, of one bar: there are no columns to be cut into rows."""
        (row,) = values.tolist()
        cold = {column for column, value in enumerate(row) if value != value}  # NaN alone is not
        return {
            columns: [
                None
                if cold and not cold.isdisjoint(columns)
                else tuple([row[column] for column in columns])
            ]
            for columns in self._wanted
        }

    def _rows(
        self, values: NDArray[np.float64], wanted: Set[tuple[int, ...]]
    ) -> dict[tuple[int, ...], list[Features | None]]:
        """Each bar's features of every distinct wish list; None until all are warm."""
        rows: dict[tuple[int, ...], list[Features | None]] = {(): [()] * len(self._new_bars())}
        if not len(values):
            return rows | {columns: [] for columns in wanted if columns}
        warm = ~np.isnan(values)
        lists = self._lists(values, {column for columns in wanted for column in columns})
        for columns in wanted - {()}:
            whole: list[Features | None] = list(zip(*(lists[c] for c in columns), strict=True))
            cold: NDArray[np.int64] = np.flatnonzero(~warm[:, columns].all(axis=1))
            for row in cold.tolist():
                whole[row] = None
            rows[columns] = whole
        return rows

    def _new_bars(self) -> NDArray[np.int64]:
        return self.history.open_ns[self.base :]

    def _lists(self, values: NDArray[np.float64], wanted: set[int]) -> dict[int, list[float]]:
        """The columns as Python floats; a lagged one shares those of the feature it lags."""
        lists: dict[int, list[float]] = {}
        for feature, column in sorted(self._specs.items(), key=lambda item: item[0].lag):
            if column not in wanted:
                continue
            newest = lists.get(self._specs.get(msgspec.structs.replace(feature, lag=0), -1))
            if not feature.lag or newest is None:
                lists[column] = values[:, column].tolist()
            else:
                lag = min(feature.lag, len(values))
                lists[column] = values[:lag, column].tolist() + newest[: len(values) - lag]
        return lists

    def show_clock_seats(self) -> None:
        """Bring the views of engines on a clock up to the newest bar."""
        bar = self.history.at - self.base
        if bar >= 0:
            for _, view, rows, _ in self.on_clock:
                view.features = rows[bar] or ()

    def bind(self, account: int, decide: Decide) -> None:
        """From the next bar on ask this instead of what the contestant was asked by so far."""
        for seat in self.seats:
            if seat.account != account:
                continue
            before, seat.decide = seat.decide, decide
            self.play = [(decide, *e[1:]) if e[0] is before else e for e in self.play]
            self.on_clock = [(decide, *e[1:]) if e[0] is before else e for e in self.on_clock]
            self.awake = [
                [(decide, *c[1:]) if c[0] is before else c for c in calls] for calls in self.awake
            ]

    def dismiss(self, account: int) -> None:
        """Take the contestant's seat away, for good."""
        self.seats = [seat for seat in self.seats if seat.account != account]
        self._sort()
        self.play = [entry for entry in self.play if entry[3].account != account]
        self.on_clock = [entry for entry in self.on_clock if entry[3].account != account]
        self.awake = [[c for c in calls if c[3].account != account] for calls in self.awake]


def closes_of(screens: Sequence[Screen]) -> dict[tuple[str, int], float]:
    """The newest closes, by symbol and length of the bar in ns."""
    return {
        (one.stream.symbol, one.stream.resolution_ns): float(one.history.close[one.history.at])
        for one in screens
    }


def _wakes(seat: Seat, features: NDArray[np.float64]) -> NDArray[np.bool_]:
    asked = seat.wakes(features) if seat.wakes is not None else None
    if not (
        isinstance(asked, np.ndarray)
        and asked.dtype == np.bool_
        and asked.shape == (len(features),)
    ):
        raise EngineError("wakes() must give an array of one bool for each row")
    return asked


def _wakes_by_row(
    seat: Seat, features: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], dict[int, Exception]]:
    """As `_wakes`, and the rows on which it fails, which count as awake."""
    asked = np.ones(len(features), np.bool_)
    faults: dict[int, Exception] = {}
    for row in range(len(features)):
        try:
            asked[row] = _wakes(seat, features[row : row + 1])[0]
        except Exception as error:
            faults[row] = error
    return asked, faults


def _failing(error: Exception) -> Decide:
    """A decision that fails as the engine's `wakes` did on its bar."""

    def decide(view: View) -> Wish:
        raise error

    return decide
