"""Price files in, tables of bars out: every fault is named, and nothing is mended silently."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from hydra.clock import iso
from hydra.errors import ConfigError, DataFault
from hydra.feeds.columns import ASKS, BIDS, TRADES, RawBars, read_columns
from hydra.feeds.tables import grid_error, rows_between, table_of_quotes, table_of_trades
from hydra.feeds.times import WallClock
from hydra.feeds.validate import Verdicts, common_gap, judge, refuse, rows_of
from hydra.market.bars import BarTable, Float64, Int64
from hydra.market.catalogue import MAX_DECIMALS, Catalogue, with_tick
from hydra.market.instruments import Instrument
from hydra.market.timeframes import timeframe_name

_FINEST_TICK_FRAC = 1e-8  # of a price
_OFF_GRID = 1e-9  # of a tick; float64 noise is taken off before


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Rows of one file that were left out for one reason."""

    file: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBars:
    """What the price files of a season hold."""

    tables: tuple[BarTable, ...]  # by symbol, then from fine to coarse
    warnings: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    inputs: tuple[tuple[str, str], ...]  # (file name, SHA-256 of its bytes)


@dataclass(slots=True, kw_only=True)
class _Part:
    """The good rows of one symbol in one file."""

    symbol: str
    file: str
    resolution_ns: int
    open_ns: Int64
    prices: dict[str, Float64]
    volume: Float64 | None


