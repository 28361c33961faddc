"""OANDA v20 streaming: recorded prices by their values, faults by what is said of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.oanda import Oanda
from hydra.market.events import BadMessage, BookChange, Heartbeat, Listing, NoQuote, Quote, Resync
from tests.support.captures import oanda_gold_prices, oanda_listing, oanda_recorded
from tests.support.listener import Listener
from tests.support.plain_book import PlainBook, depth_of

EUR = Listing(
    source="oanda", symbol="EURUSD", venue_symbol="EUR_USD", price_decimals=5, size_decimals=0
)


def price(second: int, bid: str = "1.10000", ask: str = "1.10010", **fields: Any) -> bytes:
    body = {
        "type": "PRICE", "instrument": "EUR_USD",
        "time": f"2026-01-05T10:00:{second:02}.000000000Z",
        "tradeable": True, "bids": [{"price": bid, "liquidity": 500_000}] if bid else [],
        "asks": [{"price": ask, "liquidity": 500_000}] if ask else [], **fields,
    }  # fmt: skip
    return json.dumps(body).encode()


def opened(*listings: Listing) -> Oanda:
    venue = Oanda(listings or (EUR,))
    venue.opened(0)
    return venue


def test_the_recorded_stream_by_its_values() -> None:
    """By eye: EUR_JPY 114.295 to 114.312, EUR_USD 1.09177 to 1.09188, EUR_JPY 114.298 to 114.315;
    four levels a side for EUR_JPY, the last 114.291 and 114.316 with ten million."""
    names = ("EUR_JPY", "EUR_USD")
    venue = opened(*map(oanda_listing, names))
    listener = Listener()
    bests = []
    for number, message in enumerate(oanda_recorded()):
        events = venue.feed(json.dumps(message).encode(), number)
        listener.deliver(events)
        if message["type"] == "HEARTBEAT":
            (beat,) = events
            # 2016-10-27T08:38:44.327443673Z, to the nearest microsecond
            assert beat == Heartbeat(
                source="oanda", at_ns=number, venue_ns=1_477_557_524_327_444_000
            )
            continue
        bests.append(listener.bests(message["instrument"]))
        plain = PlainBook()
        plain.load(
            [(x["price"], str(x["liquidity"])) for x in message["bids"]],
            [(x["price"], str(x["liquidity"])) for x in message["asks"]],
        )
        book = venue.book(message["instrument"])
        assert book is not None
        assert depth_of(oanda_listing(message["instrument"]), book) == plain.depth(9)
        if number == 0:
            assert plain.depth(9)[0][-1] == (Decimal("114.291"), Decimal(10_000_000))
            assert len(book) == 8
            (first,) = [e for e in events if isinstance(e, Quote)]
            # 2016-10-27T08:38:43.094548890Z, to the nearest microsecond
            assert first.venue_ns == 1_477_557_523_094_549_000

    assert bests == [
        (Decimal("114.295"), Decimal("114.312")),
        (Decimal("1.09177"), Decimal("1.09188")),
        (Decimal("114.298"), Decimal("114.315")),
    ]
    assert venue.counts.bad == 0


def test_recorded_gold_ticks_come_through_as_they_are() -> None:
    """By eye: the first tick of the file is 1291.677 to 1292.033, the 400th 1291.085 to 1291.406,
    the 1,000th 1291.377 to 1291.719."""
    gold = oanda_listing("XAU_USD")
    venue = opened(gold)
    quotes: list[Quote] = []
    seen = {}
    for number, message in enumerate(oanda_gold_prices(1_000), start=1):
        quotes += [
            e for e in venue.feed(json.dumps(message).encode(), number) if isinstance(e, Quote)
        ]
        last = quotes[-1]
        seen[number] = gold.price(last.bid_ticks), gold.price(last.ask_ticks)

    assert seen[1] == (Decimal("1291.677"), Decimal("1292.033"))
    assert seen[400] == (Decimal("1291.085"), Decimal("1291.406"))
    assert seen[1_000] == (Decimal("1291.377"), Decimal("1291.719"))
    assert venue.counts.duplicates == 0


def test_a_halted_instrument_has_no_quote_and_an_empty_book_until_it_trades_again() -> None:
    venue = opened()
    venue.feed(price(1), 1)

    change, gone = venue.feed(price(2, tradeable=False), 2)
    assert isinstance(change, BookChange)
    assert (change.bids, change.asks) == ((), ())
    assert gone == NoQuote(listing=EUR, reason="not tradeable", at_ns=2)
    assert venue.feed(price(3, tradeable=False), 3) == ()
    _, back = venue.feed(price(4), 4)
    assert isinstance(back, Quote)


@pytest.mark.parametrize(
    ("fields", "trades"),
    [
        ({"tradeable": None, "status": "tradeable"}, True),
        ({"tradeable": None, "status": "non-tradeable"}, False),
        ({"tradeable": None}, False),  # nobody says so
        ({"tradeable": True, "status": "non-tradeable"}, True),  # the old field is deprecated
    ],
)
def test_what_says_that_an_instrument_trades(fields: dict[str, Any], trades: bool) -> None:
    events = opened().feed(price(1, **fields), 1)

    assert isinstance(events[-1], Quote if trades else NoQuote)


def test_one_side_without_liquidity_is_no_quote() -> None:
    venue = opened()
    venue.feed(price(1), 1)

    _, gone = venue.feed(price(2, ask=""), 2)

    assert gone == NoQuote(listing=EUR, reason="no asks", at_ns=2)


def test_a_price_of_the_past_is_left_aside() -> None:
    venue = opened()
    venue.feed(price(5, bid="1.10005"), 5)

    assert venue.feed(price(4), 6) == ()
    assert venue.counts.duplicates == 1
    book = venue.book("EUR_USD")
    assert book is not None
    assert book.best_bid == (110_005, 500_000)


def test_a_crossed_price_voids_the_quote_and_the_next_one_mends_it() -> None:
    venue = opened()
    venue.feed(price(1), 1)

    assert venue.feed(price(2, bid="1.10020"), 2) == [
        Resync(listing=EUR, reason="crossed: bid 1.10020, ask 1.10010", at_ns=2)
    ]
    assert venue.requests() == []
    assert len(venue.feed(price(3), 3)) == 2


def test_a_first_price_that_stays_away_gives_the_connection_up() -> None:
    venue = opened()
    venue.feed(b'{"type":"HEARTBEAT","time":"2026-01-05T10:00:00Z"}', 0)
    venue.tick(13 * NS_PER_S)

    assert venue.down == "no snapshot of EUR_USD within 12 s"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"{", b"\xff", b"null", b"{}", b"[" * 100_000,
        b'{"type":"TRANSACTION","time":"2026-01-05T10:00:00Z"}',
        b'{"errorMessage":"Insufficient authorization to perform request."}',
        price(1).replace(b"EUR_USD", b"USD_JPY"),
        price(1).replace(b"000Z", b"000"),
        price(1).replace(b'"1.10000"', b"1.1"),
    ],
)  # fmt: skip
def test_nonsense_is_told_and_counted_and_nothing_more(nonsense: bytes) -> None:
    venue = opened()
    venue.feed(price(0), 0)

    (bad,) = venue.feed(nonsense, 5)

    assert isinstance(bad, BadMessage)
    assert bad.text == nonsense[:200].decode("utf-8", "replace")
    assert venue.counts.bad == 1
    assert venue.book("EUR_USD") is not None


def test_a_price_off_the_grid_is_bad_and_voids_the_quote() -> None:
    venue = opened()
    venue.feed(price(1), 1)

    bad, lost = venue.feed(price(2, bid="1.100001"), 2)

    assert isinstance(bad, BadMessage)
    assert isinstance(lost, Resync)
