"""Three living venues without a network: real messages, the real protocols, time by hand.

Each second the venues tell what happens in it (`tests.support.live.market`), and a `Line` of each
carries it to the protocol that Hydra reads it with: what is sent, asked and answered on a real
connection passes here too, only that no socket is between.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random

import numpy as np

from hydra.clock import NS_PER_S, Clock
from hydra.feeds.binance import Binance
from hydra.feeds.bybit import Bybit
from hydra.feeds.coinbase import Coinbase
from hydra.feeds.listings import CRYPTO_VENUES, listing_of
from hydra.feeds.tables import rows_between, table_of_trades
from hydra.feeds.venue import BookVenue, Fetch, Send
from hydra.feeds.venue_minutes import VenueFeed
from hydra.market.bars import BarTable
from hydra.market.events import Event
from hydra.market.instruments import Instrument
from tests.support.live.market import Alive, LiveBinance, venues_alive
from tests.support.live.path import recorded_path
from tests.support.venues import Session

PROTOCOLS: tuple[Callable[..., BookVenue], ...] = (Coinbase, Binance, Bybit)


class _Cut:
    """A connection that a venue may cut off."""

    def __init__(self) -> None:
        self.is_cut = False
        self.transport = self

    def abort(self) -> None:
        self.is_cut = True

    async def send(self, text: str, /) -> None:
        raise AssertionError("a line without a socket is pumped")


class Line:
    """One venue's connection, over and over; a `Feed`."""

    def __init__(self, venue: Alive, protocol: BookVenue, clock: Clock) -> None:
        self.connects = 0
        self._venue = venue
        self._protocol = protocol
        self._clock = clock
        self._deliver: Callable[[Sequence[Event]], None] | None = None
        self._session: Session | None = None
        self._socket = _Cut()
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._heard_s = 0  # true time
        self._rests_s = 0  # until then nobody connects anew

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        self._deliver = deliver
        try:
            await asyncio.Event().wait()
        finally:
            self._deliver = None
            if self._session is not None:
                self._venue.leave(self._session)
                self._session = None

    def second(self, at_s: int) -> None:
        """What happens on the connection in this second of true time."""
        if self._deliver is None:
            return
        if self._session is None:
            if self._venue.is_down or at_s < self._rests_s:
                return
            self._open(at_s)
        assert self._session is not None
        # Answers to what is asked come within the same second, and may be asked of in turn.
        for _ in range(3):
            self._ask()
            self._hear(at_s)
        self._tell(self._protocol.tick(self._clock.now_ns()))
        silent_s = at_s - self._heard_s
        if self._socket.is_cut:
            self._close("cut off", at_s)
        elif self._protocol.down is not None:
            self._close(self._protocol.down, at_s)
        elif silent_s > self._protocol.silence_s:
            self._close("nothing heard", at_s)

    def _open(self, at_s: int) -> None:
        self.connects += 1
        self._socket = _Cut()
        self._session = Session(self._socket)
        self._queue = self._venue.join(self._session)
        self._heard_s = at_s
        self._protocol.opened(self._clock.now_ns())

    def _close(self, reason: str, at_s: int) -> None:
        assert self._session is not None
        self._venue.leave(self._session)
        self._session = None
        self._rests_s = at_s + 2
        self._tell(self._protocol.closed(reason, self._clock.now_ns()))

    def _ask(self) -> None:
        assert self._session is not None
        for request in self._protocol.requests():
            if isinstance(request, Send):
                for reply in self._venue.replies(self._session, json.loads(request.text)):
                    self._queue.put_nowait(reply)
            else:
                self._fetch(request)

    def _fetch(self, request: Fetch) -> None:
        assert isinstance(self._venue, LiveBinance)
        now_ns = self._clock.now_ns()
        if self._venue.is_silent:
            self._tell(self._protocol.unanswered(request, "no answer", now_ns))
            return
        body = self._venue.snapshot(request.venue_symbol).encode()
        self._tell(self._protocol.answer(request, body, now_ns))

    def _hear(self, at_s: int) -> None:
        while not self._queue.empty():
            text = self._queue.get_nowait()
            if not self._venue.is_silent:
                self._heard_s = at_s
                self._tell(self._protocol.feed(text.encode(), self._clock.now_ns()))

    def _tell(self, events: Sequence[Event]) -> None:
        if events and self._deliver is not None:
            self._deliver(events)


class World:
    """The venues and their past, second by second of true time."""

    def __init__(self, instruments: Sequence[Instrument], at_s: int, seed: int) -> None:
        self._instruments = tuple(instruments)
        self._paths = {one.symbol: recorded_path(f"{one.symbol}T") for one in instruments}
        self.venues = venues_alive([f"{one.symbol}T" for one in instruments], at_s, seed)
        self.at_s = at_s
        self.lines: list[Line] = []

    def feeds(self, clock: Clock) -> list[VenueFeed]:
        """Connections of a process that begins to listen."""
        feeds = []
        self.lines = []
        for source, protocol, venue in zip(CRYPTO_VENUES, PROTOCOLS, self.venues, strict=True):
            listings = [listing_of(source, one.symbol) for one in self._instruments]
            line = Line(venue, protocol(listings), clock)
            self.lines.append(line)
            feeds.append(VenueFeed(source, line, listings))
        return feeds

    def second(self) -> None:
        """Let one pass."""
        self.at_s += 1
        for venue in self.venues:
            venue.tick(self.at_s)
        for line in self.lines:
            line.second(self.at_s)

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        """As the daemon asks for the past; what has not happened is in no candle."""
        length_s = resolution_ns // NS_PER_S
        last_s = min(end_ns // NS_PER_S, self.at_s // length_s * length_s) - length_s
        opens = range(-(-start_ns // resolution_ns) * length_s, last_s + 1, length_s)
        return {one.symbol: self._table(one, opens, length_s) for one in self._instruments}

    def _table(self, one: Instrument, opens: Sequence[int], length_s: int) -> BarTable:
        path = self._paths[one.symbol]
        candles = [path.candle(at_s, length_s, self.at_s) for at_s in opens]
        columns = [
            np.array([float(candle[part]) for candle in candles] or [1e4]) for part in range(1, 6)
        ]
        open_ns = np.array([at_s * NS_PER_S for at_s in opens] or [0], np.int64)
        table = table_of_trades(
            one, length_s * NS_PER_S, "candles", open_ns, columns[:4], columns[4]
        )
        return rows_between(table, 0, len(candles))


def disturb(venue: Alive, rng: Random) -> Callable[[], None]:
    """Something goes wrong with a venue; what is returned mends it."""
    what = rng.randrange(3)
    if what == 0:
        venue.is_silent = True
    elif what == 1:
        venue.is_down = True
    else:
        venue.faults_frac = rng.choice((0.05, 0.2, 0.5))

    def mend() -> None:
        venue.is_silent = venue.is_down = False
        venue.faults_frac = 0.0

    return mend
