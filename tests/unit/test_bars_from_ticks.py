"""Bars out of live events: by values worked by hand, and against the venue's own trades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.bars_from_ticks import BarBuilder, ClosedBar
from hydra.feeds.binance import Binance
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue, with_tick
from hydra.market.events import (
    BookChange,
    Event,
    Listing,
    NoQuote,
    Quote,
    Resync,
    Side,
    Trade,
)
from tests.support.captures import binance_btcusdt, binance_listing

MINUTE = 60 * NS_PER_S
COINBASE = Listing(
    source="coinbase", symbol="BTC-USD", venue_symbol="BTC-USD", price_decimals=2, size_decimals=8
)
BINANCE = Listing(
    source="binance", symbol="BTC-USD", venue_symbol="BTCUSDT", price_decimals=8, size_decimals=8
)
BTC = Catalogue.load().instrument("BTC-USD", 2)


def trade(
    second: float, price: str, size: str = "1", *, at: float | None = None, of: Listing = COINBASE
) -> Trade:
    return Trade(
        listing=of, trade_id="1", price_ticks=of.ticks(price), size_steps=of.steps(size),
        aggressor=Side.BUY, at_ns=ns(second if at is None else at), venue_ns=ns(second),
    )  # fmt: skip


def quote(
    second: float, bid: str, ask: str, *, at: float | None = None, of: Listing = COINBASE
) -> Quote:
    return Quote(
        listing=of, bid_ticks=of.ticks(bid), bid_steps=1, ask_ticks=of.ticks(ask), ask_steps=1,
        at_ns=ns(second if at is None else at), venue_ns=ns(second),
    )  # fmt: skip


def ns(second: float) -> int:
    return round(second * NS_PER_S)


def builder(listing: Listing = COINBASE, *, grace_s: float = 0.0) -> BarBuilder:
    return BarBuilder(BTC, listing, MINUTE, start_ns=0, grace_s=grace_s)


def heard(bars: BarBuilder, *events: Event) -> list[ClosedBar]:
    return [bar for event in events for bar in bars.feed(event)]


def prices(table: BarTable) -> list[float]:
    return [float(x[0]) for x in (table.open, table.high, table.low, table.close)]


def sides(table: BarTable) -> tuple[list[str], list[str]]:
    """Open, high, low, close of bid and ask, as prices."""
    bid = (table.bid_open, table.bid_high, table.bid_low, table.bid_close)
    ask = (table.ask_open, table.ask_high, table.ask_low, table.ask_close)
    return (
        [str(BTC.price(int(x[0]))) for x in bid],
        [str(BTC.price(int(x[0]))) for x in ask],
    )


def test_a_bar_of_trades_and_quotes() -> None:
    bars = builder()
    none = heard(
        bars,
        quote(1, "99.00", "101.00"), trade(2, "101.00", "0.5"), quote(3, "100.00", "102.00"),
        trade(4, "98.50", "0.25"), trade(59.9, "100.50", "1"), quote(59.99, "100.25", "100.75"),
    )  # fmt: skip
    assert none == []

    (bar,) = bars.tick(ns(60))

    assert prices(bar.table) == [101.0, 101.0, 98.5, 100.5]
    assert sides(bar.table) == (
        ["99.00", "100.25", "99.00", "100.25"], ["101.00", "102.00", "100.75", "100.75"],
    )  # fmt: skip
    assert bar.table.open_ns.tolist() == [0]
    assert bar.table.volume.tolist() == [1.75]
    assert (bar.table.real_spread, bar.table.source) == (True, "coinbase")
    assert (bar.trades, bar.is_whole) == (3, True)


def test_bars_close_on_time_in_silence_as_long_as_a_quote_stands() -> None:
    bars = builder()
    heard(bars, quote(10, "100.00", "101.00"))
    assert bars.tick(ns(60) - 1) == []

    first, second, third = bars.tick(ns(180))

    assert [b.table.open_ns[0] // MINUTE for b in (first, second, third)] == [0, 1, 2]
    assert prices(third.table) == [100.5] * 4
    assert third.table.volume.tolist() == [0.0]
    assert sides(third.table) == (["100.00"] * 4, ["101.00"] * 4)


def test_an_interval_without_quote_and_trade_has_no_bar() -> None:
    bars = builder()

    assert bars.tick(ns(600)) == []
    heard(
        bars, quote(601, "100.00", "101.00"), NoQuote(listing=COINBASE, reason="x", at_ns=ns(602))
    )
    (last,) = bars.tick(ns(1_200))
    assert last.table.open_ns[0] == 10 * MINUTE


def test_the_standing_quote_opens_the_next_bar() -> None:
    bars = builder()
    heard(bars, quote(59, "100.00", "101.00"), quote(70, "102.00", "103.00"))

    (bar,) = bars.tick(ns(120))

    assert sides(bar.table) == (
        ["100.00", "102.00", "100.00", "102.00"], ["101.00", "103.00", "101.00", "103.00"],
    )  # fmt: skip


def test_an_event_of_the_next_bar_closes_the_one_before() -> None:
    bars = builder()

    (bar,) = heard(bars, trade(59.9, "100.00"), trade(60, "105.00"))

    assert prices(bar.table) == [100.0] * 4


def test_a_late_trade_never_changes_a_closed_bar() -> None:
    bars = builder()
    heard(bars, trade(30, "100.00"))
    (bar,) = bars.tick(ns(60))
    before = prices(bar.table)

    assert heard(bars, trade(59, "500.00", at=61)) == []
    assert heard(bars, quote(59, "400.00", "401.00", at=61.1)) == []

    assert bars.late == 2
    assert prices(bar.table) == before
    (after,) = bars.tick(ns(120))  # the late quote stands all the same
    assert sides(after.table) == (["400.00"] * 4, ["401.00"] * 4)
    assert after.trades == 0


def test_grace_waits_for_what_is_on_its_way() -> None:
    bars = builder(grace_s=0.5)
    heard(bars, trade(30, "100.00"))

    assert heard(bars, trade(59.9, "101.00", at=60.4), trade(60.1, "102.00", at=60.45)) == []
    (bar,) = bars.tick(ns(60.5))

    assert prices(bar.table) == [100.0, 101.0, 100.0, 101.0]
    assert bars.late == 0


def test_a_venue_whose_clock_is_ahead_fills_the_next_bar_already() -> None:
    """The recorded Binance stream is 1.27 s ahead of the clock that recorded it."""
    bars = builder()

    assert heard(bars, trade(59, "100.00", at=57.7), trade(61, "101.00", at=59.7)) == []
    (bar,) = bars.tick(ns(60))
    (after,) = bars.tick(ns(120))

    assert (prices(bar.table)[3], prices(after.table)[0]) == (100.0, 101.0)
    heard(bars, trade(200, "1.00", at=121))
    assert bars.ahead == 1


def test_sources_are_never_mixed_in_a_bar() -> None:
    bars = builder()
    heard(bars, trade(10, "100.00"), trade(11, "555.00", of=BINANCE))
    heard(bars, quote(12, "555.00", "556.00", of=BINANCE))
    bars.switch(BINANCE, ns(20))

    closed = heard(
        bars, trade(30, "101.00"), trade(40, "777.00", of=BINANCE),
        trade(70, "200.00", of=BINANCE), trade(80, "102.00"),
    )  # fmt: skip
    closed += bars.tick(ns(120))

    assert [(bar.table.source, prices(bar.table)) for bar in closed] == [
        ("coinbase", [100.0, 101.0, 100.0, 101.0]), ("binance", [200.0] * 4),
    ]  # fmt: skip
    assert bars.listing == BINANCE


def test_the_bar_before_a_switch_is_all_of_the_old_source() -> None:
    bars = builder()
    heard(bars, quote(5, "99.00", "101.00"), trade(10, "100.00"))
    bars.switch(BINANCE, ns(20))

    (first,) = heard(bars, trade(40, "777.00", of=BINANCE), trade(50, "101.00"),
                     trade(61, "200.00", of=BINANCE))  # fmt: skip

    assert (first.table.source, prices(first.table)) == ("coinbase", [100.0, 101.0, 100.0, 101.0])
    (second,) = bars.tick(ns(120))
    assert not second.table.real_spread  # Coinbase's quote does not stand at Binance


@pytest.mark.parametrize("gone", [None, NoQuote, Resync])
def test_the_quote_that_stands_at_the_new_source_opens_its_first_bar(
    gone: type[NoQuote | Resync] | None,
) -> None:
    """Told with the switch, or in the bar before; unless it is withdrawn."""
    for told in (False, True):
        bars = builder()
        heard(bars, quote(5, "99.00", "101.00"))
        bars.switch(BINANCE, ns(20), (BINANCE.ticks("200.00"), BINANCE.ticks("202.00")))
        if told:
            heard(bars, quote(30, "210.00", "212.00", of=BINANCE))
        if gone is not None:
            heard(bars, gone(listing=BINANCE, reason="x", at_ns=ns(40)))
        heard(bars, quote(70, "205.00", "207.00", of=BINANCE))

        (second,) = bars.tick(ns(120))

        opened = "205.00" if gone else "210.00" if told else "200.00"
        assert sides(second.table)[0] == [
            opened, max(opened, "205.00"), min(opened, "205.00"), "205.00",
        ]  # fmt: skip


def test_a_switch_before_the_first_bar_opens_is_at_once() -> None:
    bars = BarBuilder(BTC, COINBASE, MINUTE, start_ns=MINUTE)
    heard(bars, quote(30, "1.00", "2.00"))
    bars.switch(BINANCE, ns(40))
    heard(bars, trade(61, "7.00"), trade(62, "8.00", of=BINANCE))

    (bar,) = bars.tick(ns(120))

    assert (bar.table.source, prices(bar.table)) == ("binance", [8.0] * 4)


def test_no_bar_is_half_heard() -> None:
    bars = BarBuilder(BTC, COINBASE, MINUTE, start_ns=ns(30))
    heard(bars, trade(40, "90.00"), quote(50, "99.00", "100.00"), trade(61, "99.50"))

    (bar,) = bars.tick(ns(120))

    assert bar.table.open_ns[0] == MINUTE
    assert prices(bar.table) == [99.5] * 4
    assert sides(bar.table)[0] == ["99.00"] * 4  # the quote of before stood at its open
    assert bars.late == 0


def test_a_bar_is_whole_only_if_the_feed_was_sound_all_the_while() -> None:
    """Resync at 70 s, the new snapshot at 130 s: bars 1 and 2 lack something, 0 and 3 do not."""
    bars = builder()
    resync = Resync(listing=COINBASE, reason="gap", at_ns=ns(70))
    change = BookChange(
        listing=COINBASE, bids=(), asks=(), snapshot=True, at_ns=ns(130), venue_ns=ns(130)
    )
    closed = heard(
        bars, trade(1, "1.00"), trade(61, "2.00"), resync, change, trade(131, "3.00"),
        trade(181, "4.00"), trade(241, "5.00"),
    )  # fmt: skip

    assert [(prices(b.table)[0], b.is_whole) for b in closed] == [
        (1.0, True), (2.0, False), (3.0, False), (4.0, True),
    ]  # fmt: skip


def test_a_void_book_ends_the_standing_quote() -> None:
    bars = builder()
    heard(bars, quote(1, "99.00", "100.00"), Resync(listing=COINBASE, reason="gap", at_ns=ns(2)))

    (bar,) = bars.tick(ns(180))

    assert bar.table.open_ns[0] == 0


def test_without_quotes_the_spread_is_the_instruments() -> None:
    bars = builder()
    heard(bars, trade(1, "100000.00"))

    (bar,) = bars.tick(ns(60))

    half = Decimal(100_000) * BTC.spread_bps / 20_000
    bid, ask = sides(bar.table)
    assert Decimal(ask[0]) - Decimal(bid[0]) >= 2 * half
    assert not bar.table.real_spread


def test_a_venue_without_trades_has_no_volume_rather_than_none_traded() -> None:
    quotes_alone = msgspec.structs.replace(COINBASE, has_trades=False)
    bars = BarBuilder(BTC, quotes_alone, MINUTE, start_ns=0)
    heard(bars, quote(1, "99.00", "100.00", of=quotes_alone))

    (bar,) = bars.tick(ns(60))

    assert math.isnan(bar.table.volume[0])


def test_a_coarser_tick_is_rounded_against_whoever_trades() -> None:
    coarse = with_tick(BTC, Decimal("0.5"))
    bars = BarBuilder(coarse, BINANCE, MINUTE, start_ns=0)
    heard(bars, quote(1, "99.74", "100.01", of=BINANCE))

    (bar,) = bars.tick(ns(60))

    assert coarse.price(int(bar.table.bid_open[0])) == Decimal("99.5")
    assert coarse.price(int(bar.table.ask_open[0])) == Decimal("100.5")


@pytest.mark.slow
def test_bars_of_the_recorded_minutes_are_those_of_their_trades() -> None:
    """BTCUSDT, 2024-08-08 23:55 to 24:00 UTC: five bars against the trades in plain Python."""
    listing = binance_listing("BTCUSDT")
    venue = Binance([listing])
    venue.opened(0)
    recorded = list(binance_btcusdt())
    skew_ns = 1_300_000_000  # what the venue's clock is ahead of the recording's
    bars = BarBuilder(BTC, listing, MINUTE, start_ns=recorded[0].at_ns)
    closed: list[ClosedBar] = []
    by_minute: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for message in recorded:
        data = message.raw.get("data", {})
        if data.get("e") != "trade":
            continue
        minute = data["T"] // 60_000
        by_minute.setdefault(minute, []).append((Decimal(data["p"]), Decimal(data["q"])))
        for event in venue.feed(message.message, message.at_ns + skew_ns):
            closed += bars.feed(event)

    assert len(closed) == 5
    for bar in closed:
        rows: Sequence[tuple[Decimal, Decimal]] = by_minute[int(bar.table.open_ns[0] // MINUTE)]
        traded = [float(price) for price, _ in rows]
        assert prices(bar.table) == [traded[0], max(traded), min(traded), traded[-1]]
        assert bar.table.volume.tolist() == [float(sum(size for _, size in rows))]
        assert bar.trades == len(rows)
    assert bars.late == 0
