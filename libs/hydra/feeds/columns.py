"""Reads a price file into columns, whatever it calls them; judges no row.

CSV (comma, semicolon or tab; also gzip) and Parquet. Names of columns are compared without
regard to letter case, blanks and punctuation.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError, DataFault
from hydra.feeds.times import Times, WallClock, read_times
from hydra.market.bars import Float64
from hydra.market.catalogue import Catalogue

if TYPE_CHECKING:
    import polars as pl

# polars' allocator keeps freed memory for ten seconds unless told otherwise before the first
# import; without this a load of 500,000 rows holds some 70 MB more than it needs.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")

TRADES = ("open", "high", "low", "close")
BIDS = ("bid_open", "bid_high", "bid_low", "bid_close")
ASKS = ("ask_open", "ask_high", "ask_low", "ask_close")
NO_SYMBOL = -1

_LONGEST_LINE = 100_000  # characters; more is no line of prices
_TIME_NAMES = (
    "open_time", "opentime", "timestamp", "time", "datetime", "date_time", "time_utc",
    "gmt_time", "time_est", "date", "unix", "ts",
)  # fmt: skip
_SYMBOL_NAMES = ("symbol", "ticker", "asset", "instrument", "pair")
_VOLUME_NAMES = ("volume", "vol", "tick_volume", "tickvol", "volume_base")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBars:
    """The rows of one file as they stand there, faults included."""

    file: str
    names: tuple[str, ...]  # symbols, in order of appearance
    codes: NDArray[np.int32]  # (n,) index into names; NO_SYMBOL where the row names none
    times: Times
    prices: dict[str, Float64]  # by the names in TRADES, BIDS, ASKS; NaN where none can be read
    spelt: dict[str, str]  # what the file calls them, volume and time included
    volume: Float64 | None
    blank: NDArray[np.bool_]  # (n,) lines with nothing on them
    ragged: NDArray[np.bool_]  # (n,) lines with more fields than the header
    symbol_from_name: bool

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def has_quotes(self) -> bool:
        return BIDS[0] in self.prices


def read_columns(path: Path, catalogue: Catalogue, clock: WallClock | None) -> RawBars:
    """All rows of a file.

    Raises ConfigError when there is no such file, DataFault when it is neither CSV nor
    Parquet, holds no rows or lacks a column; the text says what was found instead.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the price files in it")
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file")
    try:
        with path.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not magic:
        raise DataFault(f"{path.name}: the file is empty")
    is_parquet = magic == b"PAR1" or path.suffix.lower() in {".parquet", ".pq"}
    frame, roles, ragged = _parquet(path) if is_parquet else _csv(path)
    if len(frame) == 0:
        raise DataFault(f"{path.name}: the file has column names but no rows")
    return _columns(path, catalogue, clock, frame, roles, ragged)


def _columns(
    path: Path,
    catalogue: Catalogue,
    clock: WallClock | None,
    frame: pl.DataFrame,
    roles: dict[str, str],
    ragged: Sequence[int],
) -> RawBars:
    import polars as pl

    rows = len(frame)
    blank = np.zeros(rows, np.bool_)
    if not is_full(frame):
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    too_long = np.zeros(rows, np.bool_)
    too_long[list(ragged)] = True
    symbol = roles.get("symbol")
    names: tuple[str, ...]
    if symbol is None:
        names, codes = (symbol_of_file(path, catalogue),), np.zeros(rows, np.int32)
    else:
        texts = frame[symbol].cast(pl.String).str.strip_chars()
        names = tuple(
            name for name in texts.unique(maintain_order=True).to_list() if name is not None
        )
        indices = texts.cast(pl.Enum(names)).to_physical().cast(pl.Int32)
        codes = indices.fill_null(NO_SYMBOL).to_numpy()
    stamps = frame[roles["time"]]
    if "clock" in roles:
        stamps = stamps.cast(pl.String) + " " + frame[roles["clock"]].cast(pl.String)
    times = read_times(stamps, codes, clock, roles["time"])
    prices = {
        role: _floats(frame[roles[role]]) for role in (*TRADES, *BIDS, *ASKS) if role in roles
    }
    volume = _floats(frame[roles["volume"]]) if "volume" in roles else None
    return RawBars(
        file=path.name,
        names=names,
        codes=codes,
        times=times,
        prices=prices,
        spelt=roles,
        volume=volume,
        blank=blank,
        ragged=too_long,
        symbol_from_name=symbol is None,
    )


