"""The only places of the live feeds that touch the network: sockets, streams of lines, replies.

Whatever fails here becomes VenueDown, with a text that names the address but no header or key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from hydra.errors import VenueDown
from hydra.feeds.venue import Fetch, words

MAX_MESSAGE_BYTES = 64 << 20  # a snapshot of a deep book takes several MB
MAX_LINE_BYTES = 1 << 20
_DENIED = (401, 403)
_PING_S = 20.0  # a peer that does not answer a ping for as long is gone


class Line(Protocol):
    """One open connection."""

    async def send(self, text: str) -> None:
        """Raises VenueDown."""

    def messages(self) -> AsyncIterator[bytes]:
        """What arrives, until VenueDown is raised."""


class Wire(Protocol):
    """Opens connections to one address."""

    def open(self) -> AbstractAsyncContextManager[Line]:
        """A connection, closed on leaving. Raises VenueDown."""


class Fetcher(Protocol):
    """Gets REST replies."""

    async def __call__(self, fetch: Fetch) -> bytes:
        """The body of a reply of status 200. Raises VenueDown."""


class WebSocketWire:
    """Web sockets. Pings of the peer are answered, and the peer is pinged, by the library."""

    def __init__(self, url: str, *, open_s: float = 10.0, close_s: float = 2.0) -> None:
        """`open_s`, `close_s`: how long connecting and taking leave may last."""
        self._url = url
        self._open_s = open_s
        self._close_s = close_s

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        try:
            socket = await connect(
                self._url,
                open_timeout=self._open_s,
                close_timeout=self._close_s,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                max_size=MAX_MESSAGE_BYTES,
            )
        except (OSError, TimeoutError, WebSocketException, ValueError) as error:
            raise VenueDown(f"{self._url}: {words(error)}") from error
        try:
            yield _SocketLine(socket)
        finally:
            await socket.close()


class _SocketLine:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as error:
            raise VenueDown(words(error)) from error

    async def messages(self) -> AsyncIterator[bytes]:
        while True:
            try:
                message = await self._socket.recv(decode=False)
            except ConnectionClosed as error:
                raise VenueDown(words(error)) from error
            yield message


class HttpLinesWire:
    """A GET whose reply never ends: one message a line."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        *,
        name: str | None = None,
        denied: str = "",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        open_s: float = 10.0,
    ) -> None:
        """`name` stands for the address in messages, where that holds what is private. `denied`:
        what may be wrong where the peer does not let us in (401, 403)."""
        self._client = client
        self._url = url
        self._name = name or url
        self._denied = denied
        self._params = dict(params or {})
        self._headers = dict(headers or {})
        self._timeout = httpx2.Timeout(open_s, read=None)  # silence is the connector's to judge

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        request = self._client.build_request(
            "GET", self._url, params=self._params, headers=self._headers, timeout=self._timeout
        )
        try:
            response = await self._client.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise VenueDown(f"{self._name}: {words(error)}") from error
        try:
            if response.status_code != httpx2.codes.OK:
                is_denied = response.status_code in _DENIED and self._denied
                why = f", {self._denied}" if is_denied else ""
                raise VenueDown(f"{self._name}: status {response.status_code}{why}")
            yield _ReplyLine(response)
        finally:
            await response.aclose()


class _ReplyLine:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def send(self, text: str) -> None:
        raise VenueDown("nothing can be sent on a stream of lines")

    async def messages(self) -> AsyncIterator[bytes]:
        rest = b""
        try:
            async for piece in self._response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line
                if len(rest) > MAX_LINE_BYTES:
                    raise VenueDown(f"a line of more than {MAX_LINE_BYTES} bytes")
        except httpx2.HTTPError as error:
            raise VenueDown(words(error)) from error
        raise VenueDown("the stream ended")


class HttpFetcher:
    """GETs below one base address."""

    def __init__(
        self, client: httpx2.AsyncClient, base_url: str, *, timeout_s: float = 10.0
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s

    async def __call__(self, fetch: Fetch) -> bytes:
        url = self._base_url + fetch.path
        try:
            response = await self._client.get(
                url, params=dict(fetch.params), timeout=self._timeout_s
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise VenueDown(f"{url}: {words(error)}") from error
        if response.status_code != httpx2.codes.OK:
            raise VenueDown(f"{url}: status {response.status_code}")
        return response.content
