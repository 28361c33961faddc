"""The wires' own share: lines out of pieces, and errors that name the address and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest

from hydra.errors import VenueDown
from hydra.feeds.venue import Fetch
from hydra.feeds.wires import MAX_LINE_BYTES, HttpFetcher, HttpLinesWire, WebSocketWire

FETCH = Fetch("/api/v3/depth", (("symbol", "X"), ("limit", "5000")), "X", 1)


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def client_of(reply: httpx2.Response | Exception) -> httpx2.AsyncClient:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if isinstance(reply, Exception):
            raise reply
        reply.request = request
        return reply

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


async def lines(*pieces: bytes) -> tuple[list[bytes], str]:
    """The lines of a streamed reply, and how it ended."""
    client = client_of(httpx2.Response(200, stream=Pieces(pieces)))
    got: list[bytes] = []
    async with client, HttpLinesWire(client, "http://v").open() as line:
        with pytest.raises(VenueDown) as caught:
            async for message in line.messages():
                got += [message]
    return got, str(caught.value)


async def test_lines_are_put_together_however_they_come_in_pieces() -> None:
    got, end = await lines(b'{"a":', b'1}\n{"b":"\xe2\x82', b'\xac"}\n\n  \n{"c":3}\r\n', b'{"torn')

    assert got == [b'{"a":1}', '{"b":"€"}'.encode(), b'{"c":3}\r']
    assert end == "the stream ended"


async def test_a_line_without_end_is_not_hoarded() -> None:
    got, end = await lines(*[b"x" * 65_536] * 17)

    assert (got, end) == ([], f"a line of more than {MAX_LINE_BYTES} bytes")


async def test_nothing_can_be_sent_on_a_stream_of_lines() -> None:
    client = client_of(httpx2.Response(200, stream=Pieces([])))
    async with client, HttpLinesWire(client, "http://v").open() as line:
        with pytest.raises(VenueDown):
            await line.send("hello")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (httpx2.Response(503), "http://name: status 503"),
        (httpx2.ConnectError("refused"), "http://name: ConnectError: refused"),
    ],
)
async def test_a_stream_that_does_not_open_tells_its_name_alone(
    reply: httpx2.Response | Exception, text: str
) -> None:
    async with client_of(reply) as client:
        wire = HttpLinesWire(
            client, "http://v/accounts/7", name="http://name", headers={"Authorization": "secret"}
        )
        with pytest.raises(VenueDown) as caught:
            async with wire.open():
                pass

    assert str(caught.value) == text


async def test_a_reply_is_fetched_from_below_the_base_address() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, content=b"body")

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        assert await HttpFetcher(client, "http://v/")(FETCH) == b"body"
    assert asked == ["http://v/api/v3/depth?symbol=X&limit=5000"]


@pytest.mark.parametrize("reply", [httpx2.Response(418), httpx2.ReadTimeout("slow")])
async def test_a_reply_that_is_none_is_venue_down(reply: httpx2.Response | Exception) -> None:
    async with client_of(reply) as client:
        with pytest.raises(VenueDown, match=r"http://v/api/v3/depth: (status 418|ReadTimeout)"):
            await HttpFetcher(client, "http://v")(FETCH)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "http://127.0.0.1/", "nonsense"])
async def test_a_socket_that_does_not_open_is_venue_down(url: str) -> None:
    with pytest.raises(VenueDown, match=url):
        async with WebSocketWire(url, open_s=1.0).open():
            pass