def is_full(frame: pl.DataFrame) -> bool:
    """No column holds a null."""
    return all(frame[name].null_count() == 0 for name in frame.columns)


def symbol_of_file(path: Path, catalogue: Catalogue) -> str:
    """The symbol that a file's name speaks of: of the parts between `_` and blanks the first
    that the catalogue knows, else the first. XAUUSD_M1.csv holds XAUUSD."""
    stem = path.name.split(".csv")[0].split(".parquet")[0].split(".pq")[0]
    parts = [part for part in re.split(r"[_\s]+", stem) if part] or [stem]
    return next((part for part in parts if catalogue.find(part) is not None), parts[0])


def _parquet(path: Path) -> tuple[pl.DataFrame, dict[str, str], Sequence[int]]:
    import polars as pl

    with _faults(path, "Parquet"), _silent_panics():
        names = list(pl.read_parquet_schema(path))
        roles = _roles(path, names)
        frame = pl.read_parquet(path, columns=sorted(set(roles.values())), glob=False)
    return frame, roles, ()


def _csv(path: Path) -> tuple[pl.DataFrame, dict[str, str], Sequence[int]]:
    import polars as pl

    header, separator, quoted = _header(path)
    roles = _roles(path, header)
    text_columns = {roles[role] for role in ("symbol", "time", "clock") if role in roles}
    wanted = sorted(set(roles.values()))
    types = {name: pl.String if name in text_columns else pl.Float64 for name in header}

    def read(truncate_ragged_lines: bool) -> pl.DataFrame:
        return pl.read_csv(
            path,
            columns=wanted,
            separator=separator,
            quote_char='"' if quoted else None,
            schema_overrides=types,
            ignore_errors=True,
            truncate_ragged_lines=truncate_ragged_lines,
            glob=False,
        )

    ragged: Sequence[int] = ()
    with _faults(path, "CSV"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            frame = read(truncate_ragged_lines=False)
        except pl.exceptions.NoDataError:
            frame = pl.DataFrame(schema=types)
        except pl.exceptions.ComputeError:
            ragged = _ragged_rows(path, separator, len(header))
            if not ragged:
                raise
            frame = read(truncate_ragged_lines=True)
    if any("malformed" in str(one.message) for one in said):
        # polars only warns when a quotation mark that is never closed swallows lines.
        raise DataFault(f"{path.name}: a quotation mark is opened and not closed")
    return frame, roles, ragged


@contextmanager
def _faults(path: Path, kind: str) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        EOFError,
        UnicodeDecodeError,
        zlib.error,
    ) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason"
        raise DataFault(
            f"{path.name} cannot be read as {kind} (cut short, or another format?): {reason}"
        ) from error


@contextmanager
def _silent_panics() -> Iterator[None]:
    """polars' reader of Parquet panics on some torn files, and Rust then writes a backtrace
    straight to descriptor 2. The panic itself arrives as an exception, so that text is noise."""
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _lines(path: Path) -> TextIO:
    with path.open("rb") as opened:
        zipped = opened.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _header(path: Path) -> tuple[list[str], str, bool]:
    """The column names of a CSV file, what separates them, and whether fields are quoted."""
    try:
        with _lines(path) as lines:
            line, first = lines.readline(_LONGEST_LINE), lines.readline(_LONGEST_LINE)
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise DataFault(f"{path.name} is neither CSV text in UTF-8 nor Parquet: {error}") from error
    if "\0" in line:
        raise DataFault(f"{path.name} is a binary file, neither CSV text nor Parquet")
    separator = max((",", ";", "\t", "|"), key=line.count)
    names = next(csv.reader([line.replace("\r", "").rstrip("\n")], delimiter=separator), [])
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataFault(f"{path.name}: column {twice[0]!r} stands twice in the first line")
    # Elsewhere a quotation mark is a fault of its row, and must not hide the rows after it.
    return names, separator, '"' in line + first


