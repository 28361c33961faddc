"""Venues on the loopback interface that speak the real messages, and misbehave on command.

A venue holds a market that goes on from connection to connection: a list of steps, each a
recorded message in its raw form. Whoever subscribes gets a snapshot of the market as it stands,
then the steps that follow, one for each turn of the event loop. `faults` names, by the number of
the step, what goes wrong there, once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.captures import coinbase_event
from tests.support.plain_book import PlainBook

HEARTBEAT_S = 0.02
MALFORMED = '{"channel":"l2_data","events":[{"type":"upd'


class Fault(Enum):
    GAP = "the message is lost"
    DUPLICATE = "the message comes twice"
    REORDER = "the message comes after the next one"
    DELAY = "the message comes 20 ms late"
    DROP = "the connection breaks before the message"
    SILENCE = "nothing comes any more, heartbeats included"
    MALFORMED = "half a message comes first"
    SPOILT = "the message comes cut in half"


class Transport(Protocol):
    def abort(self) -> None: ...


class Socket(Protocol):
    """What a session needs of its connection."""

    @property
    def transport(self) -> Transport: ...

    async def send(self, text: str, /) -> None: ...


@dataclass
class Session:
    """One client's connection: what it subscribed to, and messages held back."""

    socket: Socket
    topics: set[str] = field(default_factory=set)
    number: int = 0
    held: list[str] = field(default_factory=list)
    is_silent: bool = False
    is_closed: bool = False

    async def send(self, text: str) -> None:
        if not self.is_silent:
            await self.socket.send(text)


