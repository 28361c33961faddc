"""The times of a price file, as instants.

Whole numbers (and texts of digits) are epochs in s, ms, us or ns, told apart by their size,
or days written 20240131. Texts are ISO 8601 and its usual relatives (`2024.01.31 08:00`,
`20240131 080000`); an ISO text may end in Z or an offset. Where neither the file nor the
column says which zone its clock kept, `--tz` does: an IANA name, a fixed offset such as
UTC+3, or both, such as America/New_York+7 for brokers' servers that keep seven hours ahead
of New York all year.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from hydra.clock import NS_PER_S
from hydra.market.bars import Int64
from hydra.market.sessions import named_zone

if TYPE_CHECKING:
    import polars as pl

# Why a row has no instant; 0 where it has one.
READ, UNREADABLE, SKIPPED_HOUR = 0, 1, 2

_SHIFTED = re.compile(r"(?P<zone>[A-Za-z][A-Za-z_/]*)?(?P<sign>[+-])(?P<h>\d{1,2}):?(?P<m>\d{2})?")
_EPOCH = re.compile(r"-?\d+(\.\d+)?")
_DAY_DIGITS = re.compile(r"(19|20|21)\d{6}")
_WITH_ZONE = re.compile(r".*\d\s*(Z|z|[+-]\d{2}:?\d{2}|[+-]\d{2})")
# The first of each are what polars reads fastest.
_ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_LOCAL_FORMATS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%Y%m%dT%H%M%S",
    "%Y%m%d",
)
# Above each bound in s an epoch must count in the next finer unit (year 5138 in s).
_EPOCH_UNITS = ((1e11, "s", NS_PER_S), (1e14, "ms", 1_000_000), (1e17, "us", 1_000))


@dataclass(frozen=True, slots=True)
class WallClock:
    """A clock as files keep it: a zone, and so much ahead of it."""

    name: str  # as the user wrote it
    zone: str  # IANA
    ahead_ns: int = 0

    @classmethod
    def named(cls, text: str) -> WallClock:
        """An IANA zone, an offset (UTC+3, +03:00) or a zone and an offset.

        Raises ConfigError on anything else.
        """
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            match = _SHIFTED.fullmatch(text.strip())
            if match is None:
                named_zone(text, "--tz")  # raises, with the nearest name
                raise
            zone = match["zone"] or "UTC"
            if zone.upper() == "GMT":
                zone = "UTC"
            named_zone(zone, "--tz")
            seconds = int(match["h"]) * 3_600 + int(match["m"] or 0) * 60
            ahead_ns = (seconds if match["sign"] == "+" else -seconds) * NS_PER_S
            return cls(name=text, zone=zone, ahead_ns=ahead_ns)
        return cls(name=text, zone=text)


@dataclass(frozen=True, slots=True)
class Times:
    """One instant for each row of a file."""

    at_ns: Int64  # (n,) meaningless where state is not READ
    state: NDArray[np.uint8]  # (n,) READ, UNREADABLE or SKIPPED_HOUR
    zone: str  # what the instants rest on, for people
    had_zone: bool  # the file itself fixes the instants


def read_times(
    column: pl.Series, codes: NDArray[np.int32], clock: WallClock | None, name: str
) -> Times:
    """The instants of a column of times; `codes` (n,) tell the rows' symbols apart.

    Naive times are read on `clock` (UTC where it is None). An hour that the clock repeats in
    autumn is read as its first pass until a symbol's rows step back, then as its second.
    """
    import polars as pl

    if column.dtype == pl.String:
        column = column.str.strip_chars()
        if column.head(1_000).str.contains(r"(?i) *(UTC|GMT)$").any():
            column = column.str.replace(r"(?i) *(UTC|GMT)$", "Z")
        first = next((text for text in column.head(1_000) if text), "")
        if _DAY_DIGITS.fullmatch(first):
            return _local(_parsed(column, _LOCAL_FORMATS), codes, clock, name)
        if _EPOCH.fullmatch(first):
            return _epochs(column.cast(pl.Float64 if "." in first else pl.Int64, strict=False))
        return _texts(column, first, codes, clock, name)
    if column.dtype.is_integer():
        largest = column.max()
        if isinstance(largest, int) and 19_000_101 <= largest <= 21_991_231:
            days = _parsed(column.cast(pl.String), _LOCAL_FORMATS)
            return _local(days, codes, clock, name)
        return _epochs(column)
    if column.dtype.is_float():
        return _epochs(column)
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is not None:
            zoned = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            return _fixed(zoned, f"{column.dtype.time_zone} (in the file)")
        return _local(column, codes, clock, name)
    nothing = pl.Series([None] * len(column), dtype=pl.Datetime("us"))
    return _fixed(nothing, f"none: the column holds {column.dtype}")


def _epochs(column: pl.Series) -> Times:
    import polars as pl

    largest = column.abs().max()
    size = float(largest) if isinstance(largest, int | float) else 0.0
    unit, factor = next(((u, f) for bound, u, f in _EPOCH_UNITS if size < bound), ("ns", 1))
    state = column.is_null().to_numpy().astype(np.uint8)
    if column.dtype.is_float():
        # A float64 epoch in s is good to a microsecond; finer digits would be noise.
        micros = np.nan_to_num(column.fill_null(0).to_numpy()) * (factor / 1_000)
        at_ns = np.rint(micros).astype(np.int64) * 1_000
        state |= column.is_nan().fill_null(True).to_numpy().astype(np.uint8)
    else:
        at_ns = column.fill_null(0).cast(pl.Int64).to_numpy() * factor
    return Times(at_ns, state, f"UTC (epoch in {unit})", had_zone=True)


def _texts(
    column: pl.Series,
    first: str,
    codes: NDArray[np.int32],
    clock: WallClock | None,
    name: str,
) -> Times:
    if _WITH_ZONE.fullmatch(first) and (":" in first or "T" in first.upper()):
        return _fixed(_parsed(column, _ZONED_FORMATS), "UTC or an offset (in the file)")
    return _local(_parsed(column, _LOCAL_FORMATS), codes, clock, name)


def _parsed(column: pl.Series, formats: tuple[str, ...]) -> pl.Series:
    """Each text by the first format that reads it; null where none does."""
    import polars as pl

    zone = "UTC" if formats is _ZONED_FORMATS else None
    tidy = column
    head = next((text for text in column.head(1_000) if text), "")
    if not re.match(r"\d{4}-\d\d-\d\dT", head):
        # One spelling before parsing: 2024.01.31 08:00 and 2024/01/31 08:00 become ISO.
        tidy = column.str.replace(r"^(\d{4})[./-](\d\d?)[./-](\d\d?)", "$1-$2-$3")
        tidy = tidy.str.replace(r"^(\S+)[ _]+(\d)", "${1}T$2").str.replace(r"\s+", "")
    out = pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("ns"))
    for text_format in formats:
        missing = out.is_null() & tidy.is_not_null()
        if not missing.any():
            break
        left = tidy if missing.all() else tidy.set(~missing, None)
        read = left.str.to_datetime(text_format, time_unit="ns", time_zone=zone, strict=False)
        if zone is not None:
            read = read.dt.replace_time_zone(None)
        out = read if missing.all() else out.zip_with(out.is_not_null(), read)
    return out


def _fixed(utc: pl.Series, zone: str) -> Times:
    at_ns, state = _as_ns(utc)
    return Times(at_ns, state, zone, had_zone=True)


def _local(
    column: pl.Series, codes: NDArray[np.int32], clock: WallClock | None, name: str
) -> Times:
    """Naive times on a wall clock."""
    if clock is None:
        known = "utc" in name.lower() or "gmt" in name.lower()
        at_ns, state = _as_ns(column)
        zone = f"UTC (column {name})" if known else "UTC (assumed)"
        return Times(at_ns, state, zone, had_zone=known)
    if clock.zone == "UTC":
        at_ns, state = _as_ns(column)
        return Times(at_ns - clock.ahead_ns, state, clock.name, had_zone=False)
    wall_ns, state = _as_ns(column)
    at_ns, skipped = _on_wall(wall_ns - clock.ahead_ns, state == READ, codes, clock.zone)
    state = np.where(skipped, np.uint8(SKIPPED_HOUR), state)
    return Times(at_ns, state, clock.name, had_zone=False)


def _on_wall(
    wall_ns: Int64, readable: NDArray[np.bool_], codes: NDArray[np.int32], zone: str
) -> tuple[Int64, NDArray[np.bool_]]:
    import polars as pl

    local = pl.Series(np.where(readable, wall_ns, 0)).cast(pl.Datetime("ns"))

    def read(ambiguous: str) -> pl.Series:
        return local.dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")  # type: ignore[arg-type]

    early = read("earliest")
    skipped = early.is_null().to_numpy() & readable
    at_ns = early.dt.epoch("ns").fill_null(0).to_numpy().copy()
    late_ns = read("latest").dt.epoch("ns").fill_null(0).to_numpy()
    for row in np.flatnonzero(at_ns != late_ns):
        before = np.flatnonzero(codes[max(0, row - 10_000) : row] == codes[row])
        if len(before):
            last = int(at_ns[max(0, row - 10_000) + before[-1]])
            if at_ns[row] <= last < late_ns[row]:
                at_ns[row] = late_ns[row]
    return at_ns, skipped


def _as_ns(column: pl.Series) -> tuple[Int64, NDArray[np.uint8]]:
    import polars as pl

    state = column.is_null().to_numpy().astype(np.uint8)
    micros = column.cast(pl.Datetime("ns"), strict=False)
    return micros.cast(pl.Int64).fill_null(0).to_numpy(), state
