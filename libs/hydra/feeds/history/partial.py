"""The file beside the output that keeps what was fetched: a line of JSON for each page.

It is written a page at a time, so whatever ends a fetch loses at most the page that was under
way, and the same command goes on behind the last one. The first line says what is fetched.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from hydra.errors import ConfigError

_FORMAT = "hydra fetch 1"


class Fetching(msgspec.Struct, frozen=True, kw_only=True):
    """What is fetched. Instants in ns, UTC; `symbols` as the output names them, in its order."""

    format: str = _FORMAT
    venue: str
    symbols: tuple[str, ...]
    bar_ns: int
    asked_from_ns: int
    asked_to_ns: int | None  # None: until now
    start_ns: int  # the first bar opens here
    end_ns: int  # the last bar closes here; fixed when the fetch began
    has_quotes: bool = False  # rows are of bid and ask, without volume

    def is_same(self, other: Fetching) -> bool:
        """Whether both were asked for alike; when they began does not count."""
        return msgspec.structs.replace(self, end_ns=0) == msgspec.structs.replace(other, end_ns=0)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One candle, its numbers exactly as decimal text."""

    open_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str  # "": the venue does not tell it
    ask: tuple[str, str, str, str] | None = None  # then the others are the bid's


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What one page settled: all bars of a symbol that open in [start_ns, next_ns)."""

    symbol: str
    start_ns: int
    next_ns: int
    rows: tuple[Row, ...] = ()
    faults: dict[str, int] = {}
    example: str = ""


class Partial:
    """The file, held by this process alone. Use it in `with`."""

    def __init__(self, path: Path, fetching: Fetching) -> None:
        """Open the file, or make it.

        `fetching` then is what the file began with. A last line that was cut off is dropped.
        Raises ConfigError where another fetch is kept there, another process is at it, it is
        damaged, or it cannot be written.
        """
        self.path = path
        self._file = _locked(path)
        try:
            self._open(fetching)
        except BaseException:
            os.close(self._file)
            raise

    def _open(self, fetching: Fetching) -> None:
        self._drop_torn_line()
        found = self._header()
        if found is not None:
            self._take_up(found)
        if found is None or (not found.is_same(fetching) and not self.has_rows):
            os.ftruncate(self._file, 0)
            self._write(fetching)
            self._take_up(fetching)
        elif not found.is_same(fetching):
            raise ConfigError(
                f"{self.path} keeps another fetch that was not finished (other venue, symbols, bar"
                " or period): give its command again, or remove that file"
            )

    def _take_up(self, found: Fetching) -> None:
        self.fetching = found
        self._next_ns = dict.fromkeys(found.symbols, found.start_ns)
        self._rows = dict.fromkeys(found.symbols, 0)
        for stretch in self.stretches():
            self._next_ns[stretch.symbol] = stretch.next_ns
            self._rows[stretch.symbol] += len(stretch.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        os.close(self._file)

    def next_ns(self, symbol: str) -> int:
        """Where the symbol's next page begins; `fetching.end_ns` where it is complete."""
        return self._next_ns[symbol]

    def rows(self, symbol: str) -> int:
        """How many candles of the symbol are kept."""
        return self._rows[symbol]

    @property
    def has_rows(self) -> bool:
        return any(self._rows.values())

    @property
    def is_new(self) -> bool:
        """Nothing is settled yet."""
        return all(at == self.fetching.start_ns for at in self._next_ns.values())

    @property
    def is_complete(self) -> bool:
        return all(at >= self.fetching.end_ns for at in self._next_ns.values())

    def add(self, stretch: Stretch) -> None:
        """Keep a page. Raises ConfigError where the disk is full."""
        assert stretch.start_ns == self._next_ns[stretch.symbol] < stretch.next_ns
        self._write(stretch)
        self._next_ns[stretch.symbol] = stretch.next_ns
        self._rows[stretch.symbol] += len(stretch.rows)

    def stretches(self) -> Iterator[Stretch]:
        """All pages, in the order of fetching. Raises ConfigError where the file is damaged."""
        decode = msgspec.json.Decoder(Stretch).decode
        next_ns = dict.fromkeys(self.fetching.symbols, self.fetching.start_ns)
        with self.path.open("rb") as opened:
            opened.readline()
            for number, line in enumerate(opened, start=2):
                try:
                    stretch = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._damaged(number) from error
                start_ns = next_ns.get(stretch.symbol)
                if start_ns != stretch.start_ns or stretch.next_ns <= start_ns:
                    raise self._damaged(number)
                next_ns[stretch.symbol] = stretch.next_ns
                yield stretch

    def remove(self) -> None:
        self.path.unlink()

    def _header(self) -> Fetching | None:
        with self.path.open("rb") as opened:
            line = opened.readline()
        if not line:
            return None
        try:
            found = msgspec.json.decode(line, type=Fetching)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._damaged(1) from error
        if found.format != _FORMAT:
            raise self._damaged(1)
        return found

    def _drop_torn_line(self) -> None:
        size = os.fstat(self._file).st_size
        end = size
        while end:
            start = max(0, end - 65_536)
            at = os.pread(self._file, end - start, start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)

    def _write(self, one: Fetching | Stretch) -> None:
        line = memoryview(msgspec.json.encode(one) + b"\n")
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from error

    def _damaged(self, line: int) -> ConfigError:
        return ConfigError(
            f"{self.path}: line {line} is no part of a fetch; remove the file and fetch again"
        )


def _locked(path: Path) -> int:
    """The file's descriptor, made where it was not; the lock ends with it. Raises ConfigError."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise ConfigError(f"{path}: another process is fetching into it") from error
        # A fetch that was just finished may have removed the file between our open and our lock.
        if os.fstat(file).st_nlink:
            return file
        os.close(file)


def partial_path(out: Path) -> Path:
    """prices.parquet.partial beside prices.parquet"""
    return out.with_name(f"{out.name}.partial")
