"""One page of candles from a venue: within its rate limit, in time, again where that may help.

What is repeated: 429 (after the pause that Retry-After asks for), 5xx, a venue's own words for
either, and connections that fail, break or stay silent. All else ends at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from types import TracebackType
from typing import Self

import httpx2
import stamina
from aiolimiter import AsyncLimiter

from hydra.clock import NS_PER_S, Clock, iso, to_ns
from hydra.errors import ConfigError, VenueDown, VenueFault
from hydra.feeds.access import check_encrypted, check_token
from hydra.feeds.history.venue import Ask, Candle, Unreadable, Venue, short
from hydra.settings import HIDDEN

# Whoever asks is told by `waiting`; where nobody keeps logs stamina's own is not printed.
logging.getLogger("stamina").addHandler(logging.NullHandler())

MOST_BODY_BYTES = 4_000_000  # a page of 1000 candles has some 150,000
_DENIED = frozenset({401, 403})  # statuses with which a token is refused
_BANNED = frozenset({403, 418})  # statuses with which venues shut an address out


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a page is tried.

    The pause before the n-th repetition is `first_pause_s` · 2^(n-1), at most `longest_pause_s`,
    of which a random half is taken off; where the venue says how long to wait, it is that, unless
    it is above `longest_wait_s`.
    """

    tries: int = 6
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    longest_wait_s: float = 120.0
    deadline_s: float = 20.0  # of one request, its body included


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Page:
    """What a venue answered."""

    candles: Sequence[Candle]
    served_ns: int | None  # by the venue's clock; None where it does not say


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx2.Headers
    body: bytes


