"""A live season: the market does not wait for answers, and a replay of it has the same journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hydra.engines.protocol import Answer
from hydra.engines.view import View
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable, Chunk
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from tests.support.bars import a_random_walk
from tests.support.seasons import (
    HOUR_NS,
    USD,
    Record,
    ScriptedEngine,
    a_contestant,
    a_season,
    play_bars,
)

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


class Wall:
    """The clock on the wall of a test: those who wait for an instant go on when it has come."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []

    async def until(self, at_ns: int) -> None:
        if at_ns > self.now_ns:
            event = asyncio.Event()
            self._waiting.append((at_ns, event))
            await event.wait()

    async def move(self, now_ns: int) -> None:
        self.now_ns = now_ns
        for at_ns, event in self._waiting:
            if at_ns <= now_ns:
                event.set()
        for _ in range(10):  # let them say what they have to say
            await asyncio.sleep(0)


class Thinker:
    """Buys or closes at every question; its answer takes as long as a function says.

    With a wall clock it takes that long on it, without one it says so at once.
    """

    features = ()

    def __init__(self, latency_ns: Callable[[int], int], wall: Wall | None) -> None:
        self._latency_ns = latency_ns
        self._wall = wall
        self._asked = 0

    async def decide(self, view: View) -> Answer:
        number, asked_ns = self._asked, view.account.now_ns
        self._asked += 1
        took_ns = self._latency_ns(number)
        intents = tuple(view.close_ticket(t) for t in view.account.tickets) or (
            view.buy(stop=view.close * 0.8),
        )
        if self._wall is not None:
            await self._wall.until(asked_ns + took_ns)
        return Answer(intents=intents, latency_ns=took_ns)


def at_every(bars: int) -> ScriptedEngine:
    """Buys on every so many bars what it sells on the next."""

    def act(view: View) -> Any:
        return (
            [view.close_ticket(t) for t in view.tickets]
            if view.tickets
            else [view.sell(stop=view.close * 1.3)]
        )

    return ScriptedEngine(dict.fromkeys(range(0, 200, bars), act))


def field(latencies: Sequence[Callable[[int], int]], wall: Wall | None) -> list[Contestant]:
    thinkers = [
        a_contestant(f"thinker {i}", Thinker(one, wall), every_s=2 * 3_600, answer_s=1e9)
        for i, one in enumerate(latencies)
    ]
    return [a_contestant("rules", at_every(3)), *thinkers, a_contestant("more", at_every(5))]


def play_live(
    tables: Sequence[BarTable],
    contestants: Sequence[Contestant],
    wall: Wall,
    *,
    mode: str = "independent",
    warm: Sequence[BarTable] = (),
    commit_ms: int = 0,
    on_chunk: Callable[[MemorySeasonStore, int], None] = lambda store, cycle: None,
) -> MemorySeasonStore:
    streams = streams_of(tables)
    feed = ReplayFeed(streams, tables, chunk_cycles=1)
    store = MemoryDatabase().open_season(a_season(), resume=False)
    mother = Mother(
        plan=SeasonPlan(
            mode=mode, profile=profile("none"), costs=costs_named("none"), seed=1,
            start_ns=feed.first_ns, sample_ns=HOUR_NS, initial_units=25_000 * USD,
            luck_traders=0, bootstrap_replicates=2, is_live=True,
            commit_ms=commit_ms,
        ),
        contestants=contestants,
        streams=streams,
        store=store,
    )  # fmt: skip

    async def chunks() -> AsyncIterator[Chunk]:
        for cycle, chunk in enumerate(feed.chunks()):
            await wall.move(int(chunk.close_ns[0]) + 2 * SECOND_NS)  # bars come a little later
            on_chunk(store, cycle)
            yield chunk
        await wall.move(feed.last_ns + 2 * HOUR_NS)

    if warm:
        mother.warm(warm)
    asyncio.run(mother.run(chunks()))
    return store


def tables(*symbols: str, bars: int = 40) -> list[BarTable]:
    return [
        a_random_walk(np.random.default_rng(i), bars, name, "1h", volatility_frac=0.01)
        for i, name in enumerate(symbols or ("BTC-USD",))
    ]


def lines(store: MemorySeasonStore) -> list[Any]:
    """The journal without its first record, which says how the season was set up."""
    return [row[2:8] for row in store.season.journal[1:]]


LATENCIES = {
    "at once": [lambda n: 0],
    "seconds": [lambda n: 5 * SECOND_NS, lambda n: 2 * SECOND_NS],
    "just within a bar": [lambda n: HOUR_NS - SECOND_NS],
    "exactly a bar": [lambda n: HOUR_NS],
    "just beyond a bar": [lambda n: HOUR_NS + SECOND_NS],
    "hours": [lambda n: 5 * HOUR_NS + 7 * MINUTE_NS, lambda n: 3 * HOUR_NS],
    "now so, now so": [lambda n: (n % 7) * 25 * MINUTE_NS, lambda n: (n % 3) * HOUR_NS],
}