def load_bars(
    paths: Sequence[Path],
    *,
    catalogue: Catalogue,
    tz: str | None = None,
    skip_bad_rows: bool = False,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> LoadedBars:
    """Reads price files: CSV, gzipped CSV or Parquet, of any symbols and resolutions.

    `tz` is the clock of files whose times name no zone (IANA, UTC+3, America/New_York+7).
    Bars that open before `start_ns` or close after `end_ns` are left out once all are
    checked. Bars of one symbol and resolution may come from several files.

    Raises ConfigError for a file that is not there, a wrong `tz` or an empty period;
    DataFault, naming file, row and reason, for faulty rows (unless `skip_bad_rows`), for
    files that cannot be read and for files that contradict each other.
    """
    if not paths:
        raise ConfigError("no price file given; name at least one with --bars")
    clock = None if tz is None else WallClock.named(tz)
    warnings: list[str] = []
    skipped: list[Skipped] = []
    parts: list[_Part] = []
    inputs = []
    for path in dict.fromkeys(Path(path) for path in paths):
        raw = read_columns(path, catalogue, clock)
        inputs.append((path.name, sha256_of(path)))
        warnings += _warnings_of_file(raw, clock)
        verdicts = judge(raw)
        refuse(verdicts, skip_bad_rows)
        for kind, rows in verdicts.counts().items():
            skipped.append(Skipped(file=raw.file, reason=kind.text, rows=rows))
        parts += _parts(verdicts, warnings)
    groups: dict[tuple[str, int], list[_Part]] = {}
    for part in parts:
        groups.setdefault((part.symbol, part.resolution_ns), []).append(part)
    merged = [_merged(groups[key], warnings) for key in sorted(groups)]
    instruments = _instruments(merged, catalogue, warnings)
    tables = []
    parts.clear()
    groups.clear()
    while merged:
        part = merged.pop(0)
        tables.append(_within(_table(part, instruments[part.symbol]), start_ns, end_ns))
    if not any(len(table) for table in tables):
        raise ConfigError(_no_bars(inputs, start_ns, end_ns))
    return LoadedBars(
        tables=tuple(table for table in tables if len(table)),
        warnings=tuple(warnings),
        skipped=tuple(skipped),
        inputs=tuple(inputs),
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def decimals_of(prices: Sequence[Float64]) -> tuple[int, bool]:
    """The decimals that prices above 0 need, and whether none need more.

    At most 8, and no more than make a tick a hundred-millionth of the lowest price: digits
    below that are noise of whoever averaged them, and would drive lots up (a tick on a lot
    step must be worth 1e-8 USD; so bounded, a lot step never exceeds about a dollar's worth).
    """
    lowest = min(float(column.min()) for column in prices if len(column))
    most = min(MAX_DECIMALS, max(0, math.floor(-math.log10(lowest * _FINEST_TICK_FRAC))))
    for decimals in range(most + 1):
        tick = Decimal(1).scaleb(-decimals)
        # A sample settles most cases before whole columns are looked at.
        if all(grid_error(column[:256], tick) <= _OFF_GRID for column in prices) and all(
            grid_error(column, tick) <= _OFF_GRID for column in prices
        ):
            return decimals, True
    return most, False


def _warnings_of_file(raw: RawBars, clock: WallClock | None) -> list[str]:
    said = []
    if raw.symbol_from_name:
        said.append(
            f"{raw.file} has no symbol column; its bars are taken as {raw.names[0]}, from its name"
        )
    if clock is None and not raw.times.had_zone:
        said.append(
            f"{raw.file}: the times in column {raw.spelt['time']} name no zone and are taken as"
            " UTC; name another with --tz"
        )
    if clock is not None and raw.times.had_zone:
        said.append(
            f"{raw.file}: its times are fixed by the file ({raw.times.zone}); --tz {clock.name}"
            " does not apply to it"
        )
    return said


def _parts(verdicts: Verdicts, warnings: list[str]) -> list[_Part]:
    """The good rows of a file, symbol by symbol."""
    raw = verdicts.raw
    found = {code: rows_of(verdicts, code) for code in range(len(raw.names))}
    times = {code: raw.times.at_ns[rows] for code, rows in found.items()}
    steps = {code: common_gap(at_ns) for code, at_ns in times.items() if len(at_ns)}
    usual = [step for step in steps.values() if step is not None]
    if not steps:
        raise DataFault(f"{raw.file}: no row is left once the faulty ones are taken out")
    if not usual:
        raise DataFault(
            f"{raw.file}: one bar of a symbol does not show how long its bars are; give"
            " at least two"
        )
    parts = []
    for code, own_step in steps.items():
        # A symbol with one bar in the file keeps the step of the others.
        step = own_step or max(set(usual), key=usual.count)
        odd = np.flatnonzero(np.diff(times[code]) % step)
        if len(odd):
            warnings.append(
                f"{raw.file}: {raw.names[code]}: {len(odd)} bars do not keep the step of"
                f" {timeframe_name(step)} (first at {iso(int(times[code][odd[0] + 1]))})"
            )
        rows = found[code]
        parts.append(
            _Part(
                symbol=raw.names[code],
                file=raw.file,
                resolution_ns=step,
                open_ns=times[code],
                prices={name: column[rows] for name, column in raw.prices.items()},
                volume=None if raw.volume is None else raw.volume[rows],
            )
        )
    return parts


def _merged(parts: list[_Part], warnings: list[str]) -> _Part:
    """Bars of one symbol and resolution out of several files, oldest first.

    Bars that two files share are kept once when they agree. Raises DataFault when they
    do not, or when one file has quotes and the other trades.
    """
    out = parts[0]
    for part in parts[1:]:
        name = f"{part.symbol} {timeframe_name(part.resolution_ns)}"
        if set(part.prices) != set(out.prices):
            raise DataFault(
                f"{out.file} and {part.file} both hold {name}, one with bid and ask and the other"
                " without; give one of them"
            )
        _, mine, theirs = np.intersect1d(
            out.open_ns, part.open_ns, assume_unique=True, return_indices=True
        )
        for column, prices in part.prices.items():
            differ = np.flatnonzero(out.prices[column][mine] != prices[theirs])
            if len(differ):
                at = differ[0]
                raise DataFault(
                    f"{out.file} and {part.file} contradict each other on {name}, {len(differ)}"
                    f" times in {column}: at {iso(int(part.open_ns[theirs[at]]))} one says"
                    f" {out.prices[column][mine[at]]:.15g}, the other"
                    f" {prices[theirs[at]]:.15g}; give one of them"
                )
        if len(mine):
            warnings.append(
                f"{out.file} and {part.file} share {len(mine)} bars of {name}, which agree; each"
                " is taken once"
            )
        out = _joined(out, part, np.setdiff1d(np.arange(len(part.open_ns)), theirs))
    return out


def _joined(first: _Part, second: _Part, rows: Int64) -> _Part:
    open_ns = np.concatenate((first.open_ns, second.open_ns[rows]))
    order = np.argsort(open_ns, kind="stable")

    def volume(part: _Part) -> Float64:
        return np.full(len(part.open_ns), np.nan) if part.volume is None else part.volume

    has_volume = first.volume is not None or second.volume is not None
    return _Part(
        symbol=first.symbol,
        file=f"{first.file}, {second.file}",
        resolution_ns=first.resolution_ns,
        open_ns=open_ns[order],
        prices={
            name: np.concatenate((column, second.prices[name][rows]))[order]
            for name, column in first.prices.items()
        },
        volume=np.concatenate((volume(first), volume(second)[rows]))[order] if has_volume else None,
    )


def _instruments(
    parts: Sequence[_Part], catalogue: Catalogue, warnings: list[str]
) -> dict[str, Instrument]:
    """One instrument for each symbol, with a tick fine enough for all of its prices."""
    columns: dict[str, list[Float64]] = {}
    for part in parts:
        columns.setdefault(part.symbol, []).extend(part.prices.values())
    out = {}
    for symbol, prices in columns.items():
        declared = catalogue.find(symbol)
        if declared is not None and _on_grid(prices, declared):
            out[symbol] = declared
            continue
        decimals, enough = decimals_of(prices)
        instrument = catalogue.instrument(symbol, decimals)
        if enough and not _on_grid(prices, instrument):  # a tick of 0.25, and prices of 0.1
            instrument = with_tick(instrument, Decimal(1).scaleb(-decimals))
        rounded = "" if enough else "; digits below the tick are rounded off"
        said = (
            f"tick {instrument.tick_size:f}, lot step {instrument.lot_step.normalize():f}, contract"
            f" {instrument.contract_size:f}"
        )
        if declared is None:
            warnings.append(
                f"{symbol} is not in the instrument catalogue; taken as {said}, spread"
                f" {instrument.spread_bps:f} bps, commission {instrument.commission_bps:f} bps a"
                f" side, leverage {instrument.leverage:f}, priced in {instrument.quote}; declare it"
                f" with --instruments{rounded}"
            )
        else:
            warnings.append(
                f"{symbol}: prices are finer than the catalogue's tick {declared.tick_size:f};"
                f" taken as {said}{rounded}"
            )
        out[symbol] = instrument
    return out


def _on_grid(prices: Sequence[Float64], instrument: Instrument) -> bool:
    return all(grid_error(column, instrument.tick_size) <= _OFF_GRID for column in prices)


def _table(part: _Part, instrument: Instrument) -> BarTable:
    trades = [part.prices[name] for name in TRADES if name in part.prices]
    if BIDS[0] in part.prices:
        return table_of_quotes(
            instrument,
            part.resolution_ns,
            part.file,
            part.open_ns,
            [part.prices[name] for name in BIDS],
            [part.prices[name] for name in ASKS],
            trades or None,
            part.volume,
        )
    return table_of_trades(
        instrument, part.resolution_ns, part.file, part.open_ns, trades, part.volume
    )


def _within(table: BarTable, start_ns: int | None, end_ns: int | None) -> BarTable:
    if start_ns is None and end_ns is None:
        return table
    low, high = 0, len(table)
    if start_ns is not None:
        low = int(np.searchsorted(table.open_ns, start_ns, side="left"))
    if end_ns is not None:
        last = end_ns - table.resolution_ns
        high = int(np.searchsorted(table.open_ns, last, side="right"))
    return rows_between(table, low, max(low, high))


def _no_bars(inputs: Sequence[tuple[str, str]], start_ns: int | None, end_ns: int | None) -> str:
    files = ", ".join(name for name, _ in inputs)
    start = "the beginning" if start_ns is None else iso(start_ns)
    end = "the end" if end_ns is None else iso(end_ns)
    return f"{files}: no bar lies between {start} and {end}; change --from or --to"
