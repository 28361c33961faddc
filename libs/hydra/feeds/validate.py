"""Finds the rows of a price file that cannot be true, and says of each why.

A row has at most one fault, the first of this order: no symbol, no time, no price, a price
that is no positive finite number, high below low, open or close outside them, a wrong volume,
ask below bid; then, among the rows still standing, times that repeat or go back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hydra.clock import iso
from hydra.errors import DataFault
from hydra.feeds.columns import ASKS, BIDS, NO_SYMBOL, TRADES, RawBars
from hydra.feeds.times import SKIPPED_HOUR, UNREADABLE
from hydra.market.bars import Int64
from hydra.market.timeframes import timeframe_name

LISTED = 5  # faults written out in one message
_MANY = 10  # rows from which a pattern is believed
_RUN = 20  # equal gaps in a row that make a resolution of their own


class Fault(IntEnum):
    """Why a row is refused; `text` is what people read."""

    NONE = 0
    RAGGED = 1
    NO_SYMBOL = 2
    NO_TIME = 3
    SKIPPED_HOUR = 4
    NO_NUMBER = 5
    INFINITE = 6
    NOT_POSITIVE = 7
    HIGH_BELOW_LOW = 8
    OUTSIDE = 9
    BAD_VOLUME = 10
    ASK_BELOW_BID = 11
    TIME_AHEAD = 12
    DUPLICATE = 13
    TIME_BACK = 14

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS = {
    Fault.NONE: "no fault",
    Fault.RAGGED: "more fields than the first line has",
    Fault.NO_SYMBOL: "no symbol",
    Fault.NO_TIME: "no time that can be read",
    Fault.SKIPPED_HOUR: "a local time that the clocks skip",
    Fault.NO_NUMBER: "NaN, empty or no number",
    Fault.INFINITE: "infinite",
    Fault.NOT_POSITIVE: "price not above 0",
    Fault.HIGH_BELOW_LOW: "high below low",
    Fault.OUTSIDE: "open or close outside low to high",
    Fault.BAD_VOLUME: "volume negative or infinite",
    Fault.ASK_BELOW_BID: "ask below bid",
    Fault.TIME_AHEAD: "time ahead of the rows after it",
    Fault.DUPLICATE: "duplicate: symbol and time of an earlier row",
    Fault.TIME_BACK: "time going back",
}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One verdict for each row of a file; blank lines are neither kept nor faulty."""

    raw: RawBars
    fault: NDArray[np.uint8]  # (n,) a Fault
    column: NDArray[np.uint8]  # (n,) index into `columns`
    columns: tuple[str, ...]  # names as this module knows them

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) rows without a fault."""
        kept: NDArray[np.bool_] = (self.fault == Fault.NONE) & ~self.raw.blank
        return kept

    @property
    def faulty(self) -> Int64:
        """(m,) row indices from 0, rising."""
        return np.flatnonzero(self.fault)

    def counts(self) -> dict[Fault, int]:
        """How many rows have each fault."""
        found = Counter(self.fault[self.faulty].tolist())
        return {Fault(kind): found[kind] for kind in sorted(found)}

    def describe(self, row: int) -> str:
        """row 17, BTC-USD, 2024-01-01T00:00:00Z, high: high below low (high 1, low 2)"""
        raw, kind = self.raw, Fault(self.fault[row])
        code = int(raw.codes[row])
        parts = [f"row {row + 1}"]
        if code != NO_SYMBOL:
            parts.append(raw.names[code])
        if raw.times.state[row] == 0:
            parts.append(iso(int(raw.times.at_ns[row])))
        name = self.columns[self.column[row]]
        spelt = raw.spelt.get(name)
        if spelt is not None:
            parts.append(f"column {spelt}")
        detail = self._figures(row, kind, name)
        return f"{', '.join(parts)}: {kind.text}{f' ({detail})' if detail else ''}"

    def _figures(self, row: int, kind: Fault, name: str) -> str:
        raw = self.raw

        def show(*names: str) -> str:
            return ", ".join(f"{raw.spelt[one]} {raw.prices[one][row]:.15g}" for one in names)

        if kind in (Fault.NOT_POSITIVE, Fault.INFINITE):
            return show(name)
        if kind in (Fault.HIGH_BELOW_LOW, Fault.OUTSIDE):
            _, high, low, _ = next(group for group in (TRADES, BIDS, ASKS) if name in group)
            return show(high, low) if kind is Fault.HIGH_BELOW_LOW else show(name, low, high)
        if kind is Fault.ASK_BELOW_BID:
            return show(name, BIDS[ASKS.index(name)])
        if kind is Fault.BAD_VOLUME and raw.volume is not None:
            return f"{raw.volume[row]:g}"
        if kind is Fault.TIME_BACK:
            earlier = self.kept[:row] & (raw.codes[:row] == raw.codes[row])
            latest = int(raw.times.at_ns[:row][earlier].max())
            return f"an earlier row has {iso(latest)}"
        return ""


def judge(raw: RawBars) -> Verdicts:
    """Judges every row. Raises nothing: see `refuse`."""
    rows = len(raw)
    columns = ("symbol", "time", *raw.prices, "volume")
    fault = np.zeros(rows, np.uint8)
    column = np.zeros(rows, np.uint8)

    def mark(bad: NDArray[np.bool_], kind: Fault, name: str) -> None:
        if bad.any():
            first = bad & (fault == Fault.NONE) & ~raw.blank
            fault[first] = kind
            column[first] = columns.index(name)

    mark(raw.ragged, Fault.RAGGED, "symbol")
    mark(raw.codes == NO_SYMBOL, Fault.NO_SYMBOL, "symbol")
    mark(raw.times.state == UNREADABLE, Fault.NO_TIME, "time")
    mark(raw.times.state == SKIPPED_HOUR, Fault.SKIPPED_HOUR, "time")
    for name, prices in raw.prices.items():
        mark(np.isnan(prices), Fault.NO_NUMBER, name)
        mark(np.isinf(prices), Fault.INFINITE, name)
        mark(prices <= 0, Fault.NOT_POSITIVE, name)
    for group in (TRADES, BIDS, ASKS):
        if group[0] not in raw.prices:
            continue
        open_, high, low, close = (raw.prices[name] for name in group)
        mark(high < low, Fault.HIGH_BELOW_LOW, group[1])
        for name, prices in ((group[0], open_), (group[3], close)):
            mark((prices > high) | (prices < low), Fault.OUTSIDE, name)
    if raw.volume is not None:
        mark((raw.volume < 0) | np.isinf(raw.volume), Fault.BAD_VOLUME, "volume")
    if raw.has_quotes:
        for bid, ask in zip(BIDS, ASKS, strict=True):
            mark(raw.prices[ask] < raw.prices[bid], Fault.ASK_BELOW_BID, ask)
    verdicts = Verdicts(raw, fault, column, columns)
    for code in range(len(raw.names)):
        found = rows_of(verdicts, code)
        kinds = _times_of_one_symbol(raw.times.at_ns[found])
        if kinds is not None:
            fault[found] = kinds
            column[found] = columns.index("time")
    return verdicts


def rows_of(verdicts: Verdicts, code: int) -> Int64 | slice:
    """The rows of one symbol that have no fault, in the file's order; all of them as a slice,
    which copies nothing."""
    kept = verdicts.kept
    if len(verdicts.raw.names) > 1:
        kept &= verdicts.raw.codes == code
    if kept.all():
        return slice(None)
    return np.flatnonzero(kept)


def _times_of_one_symbol(at_ns: Int64) -> NDArray[np.uint8] | None:
    """Faults of the times of one symbol's rows; None where they only rise."""
    if len(at_ns) < 2 or bool((at_ns[1:] > at_ns[:-1]).all()):
        return None
    kinds = np.zeros(len(at_ns), np.uint8)
    # One row far in the future is at fault itself, not all the rows after it.
    padded = np.concatenate(([np.iinfo(np.int64).min], at_ns, [np.iinfo(np.int64).max]))
    back = at_ns > padded[2:]
    after_next = np.concatenate((padded[3:], [np.iinfo(np.int64).min]))
    kinds[back & (padded[2:] > padded[:-2]) & (at_ns > after_next)] = Fault.TIME_AHEAD
    left = np.flatnonzero(kinds == Fault.NONE)
    times = at_ns[left]
    highest = np.maximum.accumulate(times)
    late = np.concatenate(([False], times[1:] <= highest[:-1]))
    first_seen = np.zeros(len(times), np.bool_)
    first_seen[np.unique(times, return_index=True)[1]] = True
    kinds[left[late & first_seen]] = Fault.TIME_BACK
    kinds[left[~first_seen]] = Fault.DUPLICATE
    return kinds


