"""Each venue's candles: what is asked, how documented replies read, which symbols and bars are."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds.history.binance import Binance
from hydra.feeds.history.bybit import Bybit
from hydra.feeds.history.coinbase import Coinbase
from hydra.feeds.history.oanda import Oanda
from hydra.feeds.history.venue import (
    Ask,
    Candle,
    Pair,
    Refusal,
    Unreadable,
    Venue,
    pair_of,
)
from hydra.feeds.history.venues import VENUES, address_of, bar_of, venue_named
from hydra.market.timeframes import timeframe_ns
from hydra.settings import load_settings
from tests.support.shared_data import shared_data

HOUR_NS = 3_600 * NS_PER_S


def an_ask(base: str, quote: str, first_s: int, count: int, bar: str = "1h") -> Ask:
    bar_ns = timeframe_ns(bar)
    first_ns = first_s * NS_PER_S
    return Ask(
        pair=Pair(base, quote),
        bar_ns=bar_ns,
        first_ns=first_ns,
        last_ns=first_ns + (count - 1) * bar_ns,
    )


def a_candle(open_s: int, *numbers: str) -> Candle:
    return Candle(open_s * NS_PER_S, *(Decimal(one) for one in numbers))


# What is asked


def test_coinbase_is_asked_in_seconds_with_an_end_inside_the_last_candle() -> None:
    path, query = Coinbase().request(an_ask("BTC", "USD", 1_712_188_800, 2))

    assert path == "/api/v3/brokerage/market/products/BTC-USD/candles"
    assert query == {
        "start": "1712188800", "end": "1712195999", "granularity": "ONE_HOUR", "limit": "2",
    }  # fmt: skip


def test_binance_is_asked_in_milliseconds() -> None:
    path, query = Binance().request(an_ask("BTC", "USDT", 1_712_188_800, 1000))

    assert path == "/api/v3/klines"
    assert query == {
        "symbol": "BTCUSDT", "interval": "1h", "startTime": "1712188800000",
        "endTime": "1715788799999", "limit": "1000",
    }  # fmt: skip


def test_bybit_is_asked_for_spot() -> None:
    path, query = Bybit().request(an_ask("BTC", "USDT", 1_670_601_600, 3))

    assert path == "/v5/market/kline"
    assert query == {
        "category": "spot", "symbol": "BTCUSDT", "interval": "60", "start": "1670601600000",
        "end": "1670612399999", "limit": "3",
    }  # fmt: skip


def test_oanda_is_asked_for_bid_and_ask_on_the_grid_of_utc() -> None:
    path, query = Oanda().request(an_ask("US30", "USD", 1_712_188_800, 5000, "4h"))

    assert path == "/v3/instruments/US30_USD/candles"
    assert query == {
        "price": "BA", "granularity": "H4", "from": "2024-04-04T00:00:00Z", "count": "5000",
        "dailyAlignment": "0", "alignmentTimezone": "UTC",
    }  # fmt: skip


# How replies read: the bodies are those of the venues' own documentation.

COINBASE = (
    b'{"candles":[{"start":"1712192400","low":"66055.14","high":"66331.99","open":"66312.4",'
    b'"close":"66181.6","volume":"355.82896243"},{"start":"1712188800","low":"65857.35",'
    b'"high":"66387.77","open":"65984.18","close":"66314.59","volume":"358.74851052"}]}'
)
BINANCE = (
    b'[[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",'
    b'1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]]'
)
OANDA = (
    b'{"instrument":"EUR_USD","granularity":"M5","candles":['
    b'{"complete":true,"volume":132,"time":"2016-10-17T19:35:00.000000000Z",'
    b'"bid":{"o":"1.09960","h":"1.09973","l":"1.09957","c":"1.09969"},'
    b'"ask":{"o":"1.09973","h":"1.09987","l":"1.09971","c":"1.09983"}},'
    b'{"complete":false,"volume":1,"time":"2016-10-17T19:40:00.000000000Z",'
    b'"bid":{"o":"1","h":"1","l":"1","c":"1"},"ask":{"o":"1","h":"1","l":"1","c":"1"}},'
    b'{"complete":true,"volume":1,"time":"2016-10-17T19:45:00.000000000Z",'
    b'"bid":{"o":"1","h":"1","l":"1","c":"1"},"ask":{"o":"1","h":"1","l":"1","c":"1"}}]}'
)
BYBIT = (
    b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSD","category":"inverse","list":'
    b'[["1670608800000","17071","17073","17027","17055.5","268611","15.74462667"],'
    b'["1670605200000","17071.5","17071.5","17061","17071","4177","0.24469757"]]},'
    b'"retExtInfo":{},"time":1672025956592}'
)


def test_a_reply_of_coinbase() -> None:
    read = Coinbase().read(COINBASE, an_ask("BTC", "USD", 1_712_188_800, 2))

    assert list(read) == [
        a_candle(1_712_192_400, "66312.4", "66331.99", "66055.14", "66181.6", "355.82896243"),
        a_candle(1_712_188_800, "65984.18", "66387.77", "65857.35", "66314.59", "358.74851052"),
    ]


def test_a_reply_of_oanda() -> None:
    """The last candle goes on, the third lies behind the page."""
    read = Oanda().read(OANDA, an_ask("EUR", "USD", 1_476_732_900, 2, "5m"))

    (first,) = read
    assert first.open_ns == 1_476_732_900 * NS_PER_S
    assert [[str(price) for price in side] for side in first.sides] == [
        ["1.09960", "1.09973", "1.09957", "1.09969"],
        ["1.09973", "1.09987", "1.09971", "1.09983"],
    ]
    assert first.volume is None


def test_candles_of_oanda_that_were_recorded() -> None:
    """By eye: 19:35 opens at 10503.8 and closes at 10506.0. They are of the middle, the form is
    the same for bid and ask."""
    kept = json.loads(shared_data("oanda_v20/instruments.json").read_text("utf-8"))
    reply = kept["_v3_instruments_instrument_candles"]["response"]
    assert reply["instrument"] == "DE30/EUR"  # as that recording of long ago spells it
    for row in reply["candles"]:
        row["bid"] = row["ask"] = row.pop("mid")
    body = json.dumps({**reply, "instrument": "DE30_EUR"}).encode()

    read = Oanda().read(body, an_ask("DE30", "EUR", 1_476_732_900, 5, "5m"))

    assert [(one.open_ns // NS_PER_S - 1_476_732_900) // 300 for one in read] == [0, 1, 2, 3, 4]
    assert (read[0].open, read[0].close) == (Decimal("10503.8"), Decimal("10506.0"))
    assert read[0].volume is None


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (b'"EUR_USD"', b'"EUR_JPY"'),
        (b'35:00.000000000Z"', b'35:00.000000000"'),
        (b'"ask"', b'"mid"'),
        (b'"complete":true,', b""),
    ],
)
def test_oandas_reply_must_be_whole_candles_of_the_instrument(found: bytes, instead: bytes) -> None:
    with pytest.raises(Unreadable):
        Oanda().read(OANDA.replace(found, instead), an_ask("EUR", "USD", 1_476_732_900, 2, "5m"))


def test_a_reply_of_binance() -> None:
    read = Binance().read(BINANCE, an_ask("ETH", "BTC", 1_499_040_000, 1))

    assert list(read) == [
        a_candle(
            1_499_040_000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815"
        )
    ]


def test_a_reply_of_bybit() -> None:
    read = Bybit().read(BYBIT, an_ask("BTC", "USD", 1_670_605_200, 2))

    assert list(read) == [
        a_candle(1_670_608_800, "17071", "17073", "17027", "17055.5", "268611"),
        a_candle(1_670_605_200, "17071.5", "17071.5", "17061", "17071", "4177"),
    ]


@pytest.mark.parametrize(
    ("venue", "message", "pair", "opens_s"),
    [
        (Coinbase(), "http_candles.json", Pair("BTC", "USD"), [1_712_192_400, 1_712_188_800]),
        (Binance(), "spot/http_json/klines_response.json", Pair("LTC", "BTC"), [1_499_040_000]),
        (Bybit(), "http_get_klines_linear.json", Pair("BTC", "USDT"), [1_709_891_679]),
    ],
)
def test_messages_that_others_recorded(
    venue: Venue, message: str, pair: Pair, opens_s: list[int]
) -> None:
    kept = shared_data(f"venue_messages/nautilus_{venue.name}.json")
    body = json.dumps(json.loads(kept.read_text("utf-8"))[message]).encode()
    ask = Ask(pair=pair, bar_ns=HOUR_NS, first_ns=0, last_ns=0)

    read = venue.read(body, ask)

    assert venue.refusal(200, body) is None
    assert [one.open_ns // NS_PER_S for one in read] == opens_s
    assert all(one.low <= one.close <= one.high for one in read)


NONSENSE = [b"", b"<html>", b"null", b"[]]", b'{"a":1}', b'[["x"]]', b'"\xff"', b"[[1,2,3,4,5,6]]"]


@pytest.mark.parametrize("venue", VENUES.values(), ids=lambda venue: venue.name)
@pytest.mark.parametrize("body", NONSENSE)
def test_nonsense_is_unreadable(venue: Venue, body: bytes) -> None:
    with pytest.raises(Unreadable):
        venue.read(body, an_ask("BTC", "USDT", 0, 1))


@pytest.mark.parametrize(
    "result",
    ['{"symbol":"ETHUSDT","list":[]}', "null", "{}", '{"symbol":"BTCUSDT","list":[["1","2"]]}'],
)
def test_bybit_s_result_must_be_candles_of_the_symbol(result: str) -> None:
    body = f'{{"retCode":0,"retMsg":"OK","result":{result}}}'.encode()

    with pytest.raises(Unreadable):
        Bybit().read(body, an_ask("BTC", "USDT", 0, 1))


def test_a_price_that_is_no_number_is_left_to_the_checks() -> None:
    body = BINANCE.replace(b"0.80000000", b"sNaN").replace(b"0.01575800", b"much")

    (read,) = Binance().read(body, an_ask("ETH", "BTC", 1_499_040_000, 1))

    assert read.high.is_nan()
    assert read.low.is_nan()
    assert not read.high.is_snan()


# Refusals

REFUSALS = [
    (Coinbase(), 404, '{"error":"NOT_FOUND","error_details":"valid product_id is required",'
     '"message":"valid product_id is required"}',
     Refusal(words="valid product_id is required", unknown_symbol=True)),
    (Coinbase(), 404, "<html>", Refusal(words="<html>")),
    (Coinbase(), 400, '{"error":"INVALID_ARGUMENT","message":"x"}', Refusal(words="x")),
    (Binance(), 400, '{"code":-1121,"msg":"Invalid symbol."}',
     Refusal(words="Invalid symbol.", unknown_symbol=True)),
    (Binance(), 400, '{"code":-1100,"msg":"Illegal characters"}',
     Refusal(words="Illegal characters")),
    (Binance(), 403, "", Refusal(words="nothing")),
    (Bybit(), 200, '{"retCode":10001,"retMsg":"Not supported symbols","result":{}}',
     Refusal(words="Not supported symbols (10001)", unknown_symbol=True)),
    (Bybit(), 200, '{"retCode":10001,"retMsg":"Invalid period!","result":null}',
     Refusal(words="Invalid period! (10001)")),
    (Bybit(), 200, '{"retCode":10006,"retMsg":"Too many visits!"}',
     Refusal(words="Too many visits! (10006)", may_pass=True)),
    (Oanda(), 400, '{"errorMessage":"Invalid value specified for \'instrument\'"}',
     Refusal(words="Invalid value specified for 'instrument'", unknown_symbol=True)),
    (Oanda(), 400, '{"errorMessage":"Maximum value for \'count\' exceeded"}',
     Refusal(words="Maximum value for 'count' exceeded")),
    (Oanda(), 401, '{"errorMessage":"Insufficient authorization to perform request."}',
     Refusal(words="Insufficient authorization to perform request.")),
    (Oanda(), 503, "<html>", Refusal(words="<html>")),
    (Bybit(), 403, "access too frequent", Refusal(words="access too frequent")),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "status", "body", "refusal"), REFUSALS)
def test_refusals(venue: Venue, status: int, body: str, refusal: Refusal) -> None:
    assert venue.refusal(status, body.encode()) == refusal


def test_a_long_message_is_shortened() -> None:
    body = json.dumps({"code": 1, "msg": "long\n  words " * 100}).encode()

    refusal = Binance().refusal(400, body)

    assert refusal is not None
    assert refusal.words.startswith("long words long words")
    assert len(refusal.words) <= 201


# Symbols, bars, addresses


@pytest.mark.parametrize(
    ("venue", "text", "symbol"),
    [
        ("coinbase", "BTC-USD", "BTC-USD"),
        ("coinbase", "btc/usd", "BTC-USD"),
        ("coinbase", "BTCUSDT", "BTC-USDT"),
        ("coinbase", "ETHBTC", "ETH-BTC"),
        ("binance", "BTC-USD", "BTC-USDT"),
        ("binance", "BTCUSDT", "BTC-USDT"),
        ("binance", "BTC-USDC", "BTC-USDC"),
        ("binance", "1000SATSFDUSD", "1000SATS-FDUSD"),
        ("bybit", "SOL_USD", "SOL-USDT"),
        ("oanda", "EURUSD", "EUR-USD"),
        ("oanda", "xau/usd", "XAU-USD"),
        ("oanda", "US30.cash", "US30-USD"),
        ("oanda", "NAS100", "NAS100-USD"),
        ("oanda", "EUR_JPY", "EUR-JPY"),
    ],
)
def test_symbols(venue: str, text: str, symbol: str) -> None:
    assert pair_of(text, venue_named(venue)).symbol == symbol


@pytest.mark.parametrize(
    "text", ["BTC", "", "-", "USD", "BTC-", "A-B-C", "B!C-USD", "ÄÖ-USD", "x" * 99]
)
def test_what_is_no_symbol(text: str) -> None:
    with pytest.raises(ConfigError, match="no symbol"):
        pair_of(text, Coinbase())


def test_every_venue_has_bars_of_a_minute_and_of_a_day() -> None:
    for venue in VENUES.values():
        assert {timeframe_ns("1m"), timeframe_ns("1d")} <= set(venue.bars)
        assert bar_of("60m", venue) == HOUR_NS


def test_bars_that_a_venue_lacks_are_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError) as refused:
        bar_of("10m", Coinbase())

    assert "1m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 1d" in str(refused.value)
    assert "fetch 5m, and let engines watch 10m of them (ema_trend@10m)" in str(refused.value)
    with pytest.raises(ConfigError, match=r"1d$"):
        bar_of("30s", Binance())


def test_a_venue_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="there are coinbase, binance, bybit, oanda"):
        venue_named("mtgox")


def test_addresses_are_the_real_ones_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for venue in VENUES.values():
        monkeypatch.delenv(venue.setting, raising=False)
    assert [address_of(venue, load_settings()) for venue in VENUES.values()] == [
        "https://api.coinbase.com", "https://data-api.binance.vision", "https://api.bybit.com",
        "https://api-fxpractice.oanda.com",
    ]  # fmt: skip
    for venue in VENUES.values():
        monkeypatch.setenv(venue.setting, f"http://127.0.0.1:1/{venue.name}/")
        assert address_of(venue, load_settings()) == f"http://127.0.0.1:1/{venue.name}"
