"""Bybit v5: recorded traffic by its values, faults by what is said of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds.bybit import Bybit
from hydra.feeds.venue import Send
from hydra.market.events import BadMessage, BookChange, Event, Listing, Quote, Resync, Side, Trade
from tests.support.captures import bybit_listings, bybit_messages
from tests.support.listener import Listener
from tests.support.plain_book import PlainLevel, depth_of
from tests.support.shared_data import shared_data

BTC = Listing(
    source="bybit", symbol="BTC-USDT", venue_symbol="BTCUSDT", price_decimals=2, size_decimals=3
)


def orders(
    kind: str, number: int, *, seq: int | None = None, **sides: list[tuple[str, str]]
) -> bytes:
    data = {
        "s": "BTCUSDT", "b": sides.get("b", []), "a": sides.get("a", []), "u": number,
        "seq": number * 10 if seq is None else seq,
    }  # fmt: skip
    body = {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1_709_891_679_500, "data": data}
    return json.dumps(body).encode()


def snapshot(number: int, **options: Any) -> bytes:
    return orders("snapshot", number, b=[("100.00", "1")], a=[("101.00", "2")], **options)


def opened(*listings: Listing, **options: Any) -> Bybit:
    venue = Bybit(listings or (BTC,), **options)
    venue.opened(0)
    venue.requests()
    return venue


def live(number: int = 10) -> Bybit:
    venue = opened()
    venue.feed(snapshot(number), 0)
    return venue


def sent(venue: Bybit) -> list[dict[str, Any]]:
    return [json.loads(r.text) for r in venue.requests() if isinstance(r, Send)]


def by_id(
    state: dict[str, tuple[str, int]],
) -> tuple[list[PlainLevel], list[PlainLevel]]:
    """Both sides of a book as it was recorded: one dict from price to side and size."""
    levels = [(side, Decimal(price), Decimal(size)) for price, (side, size) in state.items()]
    return (
        sorted(((p, q) for side, p, q in levels if side == "Buy"), reverse=True),
        sorted((p, q) for side, p, q in levels if side == "Sell"),
    )


def test_every_book_of_the_recording_is_the_plain_replays_after_every_message() -> None:
    """1,018 messages. By eye, the file's end: BTCUSD 60622.50 loses the 97 of the last trade,
    12836609 − 97 = 12836512; the best ask is 60623.00 × 1656505."""
    listings = {listing.symbol: listing for listing in bybit_listings()}
    venue = opened(*listings.values())
    listener = Listener()
    states: dict[str, dict[str, tuple[str, int]]] = {name: {} for name in listings}
    compared = 0
    for recorded in bybit_messages():
        listener.deliver(venue.feed(recorded.message, recorded.at_ns))
        kind, _, name = recorded.raw["topic"].partition(".")
        if kind != "orderBookL2_25":
            continue
        data = recorded.raw["data"]
        if recorded.raw["type"] == "snapshot":
            states[name] = {x["price"]: (x["side"], x["size"]) for x in data}
        else:
            for x in data["delete"]:
                del states[name][x["price"]]
            for x in (*data["update"], *data["insert"]):
                states[name][x["price"]] = (x["side"], x["size"])
        book = venue.book(name)
        assert book is not None
        assert depth_of(listings[name], book) == by_id(states[name])
        compared += 1

    assert compared == 1_018
    assert (venue.counts.bad, venue.counts.resyncs, venue.counts.duplicates) == (0, 0, 0)
    assert listener.quotes["BTCUSD"] == (
        (Decimal("60622.5"), Decimal(12_836_512)), (Decimal(60_623), Decimal(1_656_505)),
    )  # fmt: skip
    trades = [e for e in listener.events if isinstance(e, Trade) and e.listing.symbol == "BTCUSD"]
    last = trades[-1]
    assert (last.listing.price(last.price_ticks), last.size_steps) == (Decimal("60622.5"), 97)
    assert (last.aggressor, last.venue_ns) == (Side.SELL, 1_618_677_816_319_000_000)


def test_todays_messages_are_understood() -> None:
    recorded = json.loads(shared_data("venue_messages/nautilus_bybit.json").read_text())
    venue = opened(depth=1)
    events: list[Event] = []
    for name in ("orderbook_snapshot", "orderbook_delta", "subscription_ack", "public_trade"):
        body = recorded[f"ws_{name}.json"]
        if name == "public_trade":
            body = {**body, "topic": "publicTrade.BTCUSDT"}  # as the venue's pages have it
        events += venue.feed(json.dumps(body).encode(), 5)

    change, quote, update, after, trade = events
    assert isinstance(change, BookChange)
    assert change.bids == ((2_745_000, 500), (2_744_950, 1_000))
    assert change.venue_ns == 1_709_891_679_000_000_000
    assert isinstance(quote, Quote)
    assert (quote.bid_ticks, quote.ask_ticks, quote.ask_steps) == (2_745_000, 2_745_100, 750)
    assert isinstance(update, BookChange)
    assert update.asks == ((2_745_100, 0),)
    assert isinstance(after, Quote)
    assert (after.bid_steps, after.ask_ticks, after.ask_steps) == (400, 2_745_150, 900)
    assert trade == Trade(
        listing=BTC, trade_id="9dc75fca-4bdd-4773-9f78-6f5d7ab2a110", price_ticks=2_745_100,
        size_steps=10, aggressor=Side.BUY, at_ns=5, venue_ns=1_709_891_679_000_000_000,
    )  # fmt: skip


def test_subscriptions_take_ten_topics_a_message() -> None:
    listings = [
        Listing(source="bybit", symbol=f"S{n}", venue_symbol=f"S{n}", price_decimals=0,
                size_decimals=0)
        for n in range(6)
    ]  # fmt: skip
    venue = Bybit(listings, depth=200)
    venue.opened(0)

    first, second = sent(venue)
    assert first["op"] == "subscribe"
    assert first["args"][:2] == ["orderbook.200.S0", "orderbook.200.S1"]
    assert (len(first["args"]), second["args"]) == (10, ["publicTrade.S4", "publicTrade.S5"])


def test_a_depth_that_the_venue_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="1, 50, 200, 1000"):
        Bybit((BTC,), depth=25)


def test_a_ping_goes_out_every_twenty_seconds() -> None:
    venue = live()
    at: list[int] = []
    for second in range(61):
        venue.tick(second * NS_PER_S)
        at += [second for message in sent(venue) if message == {"op": "ping"}]

    assert at == [20, 40, 60]
    assert venue.feed(b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}', 0) == ()
    assert venue.counts.bad == 0


def test_a_gap_subscribes_the_book_anew() -> None:
    venue = live(10)
    venue.feed(orders("delta", 11, b=[("100.10", "1")]), 1)

    assert venue.feed(orders("delta", 13, b=[("100.20", "1")]), 2) == [
        Resync(listing=BTC, reason="change 13 where 12 was due", at_ns=2)
    ]
    assert sent(venue) == [
        {"op": "unsubscribe", "args": ["orderbook.50.BTCUSDT"]},
        {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]},
    ]
    assert venue.feed(orders("delta", 14), 3) == ()
    assert venue.feed(snapshot(15), 4)
    assert venue.book("BTCUSDT") is not None


def test_a_repeated_change_is_left_aside() -> None:
    venue = live(10)
    change = orders("delta", 11, b=[("100.10", "1")])
    venue.feed(change, 1)
    venue.feed(orders("delta", 12, b=[("100.10", "0")]), 2)

    assert venue.feed(change, 3) == ()
    assert venue.counts.duplicates == 1


def test_any_snapshot_and_the_number_one_replace_the_book() -> None:
    venue = live(10)
    venue.feed(orders("delta", 11, b=[("100.10", "1")]), 1)

    change, _ = venue.feed(snapshot(12), 2)
    assert isinstance(change, BookChange)
    assert change.snapshot
    restart = orders("delta", 1, seq=999, b=[("99.00", "1")], a=[("102.00", "1")])
    change, quote = venue.feed(restart, 3)
    assert isinstance(change, BookChange)
    assert change.snapshot
    assert isinstance(quote, Quote)
    assert (quote.bid_ticks, quote.ask_ticks) == (9_900, 10_200)
    assert venue.feed(orders("delta", 2, seq=1_000, b=[("99.50", "1")]), 4)


def test_a_snapshot_of_the_past_is_not_taken_for_the_present() -> None:
    venue = live(10)
    venue.feed(orders("delta", 11, b=[("100.10", "1")]), 1)

    assert venue.feed(snapshot(10), 2) == [
        Resync(listing=BTC, reason="a snapshot of seq 100 after 110", at_ns=2)
    ]
    assert venue.feed(snapshot(10), 3) == ()  # nor while the book is void
    assert venue.feed(snapshot(12), 4)


def test_a_quiet_best_price_is_told_again_as_the_same_snapshot() -> None:
    """Depth 1: after 3 s without change the snapshot comes again, with the same `u`."""
    venue = opened(depth=1)
    text = snapshot(10).replace(b"orderbook.50", b"orderbook.1")
    first = venue.feed(text, 0)

    again = venue.feed(text, 3)

    assert [type(e) for e in again] == [type(e) for e in first] == [BookChange, Quote]


def test_crossed_and_unreadable_books_are_subscribed_anew() -> None:
    venue = live(10)
    assert venue.feed(orders("delta", 11, b=[("101.00", "1")]), 1) == [
        Resync(listing=BTC, reason="crossed: bid 101.00, ask 101.00", at_ns=1)
    ]
    venue.feed(snapshot(12), 2)

    bad, lost = venue.feed(orders("delta", 13, b=[("100", "-1")]), 3)
    assert isinstance(bad, BadMessage)
    assert isinstance(lost, Resync)


def test_a_refused_subscription_gives_the_connection_up() -> None:
    recorded = (
        b'{"success":false,"ret_msg":"Invalid topic: invalid.topic.BTCUSDT",'
        b'"conn_id":"cejreaspqfm9se7usbrg-2xh","op":"subscribe"}'
    )
    venue = opened()

    venue.feed(recorded, 0)

    assert venue.down == "bybit refused: Invalid topic: invalid.topic.BTCUSDT"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"{", b"\xff", b"null", b"{}", b"[" * 100_000,
        orders("delta", 11).replace(b"orderbook.50", b"orderbook.200"),
        orders("delta", 11).replace(b"BTCUSDT", b"ETHUSDT"),
        orders("replace", 11),
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"s":"BTCUSDT","b":[["1"]]}}',
        b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1,"s":"BTCUSDT","S":"Up","v":"1","p":"1","i":""}]}',
        b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"","p":"1","i":""}]}',
        b'{"topic":"publicTrade.ETHUSDT","data":[{"T":1,"s":"ETHUSDT","S":"Buy","v":"1","p":"1","i":""}]}',
        b'{"op":"auth","success":true}',
    ],
)  # fmt: skip
def test_nonsense_is_told_and_counted_and_nothing_more(nonsense: bytes) -> None:
    venue = live()

    (bad,) = venue.feed(nonsense, 5)

    assert isinstance(bad, BadMessage)
    assert bad.text == nonsense[:200].decode("utf-8", "replace")
    assert venue.counts.bad == 1
    assert venue.book("BTCUSDT") is not None
    assert venue.down is None
