"""Minutes out of live venues: all of them are heard at once, and each asset's bars are of one.

`VenueMinutes` takes feeds that are built; `live_minutes` builds those of the real venues.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

import httpx2

from hydra.clock import NS_PER_S, Clock, Timer
from hydra.errors import ConfigError
from hydra.feeds import binance, bybit, coinbase
from hydra.feeds.asset import Asset, Limits, Switch
from hydra.feeds.coinbase import CoinbaseKey
from hydra.feeds.connector import Backoff
from hydra.feeds.live import binance_feed, bybit_feed, coinbase_feed
from hydra.feeds.minutes import Minute
from hydra.market.bars import BarTable
from hydra.market.events import BadMessage, Down, Event, Listing, Quote, Resync, Trade
from hydra.market.instruments import Instrument

MINUTE_NS = 60 * NS_PER_S
VENUES = (coinbase.SOURCE, binance.SOURCE, bybit.SOURCE)  # the most preferred first
_TICK_S = 0.25  # how often time is looked at
_LEAST_PAUSE_S = 0.001
_DECIMALS = 8  # see listing_of


class Feed(Protocol):
    """One venue's events; a Connector is one."""

    @property
    def connects(self) -> int:
        """Connections opened so far."""

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        """Deliver events until cancelled."""


class VenueFeed(NamedTuple):
    """A venue, and what it is listened to for."""

    source: str
    feed: Feed
    listings: Sequence[Listing]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueStats:
    """Of one venue, since the start."""

    bad: int  # messages not understood
    resyncs: int  # books declared void
    reconnects: int
    down: str  # why the latest connection, or attempt at one, ended; "": none has


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStats:
    """Of one asset, since the start."""

    source: str  # the venue of its bars
    late: int  # trades and quotes that came after their bar was closed
    switches: int  # changes of venue


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    venues: dict[str, VenueStats]
    assets: dict[str, AssetStats]
    restarts: int  # how often nobody listened for the length of a bar or more


class _Count:
    __slots__ = ("bad", "down", "resyncs")

    def __init__(self) -> None:
        self.bad = self.resyncs = 0
        self.down = ""


def _no_one(told: object) -> None:
    """For whom changes of venue, or events, are no news."""


