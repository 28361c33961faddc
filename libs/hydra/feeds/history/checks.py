"""What is wrong with a page of candles: faulty rows are left out and counted, never mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from hydra.clock import iso
from hydra.feeds.history.venue import Ask, Candle

OUTSIDE = "outside the asked range"
OFF_GRID = "not on the grid of its bars"
NO_NUMBER = "NaN, infinite or no number"
NOT_POSITIVE = "price not above 0"
HIGH_BELOW_LOW = "high below low"
BEYOND = "open or close outside low to high"
CROSSED = "bid above ask"
BAD_VOLUME = "volume negative"
TWICE = "sent twice, taken once"
CONTRADICTED = "sent twice and different, neither taken"
DISORDER = "out of order, put in order"

_MOST_DIGITS = 28  # of a number: more is none that a market has, and decimal arithmetic rounds it


@dataclass(frozen=True, slots=True)
class Checked:
    """The good candles of a page, oldest first, and what was wrong with the others."""

    candles: tuple[Candle, ...]
    faults: dict[str, int] = field(default_factory=dict)  # rows by reason
    example: str = ""  # the first faulty row


def checked(candles: Sequence[Candle], ask: Ask) -> Checked:
    """Judge the rows of one page, which may come from new to old or from old to new."""
    faults: Counter[str] = Counter()
    example = ""
    good: dict[int, Candle] = {}
    contradicted: set[int] = set()
    for candle in candles:
        fault = fault_of(candle, ask)
        if not fault and candle.open_ns in good:
            same = good[candle.open_ns] == candle
            fault = TWICE if same else CONTRADICTED
            if not same:
                contradicted.add(candle.open_ns)
        if fault:
            faults[fault] += 1
            example = example or _described(candle, fault)
        else:
            good[candle.open_ns] = candle
    disorder = _out_of_order(list(good))
    if disorder:
        faults[DISORDER] = disorder
    for open_ns in contradicted:  # the first of them, counted with the others
        del good[open_ns]
        faults[CONTRADICTED] += 1
    return Checked(tuple(good[at] for at in sorted(good)), dict(faults), example)


def fault_of(candle: Candle, ask: Ask) -> str:
    """Why a row cannot be taken by itself; "" where it can."""
    if not ask.first_ns <= candle.open_ns <= ask.last_ns:
        return OUTSIDE
    if candle.open_ns % ask.bar_ns:
        return OFF_GRID
    volume = Decimal(0) if candle.volume is None else candle.volume
    for side in candle.sides:
        if not all(_is_number(one) for one in (*side, volume)):
            return NO_NUMBER
        if min(side) <= 0:
            return NOT_POSITIVE
        if side.high < side.low:
            return HIGH_BELOW_LOW
        if not all(side.low <= one <= side.high for one in (side.open, side.close)):
            return BEYOND
    if candle.ask is not None and any(b > a for b, a in zip(*candle.sides, strict=True)):
        return CROSSED
    return BAD_VOLUME if volume < 0 else ""


def _is_number(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    return len(value.as_tuple().digits) <= _MOST_DIGITS and abs(value.adjusted()) <= _MOST_DIGITS


def _out_of_order(times: Sequence[int]) -> int:
    """How many steps go against the direction that most take."""
    forward = sum(a < b for a, b in pairwise(times))
    return min(forward, max(0, len(times) - 1 - forward))


def _described(candle: Candle, fault: str) -> str:
    try:
        at = iso(candle.open_ns)
    except OverflowError:
        at = f"{candle.open_ns} ns"
    volume = () if candle.volume is None else (candle.volume,)
    numbers = ", ".join(str(one) for one in (*(p for s in candle.sides for p in s), *volume))
    return f"{at}: {fault} ({numbers})"
