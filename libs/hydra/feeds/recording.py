"""What a recorder has written, read again: events as they were heard, bars as they were kept.

    <folder>/<season>/season.json                           how the season is set up
    <folder>/<season>/<YYYY-MM-DD>/<kind>/<name>-NNNN.parquet   sealed parts
    <folder>/<season>/<YYYY-MM-DD>/fresh/<kind>-NNNNNN.parquet  seconds that are not sealed yet

The day is UTC: that in which an event reached Hydra, or a bar opened (of candles from before the
season: that in which the season began). Days are whole by themselves and may be deleted. Every
row has a number (`seq`) that rises from row to row through the whole recording; where a
process died while it sealed, rows may lie in a part and in `fresh` too, and count once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from hydra.clock import NS_PER_DAY, iso
from hydra.errors import ConfigError, DataFault
from hydra.feeds.kept import KeptBars
from hydra.feeds.recorded_rows import BARS, BOOK, FEED, KINDS, QUOTES, TRADES, event_of, note_of
from hydra.market.events import BookChange, Event
from hydra.market.instruments import Instrument
from hydra.storage.bars import kept_of
from hydra.tournament.season import SeasonRow

FRESH = "fresh"
SEASON = "season.json"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ROWS = 20_000  # that are read at once from a file


def day_of(at_ns: int) -> str:
    """2024-01-31: the UTC day of an instant."""
    return iso(at_ns - at_ns % NS_PER_DAY)[:10]


class Recorded(NamedTuple):
    """What a day has of one kind and one symbol at one venue (bars: of one length)."""

    day: str
    kind: str
    source: str  # "": of bars, which may come from several
    symbol: str
    rows: int  # of a book: levels
    files: int
    bytes: int
    first_ns: int  # bars: when the first opened
    last_ns: int
    largest_gap_ns: int  # between two rows that follow each other; bars: missing ones
    dropped: int  # events that were heard and could not be written; of kind feed alone


class Recording:
    """One season's folder. Raises ConfigError where it is none."""

    def __init__(self, folder: Path) -> None:
        if not (folder / SEASON).is_file():
            raise ConfigError(f"{folder} is no recording of a season: it has no {SEASON}")
        self.folder = folder

    @property
    def season(self) -> SeasonRow:
        """How the season is set up. Raises ConfigError where that cannot be read."""
        path = self.folder / SEASON
        try:
            return msgspec.json.decode(path.read_bytes(), type=SeasonRow)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error

    def days(self) -> list[str]:
        """Oldest first."""
        return days_of(self.folder)

    def files(self, day: str, kind: str) -> list[Path]:
        """All of a kind, the parts of each name in order, then what is fresh."""
        return [
            *sorted((self.folder / day / kind).glob("*.parquet")),
            *sorted((self.folder / day / FRESH).glob(f"{kind}-*.parquet")),
        ]

    def events(
        self, day: str, *, source: str | None = None, symbol: str | None = None
    ) -> Iterator[Event]:
        """A day's events, equal to those heard and in their order; only of a venue or symbol
        where one is named. Raises DataFault where a file cannot be read.

        A part of a few MB is held for each kind and listing, however long the day.
        """
        sources = [
            _events(group, kind, source, symbol)
            for kind in (TRADES, QUOTES, BOOK, FEED)
            for group in _by_name(self.files(day, kind))
        ]
        newest = -1
        for seq, event in merge(*sources, key=lambda one: one[0]):
            if seq != newest:
                newest = seq
                yield event

    def bars(
        self,
        instruments: Mapping[str, Instrument],
        first_day: str | None = None,
        last_day: str | None = None,
    ) -> list[KeptBars]:
        """Kept bars of the days, both included, by symbol, length and instant.

        Raises DataFault where a file cannot be read, StorageError on an unknown symbol.
        """
        frames = [
            _read(path)
            for day in self.days()
            if (first_day or day) <= day <= (last_day or day)
            for path in self.files(day, BARS)
        ]
        if not frames:
            return []
        key = ["symbol", "resolution_ns", "open_ns"]
        rows = pl.concat(frames).unique(key, keep="last", maintain_order=True).sort(key)
        return kept_of(rows.iter_rows(), rows.columns, instruments)

    def bar_keys(self) -> set[tuple[str, int, int]]:
        """(symbol, resolution_ns, open_ns) of every bar. Raises DataFault."""
        columns = ["symbol", "resolution_ns", "open_ns"]
        return {
            row
            for day in self.days()
            for path in self.files(day, BARS)
            for row in _read(path, columns).iter_rows()
        }

    def inspect(self, day: str) -> Iterator[Recorded]:
        """What a day has, kind by kind. Raises DataFault where a file cannot be read."""
        for kind in KINDS:
            files = self.files(day, kind)
            if files:
                yield from _facts(day, kind, files)


