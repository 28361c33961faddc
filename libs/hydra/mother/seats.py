"""Seats: an engine before the screen of one stream of bars.

Work that does not depend on the engine is done once for all seats of a stream, a chunk of
bars at a time: histories, features, and the row of features of each distinct wish list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.engines.view import History, View
from hydra.features.block import FeatureBlock
from hydra.features.specs import Feature
from hydra.market.bars import BarTable, Stream
from hydra.mother.contestants import Contestant
from hydra.portfolio.intents import Intent

Features = tuple[float, ...]
Wish = Sequence[Intent] | Awaitable[Sequence[Intent]]
Decide = Callable[[View], Wish]

TAIL_BARS = 1_000  # how far back an engine may look


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One contestant on one stream."""

    contestant: Contestant
    account: int
    view: View
    columns: tuple[int, ...]  # its features among the stream's


Play = tuple[Decide, View, Sequence[Features | None], Seat]


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
    _specs: dict[Feature, int] = field(default_factory=dict)

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

    def load(self, table: BarTable) -> None:
        """Take in the bars of a chunk; `history.at` stays before them."""
        h = self.history
        keep = slice(max(0, len(h.open_ns) - TAIL_BARS), None)
        for name in (
            "open_ns", "open", "high", "low", "close", "volume", "bid_close", "ask_close",
        ):  # fmt: skip
            setattr(h, name, np.concatenate((getattr(h, name)[keep], getattr(table, name))))
        self.base = len(h.open_ns) - len(table)
        h.at = self.base - 1
        rows = self._rows(table)
        entries = [
            (seat.contestant.engine.decide, seat.view, rows[seat.columns], seat)
            for seat in self.seats
        ]
        self.play = [entry for entry in entries if entry[3].contestant.every_s is None]
        self.on_clock = [entry for entry in entries if entry[3].contestant.every_s is not None]

    def _rows(self, table: BarTable) -> dict[tuple[int, ...], list[Features | None]]:
        n = len(table)
        rows: dict[tuple[int, ...], list[Features | None]] = {(): [()] * n}
        if self.block is None or n == 0:
            return {seat.columns: rows[()] for seat in self.seats}
        values = self.block.extend(
            table.open_ns, table.open, table.high, table.low, table.close, table.volume
        )
        warm = ~np.isnan(values)
        lists = self._lists(values)
        for columns in {seat.columns for seat in self.seats} - {()}:
            whole: list[Features | None] = list(zip(*(lists[c] for c in columns), strict=True))
            cold: NDArray[np.int64] = np.flatnonzero(~warm[:, columns].all(axis=1))
            for row in cold.tolist():
                whole[row] = None
            rows[columns] = whole
        return rows

    def _lists(self, values: NDArray[np.float64]) -> list[list[float]]:
        """The columns as Python floats; a lagged one shares those of the feature it lags."""
        lists: list[list[float]] = [[]] * len(self._specs)
        for feature, column in sorted(self._specs.items(), key=lambda item: item[0].lag):
            newest = self._specs.get(msgspec.structs.replace(feature, lag=0), column)
            if newest == column:
                lists[column] = values[:, column].tolist()
            else:
                lag = min(feature.lag, len(values))
                before = values[:lag, column].tolist()
                lists[column] = before + lists[newest][: len(values) - lag]
        return lists

    def show_clock_seats(self) -> None:
        """Bring the views of engines on a clock up to the newest bar."""
        bar = self.history.at - self.base
        if bar >= 0:
            for _, view, rows, _ in self.on_clock:
                view.features = rows[bar] or ()

    def dismiss(self, account: int) -> None:
        """Take the contestant's seat away, for good."""
        self.seats = [seat for seat in self.seats if seat.account != account]
        self.play = [entry for entry in self.play if entry[3].account != account]
        self.on_clock = [entry for entry in self.on_clock if entry[3].account != account]
