"""Bars and their indicators as lines of figures, oldest first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hydra.clock import NS_PER_S
from hydra.engines.llm.writing import decimals, figures, span, stamp
from hydra.engines.view import View
from hydra.features import specs
from hydra.features.block import FeatureBlock
from hydra.market.instruments import Instrument
from hydra.market.timeframes import timeframe_name

Float64 = NDArray[np.float64]

MOST_POINTS = 12
SIGNIFICANT = 6  # digits of a price: a tenth of a basis point at most, below every cost

# A window of so many bars, and not all there have been: so the text depends on nothing that
# lies further back, wherever the season began. The slowest recursion (Wilder's over 14 bars)
# has forgotten the start of the window to 2e-9 of an average range at its end, where a figure
# is printed to 1e-4 of one.
WINDOW_BARS = 300

_SPECS = (
    specs.ema(20),
    specs.macd(12, 26),
    specs.macd_signal(12, 26, 9),
    specs.rsi(14),
    specs.atr(14),
)
_BLOCK = FeatureBlock(_SPECS, NS_PER_S)  # never given a bar itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The newest bars of one symbol at one resolution, oldest first, as they are now."""

    resolution_ns: int
    now_ns: int  # the market's
    closed_ns: tuple[int, ...]  # when they closed; MOST_POINTS at most
    tick_places: int
    columns: tuple[bytes, bytes, bytes, bytes]  # high, low, close, volume: the whole window

    @classmethod
    def of(cls, view: View, now_ns: int) -> Series:
        """What the view shows now; it stays so when the view moves on."""
        bars = view.bars(WINDOW_BARS)
        return cls(
            resolution_ns=view.resolution_ns,
            now_ns=now_ns,
            closed_ns=tuple((bars.open_ns[-MOST_POINTS:] + view.resolution_ns).tolist()),
            tick_places=tick_places(view.instrument),
            columns=(
                bars.high.tobytes(), bars.low.tobytes(), bars.close.tobytes(),
                bars.volume.tobytes(),
            ),
        )  # fmt: skip

    def text(self, points: int) -> str:
        """The last `points` bars: a heading, then a line for each column."""
        name = timeframe_name(self.resolution_ns)
        shown = self.closed_ns[-points:]
        if not shown:
            return f"{name} bars: none has closed yet"
        first, newest = shown[0], shown[-1]
        absent = (newest - first) // self.resolution_ns + 1 - len(shown)
        gaps = f"; {absent} in between are absent (no trading, or no data)" if absent else ""
        return (
            f"{name} bars, the last {len(shown)}, oldest first; they closed from {stamp(first)} to"
            f" {stamp(newest)}, the newest {span((self.now_ns - newest) / NS_PER_S)} ago{gaps}\n"
            + _lines(*self.columns, self.tick_places, points)
        )


# Both are kept by the prices themselves: all gladiators of a moment look at the same ones, and
# coarse bars stay the same from question to question.


@lru_cache(maxsize=128)
def _lines(
    high: bytes, low: bytes, close: bytes, volume: bytes, tick_places: int, points: int
) -> str:
    """A line for each column of the last `points` bars; those of a window, float64 each."""
    highs, lows, closes, volumes = (
        np.frombuffer(column)[-points:] for column in (high, low, close, volume)
    )
    places = price_places(tick_places, float(closes[-1]))
    lines = [
        f"their lowest low {lows.min():.{places}f}, their highest high {highs.max():.{places}f}",
        f"close: {figures(closes, places)}",
    ]
    mean, macd, signal, strength, ranged = _indicators(high, low, close)[:, -points:]
    size = float(ranged[-1])  # NaN while it is cold
    fine = decimals(size if size > 0 else float(closes[-1]) / 100, 4)
    for title, values, decimal_places, warm in (
        ("ema20", mean, places, 20),
        ("macd(12,26)", macd, fine, 26),
        ("macd less its signal(9)", macd - signal, fine, 34),
        ("rsi14", strength, 1, 15),
        ("atr14", ranged, fine, 15),
    ):
        if math.isnan(values[-1]):
            lines.append(f"{title}: not enough bars yet ({len(close) // 8} of {warm})")
        else:
            lines.append(f"{title}: {figures(values, decimal_places)}")
    if not np.isnan(volumes).any():
        lines.append(_volume(volumes))
    return "\n".join(lines)


@lru_cache(maxsize=64)
def _indicators(high: bytes, low: bytes, close: bytes) -> Float64:
    """(5, MOST_POINTS at most) of a window of bars: `_SPECS`, NaN until warm."""
    highs, lows, closes = (np.frombuffer(column) for column in (high, low, close))
    # None of these features looks at instants, opens or volumes, nor at the length of a bar.
    instants = np.zeros(len(closes), np.int64)
    values = _BLOCK.fresh().extend(instants, closes, highs, lows, closes, closes)
    newest = values[-MOST_POINTS:].T.copy()
    newest.flags.writeable = False
    return newest


def tick_places(instrument: Instrument) -> int:
    """Decimals of a price on the tick grid."""
    exponent = instrument.tick_size.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def price_places(tick_places: int, price: float) -> int:
    """Decimals of a price for a reader."""
    return min(tick_places, decimals(price, SIGNIFICANT))


def _volume(volume: Float64) -> str:
    """Three significant digits of the largest, in thousands or millions where that is shorter."""
    largest = float(volume.max())
    scale, unit = next(
        (scale, unit) for scale, unit in _VOLUME_UNITS if largest >= 10 * scale or scale == 1
    )
    places = decimals(largest / scale, 3) if largest > 0 else 0
    return f"volume in {unit}base units: {figures(volume / scale, places)}"


_VOLUME_UNITS = ((1e9, "billion "), (1e6, "million "), (1e3, "thousand "), (1, ""))
