"""Minutes out of venues that tell what the test says, in time that the test moves."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal

import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds import oanda
from hydra.feeds.asset import Limits
from hydra.feeds.listings import CRYPTO_VENUES, listing_of, listings_at, lists
from hydra.feeds.venue_minutes import (
    AssetStats,
    VenueFeed,
    VenueMinutes,
    VenueStats,
)
from hydra.market.catalogue import Catalogue
from hydra.market.events import BadMessage, Down, Heartbeat
from tests.support.hand_time import HandTime, rest
from tests.support.scripted_feeds import (
    BINANCE,
    BTC,
    BYBIT,
    COINBASE,
    ETH,
    EUR,
    EURUSD,
    Script,
    ScriptedFeed,
    closes,
    scripted,
)


async def test_minutes_come_on_time_in_silence() -> None:
    """A word at 0 s and then none: minutes at 62, 122, … s, flat as long as the quote stands."""
    async with scripted(COINBASE) as script:
        script.quote(COINBASE, 100.0)
        await script.time.run(61.9)
        assert script.minutes == []
        await script.time.run(180)

    assert script.came == [62, 122, 182]
    assert [m.close_ns // NS_PER_S for m in script.minutes] == [60, 120, 180]
    assert [closes(m.bars) for m in script.minutes] == [{"BTC-USD": 100.0}] * 3
    assert script.whys()[0] == "nothing of coinbase for 62.0 s, limit 5 s"


async def test_minutes_of_several_assets_close_together() -> None:
    eth = listing_of("coinbase", "ETH-USD")
    async with scripted(COINBASE, eth, instruments=[BTC, ETH]) as script:
        await script.run(63, {COINBASE: 100.0, eth: 7.0})

    (minute,) = script.minutes
    assert closes(minute.bars) == {"BTC-USD": 100.0, "ETH-USD": 7.0}
    assert minute.fit == {"BTC-USD": "", "ETH-USD": ""}


async def test_the_first_minute_has_no_bar_for_nobody_heard_its_beginning() -> None:
    async with scripted(COINBASE, start_ns=30 * NS_PER_S) as script:
        await script.run(95, {COINBASE: 100.0})

    assert script.came == [32, 92]
    assert [closes(m.bars) for m in script.minutes] == [{}, {"BTC-USD": 100.0}]
    assert script.whys() == ["coinbase has no bar that opened at 1970-01-01T00:00:00Z", ""]


async def test_a_venue_that_is_first_heard_in_a_bar_has_not_told_all_of_it() -> None:
    async with scripted(COINBASE, snapshots=False) as script:
        await script.time.run(10)
        script.snapshot(COINBASE)
        await script.run(115, {COINBASE: 100.0})

    assert script.whys() == ["the bar is not whole: coinbase was not heard all the while", ""]


@pytest.mark.parametrize(("second", "is_whole"), [(55, True), (56, False)])
async def test_a_book_has_to_stand_before_a_clock_that_is_ahead_opens_the_bar(
    second: int, is_whole: bool
) -> None:
    """A venue's clock may be 5 s ahead of ours: its bar has opened then."""
    async with scripted(COINBASE, snapshots=False) as script:
        await script.time.run(second)
        script.snapshot(COINBASE)
        await script.run(125 - second, {COINBASE: 100.0})

    assert (script.whys()[1] == "") is is_whole


async def test_with_no_venue_to_be_reached_minutes_come_all_the_same() -> None:
    async with scripted(COINBASE, BINANCE, snapshots=False) as script:
        for source, feed in script.feeds.items():
            assert feed.deliver is not None
            feed.deliver([Down(source=source, reason="refused", at_ns=0)])
        await script.time.run(190)

    assert script.came == [62, 122, 182]
    assert [m.bars for m in script.minutes] == [{}] * 3
    assert script.whys() == ["coinbase has no quote: none came yet"] * 3
    assert [v.down for v in script.source.stats().venues.values()] == ["refused"] * 2
    assert script.switches == []


