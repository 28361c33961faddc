"""What a price file holds, faults and gaps included: for people to look at before a season."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from hydra.clock import iso
from hydra.feeds.barfile import decimals_of
from hydra.feeds.columns import read_columns
from hydra.feeds.times import WallClock
from hydra.feeds.validate import Fault, Verdicts, common_gap, judge, rows_of
from hydra.market.bars import Int64
from hydra.market.catalogue import Catalogue
from hydra.market.sessions import sessions
from hydra.market.timeframes import timeframe_name


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch without bars: from the last bar's open before it to the first one's after."""

    last: str
    next: str
    missing_bars: int


class SymbolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol in one file. Instants are ISO 8601, UTC."""

    file: str
    symbol: str
    rows: int  # all, faulty ones included
    first: str | None  # of the good rows; None where there are none
    last: str | None
    resolution: str | None  # None below two good rows
    gaps: int  # stretches without bars while the market was open
    missing_bars: int  # in those stretches
    largest_gap: Gap | None
    closed_gaps: int  # weekends, nights and other stretches that the calendar leaves closed
    off_step: int  # bars that do not keep the resolution's step
    duplicates: int
    faults: dict[str, int]  # rows by reason, duplicates included
    examples: tuple[str, ...]  # the first faulty rows, as a season would refuse them
    time_zone: str
    time_zone_assumed: bool  # the file names none and neither did --tz
    real_spread: bool
    has_volume: bool  # some bar has a volume above 0
    decimals: int | None
    known: bool  # the instrument catalogue has it


def inspect_file(path: Path, catalogue: Catalogue, tz: str | None = None) -> list[SymbolFacts]:
    """The facts of each symbol in a file, in order of appearance; faulty rows are counted.

    Rows that name no symbol come last, under the symbol "". Raises ConfigError and DataFault
    only where there is nothing to look at: no such file, no CSV or Parquet, no price columns.
    """
    raw = read_columns(path, catalogue, None if tz is None else WallClock.named(tz))
    verdicts = judge(raw)
    facts = [_facts(verdicts, code, catalogue, tz) for code in range(len(raw.names))]
    nameless = _facts(verdicts, -1, catalogue, tz)
    return [*facts, nameless] if nameless.rows else facts


def _facts(verdicts: Verdicts, code: int, catalogue: Catalogue, tz: str | None) -> SymbolFacts:
    raw = verdicts.raw
    symbol = "" if code < 0 else raw.names[code]
    mine = (raw.codes == code) & ~raw.blank
    good = rows_of(verdicts, code) if code >= 0 else np.empty(0, np.int64)
    at_ns = raw.times.at_ns[good]
    bad = np.flatnonzero(mine & (verdicts.fault != Fault.NONE))
    kinds, counts = np.unique(verdicts.fault[bad], return_counts=True)
    faults = {Fault(int(kind)).text: int(n) for kind, n in zip(kinds, counts, strict=True)}
    step = common_gap(at_ns)
    known = catalogue.find(symbol) if symbol else None
    open_gaps, closed_gaps = (
        ([], 0) if step is None else _gaps(at_ns, step, known.calendar if known else "24/7")
    )
    largest = max(open_gaps, key=lambda gap: gap.missing_bars, default=None)
    volume = raw.volume[good] if raw.volume is not None else None
    prices = [column[good] for column in raw.prices.values()]
    return SymbolFacts(
        file=raw.file,
        symbol=symbol,
        rows=int(mine.sum()),
        first=iso(int(at_ns[0])) if len(at_ns) else None,
        last=iso(int(at_ns[-1])) if len(at_ns) else None,
        resolution=None if step is None else timeframe_name(step),
        gaps=len(open_gaps),
        missing_bars=sum(gap.missing_bars for gap in open_gaps),
        largest_gap=largest,
        closed_gaps=closed_gaps,
        off_step=0 if step is None else int(np.count_nonzero(np.diff(at_ns) % step)),
        duplicates=faults.get(Fault.DUPLICATE.text, 0),
        faults=faults,
        examples=tuple(verdicts.describe(int(row)) for row in bad[:3]),
        time_zone=raw.times.zone,
        time_zone_assumed=tz is None and not raw.times.had_zone,
        real_spread=raw.has_quotes,
        has_volume=volume is not None and bool((volume > 0).any()),
        decimals=decimals_of(prices)[0] if len(at_ns) else None,
        known=known is not None,
    )


def _gaps(at_ns: Int64, step: int, calendar: str) -> tuple[list[Gap], int]:
    """(gaps while the market was open, how many others there are)."""
    before = np.flatnonzero(np.diff(at_ns) > step)
    if not len(before):
        return [], 0
    start, end = at_ns[before] + step, at_ns[before + 1]
    missing = (end - start) // step
    if calendar != "24/7":
        missing = np.minimum(missing, _open_ns(calendar, start, end) // step)
    gaps = [
        Gap(
            last=iso(int(at_ns[row])),
            next=iso(int(at_ns[row + 1])),
            missing_bars=int(bars),
        )
        for row, bars in zip(before, missing, strict=True)
        if bars > 0
    ]
    return gaps, len(before) - len(gaps)


def _open_ns(calendar: str, start: Int64, end: Int64) -> Int64:
    """How long the market is open within each stretch `start[i]` to `end[i]`, ns."""
    hours = sessions(calendar, int(start[0]), int(end[-1]))
    if not len(hours.open_ns):
        return np.zeros(len(start), np.int64)
    lengths = np.concatenate(([0], np.cumsum(hours.close_ns - hours.open_ns)))

    def open_until(at_ns: Int64) -> Int64:
        session = np.searchsorted(hours.open_ns, at_ns, side="right") - 1
        inside = np.minimum(at_ns, hours.close_ns[session]) - hours.open_ns[session]
        total: Int64 = np.where(session < 0, 0, lengths[session] + inside)
        return total

    return open_until(end) - open_until(start)
