"""The live market of venues: their feeds as minutes, their candles as the past."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

import httpx2

from hydra.clock import SystemClock, SystemTimer
from hydra.feeds import coinbase, oanda
from hydra.feeds.access import check_encrypted, coinbase_key, oanda_access
from hydra.feeds.asset import Limits, Switch
from hydra.feeds.history.past import VenuePast
from hydra.feeds.history.venues import venue_named
from hydra.feeds.listings import listings_at
from hydra.feeds.minutes import Minute
from hydra.feeds.venue_minutes import Addresses, Stats, VenueMinutes, live_minutes
from hydra.market.events import Event
from hydra.market.instruments import Instrument
from hydra.settings import Settings


class VenueMarket:
    """A `MinuteSource` that makes its connections when it is first read."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        venues: Sequence[str],
        *,
        resolution_ns: int,
        settings: Settings,
        say: Callable[[str], None],
    ) -> None:
        """`say` is told when another venue takes over, and why a connection ended.

        Raises ConfigError as `listings_at`, and where a venue's account, key or token is not
        set, or of no use.
        """
        used = listings_at(venues, [one.symbol for one in instruments])
        self._key = coinbase_key() if coinbase.SOURCE in used else None
        self._access = oanda_access() if oanda.SOURCE in used else None
        if self._access is not None:
            check_encrypted(settings.oanda_rest_url, "OANDA_REST_URL")
            check_encrypted(settings.oanda_stream_url, "OANDA_STREAM_URL")
        self._instruments = tuple(instruments)
        self._venues = tuple(venues)
        self._resolution_ns = resolution_ns
        self._settings = settings
        self._say = say
        self._told: set[tuple[str, str]] = set()  # venues and why their connections ended
        self._listen: Callable[[Sequence[Event]], None] = lambda events: None
        self._http: httpx2.AsyncClient | None = None
        self.limits = Limits()
        self.live: VenueMinutes | None = None

    def tap(self, listen: Callable[[Sequence[Event]], None]) -> None:
        """Let somebody hear all events. To be called before the market is read."""
        self._listen = listen

    async def minutes(self) -> AsyncIterator[Minute]:
        clock = SystemClock()
        self._http = httpx2.AsyncClient()
        self.live = live_minutes(
            self._instruments,
            self._venues,
            clock=clock,
            timer=SystemTimer(),
            rng=Random(clock.now_ns()),  # noqa: S311, it draws pauses
            http=self._http,
            resolution_ns=self._resolution_ns,
            limits=self.limits,
            tell=self._tell,
            key=self._key,
            oanda_access=self._access,
            listen=self._listen,
            addresses=Addresses(
                coinbase_ws=self._settings.coinbase_ws_url,
                binance_ws=self._settings.binance_ws_url,
                binance_rest=self._settings.binance_rest_url,
                bybit_ws=self._settings.bybit_ws_url,
                oanda_stream=self._settings.oanda_stream_url,
            ),
        )
        async for minute in self.live.minutes():
            self._tell_of_ends(self.live.stats())
            yield minute

    def _tell_of_ends(self, stats: Stats) -> None:
        """Each reason of each venue once: some never pass, such as a token that is refused."""
        for source, venue in stats.venues.items():
            if venue.down and (source, venue.down) not in self._told:
                self._told.add((source, venue.down))
                self._say(f"{source}: {venue.down}")

    def stats(self) -> Stats | None:
        """What the venues told since the start; None: nobody listens yet."""
        return None if self.live is None else self.live.stats()

    def _tell(self, switch: Switch) -> None:
        self._say(str(switch))

    async def aclose(self) -> None:
        if self.live is not None:
            await self.live.aclose()
        if self._http is not None:
            await self._http.aclose()


def venue_market(
    instruments: Sequence[Instrument],
    venues: Sequence[str],
    resolution_ns: int,
    settings: Settings,
    say: Callable[[str], None],
) -> tuple[VenueMarket, VenuePast]:
    """The market, and its past. Raises ConfigError as `VenueMarket`."""
    market = VenueMarket(
        instruments, venues, resolution_ns=resolution_ns, settings=settings, say=say
    )
    past = VenuePast(
        instruments,
        [venue_named(name) for name in venues],
        settings=settings,
        clock=SystemClock(),
        say=say,
    )
    return market, past
