"""Whatever bytes a venue sends, its protocol does not raise, and books stay sound or are void."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.feeds.binance import Binance
from hydra.feeds.bybit import Bybit
from hydra.feeds.coinbase import Coinbase
from hydra.feeds.oanda import Oanda
from hydra.feeds.venue import BookVenue, Fetch
from hydra.market.events import Listing


def listing(source: str) -> Listing:
    return Listing(source=source, symbol="X", venue_symbol="X", price_decimals=1, size_decimals=1)


def coinbase() -> BookVenue:
    return Coinbase([listing("coinbase")])


def binance() -> BookVenue:
    return Binance([listing("binance")])


def bybit() -> BookVenue:
    return Bybit([listing("bybit")])


def oanda() -> BookVenue:
    return Oanda([listing("oanda")])


TIME = b'"2026-04-07T14:30:00.123456Z"'
SOUND: dict[Callable[[], BookVenue], list[bytes]] = {
    coinbase: [
        b'{"channel":"l2_data","timestamp":' + TIME + b',"sequence_num":0,"events":[{"type":'
        b'"snapshot","product_id":"X","updates":[{"side":"bid","price_level":"9.5",'
        b'"new_quantity":"1"},{"side":"offer","price_level":"11","new_quantity":"2.5"}]}]}',
        b'{"channel":"l2_data","timestamp":' + TIME + b',"sequence_num":1,"events":[{"type":'
        b'"update","product_id":"X","updates":[{"side":"bid","price_level":"9.7",'
        b'"new_quantity":"1"}]}]}',
        b'{"channel":"market_trades","timestamp":' + TIME + b',"sequence_num":2,"events":[{"type":'
        b'"update","trades":[{"trade_id":"1","product_id":"X","price":"9.7","size":"1","side":'
        b'"BUY","time":' + TIME + b"}]}]}",
    ],
    binance: [
        b'{"stream":"x@depth@100ms","data":{"e":"depthUpdate","s":"X","E":1,"U":5,"u":5,'
        b'"b":[["9.5","1"]],"a":[["11","1"]]}}',
        b'{"stream":"x@depth@100ms","data":{"e":"depthUpdate","s":"X","E":1,"U":6,"u":7,'
        b'"b":[["9.7","1"]],"a":[["11","0"]]}}',
        b'{"stream":"x@trade","data":{"e":"trade","s":"X","t":1,"p":"9.7","q":"1","T":1,"m":true}}',
    ],
    bybit: [
        b'{"topic":"orderbook.50.X","type":"snapshot","ts":1,"data":{"s":"X","b":[["9.5","1"]],'
        b'"a":[["11","1"]],"u":5,"seq":7}}',
        b'{"topic":"orderbook.50.X","type":"delta","ts":1,"data":{"s":"X","b":[["9.7","1"]],'
        b'"a":[["11","0"]],"u":6,"seq":8}}',
        b'{"topic":"publicTrade.X","type":"snapshot","ts":1,"data":[{"T":1,"s":"X","S":"Buy",'
        b'"v":"1","p":"9.7","i":"a"}]}',
    ],
    oanda: [
        b'{"type":"PRICE","time":' + TIME + b',"instrument":"X","tradeable":true,'
        b'"bids":[{"price":"9.5","liquidity":1}],"asks":[{"price":"11","liquidity":"2"}]}',
        b'{"type":"HEARTBEAT","time":' + TIME + b"}",
    ],
}
SNAPSHOT = b'{"lastUpdateId":5,"bids":[["9.5","1"]],"asks":[["11","1"]]}'


@st.composite
def spoilt(draw: st.DrawFn, message: bytes) -> bytes:
    """A message as it is, or with a stretch of it replaced."""
    if draw(st.booleans()):
        return message
    first = draw(st.integers(0, len(message)))
    last = draw(st.integers(first, min(len(message), first + 12)))
    other = draw(
        st.binary(max_size=4) | st.sampled_from([b"null", b"-1", b'"', b"1e9", b"{}", b"9"])
    )
    return message[:first] + other + message[last:]


@pytest.mark.parametrize("made", SOUND, ids=lambda made: made.__name__)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_message_makes_a_protocol_raise(
    made: Callable[[], BookVenue], data: st.DataObject
) -> None:
    venue = made()
    venue.opened(0)
    for number, message in enumerate(SOUND[made] * 2):
        venue.feed(data.draw(spoilt(message)), number)
        for request in venue.requests():
            if isinstance(request, Fetch):
                venue.answer(request, data.draw(spoilt(SNAPSHOT)), number)
        book = venue.book("X")
        assert book is None or not book.is_crossed
    venue.closed("over", 99)
    assert venue.book("X") is None


@pytest.mark.parametrize("made", SOUND, ids=lambda made: made.__name__)
@settings(deadline=None)
@given(message=st.binary(max_size=300))
def test_plain_nonsense_is_one_bad_message(made: Callable[[], BookVenue], message: bytes) -> None:
    venue = made()
    venue.opened(0)

    assert len(venue.feed(message, 1)) == 1
    assert venue.counts.bad == 1