def refuse(verdicts: Verdicts, skip_bad_rows: bool) -> None:
    """Raises DataFault when any row is faulty, naming the first and how many there are.

    With `skip_bad_rows` only a file whose order or make-up is wrong as a whole is refused:
    newest row first, or several resolutions of one symbol in it.
    """
    _refuse_disorder(verdicts)
    faulty = verdicts.faulty
    if skip_bad_rows or not len(faulty):
        return
    counted = ", ".join(f"{n} × {kind.text}" for kind, n in verdicts.counts().items())
    lines = [verdicts.describe(int(row)) for row in faulty[:LISTED]]
    more = [f"… and {len(faulty) - LISTED} more"] if len(faulty) > LISTED else []
    total = "1 faulty row" if len(faulty) == 1 else f"{len(faulty)} faulty rows"
    raise DataFault(
        "\n  ".join(
            [
                f"{verdicts.raw.file}: {total} (rows count from 1, the line of column names not"
                f" counted): {counted}",
                *lines,
                *more,
                "--skip-bad-rows leaves such rows out and counts them",
            ]
        )
    )


def _refuse_disorder(verdicts: Verdicts) -> None:
    raw = verdicts.raw
    times_bad = (verdicts.fault == Fault.TIME_BACK) | (verdicts.fault == Fault.DUPLICATE)
    for code, name in enumerate(raw.names):
        mine = raw.codes == code
        bad = np.flatnonzero(mine & times_bad)
        if len(bad) >= _MANY:
            kept = np.flatnonzero(mine & verdicts.kept)
            if len(bad) > 3 * len(kept):
                raise DataFault(
                    f"{raw.file}: the rows of {name} do not run from old to new (row"
                    f" {bad[0] + 1} is the first that goes back); sort the file by time"
                )
            usual = common_gap(raw.times.at_ns[kept])
            other = common_gap(np.unique(raw.times.at_ns[bad]))
            if usual and other and usual != other and not _repeats(raw, kept, bad):
                raise _several(raw, name, usual, other, int(bad[0]))
        found = rows_of(verdicts, code)
        at_ns = raw.times.at_ns[found]
        change = _change_of_gap(at_ns)
        if change is not None:
            row, usual, other = change
            file_row = row if isinstance(found, slice) else int(found[row])
            raise _several(raw, name, usual, other, file_row)


