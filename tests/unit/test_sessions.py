"""When markets are open, and when a night is charged."""

from __future__ import annotations

from datetime import datetime

import pytest

from hydra.clock import iso, to_ns
from hydra.errors import ConfigError
from hydra.market.instruments import Instrument
from hydra.market.sessions import (
    check_calendar,
    is_open,
    named_zone,
    next_close_ns,
    rollovers,
    seconds_open_per_year,
    sessions,
    trading_days_per_year,
)
from hydra.market.timeframes import timeframe_name, timeframe_ns
from tests.support.bars import an_instrument


def at(text: str) -> int:
    return to_ns(datetime.fromisoformat(text + "+00:00"))


def currency(**changes: object) -> Instrument:
    return an_instrument(
        "EURUSD",
        swap_long_bps="0.5",
        swap_zone="America/New_York",
        swap_hours=(17,),
        triple_swap_weekday=2,
        calendar="fx",
        **changes,  # type: ignore[arg-type]
    )


def due(instrument: Instrument, start: str, end: str) -> list[tuple[str, int]]:
    found = rollovers(instrument, at(start), at(end))
    return [(iso(int(a)), int(n)) for a, n in zip(found.at_ns, found.nights, strict=True)]


def test_a_week_of_swaps_charges_seven_nights_wednesday_three() -> None:
    assert due(currency(), "2024-02-05T00:00", "2024-02-12T00:00") == [
        ("2024-02-05T22:00:00Z", 1),
        ("2024-02-06T22:00:00Z", 1),
        ("2024-02-07T22:00:00Z", 3),
        ("2024-02-08T22:00:00Z", 1),
        ("2024-02-09T22:00:00Z", 1),
    ]


def test_the_rollover_follows_new_york_through_its_change_of_clocks() -> None:
    found = due(currency(), "2024-03-08T00:00", "2024-03-12T00:00")

    assert [moment for moment, _ in found] == ["2024-03-08T22:00:00Z", "2024-03-11T21:00:00Z"]


def test_a_rollover_belongs_to_the_span_that_ends_with_it() -> None:
    assert due(currency(), "2024-02-05T22:00", "2024-02-06T21:59") == []
    assert due(currency(), "2024-02-05T21:59", "2024-02-05T22:00") == [("2024-02-05T22:00:00Z", 1)]


def test_funding_of_crypto_falls_on_every_day() -> None:
    perp = an_instrument(swap_long_bps="1", swap_hours=(0, 8, 16))

    found = due(perp, "2024-02-09T00:00", "2024-02-12T00:00")

    assert len(found) == 9
    assert {nights for _, nights in found} == {1}


def test_without_swap_nothing_is_due() -> None:
    assert due(an_instrument(swap_hours=(17,)), "2024-02-05T00:00", "2024-02-12T00:00") == []


def test_a_skipped_hour_is_charged_when_the_clocks_have_moved() -> None:
    odd = an_instrument(swap_long_bps="1", swap_zone="Europe/Prague", swap_hours=(2,))

    assert due(odd, "2024-03-30T12:00", "2024-03-31T12:00") == [("2024-03-31T01:00:00Z", 1)]


def test_a_repeated_hour_is_charged_once() -> None:
    odd = an_instrument(swap_long_bps="1", swap_zone="Europe/Prague", swap_hours=(2,))

    assert due(odd, "2024-10-26T12:00", "2024-10-27T12:00") == [("2024-10-27T00:00:00Z", 1)]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2024-02-09T21:59", True),
        ("2024-02-09T22:00", False),
        ("2024-02-10T12:00", False),
        ("2024-02-11T21:59", False),
        ("2024-02-11T22:00", True),
        ("2024-07-05T20:59", True),
        ("2024-07-05T21:00", False),
    ],
)
def test_currencies_trade_from_sunday_to_friday_17_new_york(moment: str, expected: bool) -> None:
    assert is_open(currency(), at(moment)) is expected


def test_cfds_rest_for_an_hour_each_day() -> None:
    gold = an_instrument("XAUUSD", calendar="cfd")

    assert is_open(gold, at("2024-02-06T21:59"))
    assert not is_open(gold, at("2024-02-06T22:30"))
    assert is_open(gold, at("2024-02-06T23:00"))
    assert not is_open(gold, at("2024-02-09T23:30"))


def test_an_exchange_keeps_its_half_days() -> None:
    share = an_instrument("SPY", calendar="XNYS")

    assert is_open(share, at("2025-11-28T17:59"))
    assert not is_open(share, at("2025-11-28T18:00"))
    assert next_close_ns(share, at("2025-11-28T15:00")) == at("2025-11-28T18:00")
    assert next_close_ns(share, at("2025-11-28T18:00")) == at("2025-12-01T21:00")


def test_crypto_never_closes() -> None:
    assert is_open(an_instrument(), at("2024-12-25T03:00"))
    assert next_close_ns(an_instrument(), at("2024-12-25T03:00")) is None


def test_sessions_of_the_currency_week_overlap_the_span() -> None:
    found = sessions("fx", at("2024-02-07T00:00"), at("2024-02-13T00:00"))

    assert [iso(int(a)) for a in found.open_ns] == ["2024-02-04T22:00:00Z", "2024-02-11T22:00:00Z"]
    assert [iso(int(a)) for a in found.close_ns] == ["2024-02-09T22:00:00Z", "2024-02-16T22:00:00Z"]


def test_a_year_for_annualising() -> None:
    assert trading_days_per_year("24/7") == 365
    assert trading_days_per_year("XNYS") == 252
    assert seconds_open_per_year("24/7") == 365 * 86_400
    assert seconds_open_per_year("XNYS") == 252 * 6.5 * 3_600
    assert seconds_open_per_year("fx") == 260 * 86_400


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="is no calendar"):
        check_calendar("NYSE2", "instrument X: calendar")
    with pytest.raises(ConfigError, match="did you mean Europe/Prague"):
        named_zone("Europe/Prag", "--tz")
    with pytest.raises(ConfigError, match="does not reach"):
        sessions("XHKG", at("1950-02-07T00:00"), at("1950-03-07T00:00"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1m", 60), ("4h", 14_400), ("1d", 86_400), ("1w", 604_800)]
)
def test_timeframes_go_in_and_out(text: str, seconds: int) -> None:
    assert timeframe_ns(text) == seconds * 10**9
    assert timeframe_name(timeframe_ns(text)) == text


def test_timeframes_take_the_shortest_name_and_nothing_else() -> None:
    assert timeframe_name(timeframe_ns("60m")) == "1h"
    assert timeframe_name(timeframe_ns("90m")) == "90m"
    assert timeframe_name(500_000_000) == "0.5s"
    for wrong in ("", "0m", "1x", "m", "-1h", "1.5h"):
        with pytest.raises(ConfigError, match="is no length of a bar"):
            timeframe_ns(wrong)
