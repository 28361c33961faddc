"""Curves of a season as inline SVG: few points, every extreme kept, scales with round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.clock import NS_PER_S, to_datetime

MOST_POINTS = 600  # of one curve
_WIDTH, _HEIGHT = 1120, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 10, 10, 26
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart: instants and values of equal number."""

    name: str
    at_ns: Sequence[int]
    values: Sequence[float]


def thinned(values: Sequence[float], most: int = MOST_POINTS) -> list[int]:
    """At most `most` indices, rising: first, last, and the extremes of equal stretches.

    The lowest and highest value of all are always among them. `most` is at least 4.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for i in range(stretches):
        part = range(i * count // stretches, (i + 1) * count // stretches)
        kept.add(min(part, key=values.__getitem__))
        kept.add(max(part, key=values.__getitem__))
    return sorted(kept)


def drawdowns(values: Sequence[float], opening: float) -> list[float]:
    """The fall from the highest value so far, as a fraction, 0 or below."""
    peak, falls = opening, []
    for value in values:
        peak = max(peak, value)
        falls.append(value / peak - 1.0)
    return falls


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values from at or above `low` to at or below `high`, about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def chart(curves: Sequence[Curve], *, include: Sequence[float] = ()) -> dict[str, object]:
    """What the template draws: paths, ticks, and the thinned values for the pointer.

    `include` are values that the vertical scale must hold. Times in the result are minutes
    since the chart's first instant.
    """
    start = min((curve.at_ns[0] for curve in curves if curve.at_ns), default=0)
    end = max((curve.at_ns[-1] for curve in curves if curve.at_ns), default=start + 1)
    values = [value for curve in curves for value in curve.values] + list(include)
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.04 or 1.0
    low, high = low - room, high + room
    span = max(1, end - start)
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(at_ns: int) -> float:
        return _LEFT + plot_width * (at_ns - start) / span

    def y(value: float) -> float:
        return _TOP + plot_height * (high - value) / (high - low)

    lines = []
    for curve in curves:
        kept = thinned(curve.values)
        points = [f"{x(curve.at_ns[i]):.1f},{y(curve.values[i]):.1f}" for i in kept]
        lines.append(
            {
                "name": curve.name,
                "path": "M" + "L".join(points) if points else "",
                "minutes": [(curve.at_ns[i] - start) // (60 * NS_PER_S) for i in kept],
                "values": [round(curve.values[i], 5) for i in kept],
            }
        )
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "start_minute": start // (60 * NS_PER_S),
        "span_minutes": span / (60 * NS_PER_S),
        "lines": lines,
        "y_ticks": [(value, round(y(value), 1)) for value in nice_ticks(low, high, 6)],
        "x_ticks": [(text, round(x(at), 1)) for text, at in _dates(start, end)],
        "marks": {value: round(y(value), 1) for value in include},
    }


def _dates(start: int, end: int) -> list[tuple[str, int]]:
    """Midnights (UTC) to write below a chart, six or so; clock times within short seasons."""
    day = _DAY_S * NS_PER_S
    days = (end - start) / day
    if days < 4:
        hours = next((h for h in (1, 2, 3, 6, 12, 24) if days * 24 / h <= 8), 24)
        step = hours * 3_600 * NS_PER_S
        text = "%d %b %H:%M"
    else:
        step = next((d for d in (1, 2, 7, 14, 30, 61, 91, 182, 365) if days / d <= 8), 730) * day
        text = "%d %b" if days < 300 else "%b %Y"
    first = -(-start // step) * step
    return [(to_datetime(at).strftime(text).lstrip("0"), at) for at in range(first, end + 1, step)]
