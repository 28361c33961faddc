"""Coinbase Advanced Trade: recorded traffic by its values, faults by what is said of them."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds.coinbase import Coinbase, CoinbaseKey
from hydra.feeds.venue import MAX_RESYNCS, Send
from hydra.market.events import (
    BadMessage,
    BookChange,
    Event,
    Listing,
    NoQuote,
    Quote,
    Resync,
    Side,
    Trade,
)
from tests.support.captures import coinbase_listings, coinbase_messages
from tests.support.listener import Listener
from tests.support.plain_book import PlainBook, depth_of
from tests.support.shared_data import shared_data

BTC = Listing(
    source="coinbase", symbol="BTC-USD", venue_symbol="BTC-USD", price_decimals=2, size_decimals=8
)
ETH = Listing(
    source="coinbase", symbol="ETH-USD", venue_symbol="ETH-USD", price_decimals=2, size_decimals=8
)


def message(number: int, *events: dict[str, Any], channel: str = "l2_data") -> bytes:
    return json.dumps({
        "channel": channel, "client_id": "", "timestamp": "2026-04-07T14:30:00.123456Z",
        "sequence_num": number, "events": events,
    }).encode()  # fmt: skip


def levels(kind: str, product: str = "BTC-USD", **sides: list[tuple[str, str]]) -> dict[str, Any]:
    """bid=[(price, size)], offer=[...]"""
    return {
        "type": kind,
        "product_id": product,
        "updates": [
            {
                "side": side,
                "event_time": "2026-04-07T14:30:00Z",
                "price_level": p,
                "new_quantity": q,
            }
            for side, rows in sides.items()
            for p, q in rows
        ],
    }


SNAPSHOT = levels("snapshot", bid=[("100.00", "1.5")], offer=[("101.00", "2")])


def opened(*listings: Listing, **options: Any) -> Coinbase:
    venue = Coinbase(listings or (BTC,), **options)
    venue.opened(0)
    venue.requests()
    return venue


def sent(venue: Coinbase) -> list[dict[str, Any]]:
    return [json.loads(r.text) for r in venue.requests() if isinstance(r, Send)]


def test_every_book_of_the_recording_is_the_plain_replays_at_every_thousandth_message() -> None:
    listings = {listing.symbol: listing for listing in coinbase_listings()}
    venue = opened(*listings.values())
    plain = {symbol: PlainBook() for symbol in listings}
    compared = 0
    for count, recorded in enumerate(coinbase_messages()):
        raw = recorded.raw
        if raw["type"] == "snapshot":
            plain[raw["product_id"]].load(raw["bids"], raw["asks"])
        elif raw["type"] == "l2update":
            for side, price, size in raw["changes"]:
                change = [(price, size)]
                buys = side == "buy"
                plain[raw["product_id"]].change(change if buys else [], [] if buys else change)
        if recorded.message:
            venue.feed(recorded.message, recorded.at_ns)
        if count % 1_000 == 999:
            for symbol, listing in listings.items():
                book = venue.book(symbol)
                assert book is not None
                assert depth_of(listing, book) == plain[symbol].depth(1_000_000)
                compared += 1

    assert compared == 90
    assert (venue.counts.bad, venue.counts.resyncs, venue.counts.duplicates) == (0, 0, 0)


def test_the_recording_at_messages_read_by_eye() -> None:
    """Ticks of the venue's own ticker, recorded beside the book, and lines of the raw file.

    Line 7390: SKL-USD ticker best_bid 0.7901, best_ask 0.7910. Line 8206: DASH-BTC ticker
    0.00619307, 0.00619502. Line 9948, the last of SKL-USD: buy 0.7902, 468.0.
    """
    venue = opened(*coinbase_listings())
    listener = Listener()
    seen: dict[int, tuple[Decimal, Decimal]] = {}
    for count, recorded in enumerate(coinbase_messages()):
        if recorded.message:
            listener.deliver(venue.feed(recorded.message, recorded.at_ns))
        if count in (7384, 8200):
            seen[count] = listener.bests(recorded.raw["product_id"])

    assert seen[7384] == (Decimal("0.7901"), Decimal("0.7910"))
    assert seen[8200] == (Decimal("0.00619307"), Decimal("0.00619502"))
    assert listener.quotes["SKL-USD"][0] == (Decimal("0.7902"), Decimal("468.0"))
    assert listener.books["SKL-USD"].depth(1)[1] == [(Decimal("0.7911"), Decimal("450.0"))]


def test_a_recorded_trade_names_who_crossed_the_spread() -> None:
    """Raw: match of SKL-USD 450 at 0.791, side (of the maker) sell: a buyer lifted the offer."""
    venue = opened(*coinbase_listings())
    events: list[Event] = []
    for recorded in islice(coinbase_messages(), 120):
        if recorded.message:
            events += venue.feed(recorded.message, recorded.at_ns)
    trades = [event for event in events if isinstance(event, Trade)]

    trade = trades[1]
    assert (trade.trade_id, trade.aggressor) == ("1568268", Side.BUY)
    assert trade.listing.price(trade.price_ticks) == Decimal("0.791")
    assert trade.listing.size(trade.size_steps) == 450
    assert trade.venue_ns == 1_618_677_817_121_358_000  # 2021-04-17T16:43:37.121358Z
    # The last matches before the subscription were told as such, and are no trades of now.
    assert trades[0].trade_id == "280232"


def test_todays_messages_of_every_channel_are_understood() -> None:
    path = shared_data("venue_messages/nautilus_coinbase.json")
    recorded = json.loads(path.read_text())
    venue = opened(BTC, ETH)
    events: list[Event] = []
    for number, name in enumerate(
        ("subscriptions", "l2_data_snapshot", "l2_data_update", "heartbeats", "market_trades")
    ):
        body = {**recorded[f"ws_{name}.json"], "sequence_num": number}
        events += venue.feed(json.dumps(body).encode(), number)

    change, quote, update, after, first, second = events
    assert isinstance(change, BookChange)
    assert change.snapshot
    assert change.bids[0] == (6_890_000, 150_000_000)
    assert isinstance(quote, Quote)
    assert (quote.bid_ticks, quote.ask_ticks) == (6_890_000, 6_890_100)
    assert quote.venue_ns == 1_775_572_200_123_456_000  # 2026-04-07T14:30:00.123456Z
    assert isinstance(update, BookChange)
    assert update.asks == ((6_890_100, 0),)
    assert isinstance(after, Quote)
    assert (after.bid_steps, after.ask_ticks, after.ask_steps) == (
        200_000_000, 6_890_150, 120_000_000,
    )  # fmt: skip
    assert isinstance(first, Trade)
    assert isinstance(second, Trade)
    assert (first.price_ticks, first.size_steps, first.aggressor) == (6_890_050, 150_000, Side.SELL)
    assert (second.trade_id, second.aggressor) == ("995098701", Side.BUY)


def test_subscriptions_are_one_channel_each_heartbeats_first() -> None:
    venue = Coinbase((BTC, ETH))
    venue.opened(0)

    assert sent(venue) == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD", "ETH-USD"]},
        {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD", "ETH-USD"]},
    ]
    assert venue.requests() == []


def test_a_gap_voids_all_books_and_subscribes_them_anew() -> None:
    venue = opened(BTC, ETH)
    venue.feed(message(0, SNAPSHOT), 0)
    venue.feed(message(1, levels("snapshot", "ETH-USD", bid=[("9", "1")], offer=[("10", "1")])), 0)

    lost = venue.feed(message(3, levels("update", bid=[("100.50", "1")])), 7)

    reason = "sequence_num 3 where 2 was due"
    assert lost == [
        Resync(listing=BTC, reason=reason, at_ns=7), Resync(listing=ETH, reason=reason, at_ns=7),
    ]  # fmt: skip
    assert (venue.book("BTC-USD"), venue.book("ETH-USD")) == (None, None)
    products = ["BTC-USD", "ETH-USD"]
    assert sent(venue) == [
        {"type": "unsubscribe", "channel": "level2", "product_ids": products},
        {"type": "subscribe", "channel": "level2", "product_ids": products},
    ]
    # Updates of the old subscription mean nothing; the new snapshot does.
    assert venue.feed(message(4, levels("update", bid=[("100.60", "1")])), 8) == []
    change, quote = venue.feed(message(5, SNAPSHOT), 9)
    assert isinstance(change, BookChange)
    assert isinstance(quote, Quote)
    assert quote.bid_ticks == 10_000


def test_old_and_repeated_messages_are_left_aside() -> None:
    venue = opened()
    venue.feed(message(4, SNAPSHOT), 0)
    again = message(5, levels("update", bid=[("100.25", "1")]))
    venue.feed(again, 1)

    assert venue.feed(again, 2) == ()
    assert venue.feed(message(4, SNAPSHOT), 3) == ()
    assert venue.counts.duplicates == 2
    book = venue.book("BTC-USD")
    assert book is not None
    assert book.best_bid == (10_025, 100_000_000)


def test_a_crossed_book_is_a_fault() -> None:
    venue = opened()
    venue.feed(message(0, SNAPSHOT), 0)

    assert venue.feed(message(1, levels("update", bid=[("101.00", "1")])), 5) == [
        Resync(listing=BTC, reason="crossed: bid 101.00, ask 101.00", at_ns=5)
    ]
    assert [m["type"] for m in sent(venue)] == ["unsubscribe", "subscribe"]


def test_a_level_off_the_grid_is_bad_and_voids_the_book() -> None:
    venue = opened()
    venue.feed(message(0, SNAPSHOT), 0)

    bad, lost = venue.feed(message(1, levels("update", bid=[("100.001", "1")])), 5)

    assert isinstance(bad, BadMessage)
    assert bad.reason == "ValueError: 100.001 has more than 2 decimals"
    assert lost == Resync(
        listing=BTC, reason="unreadable level: 100.001 has more than 2 decimals", at_ns=5
    )


def test_a_book_without_offers_quotes_nothing() -> None:
    venue = opened()
    venue.feed(message(0, SNAPSHOT), 0)

    _, gone = venue.feed(message(1, levels("update", offer=[("101.00", "0")])), 5)
    assert gone == NoQuote(listing=BTC, reason="no asks", at_ns=5)
    (_,) = venue.feed(message(2, levels("update", bid=[("99.00", "1")])), 6)
    _, back = venue.feed(message(3, levels("update", offer=[("102.00", "1")])), 7)
    assert isinstance(back, Quote)
    assert (back.bid_ticks, back.ask_ticks) == (10_000, 10_200)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"{}", b"[" * 100_000,
        b'{"channel":"l2_data","sequence_num":"1","timestamp":"2026-04-07T14:30:00Z"}',
        b'{"channel":"l2_data","sequence_num":1,"timestamp":"yesterday","events":[]}',
        b'{"channel":"l2_data","sequence_num":1,"timestamp":"2026-04-07T14:30:00","events":[]}',
        b'{"channel":"l2_data","timestamp":"2026-04-07T14:30:00Z","events":[]}',
        message(1, levels("snapshot", "DOGE-USD")),
        message(1, levels("replace")),
        message(1, {"updates": [{"side": "ask", "price_level": "1", "new_quantity": "1"}]}),
        message(1, channel="candles"),
        message(1, {"type": "update", "trades": [{
            "trade_id": "1", "product_id": "BTC-USD", "price": "-1", "size": "1", "side": "BUY",
            "time": "2026-04-07T14:30:00Z"}]}, channel="market_trades"),
    ],
)  # fmt: skip
def test_nonsense_is_told_and_counted_and_nothing_more(nonsense: bytes) -> None:
    venue = opened()
    venue.feed(message(0, SNAPSHOT), 0)

    (bad,) = venue.feed(nonsense, 5)

    assert isinstance(bad, BadMessage)
    assert bad.source == "coinbase"
    assert bad.reason
    assert bad.text == nonsense[:200].decode("utf-8", "replace")
    assert venue.counts.bad == 1
    assert venue.book("BTC-USD") is not None


def test_a_refusal_gives_the_connection_up() -> None:
    venue = opened()

    venue.feed(b'{"type":"error","message":"authentication failure"}', 0)

    assert venue.down == "coinbase refused: authentication failure"


def test_a_snapshot_that_does_not_come_gives_the_connection_up() -> None:
    venue = opened(snapshot_s=10)
    venue.tick(10 * NS_PER_S)
    assert venue.down is None

    venue.tick(10 * NS_PER_S + 1)

    assert venue.down == "no snapshot of BTC-USD within 10 s"


def test_too_many_resyncs_give_the_connection_up() -> None:
    venue = opened()
    for number in range(0, 4 * MAX_RESYNCS, 2):
        venue.feed(message(number, SNAPSHOT), number)
    assert venue.down is not None
    assert venue.down.startswith("6 resyncs within 60 s, the last: sequence_num ")


def test_a_new_connection_starts_from_nothing() -> None:
    venue = opened()
    venue.feed(message(7, SNAPSHOT), 0)

    resync, _ = venue.closed("hung up", 3)
    assert resync == Resync(listing=BTC, reason="hung up", at_ns=3)
    venue.opened(4)
    assert venue.feed(message(0, levels("update", bid=[("100.50", "1")])), 5) == []
    assert venue.book("BTC-USD") is None


ELSEWHERE = Listing(
    source="bybit", symbol="BTC-USD", venue_symbol="BTCUSDT", price_decimals=2, size_decimals=6
)


@pytest.mark.parametrize("listings", [(), (BTC, BTC), (ELSEWHERE,)])
def test_listings_that_make_no_sense_are_refused(listings: tuple[Listing, ...]) -> None:
    with pytest.raises(ConfigError):
        Coinbase(listings)


def a_key() -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return key, pem.decode()


def unpack(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_with_a_key_every_message_carries_a_fresh_token_that_lives_120_seconds() -> None:
    private, pem = a_key()
    nonces = iter("abcdefgh")
    venue = Coinbase(
        (BTC,), key=CoinbaseKey("organizations/o/apiKeys/k", pem, lambda: next(nonces))
    )
    venue.opened(1_775_572_200 * NS_PER_S)
    venue.feed(message(0, SNAPSHOT), 0)
    venue.feed(message(2), 1_775_572_300 * NS_PER_S)

    tokens = [message["jwt"] for message in sent(venue)]
    assert len(set(tokens)) == 5  # heartbeats, level2, market_trades; unsubscribe, subscribe
    for count, token in enumerate(tokens):
        head, claims, signature = token.split(".")
        assert json.loads(unpack(head)) == {
            "alg": "ES256", "kid": "organizations/o/apiKeys/k", "nonce": "abcdefgh"[count],
            "typ": "JWT",
        }  # fmt: skip
        now = 1_775_572_200 if count < 3 else 1_775_572_300
        assert json.loads(unpack(claims)) == {
            "iss": "cdp", "nbf": now, "exp": now + 120, "sub": "organizations/o/apiKeys/k",
        }  # fmt: skip
        raw = unpack(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        private.public_key().verify(
            encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(SHA256())
        )


def test_a_key_may_come_with_its_line_ends_spelt_out() -> None:
    _, pem = a_key()

    assert CoinbaseKey("k", pem.replace("\n", "\\n")).token(0).count(".") == 2


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    rsa_pem = (
        rsa.generate_private_key(65_537, 2_048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )
    for text in ("secret-nonsense", rsa_pem):
        with pytest.raises(ConfigError) as caught:
            CoinbaseKey("k", text)
        assert "nonsense" not in str(caught.value)
        assert caught.value.__cause__ is None
