"""Coinbase Advanced Trade: order books and trades.

One socket, one subscribe message a channel, within 5 s of connecting. Every message, whatever
its channel, carries the connection's `sequence_num`, which rises by one: after a gap no book is
to be trusted, and all are subscribed anew. `heartbeats` (each second) keep quiet channels open.
Source: docs.cdp.coinbase.com, Advanced Trade WebSocket overview and channels.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hydra.clock import NS_PER_S, to_ns
from hydra.errors import ConfigError
from hydra.feeds.venue import UNDECODABLE, BookVenue, Send, VenueBook, words
from hydra.market.events import Event, Levels, Listing, Side, Trade

COINBASE_WS_URL = "wss://advanced-trade-ws.coinbase.com"
SOURCE = "coinbase"
TOKEN_LIFE_S = 120  # Coinbase refuses longer ones
_CHANNELS = ("level2", "market_trades")
_KNOWN_CHANNELS = frozenset({"l2_data", "market_trades", "heartbeats", "subscriptions"})


class CoinbaseKey:
    """An API key of the Coinbase Developer Platform, which signs subscriptions."""

    def __init__(
        self, name: str, private_key: str, nonce: Callable[[], str] = lambda: secrets.token_hex(16)
    ) -> None:
        """`private_key` is the PEM text; line ends may be written as \\n, as in environment files.

        Raises ConfigError, which never shows the key, unless it is an EC key on P-256.
        """
        try:
            key = load_pem_private_key(private_key.replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigError("COINBASE_API_PRIVATE_KEY is no PEM private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ConfigError("COINBASE_API_PRIVATE_KEY is no EC key on P-256 (ES256)")
        self._name = name
        self._key = key
        self._nonce = nonce

    def token(self, at_ns: int) -> str:
        """A JWT (ES256) valid for 120 s from `at_ns`; each (un)subscribe message takes a new one.

        Source: docs.cdp.coinbase.com, WebSocket authentication: iss cdp, sub and kid the name.
        """
        now_s = at_ns // NS_PER_S
        header = {"alg": "ES256", "kid": self._name, "nonce": self._nonce(), "typ": "JWT"}
        claims = {"iss": "cdp", "nbf": now_s, "exp": now_s + TOKEN_LIFE_S, "sub": self._name}
        signed = (
            f"{_base64url(msgspec.json.encode(header))}.{_base64url(msgspec.json.encode(claims))}"
        )
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    product_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]  # of the maker
    time: datetime


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    product_id: str = ""
    updates: list[_Level] = []
    trades: list[_Trade] = []


class _Message(msgspec.Struct):
    """All channels in one type, so that a message is read once."""

    channel: str = ""
    timestamp: datetime | None = None
    sequence_num: int = -1
    events: list[_Event] = []
    type: str = ""  # "error" instead of a channel
    message: str = ""


class Coinbase(BookVenue):
    """The protocol of the market data socket. Public channels need no key."""

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        key: CoinbaseKey | None = None,
        silence_s: float = 10.0,
        snapshot_s: float = 10.0,
    ) -> None:
        super().__init__(SOURCE, listings, silence_s=silence_s, snapshot_s=snapshot_s)
        self._key = key
        self._next_number: int | None = None
        self._decode = msgspec.json.Decoder(_Message).decode

    def feed(self, message: bytes, at_ns: int) -> Sequence[Event]:
        self.counts.messages += 1
        try:
            read = self._decode(message)
        except UNDECODABLE as error:
            # Its sequence number is unknown, so the next message shows a gap.
            return (self._bad(message, words(error), at_ns),)
        if read.type == "error":
            self._give_up(f"coinbase refused: {read.message}")
            return (self._bad(message, f"error: {read.message}", at_ns),)
        number = read.sequence_num
        if number < 0 or read.timestamp is None or read.timestamp.tzinfo is None:
            return (self._bad(message, "no sequence_num or no timestamp", at_ns),)
        out: list[Event] = []
        due = self._next_number
        if due is not None and number != due:
            if number < due:
                self.counts.duplicates += 1
                return ()
            reason = f"sequence_num {number} where {due} was due"
            out += self._resync(tuple(self._books.values()), reason, at_ns)
        self._next_number = number + 1
        if read.channel == "l2_data":
            venue_ns = to_ns(read.timestamp)
            for event in read.events:
                out += self._level2(event, message, at_ns, venue_ns)
        elif read.channel == "market_trades":
            for event in read.events:
                # The snapshot repeats trades from before the subscription.
                if event.type != "snapshot":
                    out += self._trades(event, message, at_ns)
        elif read.channel not in _KNOWN_CHANNELS:
            out.append(self._bad(message, f"unknown channel {read.channel!r}", at_ns))
        return out

    def _level2(self, event: _Event, message: bytes, at_ns: int, venue_ns: int) -> Sequence[Event]:
        book = self._books.get(event.product_id)
        if book is None or event.type not in ("snapshot", "update"):
            what = f"l2_data {event.type!r} of {event.product_id!r}"
            return (self._bad(message, f"unknown {what}", at_ns),)
        snapshot = event.type == "snapshot"
        if not snapshot and not book.is_live:
            return ()  # of the subscription that was given up
        try:
            bids, asks = _sides(book, event.updates)
        except ValueError as error:
            bad = self._bad(message, words(error), at_ns)
            return (bad, *self._resync((book,), f"unreadable level: {error}", at_ns))
        return self._changed(book, bids, asks, snapshot=snapshot, at_ns=at_ns, venue_ns=venue_ns)

    def _trades(self, event: _Event, message: bytes, at_ns: int) -> Sequence[Event]:
        out: list[Event] = []
        for trade in sorted(event.trades, key=_time):  # the newest comes first
            book = self._books.get(trade.product_id)
            if book is None or trade.time.tzinfo is None:
                out.append(self._bad(message, f"trade of {trade.product_id!r}", at_ns))
                continue
            listing = book.listing
            try:
                ticks, steps = listing.ticks(trade.price), listing.steps(trade.size)
            except ValueError as error:
                out.append(self._bad(message, words(error), at_ns))
                continue
            out.append(
                Trade(
                    listing=listing,
                    trade_id=trade.trade_id,
                    price_ticks=ticks,
                    size_steps=steps,
                    # "side refers to the makers side": who crossed is the other one.
                    aggressor=Side.SELL if trade.side == "BUY" else Side.BUY,
                    at_ns=at_ns,
                    venue_ns=to_ns(trade.time),
                )
            )
        return out

    def _subscribe(self, at_ns: int) -> None:
        self._next_number = None
        products = list(self._books)
        self._say("subscribe", "heartbeats", [], at_ns)
        for channel in _CHANNELS:
            self._say("subscribe", channel, products, at_ns)

    def _ask_again(self, books: Sequence[VenueBook], at_ns: int) -> None:
        products = [book.listing.venue_symbol for book in books]
        for word in ("unsubscribe", "subscribe"):
            self._say(word, "level2", products, at_ns)

    def _say(self, word: str, channel: str, products: list[str], at_ns: int) -> None:
        message: dict[str, object] = {"type": word, "channel": channel}
        if products:
            message["product_ids"] = products
        if self._key is not None:
            message["jwt"] = self._key.token(at_ns)
        self._requests.append(Send(msgspec.json.encode(message).decode()))


def _sides(book: VenueBook, updates: Sequence[_Level]) -> tuple[Levels, Levels]:
    bids = [(u.price_level, u.new_quantity) for u in updates if u.side == "bid"]
    asks = [(u.price_level, u.new_quantity) for u in updates if u.side != "bid"]
    return book.levels(bids), book.levels(asks)


def _time(trade: _Trade) -> datetime:
    return trade.time


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
