"""What every live venue has in common: its protocol as a state machine without I/O or clock.

A venue is told when its connection opens, each message, each answer and that time passes; it
returns events, says through `requests` what to send or fetch, and through `down` that the
connection is of no more use. It never raises on what a venue sends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.market.events import (
    BadMessage,
    BookChange,
    Down,
    Event,
    Levels,
    Listing,
    NoQuote,
    Quote,
    Resync,
)
from hydra.market.orderbook import OrderBook

SHOWN_CHARS = 200  # of a message that is not understood
MAX_RESYNCS = 5  # within RESYNC_WINDOW_S; more, and the connection is not worth keeping
RESYNC_WINDOW_S = 60
_TEXTS_KEPT = 16_384  # texts of prices, and of sizes, remembered with their numbers, a book

# What a decoder raises on nonsense; RecursionError on JSON nested thousands deep.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Send:
    """Text to send on the connection."""

    text: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """A REST reply to get, after a pause, and hand to `answer`."""

    path: str
    params: tuple[tuple[str, str], ...]
    venue_symbol: str
    serial: int  # tells this request from an older one for the same symbol
    after_s: float = 0.0


@dataclass(slots=True)
class Counts:
    """What happened since the venue was built; for metrics."""

    messages: int = 0
    bad: int = 0
    duplicates: int = 0  # old or repeated messages, left aside
    resyncs: int = 0


class Venue(Protocol):
    """The protocol of one venue. Instants are int ns, UTC."""

    @property
    def source(self) -> str: ...

    @property
    def silence_s(self) -> float:
        """A connection on which nothing at all arrives for so long is dead."""

    @property
    def down(self) -> str | None:
        """Why this connection is of no more use; None while it is."""

    def book(self, venue_symbol: str) -> OrderBook | None:
        """The book of a listing, to look at; None while it is void. Raises KeyError."""

    def opened(self, at_ns: int) -> None:
        """A connection is open and nothing is known; the subscriptions are in `requests`."""

    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        """What one message means."""

    def answer(self, fetch: Fetch, body: bytes, at_ns: int) -> Sequence[Event]:
        """What the reply to a fetch means."""

    def unanswered(self, fetch: Fetch, reason: str, at_ns: int) -> Sequence[Event]:
        """A fetch failed."""

    def tick(self, at_ns: int) -> Sequence[Event]:
        """Time passed: pings fall due, and so do answers that did not come."""

    def requests(self) -> Sequence[Send | Fetch]:
        """What to send and to fetch now; each is told once."""

    def closed(self, reason: str, at_ns: int) -> Sequence[Event]:
        """The connection ended: all that was known is void."""


class VenueBook:
    """One listing's book as the venue's messages build it."""

    __slots__ = ("_prices", "_sizes", "asked_ns", "book", "is_live", "last_id", "listing", "quoted")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.book = OrderBook()
        self.is_live = False  # a snapshot came and nothing has been missed since
        self.asked_ns: int | None = None  # since when a snapshot is waited for
        self.last_id = 0  # the venue's number of the last update in the book
        self.quoted: tuple[int, int, int, int] | None = None
        self._prices: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def levels(self, pairs: Sequence[tuple[str, str]]) -> Levels:
        """Prices and sizes on the listing's grid. Raises ValueError on any that is not."""
        if not pairs:
            return ()
        # The same texts come again and again: a price near the best, and a size of zero.
        prices, sizes, listing = self._prices, self._sizes, self.listing
        out = []
        for price, size in pairs:
            ticks = prices.get(price)
            if ticks is None:
                ticks = listing.ticks(price)
                _remember(prices, price, ticks)
            steps = sizes.get(size)
            if steps is None:
                steps = listing.steps(size)
                _remember(sizes, size, steps)
            out.append((ticks, steps))
        return tuple(out)


def _remember(known: dict[str, int], text: str, number: int) -> None:
    if len(known) >= _TEXTS_KEPT:
        known.clear()
    known[text] = number


