"""The depth of a live bar is that of its venue's book as it was first seen in the bar."""

from __future__ import annotations

import asyncio

import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.venue_minutes import VenueFeed, VenueMinutes
from hydra.market.bars import no_depth
from hydra.market.events import NoQuote
from tests.support.hand_time import HandTime
from tests.support.scripted_feeds import (
    BINANCE,
    BTC,
    COINBASE,
    ScriptedFeed,
    a_quote,
    bids,
    scripted,
)


async def test_it_is_the_book_at_the_open_whatever_it_becomes_in_the_bar() -> None:
    async with scripted(COINBASE) as script:
        script.show(COINBASE, 3)
        await script.run(60, {COINBASE: 100.0})
        script.show(COINBASE, 4)
        await script.run(30, {COINBASE: 100.0})
        script.show(COINBASE, 5)
        await script.run(33, {COINBASE: 100.0})

    first, second = script.minutes
    assert bids([first, second]) == [3, 3]
    depth = no_depth(1)
    depth[0, 0, 0] = 0, 3
    depth[0, 1, 0] = 0, 6
    bar = second.bars["BTC-USD"]
    assert bar.depth is not None and bar.depth.tolist() == depth.tolist()


async def test_a_book_that_changes_with_the_first_message_of_a_bar_counts_with_it() -> None:
    """A backlog is read before the clock that watches has its turn."""
    async with scripted(COINBASE) as script:
        script.show(COINBASE, 3)
        await script.run(59, {COINBASE: 100.0})
        for at_s, steps in ((59.5, 4), (60, 5), (60.5, 6)):
            script.show(COINBASE, steps)
            at_ns = round(at_s * NS_PER_S)
            script.tell(COINBASE, NoQuote(listing=COINBASE, reason="no asks", at_ns=at_ns))
        await script.run(64, {COINBASE: 100.0})

    assert bids(script.minutes) == [3, 5]


async def test_a_quiet_market_has_the_book_that_stands() -> None:
    async with scripted(COINBASE) as script:
        script.show(COINBASE, 3)
        script.quote(COINBASE, 100.0)
        await script.time.run(183)

    assert bids(script.minutes) == [3, 3, 3]


async def test_a_void_book_is_looked_at_again_until_it_stands() -> None:
    async with scripted(COINBASE) as script:
        await script.run(80, {COINBASE: 100.0})
        script.show(COINBASE, 3)
        await script.run(10, {COINBASE: 100.0})
        script.show(COINBASE, 4)
        await script.run(93, {COINBASE: 100.0})

    assert bids(script.minutes) == [0, 3, 4]  # in the first it never stood


async def test_a_bar_is_of_one_venue_and_so_is_its_depth() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        script.show(COINBASE, 3)
        script.show(BINANCE, 7)
        await script.run(80, {COINBASE: 100.0, BINANCE: 100.2})
        script.void(COINBASE)
        await script.run(103, {BINANCE: 100.2})

    assert script.sources() == ["coinbase", "coinbase", "binance"]
    assert bids(script.minutes) == [3, 3, 7]


async def test_after_a_sleep_of_the_machine_no_book_of_before_is_left() -> None:
    async with scripted(COINBASE) as script:
        script.show(COINBASE, 3)
        await script.run(70, {COINBASE: 100.0})
        script.show(COINBASE, 4)
        await script.time.jump(8 * 3_600)
        await script.run(180, {COINBASE: 100.0})

    assert bids(script.minutes) == [3, None, 4, 4]


@pytest.mark.parametrize("length_s", [1, 5])
async def test_bars_of_seconds_have_each_the_book_of_its_own_open(length_s: int) -> None:
    """They close two seconds after their end, while newer ones are open."""
    async with scripted(COINBASE, resolution_ns=length_s * NS_PER_S) as script:
        for second in range(30):
            script.show(COINBASE, 100 + second)
            await script.run(1, {COINBASE: 100.0})

    last = (30 - 2) // length_s * length_s  # second at which the newest bar closed
    assert [m.close_ns // NS_PER_S for m in script.minutes] == list(
        range(length_s, last + 1, length_s)
    )
    assert script.came == [m.close_ns // NS_PER_S + 2 for m in script.minutes]
    whole = script.minutes[-4:]
    assert [m.fit["BTC-USD"] for m in whole] == [""] * 4
    # At a second's turn the clock that watches comes before what is told in that second.
    opens = [m.close_ns // NS_PER_S - length_s for m in whole]
    assert bids(whole) == [100 + second - 1 for second in opens]


async def test_a_venue_that_shows_no_book_has_bars_without_depth() -> None:
    time = HandTime()
    feed = ScriptedFeed()
    source = VenueMinutes([BTC], [VenueFeed("coinbase", feed, [COINBASE])], clock=time, timer=time)
    minutes = source.minutes()
    first = asyncio.ensure_future(anext(minutes))
    await time.run(30)
    assert feed.deliver is not None
    feed.deliver([a_quote(COINBASE, time.now_ns())])
    await time.run(33)

    assert bids([await first]) == [0]
    await source.aclose()