class _Again(Exception):
    """A try that failed in a way that may pass."""

    def __init__(self, words: str, wait_s: float | None = None) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Rest:
    """The way to one venue at one address. Lives in one event loop; use it in `async with`."""

    def __init__(
        self,
        venue: Venue,
        address: str,
        *,
        clock: Clock,
        patience: Patience | None = None,
        token: str = "",
        waiting: Callable[[str, float], None] = lambda why, seconds: None,
    ) -> None:
        """Asks nobody yet. `token` is shown to the venue, and to nobody else. `waiting` is told of
        each pause before a repetition.

        Raises ConfigError where `address` is no http(s) address, or one on which others would
        read the token.
        """
        try:
            url = httpx2.URL(address)
        except httpx2.InvalidURL as error:
            raise ConfigError(f"{venue.setting}={address}: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"{venue.setting}={address}: write it as https://host")
        if token:
            check_token(token)
            check_encrypted(address, venue.setting)
        self._venue = venue
        self._address = address
        self._place = f"{venue.name} at {url.host}" + (f":{url.port}" if url.port else "")
        self._clock = clock
        self._patience = patience or PATIENCE
        self._waiting = waiting
        self._jitter = Random(clock.now_ns())  # noqa: S311, no secret hangs on it
        # One at a time, evenly: a bucket that holds more would allow twice the rate at first.
        self._pace = AsyncLimiter(1, 1 / venue.per_s)
        self._client = httpx2.AsyncClient(
            timeout=None,  # the deadline is over the whole request
            follow_redirects=False,
            headers={
                "Accept": "application/json",
                "Cache-Control": "no-cache",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
        )
        self._token = token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self._client.aclose()

    async def page(self, ask: Ask) -> Page:
        """The candles of one page, in the venue's order, judged by nobody yet.

        Raises ConfigError for a symbol that the venue does not know, VenueDown where all tries
        failed, VenueFault for a refusal and for what is not of the documented shape.
        """
        tries = 0
        repeated = stamina.retry_context(
            on=lambda error: self._pause(error, tries), attempts=self._patience.tries, timeout=None
        )
        try:
            async for attempt in repeated:
                with attempt:
                    tries += 1
                    return await self._try(ask)
        except _Again as again:
            often = "once" if tries == 1 else f"{tries} times"
            raise VenueDown(f"{again} (asked {often})") from again
        raise AssertionError("retry_context ends by a return or by raising")

    def _pause(self, error: Exception, tries: int) -> bool | float:
        """Seconds until the next try, or False: it would not help, or not in time."""
        if not isinstance(error, _Again) or tries >= self._patience.tries:
            return False
        pause_s = error.wait_s
        if pause_s is None:
            doubled_s = self._patience.first_pause_s * 2.0 ** (tries - 1)
            longest_s = min(doubled_s, self._patience.longest_pause_s)
            pause_s = longest_s * (1 - self._jitter.random() / 2)
        elif pause_s > self._patience.longest_wait_s:
            return False
        self._waiting(str(error), pause_s)
        return pause_s

    async def _try(self, ask: Ask) -> Page:
        """One request. Raises _Again where it failed in a way that may pass."""
        await self._pace.acquire()
        try:
            async with asyncio.timeout(self._patience.deadline_s):
                answer = await self._send(ask)
        except TimeoutError as error:
            raise _Again(
                f"no answer from {self._place} within {self._patience.deadline_s:g} s"
            ) from error
        except httpx2.TransportError as error:
            raise _Again(
                f"no connection with {self._place} ({type(error).__name__}: {short(str(error))})"
            ) from error
        except httpx2.RequestError as error:  # such as a body that cannot be unpacked
            raise VenueFault(
                f"the answer of {self._place} cannot be read ({type(error).__name__})"
            ) from error
        self._refuse(answer, ask)
        try:
            candles = self._venue.read(answer.body, ask)
        except Unreadable as error:
            kind = answer.headers.get("content-type", "unknown").partition(";")[0]
            raise VenueFault(
                f"{self._place} answered what are no candles ({kind}): {error}"
            ) from error
        return Page(candles, _date_ns(answer.headers.get("date", "")))

    async def _send(self, ask: Ask) -> _Answer:
        path, query = self._venue.request(ask)
        body = bytearray()
        async with self._client.stream("GET", self._address + path, params=query) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    raise VenueFault(f"{self._place} sent more than {MOST_BODY_BYTES:,} bytes")
            if self._token:  # a proxy may answer with the request that it would not pass on
                body = body.replace(self._token.encode(), HIDDEN.encode())
            return _Answer(response.status_code, response.headers, bytes(body))

    def _refuse(self, answer: _Answer, ask: Ask) -> None:
        """Raise what follows from an answer without candles."""
        status = answer.status
        refusal = self._venue.refusal(status, answer.body)
        if refusal is None:
            return
        if self._token and status in _DENIED:
            raise ConfigError(
                f"{self._place} does not take the token ({status}): {refusal.words};"
                f" {self._venue.token_setting} is wrong or withdrawn, or of the other kind of"
                f" account than {self._venue.setting}"
            )
        if refusal.unknown_symbol:
            raise ConfigError(
                f"{self._venue.name} does not know {ask.pair.symbol}: {refusal.words}"
            )
        wait_s = self._wait_s(answer.headers.get("retry-after", ""))
        asks = "" if wait_s is None else f"; it asks to wait {wait_s:g} s"
        if status == 429 or status >= 500 or refusal.may_pass:
            words = "asks for fewer requests" if status == 429 else "is out of order or overloaded"
            raise _Again(f"{self._place} {words} ({status}): {refusal.words}{asks}", wait_s)
        if status in _BANNED:
            later = asks or "; wait at least ten minutes, and see whether it serves your country"
            raise VenueFault(
                f"{self._place} shuts this address out ({status}): {refusal.words}{later}"
            )
        if status == 451:
            raise VenueFault(
                f"{self._place} does not serve this country or address (451): {refusal.words};"
                f" {self._venue.setting} names another"
            )
        if 300 <= status < 400:
            where = short(answer.headers.get("location", "nowhere"))
            raise VenueFault(
                f"{self._place} points elsewhere ({status}: {where}); set {self._venue.setting}"
            )
        raise VenueFault(f"{self._place} refused {ask.text} ({status}): {refusal.words}")

    def _wait_s(self, text: str) -> float | None:
        """Retry-After: seconds, or a date."""
        try:
            return max(0.0, float(text))
        except ValueError:
            at_ns = _date_ns(text)
        return None if at_ns is None else max(0.0, (at_ns - self._clock.now_ns()) / NS_PER_S)


def _date_ns(text: str) -> int | None:
    """The instant of an HTTP date; None where it is none."""
    try:
        at: datetime = parsedate_to_datetime(text)
    except ValueError:
        return None
    return to_ns(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def check_dated(page: Page, ask: Ask) -> None:
    """Raise VenueFault where a page is older than its last candle's close, which may change yet.

    Which candles are finished is told by this machine's clock; here it is held against the
    venue's.
    """
    if page.served_ns is not None and page.served_ns < ask.close_ns:
        raise VenueFault(
            f"the answer with {ask.text} is dated {iso(page.served_ns)}: this machine's clock is"
            " ahead, or an old copy was answered"
        )