@pytest.mark.parametrize("mode", ["independent", "consensus"])
@pytest.mark.parametrize("how", LATENCIES)
def test_a_live_season_and_its_replay_have_the_same_journal(how: str, mode: str) -> None:
    bars = tables("BTC-USD", "ETH-USD")
    wall = Wall()
    live = play_live(bars, field(LATENCIES[how], wall), wall, mode=mode)
    replay = play_bars(bars, field(LATENCIES[how], None), mode=mode, start_ns=None)

    assert any(row[4] == "thinker 0" and row[5] == "opened" for row in live.season.journal)
    assert lines(live) == lines(replay.store)


def test_a_mind_that_never_answers_delays_nobody() -> None:
    bars, wall = tables(), Wall()
    quick = [lambda n: 3 * SECOND_NS]
    alone = play_live(bars, field(quick, wall), wall)
    wall = Wall()
    never = a_contestant("never", Thinker(lambda n: 10**18, wall), every_s=2 * 3_600, answer_s=1e9)
    beside = play_live(bars, [*field(quick, wall), never], wall)

    def of_others(store: MemorySeasonStore) -> list[Any]:
        return [line for line in lines(store) if line[2] in ("rules", "thinker 0", "more")]

    def without_ticket_numbers(found: list[Any]) -> list[Any]:
        return [(line[0], line[1], line[2], line[3], line[4]) for line in found]

    assert without_ticket_numbers(of_others(beside)) == without_ticket_numbers(of_others(alone))
    kinds = {line[3] for line in lines(beside) if line[2] == "never"}
    assert kinds == {"abstained", "day", "balance"}  # not asked again while it thinks


def test_a_cycle_is_durable_before_the_next_one_begins() -> None:
    committed: list[tuple[int, int]] = []
    bars, wall = tables(), Wall()
    play_live(
        bars, field([lambda n: 0], wall), wall,
        on_chunk=lambda store, cycle: committed.append((cycle, store.season.cycle)),
    )  # fmt: skip

    assert committed[1:] == [(cycle, cycle) for cycle in range(1, 40)]


def test_commits_may_be_grouped_and_the_season_is_the_same() -> None:
    committed: set[int] = set()
    stores = []
    for commit_ms in (0, 3_600_000):
        wall = Wall()
        stores.append(
            play_live(
                tables(), field([lambda n: 0], wall), wall, commit_ms=commit_ms,
                on_chunk=lambda store, cycle: committed.add(store.season.cycle),
            )
        )  # fmt: skip
        if not commit_ms:
            committed.clear()

    each, grouped = stores
    assert len(committed) <= 2  # none, and the first
    assert lines(grouped) == lines(each)


def test_an_answer_that_fails_while_the_market_goes_on_is_a_failure_like_any_other() -> None:
    wall = Wall()

    class Failing(Thinker):
        async def decide(self, view: View) -> Answer:
            await wall.until(view.account.now_ns + 90 * MINUTE_NS)
            raise RuntimeError("lost the thread")

    contestant = a_contestant("failing", Failing(lambda n: 0, wall), every_s=3_600, answer_s=1e9)
    store = play_live(tables(), [contestant, a_contestant("rules", at_every(3))], wall)

    kinds = [line[3] for line in lines(store) if line[2] == "failing"]
    assert kinds.count("failed") == 3
    assert "benched" in kinds


def test_warm_engines_decide_at_the_first_bar_of_the_season() -> None:
    from hydra.features.specs import ema

    whole = a_random_walk(np.random.default_rng(4), 60, resolution="1h", volatility_frac=0.01)
    before, season = (
        [_rows(whole, 0, 30)],
        [_rows(whole, 30, 60)],
    )
    seen: list[tuple[int, tuple[float, ...], int]] = []

    class Looking:
        features = (ema(20),)

        def decide(self, view: View) -> Sequence[Any]:
            seen.append((view.now_ns, view.features, len(view.bars(1_000).close)))
            return ()

    wall = Wall()
    play_live(season, [a_contestant("looking", Looking())], wall, warm=before)

    assert seen[0][0] == int(season[0].open_ns[0]) + HOUR_NS
    assert [bars for _, _, bars in seen] == list(range(31, 61))
    cold: list[tuple[float, ...]] = []

    class Same(Looking):
        def decide(self, view: View) -> Sequence[Any]:
            cold.append(view.features)
            return ()

    play_bars([whole], {"same": Same()})
    assert [features for _, features, _ in seen] == cold[-30:]


def _rows(table: BarTable, start: int, end: int) -> BarTable:
    from hydra.feeds.tables import rows_between

    return rows_between(table, start, end)


def test_records_are_numbered_by_cycle_as_in_a_replay() -> None:
    bars, wall = tables(bars=10), Wall()
    store = play_live(bars, field([lambda n: 90 * MINUTE_NS], wall), wall)
    records = [
        Record(cycle=r[2], at_ns=r[3], engine=r[4], kind=r[5], amount_units=r[6], body={})
        for r in store.season.journal
    ]

    assert all(a.cycle <= b.cycle for a, b in pairwise(records))
