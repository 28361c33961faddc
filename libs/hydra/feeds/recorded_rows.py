"""Events and kept bars as rows of Parquet, and back: exact whole numbers, one row a level."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Double, LargeBinary, Text

from hydra.market.events import (
    BadMessage,
    BookChange,
    Down,
    Event,
    Listing,
    NoQuote,
    Quote,
    Resync,
    Side,
    Trade,
)
from hydra.storage.bars import KeptBar, values_of
from hydra.storage.tables import season_bars

TRADES, QUOTES, BOOK, BARS, FEED = "trades", "quotes", "book", "bars", "feed"
KINDS = (TRADES, QUOTES, BOOK, BARS, FEED)

_SEEN = ("seq", "at_ns", "venue_ns")
_NUMBERS = {  # of each row of the buffers, in this order
    TRADES: (*_SEEN, "price_ticks", "size_steps", "aggressor"),
    QUOTES: (*_SEEN, "bid_ticks", "bid_steps", "ask_ticks", "ask_steps"),
    BOOK: (*_SEEN, "snapshot", "bids", "asks"),
}
_LISTING = {
    "source": pl.String, "symbol": pl.String, "venue_symbol": pl.String,
    "price_decimals": pl.Int8, "size_decimals": pl.Int8,
}  # fmt: skip
_NOTE = {
    "seq": pl.Int64, "at_ns": pl.Int64, "kind": pl.String, **_LISTING,
    "reason": pl.String, "text": pl.String,
}  # fmt: skip
_BAR = {
    "seq": pl.Int64,
    **{
        column.name: pl.Float64
        if isinstance(column.type, Double)
        else pl.String
        if isinstance(column.type, Text)
        else pl.Binary
        if isinstance(column.type, LargeBinary)
        else pl.Int64
        for column in season_bars.columns
        if column.name != "season_id"
    },
}
BEGUN, DROPPED = "begun", "dropped"  # kinds of notes that are no events: of the recorder itself
_NOTES: dict[str, type] = {
    "no-quote": NoQuote, "resync": Resync, "down": Down, "bad-message": BadMessage,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _NOTES.items()}

Frames = dict[str, list[pl.DataFrame]]
"""By kind: rows in the order of their numbers, of one listing a frame."""


class _Ticks:
    """One listing's rows in the making."""

    __slots__ = ("book", "ids", "levels", "listing", "quotes", "trades")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.trades, self.quotes, self.book = array("q"), array("q"), array("q")
        self.levels = array("q")  # ticks, steps, ticks, steps, ... bids before asks
        self.ids: list[str] = []


class Buffer:
    """What was heard since the last flush. `held`: its size in numbers of 8 bytes."""

    __slots__ = ("_ticks", "bars", "held", "notes")

    def __init__(self) -> None:
        self._ticks: dict[int, _Ticks] = {}  # by the listing's identity: hashing costs more
        self.notes: list[dict[str, object]] = []
        self.bars: list[tuple[int, KeptBar]] = []
        self.held = 0

    def add(self, seq: int, event: Event) -> None:
        """Take an event. Raises OverflowError where a number of it has more than 63 bits; then
        nothing of it is kept."""
        kind = type(event)
        if kind is Quote or kind is Trade or kind is BookChange:
            ticks = self._ticks.get(id(event.listing))  # type: ignore[union-attr]
            if ticks is None:
                ticks = _Ticks(event.listing)  # type: ignore[union-attr]
                self._ticks[id(ticks.listing)] = ticks
            self._add(ticks, seq, event)
        else:
            self.note(seq, _NAMES[kind], event.at_ns, event)

    def _add(self, ticks: _Ticks, seq: int, event: Event) -> None:
        match event:
            case Quote():
                _extend(
                    ticks.quotes,
                    (
                        seq, event.at_ns, event.venue_ns, event.bid_ticks, event.bid_steps,
                        event.ask_ticks, event.ask_steps,
                    ),
                )  # fmt: skip
                self.held += 7
            case Trade():
                _extend(
                    ticks.trades,
                    (
                        seq, event.at_ns, event.venue_ns, event.price_ticks, event.size_steps,
                        event.aggressor,
                    ),
                )  # fmt: skip
                ticks.ids.append(event.trade_id)
                self.held += 10
            case BookChange(bids=bids, asks=asks):
                before = len(ticks.levels)
                _extend(ticks.levels, chain.from_iterable(chain(bids, asks)))
                try:
                    _extend(
                        ticks.book,
                        (
                            seq, event.at_ns, event.venue_ns, event.snapshot, len(bids), len(asks),
                        ),
                    )  # fmt: skip
                except OverflowError:
                    del ticks.levels[before:]
                    raise
                self.held += 6 + len(ticks.levels) - before

    def note(self, seq: int, kind: str, at_ns: int, event: Any = None, text: str = "") -> None:
        """Something that is neither price nor size: `kind` in a word."""
        listing: Listing | None = getattr(event, "listing", None)
        row: dict[str, object] = {
            name: getattr(listing, name, None) for name in _LISTING
        } | {
            "seq": seq, "at_ns": at_ns, "kind": kind, "reason": getattr(event, "reason", ""),
            "text": getattr(event, "text", text),
        }  # fmt: skip
        if listing is None:
            row["source"] = getattr(event, "source", "")
        self.notes.append(row)
        self.held += 50

    def keep(self, seq: int, bar: KeptBar) -> None:
        self.bars.append((seq, bar))

    def frames(self) -> Frames:
        """Everything as rows."""
        found: Frames = {kind: [] for kind in KINDS}
        for ticks in self._ticks.values():
            if ticks.trades:
                rows = _columns(ticks.trades, TRADES)
                found[TRADES].append(_frame(rows, ticks, trade_id=pl.Series(ticks.ids)))
            if ticks.quotes:
                found[QUOTES].append(_frame(_columns(ticks.quotes, QUOTES), ticks))
            if ticks.book:
                found[BOOK].append(_book_frame(ticks))
        if self.notes:
            found[FEED].append(pl.DataFrame(self.notes, schema=_NOTE))
        if self.bars:
            found[BARS].append(bar_frame(self.bars))
        return found