class BookVenue(ABC):
    """The part of a venue's protocol that is the same at all of them: books and their faults."""

    def __init__(
        self, source: str, listings: Sequence[Listing], *, silence_s: float, snapshot_s: float
    ) -> None:
        """`snapshot_s`: how long to wait for a snapshot that was asked for.

        Raises ConfigError when there is no listing, one is of another venue or comes twice.
        """
        if not listings:
            raise ConfigError(f"{source}: name at least one symbol")
        self._books: dict[str, VenueBook] = {}
        for listing in listings:
            if listing.source != source:
                raise ConfigError(f"{listing.symbol} is a listing of {listing.source}: {source}")
            if listing.venue_symbol in self._books:
                raise ConfigError(f"{source}: {listing.venue_symbol} is listed twice")
            self._books[listing.venue_symbol] = VenueBook(listing)
        self._source = source
        self._silence_s = silence_s
        self._snapshot_ns = round(snapshot_s * NS_PER_S)
        self._down: str | None = None
        self._requests: list[Send | Fetch] = []
        self._resyncs: deque[int] = deque()
        self.counts = Counts()

    @property
    def source(self) -> str:
        return self._source

    @property
    def silence_s(self) -> float:
        return self._silence_s

    @property
    def down(self) -> str | None:
        return self._down

    def book(self, venue_symbol: str) -> OrderBook | None:
        """The book of a listing, to look at; None while it is void. Raises KeyError."""
        book = self._books[venue_symbol]
        return book.book if book.is_live else None

    def opened(self, at_ns: int) -> None:
        self._down = None
        self._requests.clear()
        self._resyncs.clear()
        for book in self._books.values():
            self._void(book, at_ns)
        self._subscribe(at_ns)

    def requests(self) -> Sequence[Send | Fetch]:
        told, self._requests = self._requests, []
        return told

    def answer(self, fetch: Fetch, body: bytes, at_ns: int) -> Sequence[Event]:
        return (self._bad(body, f"nobody asked for {fetch.path}", at_ns),)

    def unanswered(self, fetch: Fetch, reason: str, at_ns: int) -> Sequence[Event]:
        return (self._bad(b"", f"{fetch.path}: {reason}", at_ns),)

    def tick(self, at_ns: int) -> Sequence[Event]:
        for book in self._books.values():
            asked_ns = book.asked_ns
            if asked_ns is not None and at_ns - asked_ns > self._snapshot_ns:
                self._give_up(
                    f"no snapshot of {book.listing.venue_symbol} within"
                    f" {self._snapshot_ns / NS_PER_S:g} s"
                )
        return ()

    def closed(self, reason: str, at_ns: int) -> Sequence[Event]:
        out: list[Event] = []
        for book in self._books.values():
            if book.is_live:
                out.append(Resync(listing=book.listing, reason=reason, at_ns=at_ns))
            self._void(book, at_ns)
        self._requests.clear()
        out.append(Down(source=self._source, reason=reason, at_ns=at_ns))
        return out

    @abstractmethod
    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        """What one message means."""

    @abstractmethod
    def _subscribe(self, at_ns: int) -> None:
        """Put what a new connection sends into `_requests`."""

    @abstractmethod
    def _ask_again(self, books: Sequence[VenueBook], at_ns: int) -> None:
        """Ask for new snapshots of books that are void."""

    def _give_up(self, reason: str) -> None:
        if self._down is None:
            self._down = reason

    def _void(self, book: VenueBook, at_ns: int) -> None:
        book.is_live = False
        book.quoted = None
        book.asked_ns = at_ns
        book.book.clear()

    def _resync(self, books: Sequence[VenueBook], reason: str, at_ns: int) -> list[Event]:
        """Declare books void and ask for them anew; give up when that happens too often."""
        out: list[Event] = []
        for book in books:
            if book.is_live:
                out.append(Resync(listing=book.listing, reason=reason, at_ns=at_ns))
            self._void(book, at_ns)
        self.counts.resyncs += 1
        recent = self._resyncs
        recent.append(at_ns)
        while at_ns - recent[0] > RESYNC_WINDOW_S * NS_PER_S:
            recent.popleft()
        if len(recent) > MAX_RESYNCS:
            self._give_up(f"{len(recent)} resyncs within {RESYNC_WINDOW_S} s, the last: {reason}")
        else:
            self._ask_again(books, at_ns)
        return out

    def _bad(self, message: bytes, reason: str, at_ns: int) -> BadMessage:
        self.counts.bad += 1
        text = message[:SHOWN_CHARS].decode("utf-8", "replace")
        return BadMessage(source=self._source, reason=reason[:SHOWN_CHARS], text=text, at_ns=at_ns)

    def _changed(
        self,
        book: VenueBook,
        bids: Levels,
        asks: Levels,
        *,
        snapshot: bool,
        at_ns: int,
        venue_ns: int,
    ) -> list[Event]:
        """Put levels into a book: the change, and the new quote if the best moved.

        A book that is crossed afterwards is a fault: Resync instead.
        """
        orders = book.book
        if snapshot:
            orders.load(bids, asks)
            book.is_live = True
            book.asked_ns = None
            book.quoted = None
        else:
            orders.apply(bids, asks)
        if orders.is_crossed:
            bid, ask = orders.best_bid, orders.best_ask
            assert bid is not None and ask is not None
            price = book.listing.price
            return self._resync(
                (book,), f"crossed: bid {price(bid[0])}, ask {price(ask[0])}", at_ns
            )
        out: list[Event] = [
            BookChange(
                listing=book.listing,
                bids=bids,
                asks=asks,
                snapshot=snapshot,
                at_ns=at_ns,
                venue_ns=venue_ns,
            )
        ]
        bid, ask = orders.best_bid, orders.best_ask
        if bid is None or ask is None:
            if book.quoted is not None or snapshot:
                side = "bids" if bid is None else "asks"
                out.append(NoQuote(listing=book.listing, reason=f"no {side}", at_ns=at_ns))
            book.quoted = None
        elif book.quoted != (best := (*bid, *ask)):
            book.quoted = best
            out.append(
                Quote(
                    listing=book.listing,
                    bid_ticks=bid[0],
                    bid_steps=bid[1],
                    ask_ticks=ask[0],
                    ask_steps=ask[1],
                    at_ns=at_ns,
                    venue_ns=venue_ns,
                )
            )
        return out


def words(error: BaseException) -> str:
    """An error's kind and text, for a reason."""
    return f"{type(error).__name__}: {error}"
