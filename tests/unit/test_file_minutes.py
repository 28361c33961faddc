"""Recorded bars as minutes: their values, their pace, and how they stop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from hydra.clock import NS_PER_S, SystemTimer
from hydra.errors import ConfigError
from hydra.feeds.barfile import load_bars
from hydra.feeds.minutes import FileMinutes, Minute, MinuteSource
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from tests.support.bars import START_NS, a_table
from tests.support.hand_time import HandTime, rest
from tests.support.shared_data import shared_data

MINUTE = 60 * NS_PER_S
COLUMNS = (
    "open_ns", "bid_open", "bid_high", "bid_low", "bid_close", "ask_open", "ask_high", "ask_low",
    "ask_close", "open", "high", "low", "close", "volume",
)  # fmt: skip


async def read_all(tables: Sequence[BarTable], speed: float = 0) -> list[Minute]:
    return [m async for m in FileMinutes(tables, timer=HandTime(), speed=speed).minutes()]


class Reader:
    """Takes minutes and notes the timer's seconds at which they came."""

    def __init__(self, source: MinuteSource, time: HandTime, takes_s: float = 0) -> None:
        self.closes: list[int] = []
        self.seconds: list[float] = []
        self._source, self._time, self._takes_s = source, time, takes_s
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for minute in self._source.minutes():
            self.closes.append(minute.close_ns)
            self.seconds.append(self._time.now_ns() / NS_PER_S)
            if self._takes_s:
                await self._time.sleep(self._takes_s)