def bar_frame(bars: Sequence[tuple[int, KeptBar]]) -> pl.DataFrame:
    """Kept bars as rows, each with its number."""
    return pl.DataFrame([{"seq": seq} | values_of(bar) for seq, bar in bars], schema=_BAR)


def event_of(row: Mapping[str, Any], kind: str) -> Quote | Trade | BookChange:
    """The event of a row of trades or quotes; of a book: `row` has its `bids` and `asks`."""
    listing = _listing(row)
    if kind == TRADES:
        return Trade(
            listing=listing,
            trade_id=row["trade_id"],
            price_ticks=row["price_ticks"],
            size_steps=row["size_steps"],
            aggressor=Side(row["aggressor"]),
            at_ns=row["at_ns"],
            venue_ns=row["venue_ns"],
        )
    if kind == QUOTES:
        return Quote(
            listing=listing,
            bid_ticks=row["bid_ticks"],
            bid_steps=row["bid_steps"],
            ask_ticks=row["ask_ticks"],
            ask_steps=row["ask_steps"],
            at_ns=row["at_ns"],
            venue_ns=row["venue_ns"],
        )
    return BookChange(
        listing=listing,
        bids=row["bids"],
        asks=row["asks"],
        snapshot=row["snapshot"],
        at_ns=row["at_ns"],
        venue_ns=row["venue_ns"],
    )


def note_of(row: Mapping[str, Any]) -> Event | None:
    """The event of a row of the feed; None where the recorder itself wrote it."""
    said = {"reason": row["reason"], "at_ns": row["at_ns"]}
    match row["kind"]:
        case "no-quote":
            return NoQuote(listing=_listing(row), **said)
        case "resync":
            return Resync(listing=_listing(row), **said)
        case "down":
            return Down(source=row["source"], **said)
        case "bad-message":
            return BadMessage(source=row["source"], text=row["text"], **said)
    return None


_listings: dict[tuple[Any, ...], Listing] = {}


def _listing(row: Mapping[str, Any]) -> Listing:
    key = tuple(row[name] for name in _LISTING)
    found = _listings.get(key)
    if found is None:
        found = _listings[key] = Listing(**dict(zip(_LISTING, key, strict=True)))
    return found


def _extend(numbers: array[int], more: Iterator[int] | tuple[int, ...]) -> None:
    """All or nothing."""
    before = len(numbers)
    try:
        numbers.extend(more)
    except OverflowError:
        del numbers[before:]
        raise


def _columns(numbers: array[int], kind: str) -> dict[str, NDArray[np.int64]]:
    names = _NUMBERS[kind]
    table = np.frombuffer(numbers, np.int64).reshape(-1, len(names))
    return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)}


def _frame(columns: Mapping[str, Any], ticks: _Ticks, **more: pl.Series) -> pl.DataFrame:
    listing = ticks.listing
    frame = pl.DataFrame({**columns, **more})
    if "aggressor" in columns:
        frame = frame.with_columns(pl.col("aggressor").cast(pl.Int8))
    return frame.with_columns(
        pl.lit(getattr(listing, name), dtype=dtype).alias(name) for name, dtype in _LISTING.items()
    )


def _book_frame(ticks: _Ticks) -> pl.DataFrame:
    """A row for each level, and one without a side for a change that has none."""
    rows = _columns(ticks.book, BOOK)
    counts = np.stack((rows.pop("bids"), rows.pop("asks")), axis=1)
    is_empty = counts.sum(axis=1) == 0
    each = np.column_stack((counts, is_empty)).ravel()
    side = np.repeat(np.tile(np.array([1, -1, 0], np.int8), len(counts)), each)
    levels = np.zeros((len(side), 2), np.int64)
    levels[side != 0] = np.frombuffer(ticks.levels, np.int64).reshape(-1, 2)
    times = np.maximum(counts.sum(axis=1), 1)
    columns: dict[str, Any] = {name: np.repeat(column, times) for name, column in rows.items()}
    columns["snapshot"] = columns["snapshot"].astype(np.bool_)
    return _frame(
        columns
        | {
            "side": side,
            "ticks": np.ascontiguousarray(levels[:, 0]),
            "steps": np.ascontiguousarray(levels[:, 1]),
        },
        ticks,
    )
