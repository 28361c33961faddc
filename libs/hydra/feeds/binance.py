"""Binance spot: order books and trades.

The socket sends only changes of a book, numbered; the book itself is a REST snapshot that must
meet them: buffer the changes, get the snapshot, leave aside what it already holds, go on from
there. Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, "How to manage a
local order book correctly", and its notes on 24 h, `serverShutdown` and the server's pings (every
20 s, which the socket library answers).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hydra.feeds.venue import (
    UNDECODABLE,
    BookVenue,
    Fetch,
    Send,
    VenueBook,
    words,
)
from hydra.market.events import Event, Listing, Side, Trade

BINANCE_WS_URL = "wss://stream.binance.com:9443/stream"
BINANCE_REST_URL = "https://api.binance.com"
SOURCE = "binance"
SNAPSHOT_LEVELS = "5000"  # the most that the venue gives
MAX_SNAPSHOTS = 5  # tries for one book before the connection is given up
MAX_BUFFERED = 5_000  # changes held for one snapshot: eight minutes at ten a second
_NS_PER_MS = 1_000_000
_LEAST_RETRY_S = 0.5

_Pairs = list[tuple[str, str]]


class _Depth(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    s: str
    E: int  # ms
    U: int  # first number of the change
    u: int  # last number of the change
    b: _Pairs
    a: _Pairs


class _Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    s: str
    t: int
    p: str
    q: str
    T: int  # ms
    m: bool  # the buyer is the maker


class _Shutdown(msgspec.Struct, tag_field="e", tag="serverShutdown", gc=False):
    E: int = 0


class _Message(msgspec.Struct):
    stream: str = ""
    data: _Depth | _Trade | _Shutdown | None = None
    event: _Shutdown | None = None  # so the shutdown is wrapped on the request socket
    e: str = ""  # so on a socket without stream names
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Snapshot(msgspec.Struct):
    lastUpdateId: int  # noqa: N815, the venue's name
    bids: _Pairs
    asks: _Pairs


class _Wait:
    """What one book waits with for its snapshot."""

    __slots__ = ("buffered", "least", "serial", "tries")

    def __init__(self) -> None:
        self.buffered: list[_Depth] = []
        self.least = 0  # a snapshot of a number below is older than what was heard
        self.serial = 0  # of the request that counts; 0: none is out
        self.tries = 0


class Binance(BookVenue):
    """The protocol of combined streams `<symbol>@depth@100ms` and `<symbol>@trade`."""

    def __init__(
        self, listings: Sequence[Listing], *, silence_s: float = 60.0, snapshot_s: float = 30.0
    ) -> None:
        super().__init__(SOURCE, listings, silence_s=silence_s, snapshot_s=snapshot_s)
        self._waits = {name: _Wait() for name in self._books}
        self._serial = 0
        self._decode = msgspec.json.Decoder(_Message).decode
        self._decode_snapshot = msgspec.json.Decoder(_Snapshot).decode

    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        self.counts.messages += 1
        try:
            read = self._decode(message)
        except UNDECODABLE as error:
            # If it was a change, the number of the next shows that it is missing.
            return (self._bad(message, words(error), at_ns),)
        data = read.data
        if isinstance(data, _Depth):
            book = self._books.get(data.s)
            if book is None or data.u < data.U:
                return (self._bad(message, f"depth of {data.s!r}", at_ns),)
            return self._depth(book, data, message, at_ns)
        if isinstance(data, _Trade):
            return self._trade(data, message, at_ns)
        if isinstance(data, _Shutdown) or read.event is not None or read.e == "serverShutdown":
            self._give_up("the server shuts down")
            return ()
        if bytes(read.error):
            self._give_up(f"binance refused: {message[:200].decode('utf-8', 'replace')}")
            return (self._bad(message, "refused", at_ns),)
        if read.id is not None and bytes(read.result):
            return ()  # subscribed
        return (self._bad(message, "unknown message", at_ns),)

    def answer(self, fetch: Fetch, body: bytes, at_ns: int) -> Sequence[Event]:
        book, wait = self._books[fetch.venue_symbol], self._waits[fetch.venue_symbol]
        if fetch.serial != wait.serial:
            return ()  # of a time that is past
        wait.serial = 0
        try:
            read = self._decode_snapshot(body)
            bids, asks = book.levels(read.bids), book.levels(read.asks)
        except (*UNDECODABLE, ValueError) as error:
            bad = self._bad(body, words(error), at_ns)
            self._fetch_again(book, f"unreadable snapshot: {words(error)}", at_ns)
            return (bad,)
        if read.lastUpdateId < wait.least:
            self._fetch_again(book, "snapshots older than the stream", at_ns)
            return ()
        buffered, wait.buffered, wait.tries = wait.buffered, [], 0
        book.last_id = read.lastUpdateId
        # The snapshot has no time of its own.
        out = self._changed(book, bids, asks, snapshot=True, at_ns=at_ns, venue_ns=at_ns)
        for data in buffered:
            # Once a gap voids the book again, what remains is buffered for the next snapshot.
            out += self._depth(book, data, b"", at_ns)
        return out

    def unanswered(self, fetch: Fetch, reason: str, at_ns: int) -> Sequence[Event]:
        wait = self._waits[fetch.venue_symbol]
        if fetch.serial != wait.serial:
            return ()
        wait.serial = 0
        self._fetch_again(self._books[fetch.venue_symbol], reason, at_ns)
        return super().unanswered(fetch, reason, at_ns)

    def _depth(self, book: VenueBook, data: _Depth, message: bytes, at_ns: int) -> Sequence[Event]:
        if not book.is_live:
            self._buffer(book, data, at_ns)
            return ()
        due = book.last_id + 1
        if data.u < due:
            self.counts.duplicates += 1
            return ()
        if due < data.U:
            reason = f"changes {data.U} to {data.u} where {due} was due"
            out = self._resync((book,), reason, at_ns)
            self._buffer(book, data, at_ns)
            return out
        book.last_id = data.u
        try:
            bids, asks = book.levels(data.b), book.levels(data.a)
        except ValueError as error:
            bad = self._bad(message, words(error), at_ns)
            return (bad, *self._resync((book,), f"unreadable level: {error}", at_ns))
        return self._changed(
            book, bids, asks, snapshot=False, at_ns=at_ns, venue_ns=data.E * _NS_PER_MS
        )

    def _trade(self, data: _Trade, message: bytes, at_ns: int) -> Sequence[Event]:
        book = self._books.get(data.s)
        if book is None:
            return (self._bad(message, f"trade of {data.s!r}", at_ns),)
        try:
            ticks, steps = book.listing.ticks(data.p), book.listing.steps(data.q)
        except ValueError as error:
            return (self._bad(message, words(error), at_ns),)
        return (
            Trade(
                listing=book.listing,
                trade_id=str(data.t),
                price_ticks=ticks,
                size_steps=steps,
                aggressor=Side.SELL if data.m else Side.BUY,
                at_ns=at_ns,
                venue_ns=data.T * _NS_PER_MS,
            ),
        )

    def _subscribe(self, at_ns: int) -> None:
        names = [name.lower() for name in self._books]
        streams = [f"{name}@{kind}" for name in names for kind in ("depth@100ms", "trade")]
        message = {"method": "SUBSCRIBE", "params": streams, "id": 1}
        self._requests.append(Send(msgspec.json.encode(message).decode()))

    def _ask_again(self, books: Sequence[VenueBook], at_ns: int) -> None:
        for book in books:
            self._waits[book.listing.venue_symbol].least = book.last_id
            self._fetch(book, at_ns)

    def _void(self, book: VenueBook, at_ns: int) -> None:
        super()._void(book, at_ns)
        book.asked_ns = None
        self._waits[book.listing.venue_symbol] = _Wait()

    def _buffer(self, book: VenueBook, data: _Depth, at_ns: int) -> None:
        """Hold a change for the snapshot, which the first one calls for: not sooner, because
        only what was heard shows whether a snapshot is older than the stream."""
        wait = self._waits[book.listing.venue_symbol]
        if not wait.buffered:
            wait.least = max(wait.least, data.U)
        wait.buffered.append(data)
        if len(wait.buffered) > MAX_BUFFERED:
            self._give_up(f"{MAX_BUFFERED} changes of {data.s} and still no snapshot")
        self._fetch(book, at_ns)

    def _fetch(self, book: VenueBook, at_ns: int, after_s: float = 0.0) -> None:
        """Ask for a snapshot unless one is on its way."""
        name = book.listing.venue_symbol
        wait = self._waits[name]
        if wait.serial or wait.tries >= MAX_SNAPSHOTS:
            return
        self._serial += 1
        wait.serial = self._serial
        wait.tries += 1
        if book.asked_ns is None:
            book.asked_ns = at_ns
        params = (("symbol", name), ("limit", SNAPSHOT_LEVELS))
        self._requests.append(Fetch("/api/v3/depth", params, name, wait.serial, after_s))

    def _fetch_again(self, book: VenueBook, reason: str, at_ns: int) -> None:
        """After a snapshot that was of no use: later each time, then no more."""
        name = book.listing.venue_symbol
        tries = self._waits[name].tries
        if tries >= MAX_SNAPSHOTS:
            self._give_up(f"{tries} tries for a snapshot of {name}: {reason}")
        else:
            self._fetch(book, at_ns, _LEAST_RETRY_S * 2.0 ** (tries - 1))
