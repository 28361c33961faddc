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
from hydra.feeds import binance, bybit, coinbase, oanda
from hydra.feeds.access import OandaAccess
from hydra.feeds.asset import Asset, BookOf, Limits, Switch
from hydra.feeds.coinbase import CoinbaseKey
from hydra.feeds.connector import Backoff, Connector
from hydra.feeds.listings import CRYPTO_VENUES, listings_at
from hydra.feeds.live import binance_feed, bybit_feed, coinbase_feed, oanda_feed
from hydra.feeds.minutes import Minute
from hydra.market.bars import BarTable
from hydra.market.events import BadMessage, Down, Event, Heartbeat, Listing, Quote, Resync, Trade
from hydra.market.instruments import Instrument
from hydra.market.orderbook import OrderBook

MINUTE_NS = 60 * NS_PER_S
_TICK_S = 0.25  # how often time is looked at
_LEAST_PAUSE_S = 0.001


class Feed(Protocol):
    """One venue's events; a Connector is one."""

    @property
    def connects(self) -> int:
        """Connections opened so far."""

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        """Deliver events until cancelled."""


def no_book(listing: Listing) -> OrderBook | None:
    """Of a venue that shows no depth."""
    return None


class VenueFeed(NamedTuple):
    """A venue, and what it is listened to for."""

    source: str
    feed: Feed
    listings: Sequence[Listing]
    book: BookOf = no_book  # a listing's book as it stands; None while it is void


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueStats:
    """Of one venue, since the start."""

    connected: bool  # it has told something since its latest connection ended
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
    __slots__ = ("bad", "connected", "down", "resyncs")

    def __init__(self) -> None:
        self.connected = False
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
        self._books = {venue.source: venue.book for venue in venues}
        self._counts = {venue.source: _Count() for venue in venues}
        self._told_ns = dict.fromkeys(self._counts, 0)  # latest instant that it told of, its clock
        self._ran_ns = now_ns = clock.now_ns()
        self._restarts = 0
        self._close_ns = self._open_ns = 0  # of the bar to close next, of the one to open next
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
                    connected=count.connected,
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
                asset.look(now_ns, self._books)
            due_ns = min(self._close_ns + self._grace_ns, self._open_ns)
            left_s = (due_ns - now_ns) / NS_PER_S
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
                    count = self._counts[event.source]
                    count.connected, count.down = False, event.reason
                    continue
                case Heartbeat(source=source, venue_ns=venue_ns):
                    self._hear_time(source, venue_ns)
                    continue
                case Resync(listing=listing):
                    self._counts[listing.source].resyncs += 1
                case (
                    Quote(listing=listing, venue_ns=venue_ns)
                    | Trade(listing=listing, venue_ns=venue_ns)
                ):
                    self._hear_time(listing.source, venue_ns)
            asset = self._assets.get(event.listing.symbol)
            if asset is not None:
                asset.hear(event)

    def _hear_time(self, source: str, venue_ns: int) -> None:
        self._counts[source].connected = True
        if venue_ns > self._told_ns[source]:
            self._told_ns[source] = venue_ns

    def _advance(self, now_ns: int) -> None:
        """Close what is due, and look at the books when bars open."""
        if now_ns - self._ran_ns >= self._resolution_ns:
            self._restarts += 1
            self._begin(now_ns)
        elif now_ns >= self._close_ns + self._grace_ns:  # one at most since the last time
            self._made.put_nowait(self._minute(now_ns))
            self._close_ns += self._resolution_ns
        self._ran_ns = now_ns
        if now_ns >= self._open_ns:
            self._open_ns = (now_ns // self._resolution_ns + 1) * self._resolution_ns
            for asset in self._assets.values():
                asset.look(now_ns, self._books)

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
    oanda_stream: str = oanda.OANDA_STREAM_URL


def live_minutes(
    instruments: Sequence[Instrument],
    venues: Sequence[str] = CRYPTO_VENUES,
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
    oanda_access: OandaAccess | None = None,
    addresses: Addresses | None = None,
    backoff: Backoff | None = None,
) -> VenueMinutes:
    """Minutes of the real venues, in order of preference; one connection a venue that lists any
    of the instruments.

    `http` belongs to the caller, who closes it afterwards. Raises ConfigError as `listings_at`
    and `VenueMinutes`, and where OANDA is needed without access.
    """
    at = addresses or Addresses()
    feeds: list[VenueFeed] = []
    for source, listings in listings_at(venues, [one.symbol for one in instruments]).items():
        feed: Connector
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
        elif source == bybit.SOURCE:
            feed = bybit_feed(listings, clock=clock, rng=rng, url=at.bybit_ws, backoff=backoff)
        elif oanda_access is None:
            raise ConfigError("OANDA tells prices to nobody without an account and a token")
        else:
            feed = oanda_feed(
                listings,
                clock=clock,
                rng=rng,
                http=http,
                access=oanda_access,
                url=at.oanda_stream,
                backoff=backoff,
            )
        feeds.append(VenueFeed(source, feed, listings, feed.book))
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