async def test_a_preferred_venue_that_is_out_of_reach_is_passed_over_from_the_start() -> None:
    async with scripted(COINBASE, BINANCE, start_ns=40 * NS_PER_S, snapshots=False) as script:
        script.snapshot(BINANCE)
        await script.run(95, {BINANCE: 100.0})

    assert [(s.was, s.now, script.seconds(s.at_ns)) for s in script.switches] == [
        ("coinbase", "binance", 10.0)
    ]
    assert script.sources() == ["", "binance"]
    assert script.whys()[1] == ""


@pytest.mark.parametrize("how", ["silent", "void", "no quote"])
async def test_another_venue_takes_over_from_a_bars_open_on(how: str) -> None:
    """Coinbase is lost at 20 s: for good after ten more, five of silence before."""
    both = {COINBASE: 100.0, BINANCE: 100.2}
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(20, both)
        if how == "void":
            script.void(COINBASE)
        elif how == "no quote":
            script.no_quote(COINBASE)
        await script.run(110, {BINANCE: 100.2})

    (switch,) = script.switches
    assert (switch.symbol, switch.was, switch.now) == ("BTC-USD", "coinbase", "binance")
    lost_s = {"silent": 19 + 5, "void": 20, "no quote": 20}[how]
    assert lost_s + 10 <= script.seconds(switch.at_ns) <= lost_s + 10.5
    assert script.sources() == ["coinbase", "binance"]
    assert [closes(m.bars)["BTC-USD"] for m in script.minutes] == [100.0, 100.2]
    reasons = {
        "silent": "nothing of coinbase for 43.0 s, limit 5 s",
        "void": "coinbase has no quote: gap",
        "no quote": "coinbase has no quote: no asks",
    }
    assert script.whys() == [reasons[how], ""]
    assert script.source.stats().assets["BTC-USD"] == AssetStats(
        source="binance", late=0, switches=1
    )


async def test_a_venue_is_not_left_for_another_that_is_no_better() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(20, {COINBASE: 100.0, BINANCE: 100.0})
        await script.run(105)

    assert script.switches == []
    assert all("nothing of coinbase" in why for why in script.whys())


async def test_a_short_silence_changes_no_venue() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(10, {COINBASE: 100.0, BINANCE: 100.0})
        await script.run(14, {BINANCE: 100.0})
        await script.run(45, {COINBASE: 100.0, BINANCE: 100.0})

    assert script.switches == []
    assert script.whys() == [""]


async def test_the_preferred_venue_comes_back_once_it_was_fit_for_long_enough() -> None:
    """Binance since 30 s; Coinbase is back at 60 s, its book void for a moment at 200 s."""
    both = {COINBASE: 100.0, BINANCE: 100.2}
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(20, both)
        script.void(COINBASE)
        await script.run(40, {BINANCE: 100.2})
        script.snapshot(COINBASE)
        await script.run(140, both)
        script.void(COINBASE)
        script.snapshot(COINBASE)
        await script.run(430, both)

    away, back = script.switches
    assert (away.now, back.now) == ("binance", "coinbase")
    assert back.reason == "coinbase has been fit for 300 s"
    assert 500 <= script.seconds(back.at_ns) <= 500.5
    assert script.sources() == ["coinbase", *["binance"] * 8, "coinbase"]
    assert script.whys()[1:] == [""] * 9


async def test_a_change_just_before_an_open_waits_for_the_next() -> None:
    """Binance's clock may be ahead: of the bar that opens in 3 s it may have told some already."""
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(47, {COINBASE: 100.0, BINANCE: 100.2})
        script.void(COINBASE)
        await script.run(140, {BINANCE: 100.2})

    assert 57 <= script.seconds(script.switches[0].at_ns) < 58
    assert script.sources() == ["coinbase", "", "binance"]
    assert [bool(why) for why in script.whys()] == [True, True, False]