def _ragged_rows(path: Path, separator: str, fields: int) -> list[int]:
    """Rows (from 0, the header not counted) with more fields than the header."""
    within_quotes = re.compile(r'"[^"]*"')
    with _lines(path) as lines:
        next(lines)
        return [
            row
            for row, line in enumerate(lines)
            if within_quotes.sub("", line).count(separator) >= fields
        ]


def _roles(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Which column plays which part: time, symbol, volume, and the names of the prices."""
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in names}
    roles: dict[str, str] = {}
    for role, known in (
        ("time", _TIME_NAMES),
        ("symbol", _SYMBOL_NAMES),
        ("volume", _VOLUME_NAMES),
    ):
        found = next((plain[name] for name in known if name in plain), None)
        if found is not None:
            roles[role] = found
    if roles.get("time") == plain.get("time") and "date" in plain and "time" in roles:
        roles["time"], roles["clock"] = plain["date"], plain["time"]
    for role in TRADES:
        if role in plain:
            roles[role] = plain[role]
        for side in ("bid", "ask"):
            found = plain.get(f"{side}_{role}") or plain.get(f"{role}_{side}")
            if found is not None:
                roles[f"{side}_{role}"] = found
    _require(path, names, roles)
    return roles


def _require(path: Path, names: Sequence[str], roles: dict[str, str]) -> None:
    """Raises DataFault when time or prices are missing; drops incomplete sets of prices."""
    missing = [] if "time" in roles else ["a time (open_time, time or timestamp)"]
    missing_trades = [role for role in TRADES if role not in roles]
    missing_quotes = [role for role in (*BIDS, *ASKS) if role not in roles]
    if missing_trades and missing_quotes:
        quoted = len(missing_quotes) < len(BIDS) + len(ASKS)
        missing += (
            missing_quotes if quoted and len(missing_trades) == len(TRADES) else missing_trades
        )
    if missing:
        hints = []
        for role in missing:
            near = difflib.get_close_matches(
                role, [name.lower() for name in names], n=1, cutoff=0.7
            )
            hints += [f"{near[0]!r} looks like {role}"] if near else []
        hint = f" ({'; '.join(hints)})" if hints else ""
        raise DataFault(
            f"{path.name}: no column for {', '.join(missing)}; found"
            f" {', '.join(repr(name) for name in names[:30])}{hint}. A price file has a first line"
            " with symbol, open_time, open, high, low, close and perhaps volume, or bid_open …"
            " ask_close in place of the prices; see docs/data.md"
        )
    for group, gone in ((TRADES, missing_trades), ((*BIDS, *ASKS), missing_quotes)):
        if gone:
            for role in group:
                roles.pop(role, None)


def _floats(column: pl.Series) -> Float64:
    """Numbers as float64, NaN where there is none."""
    import polars as pl

    if column.dtype == pl.Float32:
        return _from_float32(column.fill_null(float("nan")).to_numpy())
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    if column.dtype != pl.Float64:
        column = column.cast(pl.Float64, strict=False)
    if column.null_count():
        column = column.fill_null(float("nan"))
    return column.to_numpy()


def _from_float32(values: NDArray[np.float32]) -> Float64:
    """The shortest decimals that float32 stands for: 1.05236, not 1.0523600578308105."""
    wide = values.astype(np.float64)
    for decimals in range(9):
        rounded = np.round(wide, decimals)
        if np.array_equal(rounded.astype(np.float32), values, equal_nan=True):
            return rounded
    return wide
