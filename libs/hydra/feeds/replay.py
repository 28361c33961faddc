"""Bars of the past, as cycles: everything that closed at one instant, instant by instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hydra.errors import ConfigError
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, Chunk, Int64, Stream


def streams_of(tables: Sequence[BarTable]) -> tuple[Stream, ...]:
    """The streams of the tables, by symbol and then from fine to coarse.

    The finest of each symbol is its execution stream. Raises ConfigError when two tables
    hold the same symbol and resolution.
    """
    keys = [(table.symbol, table.resolution_ns) for table in _in_order(tables)]
    if len(set(keys)) < len(keys):
        raise ConfigError("two tables hold the same symbol and resolution")
    return tuple(
        Stream(
            index=index,
            instrument=table.instrument,
            resolution_ns=table.resolution_ns,
            execution=index == 0 or keys[index - 1][0] != table.symbol,
        )
        for index, table in enumerate(_in_order(tables))
    )


class ReplayFeed:
    """Merges tables into cycles by the instant at which their bars close."""

    def __init__(
        self, streams: Sequence[Stream], tables: Sequence[BarTable], chunk_cycles: int = 1024
    ) -> None:
        """`streams` as `streams_of(tables)`; the tables may come in any order.

        Raises ConfigError when a stream has no table or the other way round.
        """
        if chunk_cycles < 1:
            raise ConfigError(f"chunks of {chunk_cycles} cycles; take at least 1")
        ordered = _in_order(tables)
        self._streams = tuple(streams)
        if [(s.symbol, s.resolution_ns) for s in streams] != [
            (table.symbol, table.resolution_ns) for table in ordered
        ]:
            raise ConfigError("streams and tables do not match; make them with streams_of")
        self._tables = ordered
        self._chunk_cycles = chunk_cycles
        self._closes = [table.open_ns + table.resolution_ns for table in ordered]
        self.close_ns: Int64  # (cycles,) instants, rising
        self.close_ns, self._first_row, self._row_stream = _cycles(self._closes)

    @property
    def cycles(self) -> int:
        """How many cycles there are in all."""
        return len(self.close_ns)

    @property
    def first_ns(self) -> int:
        """The instant of the first cycle."""
        return int(self.close_ns[0])

    @property
    def last_ns(self) -> int:
        """The instant of the last cycle."""
        return int(self.close_ns[-1])

    def until(self, end_ns: int) -> ReplayFeed:
        """The same feed without the cycles after an instant; there may be none left."""
        tables = [
            rows_between(table, 0, int(np.searchsorted(closes, end_ns, side="right")))
            for table, closes in zip(self._tables, self._closes, strict=True)
        ]
        return ReplayFeed(self._streams, tables, self._chunk_cycles)

    def chunks(self) -> Iterator[Chunk]:
        """All cycles, oldest first; every table in a chunk is a view of the whole one."""
        for low in range(0, self.cycles, self._chunk_cycles):
            yield self.chunk(low, min(low + self._chunk_cycles, self.cycles))

    def chunk(self, low: int, high: int) -> Chunk:
        """The cycles `low` to before `high`, at least one."""
        first_row = self._first_row[low : high + 1]
        row_stream = self._row_stream[first_row[0] : first_row[-1]].astype(np.int64)
        row_bar = np.empty(len(row_stream), np.int64)
        tables = []
        for index, (table, closes) in enumerate(zip(self._tables, self._closes, strict=True)):
            start = int(np.searchsorted(closes, self.close_ns[low], side="left"))
            end = int(np.searchsorted(closes, self.close_ns[high - 1], side="right"))
            row_bar[row_stream == index] = np.arange(end - start)
            tables.append(rows_between(table, start, end))
        return Chunk(
            close_ns=self.close_ns[low:high],
            first_row=first_row - first_row[0],
            row_stream=row_stream,
            row_bar=row_bar,
            tables=tuple(tables),
        )


def _in_order(tables: Sequence[BarTable]) -> list[BarTable]:
    return sorted(tables, key=lambda table: (table.symbol, table.resolution_ns))


def _cycles(
    closes: Sequence[Int64],
) -> tuple[Int64, Int64, np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """(instants of the cycles, first row of each and the end, stream of each row)."""
    lengths = [len(column) for column in closes]
    streams = np.repeat(np.arange(len(closes), dtype=np.int32), lengths)
    if len(closes) == 1:  # already in order
        return closes[0], np.arange(lengths[0] + 1), streams
    every = np.concatenate(closes) if closes else np.empty(0, np.int64)
    order = np.lexsort((streams, every))
    every = every[order]
    starts = np.flatnonzero(
        np.concatenate((np.ones(min(1, len(every)), np.bool_), every[1:] != every[:-1]))
    )
    first_row = np.concatenate((starts, [len(every)])).astype(np.int64)
    return every[starts], first_row, streams[order]
