"""Writes what a live season hears and plays to Parquet, so that it can be played again.

The market's thread only appends to buffers. A thread of the recorder's own writes them out
every few seconds as small whole files (`fresh`), and now and then, and at a day's end, gathers
those into parts of one symbol each. A file appears under its name when it is whole, so a death at
any moment costs at most the seconds since the last flush (of one that is under way, one kind may
be there and another not); of bars it costs none, since those that the database keeps are
completed at the next start. See recording.py for the folders.

A disk that is full or gone never stops the season: the recorder says so once, drops ticks and
counts them, holds bars back, and tries again with the next flush.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec
import polars as pl

from hydra.clock import NS_PER_DAY, NS_PER_S, Clock, monotonic_ns
from hydra.errors import ConfigError
from hydra.feeds.recorded_rows import (
    BARS,
    BEGUN,
    BOOK,
    DROPPED,
    FEED,
    KINDS,
    QUOTES,
    TRADES,
    Buffer,
)
from hydra.feeds.recording import FRESH, SEASON, Recording, day_of, days_of
from hydra.market.events import Event
from hydra.market.timeframes import timeframe_name
from hydra.storage.bars import KeptBar
from hydra.tournament.season import SeasonRow

FLUSH_S = 5.0  # what a death costs at most, and what writing takes
SEAL_S = 1_800.0  # how long rows stay fresh at most
SEAL_ROWS = 400_000  # of one kind: more fresh ones are sealed at once
MOST_HELD = 8_000_000  # numbers of 8 bytes in the buffer; what comes beyond is dropped
_EARLY = 1_000_000  # with so many it is flushed before its time
_GROUP_ROWS = 25_000
_PARTIAL = ".partial"


class Recorder:
    """Records one season. `start`, then `hear` and `keep` from the market's thread; `close`.

    `flush` and `seal` are what its thread does from time to time, for whoever has none.
    """

    def __init__(
        self, folder: Path, season: SeasonRow, *, clock: Clock, say: Callable[[str], None]
    ) -> None:
        """`folder` of all recordings; the season's is made in it. `say` is told, in the
        recorder's thread, when writing fails and when it goes on.

        Raises ConfigError where the folder cannot be made, or holds another season of this name.
        """
        self.folder = folder / season.name
        self._say = say
        self._lock = threading.Lock()  # on the buffer: held for moments
        self._files = threading.Lock()  # on everything else: held while the disk works
        self._buffer = Buffer()
        self._fresh_rows: dict[tuple[str, str], int] = {}  # by day and kind
        self._fresh_number = 0
        self._newest: dict[str, str] = {}  # by kind: the latest day that it has rows of
        self._sealed_ns = monotonic_ns()
        self._unsaid = 0  # events that were dropped since that was last written down
        self._lost = 0  # and since it was last said
        self._fault = ""  # the latest failure since `_tell`
        self._is_failing = False
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._first_day = day_of(_start_ns(season))
        try:
            self._open(season)
            # Numbers rise from run to run, so that rows are in order and none is another's.
            self._seq = max(clock.now_ns(), self._recover() + 1)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ConfigError(f"nothing can be recorded to {self.folder}: {error}") from error
        self._now_ns = clock.now_ns

    # In the market's thread

    def hear(self, events: Sequence[Event]) -> None:
        """Take events. Never raises for what they hold."""
        with self._lock:
            buffer = self._buffer
            seq = self._seq
            for event in events:
                seq += 1
                if buffer.held > MOST_HELD:
                    self._unsaid += 1
                    continue
                try:
                    buffer.add(seq, event)
                except OverflowError:  # a size that no exchange has
                    self._unsaid += 1
            self._seq = seq
        if buffer.held > _EARLY:
            self._wake.set()

    def keep(self, bars: Iterable[KeptBar]) -> None:
        """Take bars that the database has."""
        with self._lock:
            for bar in bars:
                self._seq += 1
                self._buffer.keep(self._seq, bar)

    def complete(self, bars: Iterable[KeptBar]) -> int:
        """Take those of the database's bars that are not recorded yet; returns how many.

        None of days before the oldest that there is: those were deleted on purpose.
        """
        self.flush()
        recording = Recording(self.folder)
        known = recording.bar_keys()
        with self._lock:  # those that could not be written
            known |= {_key(bar) for _, bar in self._buffer.bars}
        first = min((day for day in recording.days() if recording.files(day, BARS)), default="")
        missing = [bar for bar in bars if _key(bar) not in known and self._day_of(bar) >= first]
        self.keep(missing)
        return len(missing)

    # In a thread of its own

    def start(self) -> Self:
        """Write from now on every FLUSH_S."""
        with self._lock:
            self._seq += 1
            self._buffer.note(self._seq, BEGUN, self._now_ns())
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Write what is left, seal it, and end. Safe to repeat."""
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()
        self.seal()
        if self._unsaid:
            self._say(f"{self._unsaid:,} events could not be recorded")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self) -> None:
        while not self._is_closing:
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self.flush()
            is_due = monotonic_ns() - self._sealed_ns >= SEAL_S * NS_PER_S
            if is_due:
                self.seal()

    def flush(self) -> None:
        """Write what was heard since the last time. Never raises for what the disk does."""
        with self._files:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            buffer, self._buffer = self._buffer, Buffer()
            if self._unsaid:
                buffer.note(self._seq + 1, DROPPED, self._seq, text=str(self._unsaid))
                self._seq += 1
            unsaid, self._unsaid = self._unsaid, 0
        lost = 0
        for kind, rows in self._rows(buffer).items():
            if self._tried(partial(self._write, kind, rows)):
                continue
            if kind == BARS:
                with self._lock:
                    self._buffer.bars[:0] = buffer.bars
            elif kind == FEED:
                lost += unsaid + int((~rows["kind"].is_in([BEGUN, DROPPED])).sum())
                unsaid = 0
            else:
                lost += rows["seq"].n_unique()
        self._lost += unsaid
        if lost:
            with self._lock:
                self._unsaid += lost
        for day, kind in list(self._fresh_rows):
            is_over = day < self._newest.get(kind, day)
            if is_over or self._fresh_rows[day, kind] >= SEAL_ROWS:
                self._seal(day, kind)
        self._tell()

    def seal(self) -> None:
        """Gather all that is fresh into parts. Never raises for what the disk does."""
        with self._files:
            for day, kind in list(self._fresh_rows):
                self._seal(day, kind)
            self._sealed_ns = monotonic_ns()
            self._tell()

    # Files

    def _open(self, season: SeasonRow) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / SEASON
        told = msgspec.json.format(msgspec.json.encode(season), indent=1)
        if path.exists():
            if Recording(self.folder).season != msgspec.json.decode(told, type=SeasonRow):
                raise ConfigError(
                    f"{self.folder} is the recording of another season {season.name}: move it"
                    " away, or give another --season"
                )
            return
        _write_whole(path, told)

    def _recover(self) -> int:
        """Seal what an earlier process left; returns the highest number that it gave."""
        highest = 0
        for day in days_of(self.folder):
            for path in (self.folder / day).glob(f"*/*{_PARTIAL}"):
                path.unlink(missing_ok=True)
            for path in sorted((self.folder / day / FRESH).glob("*.parquet")):
                self._fresh_rows[day, path.name.split("-")[0]] = 0
        for day in days_of(self.folder)[-2:]:
            for kind in KINDS:
                for path in Recording(self.folder).files(day, kind):
                    newest = pl.scan_parquet(path, glob=False).select(pl.max("seq")).collect()
                    highest = max(highest, newest.item() or 0)
        for day, kind in list(self._fresh_rows):
            self._gather(day, kind, may_be_sealed=True)
        self._fresh_rows.clear()
        return highest

    def _rows(self, buffer: Buffer) -> dict[str, pl.DataFrame]:
        """What was heard, by kind, in the order in which it was."""
        return {
            kind: pl.concat(frames).sort("seq", maintain_order=True)
            for kind, frames in buffer.frames().items()
            if frames
        }

    def _write(self, kind: str, rows: pl.DataFrame) -> None:
        days = self._days(rows, kind)
        for day in days.unique().sort().to_list():
            self._write_fresh(day, kind, rows.filter(days == day))

    def _write_fresh(self, day: str, kind: str, rows: pl.DataFrame) -> None:
        folder = self.folder / day / FRESH
        folder.mkdir(parents=True, exist_ok=True)
        self._fresh_number += 1
        # By the first number: in order across runs, and never the name of another.
        name = f"{kind}-{rows['seq'][0]:020}-{self._fresh_number:06}.parquet"
        _write_whole(folder / name, _parquet(rows))
        self._fresh_rows[day, kind] = self._fresh_rows.get((day, kind), 0) + len(rows)
        self._newest[kind] = max(day, self._newest.get(kind, day))

    def _seal(self, day: str, kind: str) -> None:
        if self._tried(lambda: self._gather(day, kind)):
            self._fresh_rows.pop((day, kind), None)

    def _gather(self, day: str, kind: str, *, may_be_sealed: bool = False) -> None:
        fresh = sorted((self.folder / day / FRESH).glob(f"{kind}-*.parquet"))
        if fresh:
            rows = pl.concat([pl.read_parquet(path, glob=False) for path in fresh])
            folder = self.folder / day / kind
            folder.mkdir(parents=True, exist_ok=True)
            key = ["symbol", "resolution_ns"] if kind == BARS else ["source", "symbol"]
            key = key[:1] if kind == FEED else key
            for part in rows.partition_by(key, maintain_order=True):
                self._write_part(folder, _name(part, kind), part, may_be_sealed=may_be_sealed)
            for path in fresh:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # where another kind is fresh
            (self.folder / day / FRESH).rmdir()

    def _write_part(
        self, folder: Path, name: str, rows: pl.DataFrame, *, may_be_sealed: bool
    ) -> None:
        known = sorted(
            path for path in folder.glob("*.parquet") if path.stem.rpartition("-")[0] == name
        )
        if may_be_sealed and known:  # a death after the part was written, before the fresh went
            newest = pl.scan_parquet(known, glob=False).select(pl.max("seq")).collect().item()
            rows = rows.filter(pl.col("seq") > newest)
        if len(rows):
            number = int(known[-1].stem.rpartition("-")[2]) + 1 if known else 1
            _write_whole(folder / f"{name}-{number:04}.parquet", _parquet(rows))

    def _days(self, rows: pl.DataFrame, kind: str) -> pl.Series:
        """The day to which each row belongs."""
        at = rows["open_ns" if kind == BARS else "at_ns"]
        days = at // NS_PER_DAY
        names = {number: day_of(number * NS_PER_DAY) for number in days.unique().to_list()}
        if kind == BARS:
            names = {number: max(day, self._first_day) for number, day in names.items()}
        return days.replace_strict(names, return_dtype=pl.String)

    def _day_of(self, bar: KeptBar) -> str:
        return max(day_of(int(bar.table.open_ns[0])), self._first_day)

    def _tried(self, write: Callable[[], None]) -> bool:
        """Whether it could be done. What could not is tried again, or counted."""
        try:
            write()
        except Exception as error:  # whatever it is, the season goes on
            self._fault = f"{type(error).__name__}: {error}"
            return False
        return True

    def _tell(self) -> None:
        """Once when it begins to fail, once when it is over."""
        if self._fault and not self._is_failing:
            self._say(
                f"recording to {self.folder} fails ({self._fault}). The season goes on; ticks that"
                " come meanwhile are not recorded, bars will be"
            )
        elif self._is_failing and not self._fault:
            self._say(f"recording goes on; {self._lost:,} events were not recorded")
            self._lost = 0
        self._is_failing, self._fault = bool(self._fault), ""


def _key(bar: KeptBar) -> tuple[str, int, int]:
    return bar.table.symbol, bar.table.resolution_ns, int(bar.table.open_ns[0])


def _start_ns(season: SeasonRow) -> int:
    plan = season.settings.get("plan")
    start = plan.get("start_ns") if isinstance(plan, dict) else None
    return start if isinstance(start, int) else 0


def _name(rows: pl.DataFrame, kind: str) -> str:
    """Of a part: its venue and symbol; bars: symbol and length."""
    if kind == BARS:
        words = [rows["symbol"][0], timeframe_name(rows["resolution_ns"][0])]
    elif kind in (TRADES, QUOTES, BOOK):
        words = [rows["source"][0], rows["symbol"][0]]
    else:
        words = [rows["source"][0] or "recorder"]
    return "-".join(quote(word, safe="") for word in words)


def _parquet(rows: pl.DataFrame) -> bytes:
    # In memory first: then writing can fail in one way only, with OSError.
    file = BytesIO()
    rows.write_parquet(file, compression="zstd", row_group_size=_GROUP_ROWS)
    return file.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    """Whole and durable, or not at all. Raises OSError."""
    unfinished = path.with_name(path.name + _PARTIAL)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
