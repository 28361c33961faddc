"""Binance spot: recorded traffic by its values, faults by what is said of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.binance import MAX_SNAPSHOTS, Binance
from hydra.feeds.venue import Fetch, Send
from hydra.market.events import BadMessage, BookChange, Listing, Quote, Resync, Side, Trade
from tests.support.captures import (
    binance_btcusdt,
    binance_listing,
    binance_messages,
    binance_snapshots,
)
from tests.support.plain_book import PlainBook, PlainLevel, depth_of

X = Listing(source="binance", symbol="X-USDT", venue_symbol="XUSDT", price_decimals=2,
            size_decimals=3)  # fmt: skip


def depth(first: int, last: int, **sides: list[tuple[str, str]]) -> bytes:
    data = {
        "e": "depthUpdate", "E": 1_672_515_782_136, "s": "XUSDT", "U": first, "u": last,
        "b": sides.get("b", []), "a": sides.get("a", []),
    }  # fmt: skip
    return json.dumps({"stream": "xusdt@depth@100ms", "data": data}).encode()


def snapshot(last: int) -> bytes:
    body = {"lastUpdateId": last, "bids": [["100.00", "1"]], "asks": [["101.00", "2"]]}
    return json.dumps(body).encode()


def opened(*listings: Listing) -> Binance:
    venue = Binance(listings or (X,))
    venue.opened(0)
    venue.requests()
    return venue


def fetched(venue: Binance) -> Fetch:
    (fetch,) = venue.requests()
    assert isinstance(fetch, Fetch)
    return fetch


def live() -> Binance:
    """A venue whose one book stands at number 10."""
    venue = opened()
    venue.feed(b'{"result":null,"id":1}', 0)
    venue.feed(depth(10, 10), 0)
    venue.answer(fetched(venue), snapshot(10), 0)
    venue.counts.duplicates = 0  # the change that called for the snapshot is in it
    return venue


@pytest.mark.slow
def test_every_best_price_of_the_recording_is_that_of_the_venues_own_book_ticker() -> None:
    """41,249 recorded messages. The ticker tells each change of the best with its number, so the
    book at number u has the best of the last ticker up to u: 3,448 depth messages compared."""
    listing = binance_listing("BTCUSDT")
    venue = opened(listing)
    tickers: list[dict[str, Any]] = []
    fetch: Fetch | None = None
    compared = 0
    for recorded in binance_btcusdt():
        raw = recorded.raw
        if "lastUpdateId" in raw:
            assert fetch is not None
            venue.answer(fetch, recorded.message, recorded.at_ns)
            continue
        data = raw["data"]
        if raw["stream"].endswith("bookTicker"):
            tickers.append(data)
            continue
        venue.feed(recorded.message, recorded.at_ns)
        for request in venue.requests():
            assert isinstance(request, Fetch)
            fetch = request
        book = venue.book("BTCUSDT")
        if data["e"] != "depthUpdate" or book is None:
            continue
        while len(tickers) > 1 and tickers[1]["u"] <= data["u"]:
            tickers.pop(0)
        if tickers[0]["u"] <= data["u"]:
            bids, asks = depth_of(listing, book, 1)
            t = tickers[0]
            assert bids == [(Decimal(t["b"]), Decimal(t["B"]))]
            assert asks == [(Decimal(t["a"]), Decimal(t["A"]))]
            compared += 1

    assert compared == 3_448
    assert (venue.counts.bad, venue.counts.resyncs, venue.counts.duplicates) == (0, 0, 2)


@pytest.mark.slow
def test_the_recorded_book_is_the_plain_replays_and_what_the_file_says() -> None:
    """By eye: line 1090 of the raw file is the 100th depth message; the ticker just before it
    (u 50093243732) says 61824.00000000 × 3.98169000, 61824.01000000 × 0.37514000."""
    listing = binance_listing("BTCUSDT")
    venue = opened(listing)
    plain, last = PlainBook(), 0
    heard: list[dict[str, Any]] = []  # before the snapshot
    fetch: Fetch | None = None
    tops: dict[int, tuple[list[PlainLevel], list[PlainLevel]]] = {}
    number = 0
    for recorded in binance_btcusdt():
        raw = recorded.raw
        if "lastUpdateId" in raw:
            assert fetch is not None
            venue.answer(fetch, recorded.message, recorded.at_ns)
            plain.load(raw["bids"], raw["asks"])
            last = raw["lastUpdateId"]
            for data in heard:
                if data["u"] > last:
                    plain.change(data["b"], data["a"])
        elif raw["stream"].endswith("depth@100ms"):
            number += 1
            data = raw["data"]
            venue.feed(recorded.message, recorded.at_ns)
            for request in venue.requests():
                assert isinstance(request, Fetch)
                fetch = request
            if last:
                plain.change(data["b"], data["a"])
            else:
                heard.append(data)
            if number in (100, 1_000, 2_500, 3_451):
                book = venue.book("BTCUSDT")
                assert book is not None
                assert depth_of(listing, book) == plain.depth(1_000_000)
                tops[number] = depth_of(listing, book, 1)

    assert tops[100] == (
        [(Decimal("61824.00"), Decimal("3.98169"))], [(Decimal("61824.01"), Decimal("0.37514"))],
    )  # fmt: skip
    assert tops[3_451] == (
        [(Decimal("61685.99"), Decimal("1.0087"))], [(Decimal("61686.00"), Decimal("2.29327"))],
    )  # fmt: skip


def test_four_recorded_books_meet_their_recorded_snapshots() -> None:
    """2021: each snapshot was fetched after its stream had begun, as the venue asks."""
    names = list(binance_snapshots())
    listings = {name: binance_listing(name) for name in names}
    venue = opened(*listings.values())
    snapshots = sorted((at, name, body) for name, (at, body) in binance_snapshots().items())
    plain = {name: PlainBook() for name in names}
    last: dict[str, int] = {}
    heard: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    fetches: dict[str, Fetch] = {}

    def meet(name: str, body: bytes, at_ns: int) -> None:
        venue.answer(fetches[name], body, at_ns)
        raw = json.loads(body)
        plain[name].load(raw["bids"], raw["asks"])
        last[name] = raw["lastUpdateId"]
        for data in heard[name]:
            if data["u"] > last[name]:
                plain[name].change(data["b"], data["a"])

    for recorded in binance_messages():
        while snapshots and snapshots[0][0] <= recorded.at_ns:
            at_ns, name, body = snapshots.pop(0)
            meet(name, body, at_ns)
        if not recorded.raw["stream"].endswith("depth@100ms"):
            continue
        data = recorded.raw["data"]
        venue.feed(recorded.message, recorded.at_ns)
        fetches |= {r.venue_symbol: r for r in venue.requests() if isinstance(r, Fetch)}
        if data["s"] in last:
            plain[data["s"]].change(data["b"], data["a"])
        else:
            heard[data["s"]].append(data)
    for at_ns, name, body in snapshots:
        meet(name, body, at_ns)

    for name, listing in listings.items():
        book = venue.book(name)
        assert book is not None
        assert depth_of(listing, book) == plain[name].depth(1_000_000)
    assert venue.counts.resyncs == 0
    # By eye: the last NKNUSDT ticker of the file, u 499870151.
    assert plain["NKNUSDT"].best_bid() == (Decimal("0.3527"), Decimal(9_602))
    assert plain["NKNUSDT"].best_ask() == (Decimal("0.3531"), Decimal(152))
    # Orders from before the tick was made coarser (0.0001): a price of five decimals.
    assert (Decimal("0.25974"), Decimal(51)) in plain["NKNUSDT"].depth(1_000)[0]


def test_one_message_subscribes_to_all_streams() -> None:
    venue = Binance((X,))
    venue.opened(0)

    (send,) = venue.requests()
    assert isinstance(send, Send)
    assert json.loads(send.text) == {
        "method": "SUBSCRIBE", "params": ["xusdt@depth@100ms", "xusdt@trade"], "id": 1,
    }  # fmt: skip


def test_the_snapshot_is_fetched_once_the_stream_is_heard_and_once_only() -> None:
    venue = opened()
    venue.feed(b'{"result":null,"id":1}', 0)
    assert venue.requests() == []
    venue.feed(depth(11, 12), 1)
    venue.feed(depth(13, 13), 2)

    assert venue.requests() == [
        Fetch("/api/v3/depth", (("symbol", "XUSDT"), ("limit", "5000")), "XUSDT", 1)
    ]


def test_buffered_changes_go_on_from_the_snapshot() -> None:
    """Numbers 11 to 12 are in the snapshot; 13 to 15 straddle its end; 16 follows."""
    venue = opened()
    venue.feed(depth(11, 12, b=[("100.10", "9")]), 0)
    venue.feed(depth(13, 15, b=[("100.20", "8")]), 1)
    venue.feed(depth(16, 16, b=[("100.30", "7")]), 2)

    events = venue.answer(fetched(venue), snapshot(13), 3)

    bids = [event.bids for event in events if isinstance(event, BookChange)]
    assert bids == [((10_000, 1_000),), ((10_020, 8_000),), ((10_030, 7_000),)]
    book = venue.book("XUSDT")
    assert book is not None
    assert book.depth(9)[0] == ((10_030, 7_000), (10_020, 8_000), (10_000, 1_000))
    assert venue.counts.duplicates == 1


def test_a_snapshot_older_than_the_stream_is_fetched_again_later_and_later() -> None:
    venue = opened()
    venue.feed(depth(11, 12), 0)

    first = fetched(venue)
    assert venue.answer(first, snapshot(10), 1) == ()  # strictly below the first number, 11
    second = fetched(venue)
    assert (first.after_s, second.after_s) == (0.0, 0.5)
    assert venue.answer(first, snapshot(12), 2) == ()  # an answer to what nobody waits for
    assert venue.answer(second, snapshot(12), 2)
    assert venue.book("XUSDT") is not None


def test_a_snapshot_older_than_a_crossed_book_is_fetched_again() -> None:
    venue = live()
    venue.feed(depth(11, 15, b=[("101.00", "1")]), 1)

    assert venue.answer(fetched(venue), snapshot(14), 2) == ()
    assert venue.answer(fetched(venue), snapshot(15), 2)


def test_a_quiet_symbol_is_no_fault_but_a_snapshot_that_stays_away_is() -> None:
    venue = opened()
    venue.tick(3_600 * NS_PER_S)
    assert venue.down is None

    venue.feed(depth(10, 10), 3_600 * NS_PER_S)
    venue.tick(3_631 * NS_PER_S)
    assert venue.down == "no snapshot of XUSDT within 30 s"


def test_snapshots_that_do_not_come_give_the_connection_up() -> None:
    venue = opened()
    venue.feed(depth(11, 12), 0)
    pauses = []
    for _ in range(MAX_SNAPSHOTS):
        assert venue.down is None
        fetch = fetched(venue)
        pauses.append(fetch.after_s)
        (bad,) = venue.unanswered(fetch, "status 429", 1)
        assert isinstance(bad, BadMessage)
        assert bad.reason == "/api/v3/depth: status 429"

    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert venue.down == "5 tries for a snapshot of XUSDT: status 429"


def test_a_gap_restarts_with_a_new_snapshot() -> None:
    venue = live()
    venue.feed(depth(11, 12), 1)

    assert venue.feed(depth(14, 15, b=[("100.50", "1")]), 2) == [
        Resync(listing=X, reason="changes 14 to 15 where 13 was due", at_ns=2)
    ]
    assert venue.book("XUSDT") is None
    events = venue.answer(fetched(venue), snapshot(14), 3)
    assert [e.bids for e in events if isinstance(e, BookChange)] == [
        ((10_000, 1_000),), ((10_050, 1_000),),
    ]  # fmt: skip


@pytest.mark.parametrize(("first", "last"), [(9, 10), (10, 10), (1, 3)])
def test_what_the_book_already_holds_is_left_aside(first: int, last: int) -> None:
    venue = live()

    assert venue.feed(depth(first, last, b=[("100.50", "1")]), 1) == ()
    assert venue.counts.duplicates == 1


def test_an_overlapping_change_is_applied() -> None:
    venue = live()

    change, quote = venue.feed(depth(9, 12, b=[("100.50", "1")]), 1)

    assert isinstance(change, BookChange)
    assert change.venue_ns == 1_672_515_782_136_000_000
    assert isinstance(quote, Quote)
    assert quote.bid_ticks == 10_050
    assert venue.feed(depth(13, 13), 2)


def test_crossed_and_unreadable_books_are_fetched_anew() -> None:
    venue = live()
    assert venue.feed(depth(11, 11, b=[("101.00", "1")]), 1) == [
        Resync(listing=X, reason="crossed: bid 101.00, ask 101.00", at_ns=1)
    ]
    venue.answer(fetched(venue), snapshot(11), 2)

    bad, lost = venue.feed(depth(12, 12, b=[("x", "1")]), 3)
    assert isinstance(bad, BadMessage)
    assert isinstance(lost, Resync)
    venue.answer(fetched(venue), snapshot(12), 4)
    assert venue.book("XUSDT") is not None


def test_a_trade_names_who_crossed_the_spread() -> None:
    """The documented message: the buyer is the maker, so a seller crossed."""
    venue = live()
    body = {
        "e": "trade", "E": 1_672_515_782_136, "s": "XUSDT", "t": 12_345, "p": "0.10", "q": "100",
        "b": 88, "a": 50, "T": 1_672_515_782_135, "m": True, "M": True,
    }  # fmt: skip
    (trade,) = venue.feed(json.dumps({"stream": "xusdt@trade", "data": body}).encode(), 5)

    assert trade == Trade(
        listing=X, trade_id="12345", price_ticks=10, size_steps=100_000, aggressor=Side.SELL,
        at_ns=5, venue_ns=1_672_515_782_135_000_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '{"stream":"","data":{"e":"serverShutdown","E":1770123456789}}',
        '{"event":{"e":"serverShutdown","E":1770123456789}}',
        '{"e":"serverShutdown","E":1770123456789}',
    ],
)
def test_a_shutdown_that_is_announced_gives_the_connection_up(text: str) -> None:
    venue = live()

    assert venue.feed(text.encode(), 1) == ()
    assert venue.down == "the server shuts down"


def test_a_refused_subscription_gives_the_connection_up() -> None:
    venue = opened()

    venue.feed(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', 1)

    assert venue.down is not None
    assert "Invalid request" in venue.down


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"{", b"\xff", b"null", b"{}", b"[" * 100_000, b'{"stream":"xusdt@kline_1m"}',
        b'{"stream":"xusdt@kline_1m","data":{"e":"kline"}}',
        b'{"stream":"a","data":{"e":"depthUpdate","s":"XUSDT","E":1,"U":11,"u":"12","b":[],"a":[]}}',
        b'{"stream":"a","data":{"e":"depthUpdate","s":"XUSDT","E":1,"U":12,"u":11,"b":[],"a":[]}}',
        b'{"stream":"a","data":{"e":"depthUpdate","s":"YUSDT","E":1,"U":11,"u":11,"b":[],"a":[]}}',
        b'{"stream":"a","data":{"e":"trade","s":"XUSDT","t":1,"p":"1e3","q":"1","T":1,"m":true}}',
        b'{"stream":"a","data":{"e":"trade","s":"Y","t":1,"p":"1","q":"1","T":1,"m":true}}',
    ],
)  # fmt: skip
def test_nonsense_is_told_and_counted_and_nothing_more(nonsense: bytes) -> None:
    venue = live()

    (bad,) = venue.feed(nonsense, 5)

    assert isinstance(bad, BadMessage)
    assert bad.text == nonsense[:200].decode("utf-8", "replace")
    assert venue.counts.bad == 1
    assert venue.book("XUSDT") is not None
    assert venue.down is None


def test_an_unreadable_snapshot_is_told_and_fetched_again() -> None:
    venue = opened()
    venue.feed(depth(11, 12), 0)

    (bad,) = venue.answer(fetched(venue), b"<html>teapot</html>", 1)

    assert isinstance(bad, BadMessage)
    assert venue.answer(fetched(venue), snapshot(12), 2)