class VenueMinutes:
    """Listens while `minutes` is read, and makes a minute of each instant of the grid.

    Minutes come on time whatever the venues do: with none to be reached they have no bars and
    every asset is unfit. Those not yet read wait, so a slow reader misses none. Instants at which
    nobody listened (the machine slept) are left out: the next minute is the next on the grid. A
    machine's clock set back holds minutes up until it is where it was.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        venues: Sequence[VenueFeed],
        *,
        clock: Clock,
        timer: Timer,
        resolution_ns: int = MINUTE_NS,
        limits: Limits | None = None,
        tell: Callable[[Switch], None] = _no_one,
        listen: Callable[[Sequence[Event]], None] = _no_one,
    ) -> None:
        """`venues` in order of preference; each vouches for the others. `tell` is told when an
        asset changes its venue, `listen` of all events, as they come and before they count.

        Raises ConfigError when an instrument is listed nowhere or a venue comes twice, and as
        `Limits` and `Fitness`.
        """
        if len({venue.source for venue in venues}) < len(venues):
            raise ConfigError("a venue is named twice")
        self._clock = clock
        self._timer = timer
        self._overhear = listen
        self._resolution_ns = resolution_ns
        self._limits = limits = limits or Limits()
        self._grace_ns = round(limits.grace_s * NS_PER_S)
        self._venues = venues
        self._counts = {venue.source: _Count() for venue in venues}
        self._told_ns = dict.fromkeys(self._counts, 0)  # latest instant that it told of, its clock
        self._ran_ns = now_ns = clock.now_ns()
        self._restarts = 0
        self._close_ns = 0
        self._assets = {
            instrument.symbol: Asset(
                instrument,
                [one for v in venues for one in v.listings if one.symbol == instrument.symbol],
                resolution_ns=resolution_ns,
                start_ns=now_ns,
                limits=limits,
                tell=tell,
            )
            for instrument in instruments
        }
        self._made: asyncio.Queue[Minute | None] = asyncio.Queue()  # None: the last came before
        self._task: asyncio.Task[None] | None = None

    async def minutes(self) -> AsyncIterator[Minute]:
        """Minutes until `aclose`, the first at the next instant of the grid; its bar is missing,
        for nobody listened from its open on. Everything stops when the reader is cancelled.

        Raises ConfigError when called twice; what a feed (never VenueDown) or `tell` raises, in
        an ExceptionGroup.
        """
        if self._task is not None:
            raise ConfigError("minutes are read once: build another VenueMinutes")
        self._begin(self._clock.now_ns())
        task = self._task = asyncio.create_task(self._listen(), name="minutes")
        try:
            while (minute := await self._made.get()) is not None:
                yield minute
            if not task.cancelled():
                task.result()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Hang up everywhere, and end the iteration. Twice does no harm.

        Raises what a feed raises while it is hung up.
        """
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    def stats(self) -> Stats:
        """For metrics."""
        return Stats(
            venues={
                venue.source: VenueStats(
                    bad=count.bad,
                    resyncs=count.resyncs,
                    reconnects=max(0, venue.feed.connects - 1),
                    down=count.down,
                )
                for venue, count in zip(self._venues, self._counts.values(), strict=True)
            },
            assets={
                symbol: AssetStats(source=asset.source, late=asset.late, switches=asset.switches)
                for symbol, asset in self._assets.items()
            },
            restarts=self._restarts,
        )

    async def _listen(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for venue in self._venues:
                    group.create_task(venue.feed.run(self._deliver), name=venue.source)
                group.create_task(self._watch(), name="watch")
        finally:
            self._made.put_nowait(None)

    async def _watch(self) -> None:
        while True:
            now_ns = self._clock.now_ns()
            self._advance(now_ns)
            for asset in self._assets.values():
                asset.review(now_ns)
            left_s = (self._close_ns + self._grace_ns - now_ns) / NS_PER_S
            await self._timer.sleep(max(_LEAST_PAUSE_S, min(_TICK_S, left_s)))

    def _deliver(self, events: Sequence[Event]) -> None:
        self._overhear(events)
        for event in events:
            self._advance(event.at_ns)
            match event:
                case BadMessage():
                    self._counts[event.source].bad += 1
                    continue
                case Down():
                    self._counts[event.source].down = event.reason
                    continue
                case Resync(listing=listing):
                    self._counts[listing.source].resyncs += 1
                case (
                    Quote(listing=listing, venue_ns=venue_ns)
                    | Trade(listing=listing, venue_ns=venue_ns)
                ):
                    if venue_ns > self._told_ns[listing.source]:
                        self._told_ns[listing.source] = venue_ns
            asset = self._assets.get(event.listing.symbol)
            if asset is not None:
                asset.hear(event)

    def _advance(self, now_ns: int) -> None:
        """Close what is due."""
        if now_ns - self._ran_ns >= self._resolution_ns:
            self._restarts += 1
            self._begin(now_ns)
        elif now_ns >= self._close_ns + self._grace_ns:  # one at most since the last time
            self._made.put_nowait(self._minute(now_ns))
            self._close_ns += self._resolution_ns
        self._ran_ns = now_ns

    def _begin(self, now_ns: int) -> None:
        """Nothing before was heard."""
        self._ran_ns = now_ns
        next_ns = (now_ns // self._resolution_ns + 1) * self._resolution_ns
        self._close_ns = max(self._close_ns, next_ns)  # should the clock have been set back
        for asset in self._assets.values():
            asset.restart(max(now_ns, self._close_ns - self._resolution_ns))

    def _minute(self, now_ns: int) -> Minute:
        bars: dict[str, BarTable] = {}
        fit: dict[str, str] = {}
        for symbol, asset in self._assets.items():
            bar, fit[symbol] = asset.close(self._close_ns, now_ns, self._told_ns)
            if bar is not None:
                bars[symbol] = bar
        return Minute(self._close_ns, bars, fit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the venues are."""

    coinbase_ws: str = coinbase.COINBASE_WS_URL
    binance_ws: str = binance.BINANCE_WS_URL
    binance_rest: str = binance.BINANCE_REST_URL
    bybit_ws: str = bybit.BYBIT_WS_URL


def listing_of(source: str, symbol: str) -> Listing:
    """Where a venue trades BTC-USD: for USD at Coinbase, for USDT at Binance and Bybit (spot).

    The grid has 8 decimals, the most that any of them writes for what an Instrument can name: a
    finer grid than a venue's is exact all the same, a coarser one makes faults of its messages.

    Raises ConfigError for another venue, or a symbol that is not spelt as BTC-USD.
    """
    base, _, quote = symbol.partition("-")
    if not base.isalnum() or quote != "USD":
        raise ConfigError(f"{symbol}: symbols of live venues are spelt as BTC-USD")
    if source not in VENUES:
        raise ConfigError(f"{source} is none of the venues {', '.join(VENUES)}")
    return Listing(
        source=source,
        symbol=symbol,
        venue_symbol=symbol if source == coinbase.SOURCE else f"{base}USDT",
        price_decimals=_DECIMALS,
        size_decimals=_DECIMALS,
    )


def live_minutes(
    instruments: Sequence[Instrument],
    venues: Sequence[str] = VENUES,
    *,
    clock: Clock,
    timer: Timer,
    rng: Random,
    http: httpx2.AsyncClient,
    resolution_ns: int = MINUTE_NS,
    limits: Limits | None = None,
    tell: Callable[[Switch], None] = _no_one,
    listen: Callable[[Sequence[Event]], None] = _no_one,
    key: CoinbaseKey | None = None,
    addresses: Addresses | None = None,
    backoff: Backoff | None = None,
) -> VenueMinutes:
    """Minutes of the real venues, in order of preference; one connection a venue.

    `http` belongs to the caller, who closes it afterwards. Raises ConfigError as `listing_of`
    and `VenueMinutes`.
    """
    at = addresses or Addresses()
    feeds: list[VenueFeed] = []
    for source in venues:
        listings = [listing_of(source, instrument.symbol) for instrument in instruments]
        feed: Feed
        if source == coinbase.SOURCE:
            feed = coinbase_feed(
                listings, clock=clock, rng=rng, key=key, url=at.coinbase_ws, backoff=backoff
            )
        elif source == binance.SOURCE:
            feed = binance_feed(
                listings,
                clock=clock,
                rng=rng,
                http=http,
                ws_url=at.binance_ws,
                rest_url=at.binance_rest,
                backoff=backoff,
            )
        else:
            feed = bybit_feed(listings, clock=clock, rng=rng, url=at.bybit_ws, backoff=backoff)
        feeds.append(VenueFeed(source, feed, listings))
    return VenueMinutes(
        instruments,
        feeds,
        clock=clock,
        timer=timer,
        resolution_ns=resolution_ns,
        limits=limits,
        tell=tell,
        listen=listen,
    )
