"""From the pages of a fetch to a price file, and to what is to be said of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hydra.clock import iso
from hydra.errors import ConfigError
from hydra.feeds.history.partial import Partial, Row, Stretch
from hydra.market.timeframes import timeframe_name

OHLC = ("open", "high", "low", "close")
_NAMES = ("symbol", "time")
_TRADES = (*OHLC, "volume")
_QUOTES = tuple(f"{side}_{one}" for side in ("bid", "ask") for one in OHLC)
_PARQUET, _CSV = ".parquet", ".csv"


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch without candles: from the last one's open before it to the first one's after."""

    last: str
    next: str
    missing_bars: int


class FetchedSymbol(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched of one symbol. Instants are ISO 8601, UTC, when bars open."""

    symbol: str
    bar: str
    rows: int
    first: str | None  # None: the venue has no candles of that time
    last: str | None
    missing_before: int  # bars from the start that was asked for to the first
    missing_after: int  # and from the last to the end
    gaps: int  # stretches between them without candles; nothing is filled
    missing_bars: int  # in those stretches
    largest_gap: Hole | None
    faulty_rows: int  # that the venue sent and the file does not have, or has in another order
    faults: dict[str, int]  # those rows by reason
    examples: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    """Counts the candles of one symbol, oldest first."""

    symbol: str
    bar_ns: int
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    gaps: int = 0
    missing: int = 0
    largest: tuple[int, int, int] = (0, 0, 0)  # bars, opens before and after
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, stretch: Stretch) -> None:
        self.faults.update(stretch.faults)
        if stretch.example and len(self.examples) < 3:
            self.examples.append(stretch.example)
        for row in stretch.rows:
            missing = (row.open_ns - self.last_ns) // self.bar_ns - 1
            if not self.rows:
                self.first_ns = row.open_ns
            elif missing:
                self.gaps += 1
                self.missing += missing
                self.largest = max(self.largest, (missing, self.last_ns, row.open_ns))
            self.rows += 1
            self.last_ns = row.open_ns

    def facts(self, start_ns: int, end_ns: int) -> FetchedSymbol:
        bars = (end_ns - start_ns) // self.bar_ns
        before = (self.first_ns - start_ns) // self.bar_ns if self.rows else bars
        missing, last_ns, next_ns = self.largest
        return FetchedSymbol(
            symbol=self.symbol,
            bar=timeframe_name(self.bar_ns),
            rows=self.rows,
            first=iso(self.first_ns) if self.rows else None,
            last=iso(self.last_ns) if self.rows else None,
            missing_before=before,
            missing_after=bars - before - self.rows - self.missing,
            gaps=self.gaps,
            missing_bars=self.missing,
            largest_gap=Hole(last=iso(last_ns), next=iso(next_ns), missing_bars=missing)
            if missing
            else None,
            faulty_rows=self.faults.total(),
            faults=dict(sorted(self.faults.items())),
            examples=tuple(self.examples),
        )


def check_output(out: Path) -> None:
    """Raise ConfigError where no file of that name can be written."""
    if out.suffix.lower() not in (_PARQUET, _CSV):
        raise ConfigError(f"--out {out}: name it .parquet or .csv")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def write_output(partial: Partial, out: Path) -> tuple[FetchedSymbol, ...]:
    """Write the complete fetch to `out`, which is there whole or not at all.

    Rows come symbol after symbol, in the order that was asked, each from old to new. Raises
    ConfigError where the disk is full or the partial file is damaged.
    """
    fetching = partial.fetching
    columns = _QUOTES if fetching.has_quotes else _TRADES
    tallies = {symbol: _Tally(symbol, fetching.bar_ns) for symbol in fetching.symbols}
    made = text = out.with_name(f"{out.name}.writing")
    try:
        with text.open("w", encoding="utf-8", newline="") as opened:
            opened.write(f"{','.join((*_NAMES, *columns))}\n")
            for stretch in partial.stretches():
                tallies[stretch.symbol].add(stretch)
                opened.writelines(_line(stretch.symbol, row) for row in stretch.rows)
        if out.suffix.lower() == _PARQUET:
            made = out.with_name(f"{out.name}.packing")
            _to_parquet(text, made, columns)
        with made.open("rb") as opened:
            os.fsync(opened.fileno())
        made.replace(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        made.unlink(missing_ok=True)
        text.unlink(missing_ok=True)
    return tuple(one.facts(fetching.start_ns, fetching.end_ns) for one in tallies.values())


def _line(symbol: str, row: Row) -> str:
    first = (row.open, row.high, row.low, row.close)
    last = (row.volume,) if row.ask is None else row.ask
    return f"{','.join((symbol, iso(row.open_ns), *first, *last))}\n"


def _to_parquet(text: Path, made: Path, columns: Sequence[str]) -> None:
    """The CSV file as Parquet: numbers float64, times with their zone."""
    import polars as pl

    numbers = dict.fromkeys(columns, pl.Float64)
    frame = pl.read_csv(text, schema={"symbol": pl.String, "time": pl.String, **numbers})
    times = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms", time_zone="UTC")
    frame.with_columns(times).write_parquet(made)