def _several(raw: RawBars, name: str, usual: int, other: int, row: int) -> DataFault:
    return DataFault(
        f"{raw.file}: {name} has bars of {timeframe_name(usual)} and, from row {row + 1}, of"
        f" {timeframe_name(other)} in one file, and no column tells them apart; put each"
        " resolution into a file of its own and give both"
    )


def _repeats(raw: RawBars, kept: Int64, bad: Int64) -> bool:
    """Whether most of the bad rows carry the prices of the kept row of the same time."""
    place = np.searchsorted(raw.times.at_ns[kept], raw.times.at_ns[bad])
    twin = kept[np.minimum(place, len(kept) - 1)]
    same = raw.times.at_ns[twin] == raw.times.at_ns[bad]
    for prices in raw.prices.values():
        same &= prices[twin] == prices[bad]
    return 2 * int(same.sum()) > len(bad)


def common_gap(at_ns: Int64) -> int | None:
    """The step of rising times, ns: the most common gap, robust to missing bars and weekends.

    Where bars are sparse a smaller gap that nearly all gaps are multiples of is the step.
    None below two times.
    """
    if len(at_ns) < 2:
        return None
    gaps, counts = np.unique(np.diff(at_ns), return_counts=True)
    step = int(gaps[np.argmax(counts)])
    total = int(counts.sum())
    for gap, count in zip(gaps.tolist(), counts.tolist(), strict=True):
        if gap >= step:
            break
        if count * 20 >= total and int(counts[gaps % gap == 0].sum()) * 20 >= total * 19:
            return int(gap)
    return step


def _change_of_gap(at_ns: Int64) -> tuple[int, int, int] | None:
    """(row, step, other step) where a long run of rows keeps another step than the rest."""
    step = common_gap(at_ns)
    if step is None or len(at_ns) <= _RUN:
        return None
    gaps = np.diff(at_ns)
    odd = gaps != step
    if int(odd.sum()) < _RUN:
        return None
    starts = np.flatnonzero(np.concatenate(([True], gaps[1:] != gaps[:-1])))
    lengths = np.diff(np.concatenate((starts, [len(gaps)])))
    long = np.flatnonzero((lengths >= _RUN) & odd[starts])
    if not len(long):
        return None
    row = int(starts[long[0]])
    return row, step, int(gaps[row])
