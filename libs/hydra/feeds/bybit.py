"""Bybit v5 public streams: order books and trades.

`orderbook.{depth}.{symbol}` sends a snapshot, then changes whose `u` rises by one; any snapshot,
and any message with `u` 1 (the service restarted), replaces the book; size 0 deletes. A book of
depth 1 consists of snapshots alone, told again after 3 quiet seconds. The client pings every 20 s.
Source: bybit-exchange.github.io/docs/v5/ws/connect and /v5/websocket/public/orderbook, trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds.venue import UNDECODABLE, BookVenue, Send, VenueBook, words
from hydra.market.events import Event, Listing, Side, Trade

BYBIT_WS_URL = "wss://stream.bybit.com/v5/public/spot"
SOURCE = "bybit"
DEPTHS = (1, 50, 200, 1000)
PING_S = 20
_TOPICS_A_MESSAGE = 10  # the most that a spot connection takes
_NS_PER_MS = 1_000_000

_Pairs = list[tuple[str, str]]


class _Orders(msgspec.Struct, gc=False):
    s: str
    b: _Pairs
    a: _Pairs
    u: int
    seq: int  # of the matching engine: smaller is earlier


class _Trade(msgspec.Struct, gc=False):
    T: int  # ms
    s: str
    S: Literal["Buy", "Sell"]  # of the taker
    v: str
    p: str
    i: str


class _Message(msgspec.Struct):
    topic: str = ""
    type: str = ""
    ts: int = 0  # ms
    cts: int = 0  # ms, of the matching engine
    data: _Orders | list[_Trade] | None = None
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""


class Bybit(BookVenue):
    """The protocol of one public socket, whose address says which category it is of."""

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        depth: int = 50,
        silence_s: float = 30.0,
        snapshot_s: float = 10.0,
    ) -> None:
        """`depth`: levels a side. Raises ConfigError unless it is one of DEPTHS."""
        super().__init__(SOURCE, listings, silence_s=silence_s, snapshot_s=snapshot_s)
        if depth not in DEPTHS:
            raise ConfigError(f"bybit: depth {depth} is none of {', '.join(map(str, DEPTHS))}")
        self._depth = depth
        self._sequences = dict.fromkeys(self._books, 0)  # highest `seq` heard on this connection
        self._pinged_ns = 0
        self._decode = msgspec.json.Decoder(_Message).decode

    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        self.counts.messages += 1
        try:
            read = self._decode(message)
        except UNDECODABLE as error:
            # If it was a change, the number of the next shows that it is missing.
            return (self._bad(message, words(error), at_ns),)
        data = read.data
        if isinstance(data, _Orders) and read.topic == f"orderbook.{self._depth}.{data.s}":
            book = self._books.get(data.s)
            if book is None or read.type not in ("snapshot", "delta"):
                what = f"{read.topic} {read.type!r}"
                return (self._bad(message, f"unknown {what}", at_ns),)
            return self._orders(book, read, data, message, at_ns)
        if isinstance(data, list) and read.topic.startswith("publicTrade."):
            return self._trades(data, message, at_ns)
        if read.op == "subscribe" and read.success is False:
            self._give_up(f"bybit refused: {read.ret_msg}")
            return (self._bad(message, f"refused: {read.ret_msg}", at_ns),)
        if read.op in ("subscribe", "unsubscribe", "ping", "pong"):
            return ()
        return (self._bad(message, "unknown message", at_ns),)

    def tick(self, at_ns: int) -> Sequence[Event]:
        if at_ns - self._pinged_ns >= PING_S * NS_PER_S:
            self._pinged_ns = at_ns
            self._requests.append(Send('{"op":"ping"}'))
        return super().tick(at_ns)

    def _orders(
        self, book: VenueBook, read: _Message, data: _Orders, message: bytes, at_ns: int
    ) -> Sequence[Event]:
        name = data.s
        snapshot = read.type == "snapshot" or data.u == 1
        latest = self._sequences[name]
        self._sequences[name] = max(latest, data.seq)
        if snapshot and data.seq < latest:
            # Told late: it is not the present, and what follows it is not known to be.
            if book.is_live:
                reason = f"a snapshot of seq {data.seq} after {latest}"
                return self._resync((book,), reason, at_ns)
            self.counts.duplicates += 1
            return ()
        if not snapshot:
            if not book.is_live:
                return ()  # of the subscription that was given up
            due = book.last_id + 1
            if data.u < due:
                self.counts.duplicates += 1
                return ()
            if data.u > due:
                return self._resync((book,), f"change {data.u} where {due} was due", at_ns)
        book.last_id = data.u
        try:
            bids, asks = book.levels(data.b), book.levels(data.a)
        except ValueError as error:
            bad = self._bad(message, words(error), at_ns)
            return (bad, *self._resync((book,), f"unreadable level: {error}", at_ns))
        venue_ns = (read.cts or read.ts) * _NS_PER_MS
        return self._changed(book, bids, asks, snapshot=snapshot, at_ns=at_ns, venue_ns=venue_ns)

    def _trades(self, trades: Sequence[_Trade], message: bytes, at_ns: int) -> Sequence[Event]:
        out: list[Event] = []
        for trade in trades:
            book = self._books.get(trade.s)
            if book is None:
                out.append(self._bad(message, f"trade of {trade.s!r}", at_ns))
                continue
            try:
                ticks, steps = book.listing.ticks(trade.p), book.listing.steps(trade.v)
            except ValueError as error:
                out.append(self._bad(message, words(error), at_ns))
                continue
            out.append(
                Trade(
                    listing=book.listing,
                    trade_id=trade.i,
                    price_ticks=ticks,
                    size_steps=steps,
                    aggressor=Side.BUY if trade.S == "Buy" else Side.SELL,
                    at_ns=at_ns,
                    venue_ns=trade.T * _NS_PER_MS,
                )
            )
        return out

    def _subscribe(self, at_ns: int) -> None:
        self._pinged_ns = at_ns
        self._sequences = dict.fromkeys(self._books, 0)
        topics = [f"publicTrade.{name}" for name in self._books]
        self._say("subscribe", [*map(self._topic, self._books), *topics])

    def _ask_again(self, books: Sequence[VenueBook], at_ns: int) -> None:
        topics = [self._topic(book.listing.venue_symbol) for book in books]
        self._say("unsubscribe", topics)
        self._say("subscribe", topics)

    def _topic(self, name: str) -> str:
        return f"orderbook.{self._depth}.{name}"

    def _say(self, word: str, topics: Sequence[str]) -> None:
        for first in range(0, len(topics), _TOPICS_A_MESSAGE):
            message = {"op": word, "args": topics[first : first + _TOPICS_A_MESSAGE]}
            self._requests.append(Send(msgspec.json.encode(message).decode()))
