"""What trading costs: small named objects, turned into the columns of the compiled step."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

import numpy as np
from numpy.typing import NDArray

from hydra.clock import NS_PER_DAY
from hydra.errors import ConfigError
from hydra.market.bars import BarTable, Chunk
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.market.sessions import rollovers
from hydra.portfolio.columns import BAR, TERMS

Float64 = NDArray[np.float64]

PPM_PER_BPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """Ticks lost on every market and stop fill: a base and a square-root impact.

    impact = `impact` x range of the previous bar x sqrt(size / volume of the previous bar),
    the square-root law (Almgren et al. 2005; Toth et al. 2011) with the bar's range as the
    measure of volatility.
    """

    base_bps: float = 0.2
    impact: float = 0.3
    unknown_volume_usd: float = 1_000_000.0  # taken for a bar whose volume nobody reports
    least_volume_usd: float = 100.0  # a bar with less on record is taken to trade so much

    def terms(
        self, instrument: Instrument, close: Float64, span: Float64, volume: Float64
    ) -> tuple[Float64, Float64]:
        """(base, impact) in ticks of the bars that follow these: ticks = base + impact √steps.

        `close`, `span` (high - low) and `volume` (base units, NaN where unknown) are (n,).
        """
        tick = float(instrument.tick_size)
        step_units = float(instrument.lot_step * instrument.contract_size)
        known = np.maximum(volume, self.least_volume_usd / close)
        traded = np.where(volume > 0.0, known, self.unknown_volume_usd / close)
        base = self.base_bps * 1e-4 * close / tick
        return base, self.impact * span / tick * np.sqrt(step_units / traded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Which costs a season charges; the figures are the instrument's own."""

    name: str
    spread: bool = True
    commission: bool = True
    swap: bool = True
    slippage: Slippage | None = field(default_factory=Slippage)


COSTS = {
    costs.name: costs
    for costs in (
        Costs(name="real"),
        Costs(name="none", spread=False, commission=False, swap=False, slippage=None),
    )
}


def costs_named(name: str) -> Costs:
    """Raises ConfigError, naming those there are."""
    try:
        return COSTS[name]
    except KeyError:
        raise ConfigError(f"no cost model {name!r}; there are: {', '.join(COSTS)}") from None


def terms_of(instruments: tuple[Instrument, ...], costs: Costs) -> NDArray[np.void]:
    """The (symbols,) TERMS records of the instruments. Fractions are rounded up."""
    terms = np.zeros(len(instruments), TERMS)
    for row, one in zip(terms, instruments, strict=True):
        row["tick_value"] = one.tick_value_units
        row["leverage_x100"] = int(one.leverage * 100)
        if costs.commission:
            row["commission_ppm"] = _up(one.commission_bps * PPM_PER_BPS)
            row["commission_step"] = _up(one.commission_per_lot * one.lot_step * UNITS_PER_USD)
        if costs.swap:
            row["swap_long_ppm"] = _up(one.swap_long_bps * PPM_PER_BPS)
            row["swap_short_ppm"] = _up(one.swap_short_bps * PPM_PER_BPS)
    return terms


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))


def books_of(chunk: Chunk, bars: NDArray[np.void], costs: Costs) -> dict[int, NDArray[np.int64]]:
    """By row, the books of a chunk's bars that are to be walked; says so in their BAR records.

    `bars` are in the chunk's order. Empty where nobody knows a book, as in every replay of files.
    """
    books = {}
    for stream, table in enumerate(chunk.tables):
        if table.depth is None or costs.slippage is None:
            continue
        for row in np.flatnonzero(chunk.row_stream == stream).tolist():
            books[row] = table.depth[chunk.row_bar[row]]
            bars["is_walked"][row] = 1
    return books


class BarRecorder:
    """Turns the bars of one symbol into BAR records, chunk by chunk.

    Slippage of a bar comes from the bar before it, so the last bar is carried over.
    """

    def __init__(self, symbol: int, instrument: Instrument, costs: Costs) -> None:
        self._symbol = symbol
        self.instrument = instrument
        self._costs = costs
        self._tick = float(instrument.tick_size)
        self._before: tuple[float, float, float] | None = None  # close, range, volume
        self._swapped_ns = 0  # up to where swaps have been laid on bars
        self._swap_free_ns = 0  # no swap is due after _swapped_ns and before this
        self._bid_closes, self._ask_closes = array("q"), array("q")  # 8 bytes a bar, for weeks

    def records(self, table: BarTable) -> NDArray[np.void]:
        """(n,) BAR records of the table's bars, in order."""
        n = len(table)
        out = np.zeros(n, BAR)
        out["symbol"] = self._symbol
        out["open_ns"] = table.open_ns
        out["close_ns"] = table.open_ns + table.resolution_ns
        bare = not self._costs.spread and not table.real_spread
        for name in ("open", "high", "low", "close"):
            if bare:
                middle = np.rint(getattr(table, name) / self._tick).astype(np.int64)
                out[f"bid_{name}"] = out[f"ask_{name}"] = middle
            else:
                out[f"bid_{name}"] = getattr(table, f"bid_{name}")
                out[f"ask_{name}"] = getattr(table, f"ask_{name}")
        self._bid_closes.frombytes(out["bid_close"].tobytes())
        self._ask_closes.frombytes(out["ask_close"].tobytes())
        if n and self._costs.slippage is not None:
            self._add_slippage(out, table, self._costs.slippage)
        if n and self._costs.swap:
            self._add_swaps(out)
        return out

    def closes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(bars,) bid and ask closes of all bars so far, in ticks."""
        return np.array(self._bid_closes, np.int64), np.array(self._ask_closes, np.int64)

    def _add_slippage(self, out: NDArray[np.void], table: BarTable, model: Slippage) -> None:
        # The first bar of all has nothing before it but its own open.
        before = self._before or (float(table.open[0]), 0.0, np.nan)
        close = np.concatenate(([before[0]], table.close[:-1]))
        span = np.concatenate(([before[1]], (table.high - table.low)[:-1]))
        volume = np.concatenate(([before[2]], table.volume[:-1]))
        self._before = (
            float(table.close[-1]),
            float(table.high[-1] - table.low[-1]),
            float(table.volume[-1]),
        )
        out["slip_base"], out["slip_impact"] = model.terms(self.instrument, close, span, volume)

    def _add_swaps(self, out: NDArray[np.void]) -> None:
        # From the last bar's close on: a rollover in a gap is due at the bar after it.
        start_ns = self._swapped_ns or int(out["open_ns"][0])
        self._swapped_ns = int(out["close_ns"][-1])
        if self._swapped_ns < self._swap_free_ns:
            return
        ahead = rollovers(self.instrument, self._swapped_ns, self._swapped_ns + NS_PER_DAY).at_ns
        self._swap_free_ns = int(ahead[0]) if len(ahead) else self._swapped_ns + NS_PER_DAY
        due = rollovers(self.instrument, start_ns, self._swapped_ns)
        bar = np.searchsorted(out["close_ns"], due.at_ns, side="left")
        np.add.at(out["swap_count"], bar, due.nights)
        np.maximum.at(out["swap_ns"], bar, due.at_ns)