async def test_one_change_at_a_time() -> None:
    """Coinbase fails, then Binance before its first bar: Bybit takes over after it, no sooner."""
    async with scripted(COINBASE, BINANCE, BYBIT) as script:
        await script.run(20, {COINBASE: 100.0, BINANCE: 100.2, BYBIT: 100.4})
        script.void(COINBASE)
        await script.run(15, {BINANCE: 100.2, BYBIT: 100.4})
        script.void(BINANCE)
        await script.run(150, {BYBIT: 100.4})

    assert [s.now for s in script.switches] == ["binance", "bybit"]
    assert script.seconds(script.switches[1].at_ns) >= 62
    assert script.sources() == ["coinbase", "", "bybit"]
    assert script.whys()[1:] == ["binance has no quote: gap", ""]


async def test_a_venue_whose_book_was_void_at_the_open_has_no_whole_bar() -> None:
    """Binance is chosen at 30 s and void from 50 s to 70 s, before the builder listens to it."""
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(20, {COINBASE: 100.0, BINANCE: 100.2})
        script.void(COINBASE)
        await script.run(30, {BINANCE: 100.2})
        script.void(BINANCE)
        await script.run(20)
        script.snapshot(BINANCE)
        await script.run(115, {BINANCE: 100.2})

    assert script.sources() == ["coinbase", "binance", "binance"]
    assert script.whys()[1:] == ["the bar is not whole: binance was not heard all the while", ""]


async def test_a_price_that_nobody_else_has_is_unfit_and_changes_no_venue() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        await script.run(62, {COINBASE: 100.0, BINANCE: 101.05})
        await script.run(60, {COINBASE: 100.0, BINANCE: 100.9})

    assert script.whys() == [
        "coinbase 100.00000000 is 103.9 bps from binance 101.05000000, limit 100", ""
    ]  # fmt: skip
    assert script.switches == []


async def test_the_tolerance_between_venues_is_a_parameter() -> None:
    limits = Limits(apart_bps=Decimal(10))
    async with scripted(COINBASE, BINANCE, limits=limits) as script:
        await script.run(62, {COINBASE: 100.0, BINANCE: 100.2})

    assert "limit 10" in script.whys()[0]


async def test_two_venues_that_agree_outweigh_a_third() -> None:
    async with scripted(COINBASE, BINANCE, BYBIT) as script:
        await script.run(62, {COINBASE: 100.0, BINANCE: 150.0, BYBIT: 100.1})
        await script.run(60, {COINBASE: 100.0, BINANCE: 150.0, BYBIT: 150.1})

    assert script.whys()[0] == ""
    assert "coinbase 100.00000000 is" in script.whys()[1]


async def test_a_crossed_quote_is_unfit() -> None:
    async with scripted(COINBASE) as script:
        await script.run(61, {COINBASE: 100.0})
        script.quote(COINBASE, 100.0, half_spread=-0.5)
        await script.time.run(1)

    assert script.whys() == ["bid 100.50000000 is not below ask 99.50000000"]


async def test_a_bar_with_a_gap_is_not_whole_and_the_next_one_is() -> None:
    async with scripted(COINBASE) as script:
        await script.run(20, {COINBASE: 100.0})
        script.void(COINBASE)
        await script.run(1)
        script.snapshot(COINBASE)
        await script.run(105, {COINBASE: 100.0})

    assert script.whys() == ["the bar is not whole: coinbase was not heard all the while", ""]
    assert script.source.stats().venues["coinbase"].resyncs == 1


async def test_a_clock_that_differs_by_more_than_the_grace_is_noticed() -> None:
    """All comes 3 s late, and a bar waits for 2: what is of its last second is lost."""
    async with scripted(COINBASE) as script:
        for second in range(130):
            script.quote(COINBASE, 100.0, lag_s=3)
            script.trade(COINBASE, 100.0 + second / 100, lag_s=3)
            await script.time.run(1)

    assert script.whys() == [
        "the bar is not whole: coinbase told of no time after it within 2 s"
    ] * 2  # fmt: skip
    assert script.source.stats().assets["BTC-USD"].late > 0


