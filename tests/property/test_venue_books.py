"""Whatever a connection loses, repeats or reorders: a book is right, or it is void. Never wrong.

A market makes numbered messages; a transport spoils their order. After each that arrives, a book
that the protocol vouches for must be the plain one as of the latest message that was made and
arrived.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.feeds.binance import Binance
from hydra.feeds.bybit import Bybit
from hydra.feeds.coinbase import Coinbase
from hydra.feeds.oanda import Oanda
from hydra.feeds.venue import Fetch
from hydra.market.events import BookChange, Listing, Resync
from tests.support.listener import Listener
from tests.support.plain_book import PlainBook, PlainLevel, depth_of

Depth = tuple[list[PlainLevel], list[PlainLevel]]


@dataclass(frozen=True)
class Step:
    """New sizes by price, or with `snapshot` the whole market told again."""

    bids: dict[int, int]
    asks: dict[int, int]
    snapshot: bool


class Fate(Enum):
    ARRIVES = 0
    IS_LOST = 1
    COMES_TWICE = 2
    COMES_AFTER_THE_NEXT = 3


def sizes(low: int, high: int) -> st.SearchStrategy[dict[int, int]]:
    return st.dictionaries(st.integers(low, high), st.integers(0, 9), max_size=3)


STEPS = st.lists(
    st.builds(Step, sizes(90, 99), sizes(101, 110), st.sampled_from([False] * 4 + [True])),
    min_size=1,
    max_size=40,
)
# Most messages arrive, or no book would ever be live for long.
FATES = st.lists(st.sampled_from([*[Fate.ARRIVES] * 9, *list(Fate)[1:]]), min_size=40, max_size=40)


def pairs(levels: dict[int, int]) -> list[tuple[str, str]]:
    return [(str(price), str(size)) for price, size in levels.items()]


def market(steps: Sequence[Step]) -> list[Depth]:
    """The plain book after each step."""
    book = PlainBook()
    out = []
    for step in steps:
        book.change(pairs(step.bids), pairs(step.asks))
        out.append(book.depth(1_000))
    return out


def arrivals(fates: Sequence[Fate], count: int) -> list[int]:
    """The numbers of the messages, in the order in which they arrive."""
    out: list[int] = []
    late: list[int] = []
    for number in range(count):
        fate = fates[number]
        if fate is Fate.COMES_AFTER_THE_NEXT:
            late.append(number)
            continue
        if fate is not Fate.IS_LOST:
            out += [number] * (2 if fate is Fate.COMES_TWICE else 1)
        out += late
        late = []
    return out + late


def whole(depth: Depth) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    bids, asks = ([(str(p), str(q)) for p, q in side] for side in depth)
    return bids, asks


def coinbase_message(number: int, step: Step, after: Depth) -> bytes:
    bids, asks = whole(after) if step.snapshot else (pairs(step.bids), pairs(step.asks))
    rows = [("bid", *level) for level in bids] + [("offer", *level) for level in asks]
    body: dict[str, Any] = {
        "channel": "l2_data", "timestamp": "2026-04-07T14:30:00Z", "sequence_num": number,
        "events": [{
            "type": "snapshot" if step.snapshot else "update", "product_id": "X",
            "updates": [
                {"side": side, "price_level": price, "new_quantity": size}
                for side, price, size in rows
            ],
        }],
    }  # fmt: skip
    return json.dumps(body).encode()


@settings(deadline=None)
@given(STEPS, FATES)
def test_coinbase_keeps_the_right_book_or_none(steps: list[Step], fates: list[Fate]) -> None:
    listing = Listing(
        source="coinbase", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0
    )
    venue = Coinbase((listing,))
    venue.opened(0)
    states = market(steps)
    listener = Listener()
    latest = -1
    for number in arrivals(fates, len(steps)):
        events = venue.feed(coinbase_message(number, steps[number], states[number]), number)
        listener.deliver(events)
        latest = max(latest, number)
        book = venue.book("X")
        if book is not None:
            assert depth_of(listing, book) == states[latest]
            assert listener.books["X"].depth(1_000) == states[latest]
        else:
            assert "X" not in listener.books
        if steps[number].snapshot and number == latest:
            assert book is not None
        assert all(isinstance(e, BookChange | Resync) or e.at_ns == number for e in events)


SPAN = 3  # numbers that one change takes


def binance_message(number: int, step: Step) -> bytes:
    data = {
        "e": "depthUpdate", "E": number, "s": "X",
        "U": number * SPAN + 1, "u": number * SPAN + SPAN,
        "b": pairs(step.bids), "a": pairs(step.asks),
    }  # fmt: skip
    return json.dumps({"stream": "x@depth@100ms", "data": data}).encode()


@settings(deadline=None)
@given(STEPS, FATES, st.data())
def test_binance_keeps_the_right_book_or_none(
    steps: list[Step], fates: list[Fate], data: st.DataObject
) -> None:
    """Snapshots may be older than the stream or ahead of it, and come at any time."""
    listing = Listing(
        source="binance", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0
    )
    venue = Binance((listing,))
    venue.opened(0)
    states = market(steps)
    listener = Listener()
    wanted: list[Fetch] = []
    latest = -1
    for number in arrivals(fates, len(steps)):
        latest = max(latest, number)
        listener.deliver(venue.feed(binance_message(number, steps[number]), number))
        wanted += [request for request in venue.requests() if isinstance(request, Fetch)]
        answered = data.draw(st.booleans())
        if wanted and answered:
            fetch = wanted.pop(data.draw(st.integers(0, len(wanted) - 1)))
            told = data.draw(st.integers(0, len(steps) - 1))
            bids, asks = whole(states[told])
            body = {"lastUpdateId": told * SPAN + SPAN, "bids": bids, "asks": asks}
            listener.deliver(venue.answer(fetch, json.dumps(body).encode(), number))
            wanted += [request for request in venue.requests() if isinstance(request, Fetch)]
        book = venue.book("X")
        if book is not None:
            assert depth_of(listing, book) in states[latest:]
            assert listener.books["X"].depth(1_000) == depth_of(listing, book)
        else:
            assert "X" not in listener.books


def bybit_message(number: int, step: Step, after: Depth) -> bytes:
    bids, asks = whole(after) if step.snapshot else (pairs(step.bids), pairs(step.asks))
    body = {
        "topic": "orderbook.50.X", "type": "snapshot" if step.snapshot else "delta", "ts": number,
        "data": {"s": "X", "b": bids, "a": asks, "u": number + 2, "seq": 7 * number},
    }  # fmt: skip
    return json.dumps(body).encode()


@settings(deadline=None)
@given(STEPS, FATES)
def test_bybit_keeps_the_right_book_or_none(steps: list[Step], fates: list[Fate]) -> None:
    listing = Listing(
        source="bybit", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0
    )
    venue = Bybit((listing,))
    venue.opened(0)
    states = market(steps)
    listener = Listener()
    latest = -1
    for number in arrivals(fates, len(steps)):
        listener.deliver(venue.feed(bybit_message(number, steps[number], states[number]), number))
        latest = max(latest, number)
        book = venue.book("X")
        if book is not None:
            assert depth_of(listing, book) == states[latest]
            assert listener.books["X"].depth(1_000) == states[latest]
        else:
            assert "X" not in listener.books
        if steps[number].snapshot and number == latest:
            assert book is not None


@settings(deadline=None)
@given(STEPS, FATES)
def test_oanda_has_the_latest_price_that_came(steps: list[Step], fates: list[Fate]) -> None:
    """Each price is whole: what is lost between two cannot spoil the next."""
    listing = Listing(
        source="oanda", symbol="X", venue_symbol="X", price_decimals=0, size_decimals=0
    )
    venue = Oanda((listing,))
    venue.opened(0)
    states = market(steps)
    latest = -1
    for number in arrivals(fates, len(steps)):
        bids, asks = (
            [{"price": str(price), "liquidity": int(size)} for price, size in side]
            for side in states[number]
        )
        time = f"2026-01-05T10:00:{number:02}Z"
        body = {
            "type": "PRICE", "instrument": "X", "time": time, "tradeable": True,
            "bids": bids, "asks": asks,
        }  # fmt: skip
        venue.feed(json.dumps(body).encode(), number)
        latest = max(latest, number)
        book = venue.book("X")
        assert book is not None
        assert depth_of(listing, book) == states[latest]
