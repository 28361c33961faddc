"""From bars that close now to a cycle: the fine ones as they are, the coarse ones gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk, Stream, no_depth
from hydra.market.resample import resampled


class Cycles:
    """Keeps the fine bars of coarse ones that have not closed, of all streams of a season."""

    def __init__(self, streams: Sequence[Stream], empty: Mapping[str, BarTable]) -> None:
        """`empty`: a table without rows for each symbol, of its finest bars."""
        self.streams = tuple(streams)
        self.empty = {
            (s.symbol, s.resolution_ns): (
                empty[s.symbol]
                if s.execution
                else resampled(rows_between(empty[s.symbol], 0, 0), s.resolution_ns)
            )
            for s in streams
        }
        self._open: dict[tuple[str, int], list[BarTable]] = {
            (s.symbol, s.resolution_ns): [] for s in streams if not s.execution
        }
        self._heard_ns: dict[tuple[str, int], int] = {}  # coarse bars from then on are whole

    @property
    def symbols(self) -> tuple[str, ...]:
        """Of the season."""
        return tuple(stream.symbol for stream in self.streams if stream.execution)

    def begin(self, earlier: Mapping[str, BarTable], now_ns: int) -> None:
        """Take in fine bars from before `now_ns`, of coarse ones that are not over then. A symbol
        without any was not heard before: its coarse bars that opened sooner do not close."""
        for (symbol, length_ns), parts in self._open.items():
            table = earlier.get(symbol)
            if table is None or not len(table):
                self._heard_ns[symbol, length_ns] = now_ns
                continue
            first = int(np.searchsorted(table.open_ns, now_ns - now_ns % length_ns))
            parts[:] = [rows_between(table, first, len(table))] if first < len(table) else []

    def overdue(self, close_ns: int) -> list[int]:
        """Instants before `close_ns` at which a coarse bar ended while no fine one closed: each
        is a cycle of its own, to be had by `chunk` without bars, before that at `close_ns`."""
        due: set[int] = set()
        for (_, length_ns), parts in self._open.items():
            if parts:
                end_ns = (int(parts[-1].open_ns[-1]) // length_ns + 1) * length_ns
                if end_ns < close_ns:
                    due.add(end_ns)
        return sorted(due)

    def chunk(
        self,
        close_ns: int,
        bars: Mapping[str, BarTable],
        unfit: Mapping[str, str] | None = None,
        *,
        settles_only: bool = False,
    ) -> Chunk | None:
        """The cycle at `close_ns`, to be called in order and at least whenever a coarse bar ends.

        `bars` are those that close now, a row each. None where nothing closes.
        """
        closing: list[BarTable] = []
        for stream in self.streams:
            key = (stream.symbol, stream.resolution_ns)
            now = bars.get(stream.symbol)
            if stream.execution:
                closing.append(self.empty[key] if now is None else now)
                continue
            parts = self._open[key]
            if now is not None:
                parts.append(now)
            if close_ns % stream.resolution_ns:
                closing.append(self.empty[key])
                continue
            if parts and close_ns - stream.resolution_ns >= self._heard_ns.get(key, 0):
                whole = joined(parts)
                closing.append(resampled(whole, stream.resolution_ns, is_covered=True))
            else:
                closing.append(self.empty[key])
            parts.clear()
        rows = [stream.index for stream in self.streams if len(closing[stream.index])]
        if not rows:
            return None
        return Chunk(
            close_ns=np.array([close_ns], np.int64),
            first_row=np.array([0, len(rows)], np.int64),
            row_stream=np.array(rows, np.int64),
            row_bar=np.zeros(len(rows), np.int64),
            tables=tuple(closing),
            unfit=dict(unfit or {}),
            settles_only=settles_only,
        )

    def gathered(self, bars: Mapping[str, BarTable]) -> list[BarTable]:
        """The bars of all streams, in their order, that `chunk` gives from here to the newest of
        these fine ones. By symbol, at least one; `chunk` goes on after them."""
        end_ns = max(int(one.open_ns[-1]) + one.resolution_ns for one in bars.values())
        found = []
        for stream in self.streams:
            key = (stream.symbol, stream.resolution_ns)
            now = bars.get(stream.symbol)
            if stream.execution:
                found.append(self.empty[key] if now is None else now)
                continue
            parts = self._open[key] + ([] if now is None else [now])
            if not parts:
                found.append(self.empty[key])
                continue
            whole = joined(parts)
            over = int(np.searchsorted(whole.open_ns, end_ns - end_ns % stream.resolution_ns))
            length_ns = stream.resolution_ns
            whole_ns = -(-self._heard_ns.get(key, 0) // length_ns) * length_ns
            first = int(np.searchsorted(whole.open_ns, whole_ns))
            ended = rows_between(whole, min(first, over), over)
            found.append(resampled(ended, stream.resolution_ns, is_covered=True))
            rest = rows_between(whole, over, len(whole))
            self._open[key] = [joined([rest])] if len(rest) else []  # a copy: no view of weeks
        return found


def joined(tables: Sequence[BarTable]) -> BarTable:
    """Tables of one symbol and resolution, one after the other, as one."""
    first = tables[0]
    columns: dict[str, Any] = {
        one.name: np.concatenate([getattr(table, one.name) for table in tables])
        for one in fields(first)
        if one.name != "depth" and isinstance(getattr(first, one.name), np.ndarray)
    }
    depths = [table.depth for table in tables]
    if any(depth is not None for depth in depths):
        columns["depth"] = np.concatenate(
            [
                no_depth(len(table)) if depth is None else depth
                for table, depth in zip(tables, depths, strict=True)
            ]
        )
    return BarTable(
        instrument=first.instrument,
        resolution_ns=first.resolution_ns,
        source=first.source,
        real_spread=all(table.real_spread for table in tables),
        **columns,
    )