async def test_late_trades_are_counted_and_change_nothing() -> None:
    async with scripted(COINBASE) as script:
        await script.run(62, {COINBASE: 100.0})
        script.trade(COINBASE, 500.0, lag_s=3)
        await script.run(1, {COINBASE: 100.0})

    assert script.source.stats().assets["BTC-USD"].late == 1
    assert float(script.minutes[0].bars["BTC-USD"].high[0]) == 100.0


async def test_a_bar_that_closes_in_a_short_silence_may_lack_what_is_on_its_way() -> None:
    async with scripted(COINBASE) as script:
        await script.run(59, {COINBASE: 100.0})
        await script.time.run(4)  # too short to be stale
        script.trade(COINBASE, 500.0, lag_s=3.5)
        await script.run(60, {COINBASE: 100.0})

    assert script.whys() == [
        "the bar is not whole: coinbase told of no time after it within 2 s", ""
    ]  # fmt: skip
    assert script.source.stats().assets["BTC-USD"].late == 1


async def test_one_asset_that_trades_shows_that_the_connection_of_a_quiet_one_lives() -> None:
    eth = listing_of("coinbase", "ETH-USD")
    async with scripted(COINBASE, eth, instruments=[BTC, ETH]) as script:
        await script.run(59, {COINBASE: 100.0, eth: 7.0})
        await script.run(5, {eth: 7.0})

    assert script.minutes[0].fit == {"BTC-USD": "", "ETH-USD": ""}