def days_of(folder: Path) -> list[str]:
    """The days that a season's folder has, oldest first."""
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(name for name in names if _DAY.fullmatch(name))


def recordings(folder: Path) -> list[Recording]:
    """Every season that was recorded under a folder, by name."""
    if not folder.is_dir():
        return []
    return [Recording(one) for one in sorted(folder.iterdir()) if (one / SEASON).is_file()]


def _by_name(files: Sequence[Path]) -> list[list[Path]]:
    """The parts of each listing together, each fresh file by itself: each group is in order."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        is_fresh = path.parent.name == FRESH
        groups.setdefault(FRESH if is_fresh else path.stem.rpartition("-")[0], []).append(path)
    return list(groups.values())


def _events(
    files: Sequence[Path], kind: str, source: str | None, symbol: str | None
) -> Iterator[tuple[int, Event]]:
    rows = (row for path in files for row in _rows(path, source, symbol))
    if kind == BOOK:
        for _, levels in groupby(rows, key=lambda row: row["seq"]):
            yield _book_change(levels)
        return
    for row in rows:
        event = note_of(row) if kind == FEED else event_of(row, kind)
        if event is not None:
            yield row["seq"], event


def _book_change(levels: Iterator[dict[str, Any]]) -> tuple[int, BookChange]:
    sides: dict[int, list[tuple[int, int]]] = {1: [], 0: [], -1: []}
    first = None
    for row in levels:
        first = first or row
        sides[row["side"]].append((row["ticks"], row["steps"]))
    assert first is not None
    event = event_of(first | {"bids": tuple(sides[1]), "asks": tuple(sides[-1])}, BOOK)
    assert isinstance(event, BookChange)
    return first["seq"], event


def _rows(path: Path, source: str | None, symbol: str | None) -> Iterator[dict[str, Any]]:
    rows = _scanned(path)
    wanted = [pl.col(n) == v for n, v in (("source", source), ("symbol", symbol)) if v is not None]
    at = 0
    while True:
        try:
            frame = rows.slice(at, _ROWS).collect()
        except (OSError, PolarsError) as error:
            raise DataFault(f"{path} cannot be read: {error}") from error
        yield from (frame.filter(*wanted) if wanted else frame).iter_rows(named=True)
        if len(frame) < _ROWS:
            return
        at += _ROWS


def _scanned(path: Path) -> pl.LazyFrame:
    try:
        return pl.scan_parquet(path, glob=False)
    except (OSError, PolarsError) as error:
        raise DataFault(f"{path} cannot be read: {error}") from error


def _read(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except (OSError, PolarsError) as error:
        raise DataFault(f"{path} cannot be read: {error}") from error


def _facts(day: str, kind: str, files: Sequence[Path]) -> Iterator[Recorded]:
    key = ["symbol", "resolution_ns"] if kind == BARS else ["source", "symbol"]
    at = "open_ns" if kind == BARS else "at_ns"
    extra = ["text"] if kind == FEED else []
    parts = [
        _read(path, ["seq", *key, at, *(["kind"] if extra else []), *extra]).with_columns(
            file=pl.lit(str(path))
        )
        for path in files
    ]
    rows = pl.concat(parts).sort("seq", maintain_order=True)
    if kind != BOOK:
        rows = rows.unique("seq", keep="first", maintain_order=True)
    for _, group in rows.group_by(key, maintain_order=True):
        instants = group[at].sort()
        gap_ns = int(instants.diff().max() or 0)  # type: ignore[arg-type]
        length_ns = int(group["resolution_ns"][0]) if kind == BARS else 0
        mine = [Path(name) for name in group["file"].unique().to_list()]
        dropped = 0
        if extra:
            told = group.filter(pl.col("kind") == "dropped")["text"].cast(pl.Int64)
            dropped = int(told.sum())
        yield Recorded(
            day=day,
            kind=kind,
            source="" if kind == BARS else str(group["source"][0]),
            symbol=str(group["symbol"][0] or ""),
            rows=len(group),
            files=len(mine),
            bytes=sum(path.stat().st_size for path in mine),
            first_ns=int(instants[0]),
            last_ns=int(instants[-1]),
            largest_gap_ns=max(0, gap_ns - length_ns),
            dropped=dropped,
        )
