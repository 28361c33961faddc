"""Keeps one venue's connection alive and hands its events on.

Connects, subscribes, feeds what arrives to the venue's protocol, and makes the connection anew
when it ends, falls silent, comes of age or the protocol gives it up. All waiting is here; all
meaning is in the protocol (venue.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from hydra.clock import NS_PER_S, Clock, monotonic_ns
from hydra.errors import ConfigError, VenueDown
from hydra.feeds.venue import Fetch, Send, Venue
from hydra.feeds.wires import Fetcher, Line, Wire
from hydra.market.events import Event, Listing
from hydra.market.orderbook import OrderBook

ROTATE_S = 23 * 3_600.0  # venues hang up after 24 h: better at a time of our choosing
_INBOX_MESSAGES = 10_000  # read ahead; beyond, the venue's TCP connection has to wait
_OF_AGE = "rotated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between attempts: doubling from `first_s` to `longest_s`, each shortened by chance
    by up to `jitter_frac`, so that many clients do not come back in step."""

    first_s: float = 0.5
    longest_s: float = 60.0
    jitter_frac: float = 0.5

    def pause_s(self, failures: int, rng: Random) -> float:
        """Seconds to wait after that many failures in a row (1 or more)."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * (1.0 - self.jitter_frac * rng.random())


@dataclass(frozen=True, slots=True)
class _Heard:
    message: bytes
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Answered:
    fetch: Fetch
    body: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Ended:
    reason: str


class Connector:
    """One connection at a time to one venue, for as long as `run` is awaited."""

    def __init__(
        self,
        venue: Venue,
        wire: Wire,
        *,
        clock: Clock,
        rng: Random,
        fetcher: Fetcher | None = None,
        backoff: Backoff | None = None,
        rotate_s: float = ROTATE_S,
        steady_s: float = 60.0,
        tick_s: float = 0.25,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`rotate_s`: age at which a connection is replaced (up to 5 % sooner, by chance).
        `steady_s`: a connection that lasted so long starts the backoff afresh.
        `tick_s`: how often the venue hears that time passes.
        """
        self._venue = venue
        self._wire = wire
        self._clock = clock
        self._rng = rng
        self._fetcher = fetcher
        self._backoff = backoff or Backoff()
        self._rotate_s = rotate_s
        self._steady_s = steady_s
        self._tick_s = tick_s
        self._sleep = sleep
        self.connects = 0  # connections opened; for metrics

    def book(self, listing: Listing) -> OrderBook | None:
        """A listing's book as it stands, to look at; None while it is void. Raises KeyError."""
        return self._venue.book(listing.venue_symbol)

    async def run(self, deliver: Callable[[Sequence[Event]], None]) -> None:
        """Deliver events until cancelled. Raises what `deliver` raises; never VenueDown."""
        failures = 0
        while True:
            began_ns = monotonic_ns()
            reason = await self._session(deliver)
            deliver(self._venue.closed(reason, self._clock.now_ns()))
            if reason == _OF_AGE:
                failures = 0
                continue
            if monotonic_ns() - began_ns >= self._steady_s * NS_PER_S:
                failures = 0
            failures += 1
            await self._sleep(self._backoff.pause_s(failures, self._rng))

    async def _session(self, deliver: Callable[[Sequence[Event]], None]) -> str:
        """One connection, from opening to its end; why it ended."""
        try:
            async with self._wire.open() as line:
                self.connects += 1
                inbox: asyncio.Queue[_Heard | _Answered | _Ended] = asyncio.Queue(_INBOX_MESSAGES)
                # What a task cannot turn into an item of the inbox is a bug, and ends the run.
                async with asyncio.TaskGroup() as group:
                    tasks = {group.create_task(self._read(line, inbox))}

                    def start(fetch: Fetch) -> None:
                        task = group.create_task(self._get(fetch, inbox))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)

                    try:
                        return await self._listen(line, inbox, start, deliver)
                    finally:
                        for task in tuple(tasks):
                            task.cancel()
        except VenueDown as error:
            return str(error)

    async def _read(self, line: Line, inbox: asyncio.Queue[_Heard | _Answered | _Ended]) -> None:
        try:
            async for message in line.messages():
                await inbox.put(_Heard(message, self._clock.now_ns()))
        except VenueDown as error:
            await inbox.put(_Ended(str(error)))

    async def _get(self, fetch: Fetch, inbox: asyncio.Queue[_Heard | _Answered | _Ended]) -> None:
        if self._fetcher is None:
            raise ConfigError(f"{self._venue.source} fetches {fetch.path}: it needs a fetcher")
        try:
            await self._sleep(fetch.after_s)
            answered = _Answered(fetch, await self._fetcher(fetch), "")
        except VenueDown as error:
            answered = _Answered(fetch, None, str(error))
        await inbox.put(answered)

    async def _listen(
        self,
        line: Line,
        inbox: asyncio.Queue[_Heard | _Answered | _Ended],
        start: Callable[[Fetch], None],
        deliver: Callable[[Sequence[Event]], None],
    ) -> str:
        venue = self._venue
        venue.opened(self._clock.now_ns())
        heard_ns = ticked_ns = monotonic_ns()
        age_s = self._rotate_s * (1.0 - 0.05 * self._rng.random())
        old_ns = heard_ns + round(age_s * NS_PER_S)
        tick_ns = round(self._tick_s * NS_PER_S)
        silence_ns = round(venue.silence_s * NS_PER_S)
        while True:
            for request in venue.requests():
                if isinstance(request, Send):
                    try:
                        await line.send(request.text)
                    except VenueDown as error:
                        return str(error)
                else:
                    start(request)
            item = await _next(inbox, self._tick_s)
            now_ns = monotonic_ns()
            events: Sequence[Event] = ()
            match item:
                case _Heard(message, at_ns):
                    heard_ns = now_ns
                    events = venue.feed(message, at_ns)
                case _Answered(fetch, None, reason):
                    events = venue.unanswered(fetch, reason, self._clock.now_ns())
                case _Answered(fetch, bytes(body), _):
                    events = venue.answer(fetch, body, self._clock.now_ns())
                case _Ended(reason):
                    return reason
            if events:
                deliver(events)
            if now_ns - ticked_ns >= tick_ns:
                ticked_ns = now_ns
                if events := venue.tick(self._clock.now_ns()):
                    deliver(events)
            if venue.down is not None:
                return venue.down
            if now_ns - heard_ns > silence_ns:
                return f"nothing heard for {venue.silence_s:g} s"
            if now_ns >= old_ns:
                return _OF_AGE


async def _next(
    inbox: asyncio.Queue[_Heard | _Answered | _Ended], wait_s: float
) -> _Heard | _Answered | _Ended | None:
    """The next item; None when none comes in time."""
    if not inbox.empty():
        return inbox.get_nowait()
    try:
        async with asyncio.timeout(wait_s):
            return await inbox.get()
    except TimeoutError:
        return None