class LoopbackVenue:
    """The part that all socket venues share. Subclasses know the messages."""

    def __init__(self, steps: Sequence[Any], faults: Mapping[int, Fault] | None = None) -> None:
        self.steps = steps
        self.faults = dict(faults or {})
        self.cursor = 0
        self.sessions: list[Session] = []
        self.received: list[dict[str, Any]] = []  # what clients sent, on all connections
        self.books: dict[str, PlainBook] = {}
        self.url = ""
        self.http_url = ""

    @property
    def is_over(self) -> bool:
        return self.cursor >= len(self.steps)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LoopbackVenue]:
        async with serve(
            self._serve, "127.0.0.1", 0, process_request=self._request, max_size=None,
            ping_interval=None, close_timeout=0.05,
        ) as server:  # fmt: skip
            port = server.sockets[0].getsockname()[1]
            self.url, self.http_url = f"ws://127.0.0.1:{port}/", f"http://127.0.0.1:{port}"
            yield self

    async def _serve(self, socket: ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        market = asyncio.create_task(self._market(session))
        try:
            async for text in socket:
                message = json.loads(text)
                self.received.append(message)
                for reply in self.replies(session, message):
                    await session.send(reply)
        except ConnectionClosed:
            return  # as the client wished, or as a fault commanded
        finally:
            session.is_closed = True
            market.cancel()
            await asyncio.gather(market, return_exceptions=True)

    async def _market(self, session: Session) -> None:
        while not self.is_ready(session):
            await asyncio.sleep(0.001)
        while not self.is_over:
            await asyncio.sleep(0)
            await self._step(session)
        while True:
            for text in self.heartbeats(session):
                await session.send(text)
            await asyncio.sleep(HEARTBEAT_S)

    async def _step(self, session: Session) -> None:
        fault = self.faults.pop(self.cursor, None)
        if fault is Fault.DROP:
            session.socket.transport.abort()
            await asyncio.Event().wait()  # until the reader ends this task
        raw = self.steps[self.cursor]
        self.cursor += 1
        self.move(raw)
        texts = self.messages(session, raw)
        if fault is Fault.SILENCE:
            session.is_silent = True
            await asyncio.Event().wait()  # until the client hangs up
        elif fault is Fault.MALFORMED:
            texts = [MALFORMED, *texts]
        elif fault is Fault.SPOILT:
            texts = [text[: len(text) // 2] for text in texts]
        elif fault is Fault.DUPLICATE:
            texts = texts * 2
        elif fault is Fault.DELAY:
            await asyncio.sleep(0.02)
        elif fault is Fault.REORDER:
            session.held += texts
            return
        elif fault is Fault.GAP:
            return
        for text in (*texts, *session.held):
            await session.send(text)
        session.held.clear()

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        """An HTTP reply instead of a web socket; None: go on with the socket."""
        return None

    def is_ready(self, session: Session) -> bool:
        """Whether the client has subscribed to all that the test wants."""
        raise NotImplementedError

    def replies(self, session: Session, message: dict[str, Any]) -> list[str]:
        raise NotImplementedError

    def move(self, raw: Any) -> None:
        """Change `books` by one step."""
        raise NotImplementedError

    def messages(self, session: Session, raw: Any) -> list[str]:
        """What a step sends to a client; numbered whether it arrives or not."""
        raise NotImplementedError

    def heartbeats(self, session: Session) -> list[str]:
        return []


class CoinbaseServer(LoopbackVenue):
    """Advanced Trade. Steps are recorded messages of Coinbase Pro, its snapshots apart."""

    TIME = "2021-04-17T16:43:37Z"

    def __init__(
        self,
        snapshots: Mapping[str, Mapping[str, Any]],
        steps: Sequence[Any],
        faults: Mapping[int, Fault] | None = None,
    ) -> None:
        super().__init__(steps, faults)
        for product, raw in snapshots.items():
            self.books[product] = PlainBook()
            self.books[product].load(raw["bids"], raw["asks"])
        self.refusal: str | None = None  # text of an error instead of any subscription
        self.withheld = 0  # snapshots that never come

    def time(self) -> str:
        """What messages are dated."""
        return self.TIME

    def is_ready(self, session: Session) -> bool:
        wanted = {f"{c} {p}" for c in ("level2", "market_trades") for p in self.books}
        return wanted <= session.topics

    def replies(self, session: Session, message: dict[str, Any]) -> list[str]:
        if self.refusal is not None:
            return [json.dumps({"type": "error", "message": self.refusal})]
        channel, products = message["channel"], message.get("product_ids", [])
        topics = {f"{channel} {product}" for product in products}
        out: list[str] = []
        if message["type"] == "unsubscribe":
            session.topics -= topics
        else:
            session.topics |= topics
            if channel == "level2":
                out += [self._snapshot(session, product) for product in products]
        return [*filter(None, out), self._wrap(session, "subscriptions", {"subscriptions": {}})]

    def move(self, raw: Any) -> None:
        if raw["type"] == "l2update":
            bids = [change[1:] for change in raw["changes"] if change[0] == "buy"]
            asks = [change[1:] for change in raw["changes"] if change[0] == "sell"]
            self.books[raw["product_id"]].change(bids, asks)

    def messages(self, session: Session, raw: Any) -> list[str]:
        channel, event, _ = coinbase_event(raw)
        name = "level2" if channel == "l2_data" else channel
        if f"{name} {raw['product_id']}" not in session.topics:
            return []
        return [self._wrap(session, channel, event)]

    def heartbeats(self, session: Session) -> list[str]:
        return [self._wrap(session, "heartbeats", {"heartbeat_counter": session.number})]

    def _snapshot(self, session: Session, product: str) -> str:
        if self.withheld:
            self.withheld -= 1
            return ""
        bids, asks = self.books[product].depth(1_000_000)
        updates = [
            {
                "side": side,
                "event_time": self.time(),
                "price_level": f"{p:f}",
                "new_quantity": f"{q:f}",
            }
            for side, levels in (("bid", bids), ("offer", asks))
            for p, q in levels
        ]
        event = {"type": "snapshot", "product_id": product, "updates": updates}
        return self._wrap(session, "l2_data", event)

    def _wrap(self, session: Session, channel: str, event: dict[str, Any]) -> str:
        number, session.number = session.number, session.number + 1
        return json.dumps({
            "channel": channel, "client_id": "", "timestamp": self.time(),
            "sequence_num": number, "events": [event],
        })  # fmt: skip


class BinanceServer(LoopbackVenue):
    """Spot. Steps are recorded combined-stream messages; the depth snapshot is had by REST."""

    def __init__(
        self,
        snapshots: Mapping[str, Mapping[str, Any]],
        steps: Sequence[Any],
        faults: Mapping[int, Fault] | None = None,
    ) -> None:
        super().__init__(steps, faults)
        self.last_ids: dict[str, int] = {}
        for name, raw in snapshots.items():
            self.books[name] = PlainBook()
            self.books[name].load(raw["bids"], raw["asks"])
            self.last_ids[name] = raw["lastUpdateId"]
        self.first = {name: self._snapshot(name) for name in self.books}
        self.limits: list[str] = []  # that clients asked for
        self.old_snapshots = 0  # that many are the market's first, however far it has gone
        self.refused_snapshots = 0  # that many are refused
        self.snapshot_after = 0  # no snapshot before that step

    def is_ready(self, session: Session) -> bool:
        return bool(session.topics)

    def replies(self, session: Session, message: dict[str, Any]) -> list[str]:
        session.topics |= set(message["params"])
        return [json.dumps({"result": None, "id": message["id"]})]

    def move(self, raw: Any) -> None:
        data = raw["data"]
        if data["e"] == "depthUpdate" and data["u"] > self.last_ids[data["s"]]:
            self.books[data["s"]].change(data["b"], data["a"])
            self.last_ids[data["s"]] = data["u"]

    def messages(self, session: Session, raw: Any) -> list[str]:
        return [json.dumps(raw)]

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path != "/api/v3/depth":
            return None
        query = parse_qs(parts.query)
        (name,), (limit,) = query["symbol"], query["limit"]
        self.limits.append(limit)
        while self.cursor < self.snapshot_after:
            await asyncio.sleep(0.001)
        if self.refused_snapshots:
            self.refused_snapshots -= 1
            return socket.respond(HTTPStatus.TOO_MANY_REQUESTS, "")
        if self.old_snapshots:
            self.old_snapshots -= 1
            return socket.respond(HTTPStatus.OK, self.first[name])
        return socket.respond(HTTPStatus.OK, self._snapshot(name))

    def _snapshot(self, name: str) -> str:
        bids, asks = self.books[name].depth(5_000)
        return json.dumps({
            "lastUpdateId": self.last_ids[name],
            "bids": [[f"{p:f}", f"{q:f}"] for p, q in bids],
            "asks": [[f"{p:f}", f"{q:f}"] for p, q in asks],
        })  # fmt: skip


class BybitServer(LoopbackVenue):
    """Public v5 socket. Steps are messages of today's form; the first of each book's topic is
    its snapshot, and `u` belongs to the market, not to the connection."""

    def __init__(
        self,
        snapshots: Mapping[str, Mapping[str, Any]],
        steps: Sequence[Any],
        faults: Mapping[int, Fault] | None = None,
    ) -> None:
        super().__init__(steps, faults)
        self.latest = dict(snapshots)  # the latest message of each book's topic
        for raw in snapshots.values():
            self.move(raw)
        self.refusal: str | None = None

    def is_ready(self, session: Session) -> bool:
        return set(self.latest) <= session.topics

    def replies(self, session: Session, message: dict[str, Any]) -> list[str]:
        word, topics = message["op"], message.get("args", [])
        ack = {"success": True, "ret_msg": "", "conn_id": "c", "op": word}
        if word == "ping":
            return [json.dumps({**ack, "ret_msg": "pong"})]
        if self.refusal is not None:
            return [json.dumps({**ack, "success": False, "ret_msg": self.refusal})]
        if word == "unsubscribe":
            session.topics -= set(topics)
            return [json.dumps(ack)]
        session.topics |= set(topics)
        books = [topic for topic in topics if topic in self.latest]
        return [json.dumps(ack), *(json.dumps(self._snapshot(topic)) for topic in books)]

    def move(self, raw: Any) -> None:
        if not raw["topic"].startswith("orderbook."):
            return
        data = raw["data"]
        book = self.books.setdefault(data["s"], PlainBook())
        if raw["type"] == "snapshot":
            book.load(data["b"], data["a"])
        else:
            book.change(data["b"], data["a"])
        self.latest[raw["topic"]] = raw

    def messages(self, session: Session, raw: Any) -> list[str]:
        return [json.dumps(raw)] if raw["topic"] in session.topics else []

    def _snapshot(self, topic: str) -> dict[str, Any]:
        latest = self.latest[topic]
        bids, asks = self.books[latest["data"]["s"]].depth(1_000)
        data = {
            **latest["data"],
            "b": [[f"{p:f}", f"{q:f}"] for p, q in bids],
            "a": [[f"{p:f}", f"{q:f}"] for p, q in asks],
        }
        return {**latest, "type": "snapshot", "data": data}


class ChunkedReply:
    """A reply without end to a GET: one chunk a line."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.transport = writer.transport
        self._writer = writer

    async def send(self, text: str) -> None:
        line = f"{text}\n".encode()
        self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await self._writer.drain()


class OandaServer(LoopbackVenue):
    """The price stream, over plain HTTP. Steps are PRICE and HEARTBEAT messages."""

    def __init__(self, steps: Sequence[Any], faults: Mapping[int, Fault] | None = None) -> None:
        super().__init__(steps, faults)
        self.status = HTTPStatus.OK
        self.token: str | None = None  # None: anybody is let in
        self.requests: list[tuple[str, dict[str, str]]] = []  # target and headers

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LoopbackVenue]:
        server = await asyncio.start_server(self._reply, "127.0.0.1", 0)
        async with server:
            self.http_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        self.requests.append((head[0].split()[1], {k.lower(): v for k, v in fields.items()}))
        status, body = self.status, b""
        shown = self.requests[-1][1].get("authorization")
        if self.token is not None and shown != f"Bearer {self.token}":
            status = HTTPStatus.UNAUTHORIZED
            body = b'{"errorMessage":"Insufficient authorization to perform request."}'
        writer.write(f"HTTP/1.1 {status} {status.phrase}\r\n".encode())
        if status is not HTTPStatus.OK:
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            writer.close()
            return
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        session = Session(ChunkedReply(writer))
        self.sessions.append(session)
        market = asyncio.create_task(self._market(session))
        try:
            await reader.read()  # until the client hangs up
        except ConnectionError:
            pass  # as a fault commanded
        finally:
            market.cancel()
            await asyncio.gather(market, return_exceptions=True)
            session.is_closed = True
            writer.close()

    def is_ready(self, session: Session) -> bool:
        return True

    def move(self, raw: Any) -> None:
        if raw["type"] == "HEARTBEAT":
            return
        book = self.books.setdefault(raw["instrument"], PlainBook())
        bids, asks = (
            [(level["price"], str(level["liquidity"])) for level in raw[side]]
            for side in ("bids", "asks")
        )
        book.load(bids, asks)

    def messages(self, session: Session, raw: Any) -> list[str]:
        return [json.dumps(raw)]

    def heartbeats(self, session: Session) -> list[str]:
        return ['{"type":"HEARTBEAT","time":"2016-10-27T08:38:44.327443673Z"}']
