"""Kept bars as a season plays them: the same the first time and every time after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hydra.feeds.cycles import Cycles, joined
from hydra.feeds.kept import NO_BAR, SETTLES, KeptBars
from hydra.market.bars import BarTable, Chunk
from hydra.storage.bars import KeptBar


def cycles_of(cycles: Cycles, close_ns: int, bars: Sequence[KeptBar]) -> Iterator[Chunk]:
    """The cycles of kept bars: of nothing else, so that they are the same the second time.

    A coarse bar that ended while no bar closed has its cycle now, before that of the bars.
    """
    fit = {bar.table.symbol: bar.unfit for bar in bars}
    settles_only = any(bar.unfit in SETTLES for bar in bars)
    nothing = dict.fromkeys(cycles.symbols, NO_BAR)
    for overdue_ns in cycles.overdue(close_ns):
        late = cycles.chunk(overdue_ns, {}, nothing, settles_only=settles_only)
        if late is not None:
            yield late
    unfit = {symbol: fit.get(symbol, NO_BAR) for symbol in cycles.symbols}
    chunk = cycles.chunk(
        close_ns,
        {bar.table.symbol: bar.table for bar in bars},
        {symbol: why for symbol, why in unfit.items() if why},
        settles_only=settles_only,
    )
    if chunk is not None:
        yield chunk


def begin(cycles: Cycles, warm: Sequence[KeptBars], start_ns: int) -> list[BarTable]:
    """Take bars from before the season into its cycles.

    Returns what Mother is to be warmed with, so that engines decide at the first bar: a table a
    stream, or nothing.
    """
    by_stream: dict[tuple[str, int], list[BarTable]] = {}
    for one in warm:
        key = (one.table.symbol, one.table.resolution_ns)
        by_stream.setdefault(key, []).append(one.table)
    tables = {key: joined(parts) for key, parts in by_stream.items()}
    keys = [(stream.symbol, stream.resolution_ns) for stream in cycles.streams]
    fine = {
        stream.symbol: tables[key]
        for stream, key in zip(cycles.streams, keys, strict=True)
        if stream.execution and key in tables
    }
    cycles.begin(fine, start_ns)
    return [tables.get(key, cycles.empty[key]) for key in keys] if tables else []