async def test_a_minute_is_all_that_closes_at_one_instant() -> None:
    btc = a_table("BTC-USD", [1.0, 2.0, 3.0], "1m")
    eth = a_table("ETH-USD", [7.0, 9.0], "1m", open_ns=[START_NS + MINUTE, START_NS + 3 * MINUTE])

    minutes = await read_all([eth, btc])

    assert [(m.close_ns - START_NS) // MINUTE for m in minutes] == [1, 2, 3, 4]
    assert [{s: b.close.tolist() for s, b in m.bars.items()} for m in minutes] == [
        {"BTC-USD": [1.0]}, {"BTC-USD": [2.0], "ETH-USD": [7.0]}, {"BTC-USD": [3.0]},
        {"ETH-USD": [9.0]},
    ]  # fmt: skip
    assert [m.fit for m in minutes] == [
        {"BTC-USD": "", "ETH-USD": "no bar"}, {"BTC-USD": "", "ETH-USD": ""},
        {"BTC-USD": "", "ETH-USD": "no bar"}, {"BTC-USD": "no bar", "ETH-USD": ""},
    ]  # fmt: skip


@pytest.mark.parametrize("resolution", ["1m", "1h", "4h"])
async def test_any_resolution_at_sixty_times_its_pace(resolution: str) -> None:
    table = a_table("BTC-USD", [1.0, 2.0, 3.0, 4.0], resolution)
    step_s = table.resolution_ns / NS_PER_S / 60
    time = HandTime()
    reader = Reader(FileMinutes([table], timer=time, speed=60), time)

    await time.run(3 * step_s)

    assert reader.seconds == [0, step_s, 2 * step_s, 3 * step_s]
    await reader.task


async def test_on_the_machines_timer() -> None:
    """Three hours at 360,000 times their pace: 10 ms between two of them."""
    timer = SystemTimer()
    began_ns = timer.now_ns()

    minutes = [m async for m in FileMinutes([a_table()], timer=timer, speed=360_000).minutes()]

    assert len(minutes) == 3
    assert timer.now_ns() - began_ns >= 20_000_000


async def test_a_gap_lasts_as_long_as_it_did() -> None:
    table = a_table("BTC-USD", [1.0, 2.0], "1m", open_ns=[START_NS, START_NS + 600 * MINUTE])
    time = HandTime()
    reader = Reader(FileMinutes([table], timer=time, speed=60), time)

    await time.run(700)

    assert reader.seconds == [0, 600]


async def test_what_a_reader_takes_does_not_add_up() -> None:
    """A minute a second; the reader takes 0.7 s for each, and minutes stay on the second."""
    time = HandTime()
    table = a_table("BTC-USD", np.arange(1.0, 101.0), "1m")
    reader = Reader(FileMinutes([table], timer=time, speed=60), time, takes_s=0.7)

    await time.run(100)

    assert reader.seconds == list(range(100))


async def test_a_reader_that_lags_behind_gets_what_is_due_without_a_pause() -> None:
    time = HandTime()
    table = a_table("BTC-USD", [1.0, 2.0, 3.0, 4.0, 5.0], "1m")
    reader = Reader(FileMinutes([table], timer=time, speed=60), time, takes_s=1.5)

    await time.run(100)

    assert reader.seconds == [0, 1.5, 3, 4.5, 6]


@pytest.mark.parametrize("speed", [0, math.inf])
async def test_without_a_speed_the_reader_sets_the_pace(speed: float) -> None:
    time = HandTime()
    minutes = FileMinutes([a_table(closes=np.ones(500))], timer=time, speed=speed)

    assert len([m async for m in minutes.minutes()]) == 500
    assert time.now_ns() == 0


async def test_cancelled_in_a_wait_it_stops_and_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    time = HandTime()
    reader = Reader(FileMinutes([a_table()], timer=time), time)
    await time.run(1)
    assert time.asleep == 1

    reader.task.cancel()
    await asyncio.wait({reader.task})

    assert reader.task.cancelled()
    assert (len(reader.closes), time.asleep) == (1, 0)
    assert asyncio.all_tasks() == before


async def test_closed_in_a_wait_it_ends() -> None:
    before = asyncio.all_tasks()
    time = HandTime()
    source = FileMinutes([a_table()], timer=time)
    reader = Reader(source, time)
    await time.run(1)

    await source.aclose()
    await reader.task

    assert (len(reader.closes), time.asleep) == (1, 0)
    assert asyncio.all_tasks() == before
    assert [m async for m in source.minutes()] == []


async def test_closed_between_two_minutes_it_ends() -> None:
    source = FileMinutes([a_table()], timer=HandTime(), speed=0)
    minutes: AsyncIterator[Minute] = source.minutes()
    await anext(minutes)
    await source.aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(minutes)


async def test_a_timer_that_fails_is_heard() -> None:
    class Broken(HandTime):
        async def sleep(self, seconds: float) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Reader(FileMinutes([a_table()], timer=Broken()), HandTime()).task
    await rest()


@pytest.mark.parametrize(
    ("tables", "speed", "text"),
    [
        ([a_table()], -1, "speed of -1"),
        ([a_table()], math.nan, "speed of nan"),
        ([], 60, "no bar"),
        ([a_table(closes=())], 60, "no bar"),
        ([a_table(resolution="1h"), a_table(resolution="4h")], 60, "two lengths"),
        ([a_table(), a_table()], 60, "same symbol"),
    ],
)
def test_what_makes_no_sense_is_refused(tables: list[BarTable], speed: float, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        FileMinutes(tables, timer=HandTime(), speed=speed)


async def test_real_bars_come_out_as_they_went_in() -> None:
    """A thousand instants of BTC, ETH and SOL, read back column by column."""
    path = shared_data("bars/binance_4h_20231230_20240322_btc_eth_sol_bnb.parquet")
    tables = load_bars([path], catalogue=Catalogue.load()).tables

    minutes = await read_all(tables)

    assert [m.close_ns for m in minutes] == sorted({m.close_ns for m in minutes})
    for table in tables:
        rows = [m.bars[table.symbol] for m in minutes if table.symbol in m.bars]
        for name in COLUMNS:
            joined = np.concatenate([getattr(row, name) for row in rows])
            np.testing.assert_array_equal(joined, getattr(table, name))
    for minute in minutes:
        closes = {int(b.open_ns[0]) + b.resolution_ns for b in minute.bars.values()}
        assert closes == {minute.close_ns}
