"""Minutes of gold out of a loopback stream of OANDA's that tells recorded prices, and misbehaves.

What each bar should be is read out of the recording in plain Python.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cache
from http import HTTPStatus
from random import Random
from typing import Any

import httpx2
import pytest

from hydra.clock import NS_PER_S, iso, to_ns
from hydra.errors import ConfigError
from hydra.feeds.access import OandaAccess
from hydra.feeds.minutes import Minute
from hydra.feeds.venue_minutes import Addresses, live_minutes
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from tests.support.captures import oanda_gold_prices
from tests.support.connected import QUICK
from tests.support.hand_time import HandTime
from tests.support.listener import until
from tests.support.venues import Fault, OandaServer, Session

GOLD = Catalogue.load().instrument("XAUUSD", 2)
ACCESS = OandaAccess("101-004-1234567-001", "0123456789abcdef-canary-4711")
TEN_SECONDS = 10 * NS_PER_S
QUARTER_NS = NS_PER_S // 4  # OANDA tells at most four prices a second
LENGTH_S = 130
_TURNS = 80  # of the event loop: more than what has arrived takes to be read


def told_ns(step: Any) -> int:
    return to_ns(datetime.fromisoformat(step["time"]))


@cache
def recorded() -> tuple[int, tuple[Any, ...]]:
    """When it begins, a second before the first price; prices, and a heartbeat every 5 s."""
    steps: list[Any] = []
    for step in oanda_gold_prices(1_000):
        if not steps or told_ns(step) >= told_ns(steps[-1]) + QUARTER_NS:
            steps.append(step)
    began_ns = told_ns(steps[0]) // NS_PER_S * NS_PER_S - NS_PER_S
    beats = [
        {"type": "HEARTBEAT", "time": iso(began_ns + second * NS_PER_S)}
        for second in range(0, LENGTH_S, 5)
    ]
    steps = [step for step in steps if told_ns(step) < began_ns + LENGTH_S * NS_PER_S]
    return began_ns, tuple(sorted([*steps, *beats], key=told_ns))


def plain_bar(close_ns: int) -> list[list[Decimal]]:
    """Bid and ask of a bar of ten seconds: open, high, low, close."""
    prices = [step for step in recorded()[1] if step["type"] == "PRICE"]
    out = []
    for side in ("bids", "asks"):
        before = [p for p in prices if told_ns(p) < close_ns - TEN_SECONDS][-1:]
        inside = [p for p in prices if close_ns - TEN_SECONDS <= told_ns(p) < close_ns]
        told = [Decimal(p[side][0]["price"]) for p in (*before, *inside)]
        out.append([told[0], max(told), min(told), told[-1]])
    return out


def assert_same(table: BarTable, close_ns: int) -> None:
    """The figures of a bar; ticks of a cent, against whoever trades, where OANDA has mills."""
    bid, ask = plain_bar(close_ns)
    cent = Decimal("0.01")
    names = ("open", "high", "low", "close")
    price = table.instrument.price
    assert [price(int(getattr(table, f"bid_{name}")[0])) for name in names] == [
        one.quantize(cent, ROUND_FLOOR) for one in bid
    ]
    assert [price(int(getattr(table, f"ask_{name}")[0])) for name in names] == [
        one.quantize(cent, ROUND_CEILING) for one in ask
    ]
    middle = [float(getattr(table, name)[0]) for name in names]
    assert middle == pytest.approx([float((b + a) / 2) for b, a in zip(bid, ask, strict=True)])
    assert math.isnan(table.volume[0])
    assert table.real_spread


class PacedOanda(OandaServer):
    """Tells steps up to `limit` and then waits."""

    def __init__(self, steps: Sequence[Any], faults: dict[int, Fault] | None = None) -> None:
        super().__init__(steps, faults)
        self.limit = 0
        self.told_ns = [told_ns(step) for step in steps]

    async def _step(self, session: Session) -> None:
        while self.cursor >= self.limit:
            await asyncio.sleep(0.001)
        await super()._step(session)

    def heartbeats(self, session: Session) -> list[str]:
        return []  # they are among the steps

    async def tell(self, at_ns: int) -> None:
        self.limit = max(self.limit, bisect_left(self.told_ns, at_ns))
        if not self.sessions or self.sessions[-1].is_closed:
            return
        session = self.sessions[-1]
        await until(lambda: self.cursor >= self.limit or session.is_closed)
        for _ in range(_TURNS):
            await asyncio.sleep(0)


class Show:
    """Minutes as they come, of a market that is played second by second."""

    def __init__(self, server: PacedOanda, http: httpx2.AsyncClient, access: OandaAccess) -> None:
        self.began_ns, _ = recorded()
        self.time = HandTime(self.began_ns)
        self.server = server
        self.minutes: list[Minute] = []
        self.source = live_minutes(
            [GOLD], ["oanda"], clock=self.time, timer=self.time, rng=Random(1), http=http,
            backoff=QUICK, addresses=Addresses(oanda_stream=server.http_url),
            oanda_access=access, resolution_ns=TEN_SECONDS,
        )  # fmt: skip
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for minute in self.source.minutes():
            self.minutes.append(minute)

    async def play(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.time.run(1)
            await self.server.tell(self.time.now_ns())

    def second(self, minute: Minute) -> int:
        return (minute.close_ns - self.began_ns) // NS_PER_S

    def fit(self) -> list[int]:
        """When the bars that are said to be fit closed; each is compared with the recording."""
        fit = [minute for minute in self.minutes if not minute.fit["XAUUSD"]]
        for minute in fit:
            assert_same(minute.bars["XAUUSD"], minute.close_ns)
        return [self.second(minute) for minute in fit]


@asynccontextmanager
async def show(
    faults: dict[int, Fault] | None = None,
    *,
    steps: Sequence[Any] | None = None,
    access: OandaAccess = ACCESS,
) -> AsyncIterator[Show]:
    server = PacedOanda(recorded()[1] if steps is None else steps, faults)
    server.token = ACCESS.token
    async with server.open(), httpx2.AsyncClient() as http:
        told = Show(server, http, access)
        try:
            await until(lambda: bool(server.requests))
            yield told
        finally:
            await told.source.aclose()
            await asyncio.wait({told.reader})
    told.reader.result()


def step_at(second: int) -> int:
    """The first price that is told then or later."""
    began_ns, steps = recorded()
    return next(
        number
        for number, step in enumerate(steps)
        if step["type"] == "PRICE" and told_ns(step) >= began_ns + second * NS_PER_S
    )


async def test_minutes_of_oanda_are_those_of_the_recording() -> None:
    async with show() as told:
        await told.play(LENGTH_S - 2)

    closes = [told.second(minute) for minute in told.minutes]
    assert len(closes) >= 12
    # The first bar has no beginning; before the second the price has to stand for 5 s.
    assert set(closes[2:]) <= set(told.fit())
    ((target, headers),) = told.server.requests
    assert target == f"/v3/accounts/{ACCESS.account}/pricing/stream?instruments=XAU_USD"
    assert headers["authorization"] == f"Bearer {ACCESS.token}"
    assert told.source.stats().assets["XAUUSD"].late == 0


async def test_whatever_goes_wrong_bars_are_right_or_said_to_be_unfit() -> None:
    """Each price is whole, so that a malformed line spoils nothing; a broken connection does."""
    faults = {step_at(35): Fault.MALFORMED, step_at(45): Fault.DELAY, step_at(75): Fault.DROP}
    async with show(faults) as told:
        await told.play(LENGTH_S - 2)

    fit = told.fit()
    stats = told.source.stats().venues["oanda"]
    assert (stats.bad, stats.reconnects) == (1, 1)
    whys = {told.second(m): m.fit["XAUUSD"] for m in told.minutes if told.second(m) not in fit}
    (broken,) = [close for close in whys if 75 < close <= 85]
    assert "not whole" in whys[broken] or "no quote" in whys[broken]
    assert {close for close in map(told.second, told.minutes) if 30 <= close <= 75} <= set(fit)


async def test_a_market_that_shuts_is_unfit_with_the_reason_and_has_no_bars() -> None:
    """From 50 s to 90 s gold is not tradeable: its prices are there to see."""
    began_ns, steps = recorded()
    shut = [
        {**step, "tradeable": False, "status": "non-tradeable"}
        if step["type"] == "PRICE" and 50 <= (told_ns(step) - began_ns) / NS_PER_S < 90
        else step
        for step in steps
    ]
    async with show(steps=shut) as told:
        await told.play(LENGTH_S - 2)

    by_second = {told.second(minute): minute for minute in told.minutes}
    closed = [minute for second, minute in by_second.items() if 65 <= second <= 88]
    assert len(closed) >= 2
    for minute in closed:
        assert minute.bars == {}
        assert minute.fit["XAUUSD"] == "oanda has no quote: not tradeable"
    again = [minute for second, minute in by_second.items() if second >= 105]
    assert [minute.fit["XAUUSD"] for minute in again] == [""] * len(again)
    assert len(again) >= 2
    for minute in again:
        assert_same(minute.bars["XAUUSD"], minute.close_ns)
    stats = told.source.stats().venues["oanda"]
    assert (stats.bad, stats.resyncs, stats.reconnects, stats.down) == (0, 0, 0, "")


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS])
async def test_who_is_not_let_in_is_told_why_without_account_or_token(status: HTTPStatus) -> None:
    other = OandaAccess("101-004-7654321-001", "another-token-canary-4712")
    async with show(access=other) as told:
        told.server.status = status
        if status is not HTTPStatus.OK:
            told.server.token = None
        await until(lambda: len(told.server.requests) >= 3)
        await told.play(12)
        stats = told.source.stats().venues["oanda"]

    if status is HTTPStatus.OK:
        assert "status 401, OANDA_API_TOKEN or OANDA_ACCOUNT_ID is wrong" in stats.down
    else:
        assert stats.down.endswith(": status 429")
    assert [minute.fit["XAUUSD"] for minute in told.minutes] == [
        "oanda has no quote: none came yet"
    ]
    for secret in (other.token, other.account):
        assert secret not in f"{stats} {told.minutes} {told.source.stats()} {other!r}"


async def test_without_access_and_over_an_open_line_there_is_no_oanda() -> None:
    time = HandTime()
    async with httpx2.AsyncClient() as http:

        def build(**options: Any) -> None:
            live_minutes(
                [GOLD], ["oanda"], clock=time, timer=time, rng=Random(1), http=http, **options
            )

        with pytest.raises(ConfigError, match="without an account and a token"):
            build()
        open_line = Addresses(oanda_stream="http://stream.example.com")
        with pytest.raises(ConfigError, match="OANDA_STREAM_URL: a token goes over https"):
            build(oanda_access=ACCESS, addresses=open_line)
