"""Kept bars as a season plays them: the same the first time and every time after."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.feeds.cycles import Cycles, joined
from hydra.market.bars import BarTable, Chunk, Stream
from hydra.mother.mother import Mother
from hydra.storage.bars import KeptBar

NO_BAR = "no bar of it closed just now"
MADE_UP = "made up from the venue's candles: the program was not there"
LATE = "played too late to trade on: the program was held up"
SETTLES = frozenset({MADE_UP, LATE})  # on such bars orders are settled and nobody is asked


def chunk_of(cycles: Cycles, close_ns: int, bars: Sequence[KeptBar]) -> Chunk | None:
    """The cycle of kept bars: of nothing else, so that it is the same the second time."""
    fit = {bar.table.symbol: bar.unfit for bar in bars}
    unfit = {symbol: fit.get(symbol, NO_BAR) for symbol in cycles.symbols}
    return cycles.chunk(
        close_ns,
        {bar.table.symbol: bar.table for bar in bars},
        {symbol: why for symbol, why in unfit.items() if why},
        settles_only=any(bar.unfit in SETTLES for bar in bars),
    )


def show_warm(
    mother: Mother, cycles: Cycles, streams: Sequence[Stream], warm: Sequence[KeptBar]
) -> None:
    """Show bars from before the season, so that engines decide at its first."""
    by_stream: dict[tuple[str, int], list[BarTable]] = {}
    for bar in warm:
        key = (bar.table.symbol, bar.table.resolution_ns)
        by_stream.setdefault(key, []).append(bar.table)
    tables = {key: joined(parts) for key, parts in by_stream.items()}
    if tables:
        empty = cycles.empty
        mother.warm(
            [
                tables.get((s.symbol, s.resolution_ns), empty[s.symbol, s.resolution_ns])
                for s in streams
            ]
        )
    cycles.begin(
        {
            s.symbol: tables[s.symbol, s.resolution_ns]
            for s in streams
            if s.execution and (s.symbol, s.resolution_ns) in tables
        }
    )
