"""The live market of crypto venues: their feeds as minutes, their candles as the past."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

import httpx2

from hydra.clock import SystemClock, SystemTimer
from hydra.feeds.asset import Switch
from hydra.feeds.history.past import VenuePast
from hydra.feeds.history.venues import venue_named
from hydra.feeds.minutes import Minute
from hydra.feeds.venue_minutes import Addresses, VenueMinutes, live_minutes
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
        """`say` is told when another venue takes over. Raises ConfigError on unknown venues."""
        for name in venues:
            venue_named(name)
        self._instruments = tuple(instruments)
        self._venues = tuple(venues)
        self._resolution_ns = resolution_ns
        self._settings = settings
        self._say = say
        self._listen: Callable[[Sequence[Event]], None] = lambda events: None
        self._http: httpx2.AsyncClient | None = None
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
            tell=self._tell,
            listen=self._listen,
            addresses=Addresses(
                coinbase_ws=self._settings.coinbase_ws_url,
                binance_ws=self._settings.binance_ws_url,
                binance_rest=self._settings.binance_rest_url,
                bybit_ws=self._settings.bybit_ws_url,
            ),
        )
        async for minute in self.live.minutes():
            yield minute

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
    """The market, and its past. Raises ConfigError on a venue that is not known."""
    market = VenueMarket(
        instruments, venues, resolution_ns=resolution_ns, settings=settings, say=say
    )
    past = VenuePast(
        instruments, [venue_named(name) for name in venues], settings=settings, clock=SystemClock()
    )
    return market, past
