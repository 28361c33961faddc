"""Minutes out of loopback venues that replay a recorded market, whole and with faults.

Both venues tell the same five minutes of BTCUSDT, each in its own words, so one plain reading of
the recording says what each bar is, whoever it is of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from socket import socket
from typing import Any

import httpx2
import pytest

from hydra.clock import NS_PER_S, ManualClock
from hydra.feeds.asset import Limits, Switch
from hydra.feeds.bars_from_ticks import BarBuilder
from hydra.feeds.connector import Backoff
from hydra.feeds.listings import listing_of
from hydra.feeds.minutes import Minute
from hydra.feeds.recorder import Recorder
from hydra.feeds.recording import Recording
from hydra.feeds.venue_minutes import Addresses, live_minutes
from hydra.market.catalogue import Catalogue
from hydra.market.events import Quote
from hydra.storage.bars import KeptBar, singly, values_of
from tests.support.hand_time import HandTime
from tests.support.listener import until
from tests.support.recorded_events import a_live_season
from tests.support.recorded_market import (
    Paced,
    PacedBinance,
    PacedCoinbase,
    assert_same,
    plain_bars,
    plain_depth,
)
from tests.support.venues import Fault

BTC = Catalogue.load().instrument("BTC-USD", 2)
BEGAN_NS = 1_723_161_256 * NS_PER_S  # 2024-08-08T23:54:16Z, a second into the recording
QUICK = Backoff(first_s=0.005, longest_s=0.02)
MINUTE, TEN_SECONDS = 60 * NS_PER_S, 10 * NS_PER_S
SERVERS = {"coinbase": PacedCoinbase, "binance": PacedBinance}


def nowhere() -> str:
    """Where nobody listens."""
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"ws://127.0.0.1:{taken.getsockname()[1]}/"


class Show:
    """Minutes as they come, of a market that is played second by second."""

    def __init__(self, servers: dict[str, Paced], http: httpx2.AsyncClient, **options: Any) -> None:
        self.time = HandTime(BEGAN_NS)
        self.servers = servers
        self.minutes: list[Minute] = []
        self.switches: list[Switch] = []
        binance = servers.get("binance")
        addresses = Addresses(
            coinbase_ws=servers["coinbase"].url if "coinbase" in servers else nowhere(),
            binance_ws=binance.url if binance else nowhere(),
            binance_rest=binance.http_url if binance else "http://127.0.0.1:1",
            bybit_ws=nowhere(),
        )
        self.source = live_minutes(
            [BTC], clock=self.time, timer=self.time, rng=Random(1), http=http, backoff=QUICK,
            addresses=addresses, tell=self.switches.append, **options,
        )  # fmt: skip
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for minute in self.source.minutes():
            self.minutes.append(minute)

    async def play(self, seconds: int, *names: str) -> None:
        """The venues named tell what the recording has; the others are silent."""
        for _ in range(seconds):
            await self.time.run(1)
            for name in names or self.servers:
                await self.servers[name].tell(self.time.now_ns())

    def fit(self) -> list[Minute]:
        """The minutes said to be fit, each compared with the recording. No bar, not fit."""
        plain = plain_bars(self.minutes[1].close_ns - self.minutes[0].close_ns)
        fit = [minute for minute in self.minutes if not minute.fit["BTC-USD"]]
        for minute in fit:
            assert_same(minute.bars["BTC-USD"], plain[minute.close_ns])
        return fit


@asynccontextmanager
async def show(*names: str, **options: Any) -> AsyncIterator[Show]:
    """A show with those venues, which are there from the start; nothing is left afterwards."""
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient())
        servers = {name: SERVERS[name]() for name in names}
        for server in servers.values():
            await stack.enter_async_context(server.open())
        told = Show(servers, http, **{"venues": names, **options})
        try:
            await until(lambda: all(s.sessions and s.sessions[0].topics for s in servers.values()))
            yield told
        finally:
            await told.source.aclose()
            await asyncio.wait({told.reader})
            await until(lambda: all(s.is_closed for v in servers.values() for s in v.sessions))
    told.reader.result()
    assert asyncio.all_tasks() == before


async def test_minutes_of_a_venue_are_those_of_its_recording() -> None:
    async with show("binance") as told:
        await told.play(107)

    first, *whole = told.minutes
    assert (first.bars, bool(first.fit["BTC-USD"])) == ({}, True)
    assert told.fit() == whole
    assert [(m.close_ns - BEGAN_NS) // NS_PER_S for m in whole] == [104]
    assert [m.bars["BTC-USD"].source for m in whole] == ["binance"]
    assert told.source.stats().assets["BTC-USD"].late == 0


@pytest.mark.parametrize("venue", SERVERS)
async def test_the_depth_of_a_bar_is_the_book_that_the_recording_makes_until_its_open(
    venue: str,
) -> None:
    async with show(venue, resolution_ns=TEN_SECONDS) as told:
        await told.play(47)

    whole = told.fit()
    assert [(m.close_ns - BEGAN_NS) // NS_PER_S for m in whole] == [24, 34, 44]
    for minute in whole:
        # By the second of the open the venue had told all of the recording up to the one before.
        heard_ns = minute.close_ns - TEN_SECONDS - NS_PER_S
        depth = minute.bars["BTC-USD"].depth
        assert depth is not None
        assert depth[0].tolist() == plain_depth(heard_ns)
    assert len({str(minute.bars["BTC-USD"].depth) for minute in whole}) == 3


async def test_bars_of_a_second_are_those_of_the_recording() -> None:
    async with show("binance", resolution_ns=NS_PER_S) as told:
        await told.play(20)

    fit = told.fit()
    seconds = [(m.close_ns - BEGAN_NS) // NS_PER_S for m in fit]
    assert seconds == list(range(seconds[0], seconds[0] + len(fit)))
    assert len(fit) >= 8
    for minute in fit:
        depth = minute.bars["BTC-USD"].depth
        assert depth is not None
        assert depth[0].tolist() == plain_depth(minute.close_ns - 2 * NS_PER_S)


@pytest.mark.parametrize("venue", SERVERS)
async def test_whatever_goes_wrong_bars_are_right_or_said_to_be_unfit(venue: str) -> None:
    """Bars close at 14, 24, 34, … s; the book of the first does not stand in time."""
    faults = {
        25: Fault.MALFORMED, 35: Fault.DUPLICATE, 45: Fault.DELAY,  # which do no harm
        65: Fault.GAP, 95: Fault.SPOILT, 125: Fault.DROP, 155: Fault.REORDER,
    }  # fmt: skip
    async with show(venue, resolution_ns=TEN_SECONDS) as told:
        server = told.servers[venue]
        for second, fault in faults.items():
            server.faults[server.book_step(BEGAN_NS + second * NS_PER_S)] = fault
        await told.play(167)

    fit = {(m.close_ns - BEGAN_NS) // NS_PER_S for m in told.fit()}
    stats = told.source.stats().venues[venue]
    # The bar after a lost message may be whole, if the snapshot was quick.
    assert fit - {84, 114, 144, 164} == {24, 34, 44, 54, 64, 94, 124, 154}
    # Between a change of the book and the next a trade may stand: to swap them does no harm.
    assert stats.resyncs == 3 + (164 not in fit)
    assert stats.bad == 2
    assert stats.reconnects == 1


async def test_a_silent_venue_is_replaced_and_its_late_flood_harms_nothing() -> None:
    """Coinbase says nothing from 20 s to 60 s, and then all of it at once."""
    limits = Limits(return_s=30)
    async with show(
        "coinbase", "binance", resolution_ns=TEN_SECONDS, limits=limits
    ) as told:  # fmt: skip
        await told.play(20)
        await told.play(40, "binance")
        await told.play(58)

    by_close = {(m.close_ns - BEGAN_NS) // NS_PER_S: m.bars["BTC-USD"].source for m in told.fit()}
    assert [(s.was, s.now) for s in told.switches] == [
        ("coinbase", "binance"), ("binance", "coinbase"),
    ]  # fmt: skip
    away, back = ((s.at_ns - BEGAN_NS) / NS_PER_S for s in told.switches)
    assert 35 <= away < 36
    assert 90 <= back < 92
    assert by_close == {
        54: "binance", 64: "binance", 74: "binance", 84: "binance", 94: "binance",
        104: "binance", 114: "coinbase",
    }  # fmt: skip


async def test_venues_that_cannot_be_reached_stop_no_other() -> None:
    venues = ("coinbase", "bybit", "binance")
    async with show("binance", venues=venues, resolution_ns=TEN_SECONDS) as told:
        await told.play(47)

    fit = {(m.close_ns - BEGAN_NS) // NS_PER_S: m.bars["BTC-USD"].source for m in told.fit()}
    assert fit == {34: "binance", 44: "binance"}
    assert [(s.was, s.now) for s in told.switches] == [("coinbase", "binance")]
    stats = told.source.stats().venues
    assert [bool(stats[venue].down) for venue in venues] == [True, True, False]


async def test_bars_are_built_again_from_what_was_recorded(tmp_path: Path) -> None:
    season = a_live_season(start_ns=BEGAN_NS)
    with Recorder(tmp_path, season, clock=ManualClock(BEGAN_NS), say=print) as recorder:
        async with show(
            "coinbase", "binance", resolution_ns=TEN_SECONDS, listen=recorder.hear
        ) as told:
            await told.play(65)
        recorder.keep(KeptBar(minute.bars["BTC-USD"]) for minute in told.fit())

    recording = Recording(tmp_path / "live-1")
    (day,) = recording.days()
    listing = listing_of("coinbase", "BTC-USD")
    builder = BarBuilder(BTC, listing, TEN_SECONDS, start_ns=BEGAN_NS, grace_s=2)
    built = [one for event in recording.events(day) for one in builder.feed(event)]
    built += builder.tick(BEGAN_NS + 66 * NS_PER_S)
    kept = list(singly(recording.bars({"BTC-USD": BTC})))
    assert len(kept) == 4
    assert {e.listing.source for e in recording.events(day) if isinstance(e, Quote)} == {
        "coinbase", "binance",
    }  # fmt: skip
    by_open = {int(one.table.open_ns[0]): one for one in built}
    for bar in kept:
        again = by_open[int(bar.table.open_ns[0])]
        assert again.is_whole
        # A bar that is built of events has no book to look at.
        assert values_of(KeptBar(again.table)) == values_of(bar) | {"depth": None}


async def test_with_no_venue_at_all_minutes_come_on_time() -> None:
    async with show(venues=("coinbase", "binance", "bybit")) as told:
        await told.time.run(180)
        await until(lambda: all(v.down for v in told.source.stats().venues.values()))

    assert [(m.close_ns - BEGAN_NS) // NS_PER_S for m in told.minutes] == [44, 104, 164]
    assert [m.bars for m in told.minutes] == [{}] * 3
    assert all(m.fit["BTC-USD"] for m in told.minutes)
