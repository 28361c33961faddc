"""Rows that cannot be taken are left out and counted; nothing is mended."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.history import checks
from hydra.feeds.history.checks import checked
from hydra.feeds.history.venue import Ask, Candle, Pair, Prices

MINUTE_NS = 60 * NS_PER_S
ASK = Ask(pair=Pair("BTC", "USD"), bar_ns=MINUTE_NS, first_ns=0, last_ns=9 * MINUTE_NS)


def a_candle(minute: int, **changes: str) -> Candle:
    sound = {"open": "10.5", "high": "12", "low": "9", "close": "11", "volume": "0.3"}
    numbers = {name: Decimal(text) for name, text in (sound | changes).items()}
    open_, high, low, close, volume = numbers.values()
    return Candle(minute * MINUTE_NS, open_, high, low, close, volume)


FAULTS = [
    (a_candle(-1), checks.OUTSIDE),
    (a_candle(10), checks.OUTSIDE),
    (a_candle(10**12), checks.OUTSIDE),
    (replace(a_candle(1), open_ns=MINUTE_NS + 1), checks.OFF_GRID),
    (a_candle(1, high="NaN"), checks.NO_NUMBER),
    (a_candle(1, volume="NaN"), checks.NO_NUMBER),
    (a_candle(1, high="Infinity"), checks.NO_NUMBER),
    (a_candle(1, high="1e999999"), checks.NO_NUMBER),
    (a_candle(1, high="12." + "1" * 50), checks.NO_NUMBER),
    (a_candle(1, low="0"), checks.NOT_POSITIVE),
    (a_candle(1, low="-9"), checks.NOT_POSITIVE),
    (a_candle(1, high="8"), checks.HIGH_BELOW_LOW),
    (a_candle(1, open="12.1"), checks.BEYOND),
    (a_candle(1, close="8.9"), checks.BEYOND),
    (a_candle(1, volume="-1"), checks.BAD_VOLUME),
]


ASK_PRICES = ("10.6", "12.1", "9.1", "11.1")


def a_quoted(minute: int, *ask: str, **changes: str) -> Candle:
    """Bids with asks above them, and no volume."""
    prices = Prices(*(Decimal(text) for text in ask or ASK_PRICES))
    return replace(a_candle(minute, **changes), volume=None, ask=prices)


QUOTE_FAULTS = [
    (a_quoted(1, "10.4", "12.1", "9.1", "11.1"), checks.CROSSED),
    (a_quoted(1, "10.6", "11.9", "9.1", "11.1"), checks.CROSSED),
    (a_quoted(1, "10.6", "12.1", "9.1", "12.2"), checks.BEYOND),
    (a_quoted(1, "NaN", "12.1", "9.1", "11.1"), checks.NO_NUMBER),
    (a_quoted(1, "Infinity", "-Infinity", "9.1", "11.1"), checks.NO_NUMBER),
    (a_quoted(1, "10.6", "9", "9.1", "11.1"), checks.HIGH_BELOW_LOW),
    (a_quoted(1, low="0"), checks.NOT_POSITIVE),
]


@pytest.mark.parametrize(("faulty", "reason"), QUOTE_FAULTS)
def test_of_bid_and_ask_each_is_judged_and_both_together(faulty: Candle, reason: str) -> None:
    found = checked([a_quoted(0), faulty, a_quoted(2)], ASK)

    assert found.candles == (a_quoted(0), a_quoted(2))
    assert found.faults == {reason: 1}
    assert ", ".join(str(price) for price in faulty.sides[1]) in found.example


@pytest.mark.parametrize(("faulty", "reason"), FAULTS)
def test_a_faulty_row_is_left_out_and_counted(faulty: Candle, reason: str) -> None:
    found = checked([a_candle(0), faulty, a_candle(2)], ASK)

    assert found.candles == (a_candle(0), a_candle(2))
    assert found.faults == {reason: 1}
    assert reason in found.example


def test_sound_rows_of_either_direction_come_out_oldest_first() -> None:
    page = [a_candle(i) for i in (0, 1, 2, 5, 9)]

    for rows in (page, page[::-1]):
        found = checked(rows, ASK)
        assert found.candles == tuple(page)
        assert found.faults == {}
        assert found.example == ""


def test_rows_out_of_order_are_ordered_and_counted() -> None:
    found = checked([a_candle(i) for i in (0, 2, 1, 3, 4)], ASK)

    assert [one.open_ns // MINUTE_NS for one in found.candles] == [0, 1, 2, 3, 4]
    assert found.faults == {checks.DISORDER: 1}


def test_a_row_that_comes_twice_is_taken_once() -> None:
    found = checked([a_candle(0), a_candle(0), a_candle(1)], ASK)

    assert found.candles == (a_candle(0), a_candle(1))
    assert found.faults == {checks.TWICE: 1}


def test_of_rows_that_contradict_each_other_none_is_taken() -> None:
    found = checked([a_candle(0), a_candle(1), a_candle(1, close="11.5"), a_candle(2)], ASK)

    assert found.candles == (a_candle(0), a_candle(2))
    assert found.faults == {checks.CONTRADICTED: 2}


def test_a_volume_of_nought_is_sound() -> None:
    assert checked([a_candle(0, volume="0E-8")], ASK).faults == {}