async def test_after_a_sleep_of_the_machine_bars_begin_afresh() -> None:
    async with scripted(COINBASE) as script:
        await script.run(70, {COINBASE: 100.0})
        await script.time.jump(8 * 3_600)
        await script.run(120, {COINBASE: 200.0})

    assert [m.close_ns // NS_PER_S for m in script.minutes] == [60, 28_920, 28_980]
    assert [closes(m.bars) for m in script.minutes] == [
        {"BTC-USD": 100.0}, {}, {"BTC-USD": 200.0},
    ]  # fmt: skip
    assert [bool(why) for why in script.whys()] == [False, True, False]
    assert float(script.minutes[2].bars["BTC-USD"].low[0]) == 200.0
    assert script.source.stats().restarts == 1


async def test_a_clock_set_back_repeats_no_minute() -> None:
    async with scripted(COINBASE) as script:
        await script.run(130, {COINBASE: 100.0})
        await script.time.jump(-90)
        await script.run(1)
        await script.time.jump(70)
        await script.run(200, {COINBASE: 100.0})

    assert [m.close_ns // NS_PER_S for m in script.minutes] == [60, 120, 180, 240, 300]


async def test_a_reader_that_is_slow_misses_nothing() -> None:
    time = HandTime()
    venues = [VenueFeed("coinbase", ScriptedFeed(), [COINBASE])]
    source = VenueMinutes([BTC], venues, clock=time, timer=time)
    minutes = source.minutes()
    first = asyncio.ensure_future(anext(minutes))
    await time.run(200)

    read = [await first, await anext(minutes), await anext(minutes)]

    assert [m.close_ns // NS_PER_S for m in read] == [60, 120, 180]
    await source.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(minutes)


async def test_cancelling_the_reader_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    time = HandTime()
    script = Script(time, [COINBASE, BINANCE])
    await time.run(70)
    assert len(asyncio.all_tasks() - before) == 5  # reader, minutes, watch, two venues

    script.reader.cancel()
    await asyncio.wait({script.reader})

    assert script.reader.cancelled()
    assert asyncio.all_tasks() == before
    assert time.asleep == 0
    assert {feed.deliver for feed in script.feeds.values()} == {None}


async def test_what_a_feed_raises_is_not_swallowed() -> None:
    before = asyncio.all_tasks()
    script = Script(HandTime(), [COINBASE, BINANCE])
    await rest()
    script.feeds["binance"].fail(ZeroDivisionError("a bug"))

    with pytest.raises(ExceptionGroup) as caught:
        await script.reader

    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
    assert asyncio.all_tasks() == before


async def test_minutes_are_read_once() -> None:
    async with scripted(COINBASE) as script:
        with pytest.raises(ConfigError, match="once"):
            await anext(script.source.minutes())


async def test_what_happened_is_counted_by_venue() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        script.feeds["binance"].connects = 3
        bad = BadMessage(source="binance", reason="x", text="", at_ns=0)
        down = Down(source="binance", reason="hung up", at_ns=0)
        script.tell(BINANCE, bad, bad, down)
        script.void(BINANCE)

    assert script.source.stats().venues == {
        "coinbase": VenueStats(connected=False, bad=0, resyncs=0, reconnects=0, down=""),
        "binance": VenueStats(connected=False, bad=2, resyncs=1, reconnects=2, down="hung up"),
    }


# OANDA


async def oanda_minutes(*told: tuple[int, str], until_s: int) -> Script:
    """EURUSD of which, at those seconds, a price or a heartbeat is told."""
    async with scripted(EURUSD, instruments=[EUR]) as script:
        for second in range(until_s):
            for at, what in told:
                if at == second and what == "beat":
                    now_ns = script.time.now_ns()
                    script.tell(EURUSD, Heartbeat(source="oanda", at_ns=now_ns, venue_ns=now_ns))
                elif at == second:
                    script.quote(EURUSD, 1.1)
            await script.time.run(1)
    return script


async def test_oandas_bars_have_no_volume_and_a_heartbeat_says_that_they_are_whole() -> None:
    """Prices until 50 s, a heartbeat each 5 s: of the last seconds nothing is on its way."""
    prices = [(second, "price") for second in range(0, 51, 5)]
    beats = [(second, "beat") for second in range(4, 64, 5)]
    script = await oanda_minutes(*prices, *beats, until_s=63)

    (minute,) = script.minutes
    assert minute.fit == {"EURUSD": ""}
    assert math.isnan(minute.bars["EURUSD"].volume[0])
    assert minute.bars["EURUSD"].real_spread


async def test_oanda_that_skips_a_heartbeat_before_a_bars_end_may_lack_some_of_it() -> None:
    script = await oanda_minutes(*[(second, "price") for second in range(54)], until_s=63)

    assert [minute.fit["EURUSD"] for minute in script.minutes] == [
        "the bar is not whole: oanda told of no time later than 6 s before its end within 2 s"
    ]


@pytest.mark.parametrize(("last_s", "is_stale"), [(48, False), (46, True)])
async def test_a_price_of_oandas_is_stale_after_fifteen_seconds(
    last_s: int, is_stale: bool
) -> None:
    prices = [(second, "price") for second in range(last_s)]
    beats = [(second, "beat") for second in range(4, 64, 5)]
    script = await oanda_minutes(*prices, *beats, until_s=63)

    (minute,) = script.minutes
    age_s = 62 - last_s + 1
    stale = f"nothing of oanda for {age_s}.0 s, limit 15 s"
    assert minute.fit["EURUSD"] == (stale if is_stale else "")
    assert "EURUSD" in minute.bars


async def test_a_market_that_is_shut_has_no_bars_until_it_opens_and_is_no_fault() -> None:
    async with scripted(EURUSD, instruments=[EUR]) as script:
        await script.run(90, {EURUSD: 1.1})
        script.no_quote(EURUSD, "not tradeable")
        await script.time.run(300)
        script.snapshot(EURUSD)
        await script.run(100, {EURUSD: 1.2})

    shut = "oanda has no quote: not tradeable"
    whys = [minute.fit["EURUSD"] for minute in script.minutes]
    assert whys == ["", *[shut] * 5, "", ""]
    assert [bool(minute.bars) for minute in script.minutes] == [
        True, True, False, False, False, False, True, True,
    ]  # fmt: skip
    assert script.source.stats().restarts == 0


# Which venue lists what


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("EURUSD", "EUR_USD"), ("EUR-USD", "EUR_USD"), ("XAU/USD", "XAU_USD"), ("GOLD", "XAU_USD"),
        ("XAGUSD", "XAG_USD"), ("US30.cash", "US30_USD"), ("NAS100", "NAS100_USD"),
        ("US500.cash", "SPX500_USD"),
    ],
)  # fmt: skip
def test_what_oanda_calls_it(symbol: str, name: str) -> None:
    listing = listing_of("oanda", symbol)

    assert (listing.symbol, listing.venue_symbol, listing.has_trades) == (symbol, name, False)
    for venue in CRYPTO_VENUES:
        with pytest.raises(ConfigError, match="it is at oanda"):
            listing_of(venue, symbol)


def test_every_currency_metal_and_index_of_the_catalogue_is_at_oanda() -> None:
    catalogue = Catalogue.load()
    for symbol, values in catalogue.values.items():
        if values["asset_class"] in ("fx", "metal", "index") and values["calendar"] != "XNYS":
            assert lists("oanda", symbol), symbol
    for spelling, symbol in catalogue.aliases.items():
        assert lists("oanda", spelling) == lists("oanda", symbol), spelling
    for name in oanda.NAMES.values():
        assert catalogue.find(name) is not None, name


def test_each_asset_is_heard_where_it_is_listed() -> None:
    found = listings_at(["coinbase", "oanda", "bybit"], ["BTC-USD", "EURUSD", "US30.cash"])

    assert {venue: [one.venue_symbol for one in of] for venue, of in found.items()} == {
        "coinbase": ["BTC-USD"], "oanda": ["EUR_USD", "US30_USD"], "bybit": ["BTCUSDT"],
    }  # fmt: skip
    assert list(listings_at(["oanda", "binance"], ["SOL-USD"])) == ["binance"]


@pytest.mark.parametrize(
    ("venues", "symbol", "says"),
    [
        (["coinbase", "binance"], "EURUSD",
         "EURUSD is not listed at coinbase, binance; it is at oanda (--venues oanda)"),
        (["oanda"], "BTC-USD", "it is at coinbase, binance, bybit (--venues coinbase,"),
        (["oanda", "bybit"], "SPY", "SPY is listed at no venue"),
        (["kraken"], "BTC-USD", "kraken is none of the venues coinbase, binance, bybit, oanda"),
        (["oanda", "oanda"], "EURUSD", "named twice"),
    ],
)  # fmt: skip
def test_what_no_chosen_venue_lists_is_said_with_those_that_would(
    venues: list[str], symbol: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        listings_at(venues, [symbol])

    assert says in str(caught.value)


async def test_a_venue_is_connected_once_it_tells_something_and_until_it_hangs_up() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        script.quote(BINANCE, 100)
        before = {name: one.connected for name, one in script.source.stats().venues.items()}
        script.tell(BINANCE, Down(source="binance", reason="hung up", at_ns=0))
        after = script.source.stats().venues["binance"].connected

    assert before == {"coinbase": False, "binance": True}
    assert not after


def test_listings_of_the_venues() -> None:
    spelt = {v: listing_of(v, "SOL-USD").venue_symbol for v in CRYPTO_VENUES}
    assert spelt == {"coinbase": "SOL-USD", "binance": "SOLUSDT", "bybit": "SOLUSDT"}
    assert listing_of("bybit", "SOL-USD").symbol == "SOL-USD"
    for venue, symbol in (("coinbase", "EURUSD"), ("kraken", "BTC-USD"), ("bybit", "BTC-EUR")):
        with pytest.raises(ConfigError):
            listing_of(venue, symbol)


def test_what_makes_no_sense_is_refused() -> None:
    time = HandTime()
    feed = VenueFeed("coinbase", ScriptedFeed(), [COINBASE])
    for instruments, venues in (([ETH], [feed]), ([BTC], [feed, feed]), ([BTC], [])):
        with pytest.raises(ConfigError):
            VenueMinutes(instruments, venues, clock=time, timer=time)
    with pytest.raises(ConfigError, match="grace_s"):
        Limits(grace_s=-1)
    with pytest.raises(ConfigError, match="failover_s"):
        Limits(failover_s=float("inf"))
    with pytest.raises(ConfigError, match="return_s"):
        Limits(return_s=float("nan"))
