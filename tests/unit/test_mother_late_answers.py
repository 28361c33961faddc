"""Answers that come later than they say, or never: a season that has them repeats all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from hydra.clock import NS_PER_S
from hydra.engines.protocol import Answer
from hydra.engines.view import View
from hydra.errors import AnswerLost
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import profile
from hydra.market.bars import Chunk
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from tests.support.bars import a_random_walk
from tests.support.seasons import HOUR_NS, USD, ScriptedEngine, a_contestant, a_season

TABLES = [
    a_random_walk(np.random.default_rng(i), 40, name, "1h", volatility_frac=0.01)
    for i, name in enumerate(("BTC-USD", "ETH-USD"))
]
FEED = ReplayFeed(streams_of(TABLES), TABLES, chunk_cycles=1)


NEVER = 1_000_000  # cycles


class Died(Exception):
    """The process, at the end of a cycle."""


class Thinker:
    """Asked every two hours; says that it took a minute. Its answers come when `comes` says: so
    many cycles after they were asked for, None: at once, or never where `lost` has the question."""

    features = ()

    def __init__(self, comes: Callable[[int], int] | None, lost: frozenset[int] = frozenset()):
        self._comes = comes
        self._lost = lost
        self._numbers: dict[int, int] = {}
        self._cycle = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []

    async def decide(self, view: View) -> Answer:
        asked_ns = view.account.now_ns
        number = self._numbers.setdefault(asked_ns, len(self._numbers))
        intents = tuple(view.close_ticket(t) for t in view.account.tickets) or (
            view.buy(stop=view.close * 0.8),
        )
        if number in self._lost:
            raise AnswerLost(str(number))
        if self._comes is not None and (cycles := self._comes(number)):
            at = (asked_ns - FEED.first_ns) // HOUR_NS + 1 + cycles
            event = asyncio.Event()
            self._waiting.append((at, event))
            if at > self._cycle:
                await event.wait()
        return Answer(intents=intents, latency_ns=60 * NS_PER_S)

    async def move(self, cycle: int) -> None:
        """The cycle that is played next: who has waited long enough answers before it."""
        self._cycle = cycle
        for at, event in self._waiting:
            if at <= cycle:
                event.set()
        for _ in range(10):
            await asyncio.sleep(0)


def field(thinker: Thinker) -> list[Contestant]:
    def act(view: View) -> Any:
        if view.tickets:
            return [view.close_ticket(t) for t in view.tickets]
        return [view.sell(stop=view.close * 1.3)]

    rules = ScriptedEngine(dict.fromkeys(range(0, 200, 3), act))
    return [
        a_contestant("rules", rules),
        a_contestant("thinker", thinker, every_s=2 * 3_600, answer_s=1e9),
    ]


def a_mother(store: MemorySeasonStore, thinker: Thinker, *, is_live: bool, mode: str) -> Mother:
    return Mother(
        plan=SeasonPlan(
            mode=mode, profile=profile("none"), costs=costs_named("none"), seed=1,
            start_ns=FEED.first_ns, sample_ns=HOUR_NS, initial_units=25_000 * USD,
            luck_traders=0, bootstrap_replicates=2, is_live=is_live, commit_ms=0,
        ),
        contestants=field(thinker),
        streams=streams_of(TABLES),
        store=store,
    )  # fmt: skip


def live(
    database: MemoryDatabase, thinker: Thinker, *, dies_after: int | None = None,
    mode: str = "independent",
) -> MemorySeasonStore:  # fmt: skip
    """Play the season on from where it is stored, to its end or a death after a cycle."""
    store = database.open_season(a_season(), resume="season-1" in database.seasons)

    async def chunks() -> AsyncIterator[Chunk]:
        for cycle, chunk in enumerate(FEED.chunks(), 1):
            if dies_after is not None and cycle > dies_after:
                raise Died
            await thinker.move(cycle)
            yield chunk
        await thinker.move(1_000)

    with suppress(Died):
        asyncio.run(a_mother(store, thinker, is_live=True, mode=mode).run(chunks()))
    store.release()
    return store


def again(
    database: MemoryDatabase, thinker: Thinker, mode: str = "independent"
) -> MemorySeasonStore:
    """Play a season anew that hears what season-1 heard."""
    heard = database.seasons["season-1"]
    external = tuple(
        (row[2], row[5], row[7].encode()) for row in heard.journal if row[5].startswith("external.")
    )
    store = database.open_season(a_season("again"), resume=False)
    store.hear(external, heard.cycle)
    mother = a_mother(store, thinker, is_live=False, mode=mode)
    asyncio.run(mother.run([c for n, c in enumerate(FEED.chunks(), 1) if n <= heard.cycle]))
    return store


def records(store: MemorySeasonStore) -> list[Any]:
    return [row[1:8] for row in store.season.journal]


def kinds(store: MemorySeasonStore, kind: str) -> list[int]:
    """The cycles of the records of a kind."""
    return [row[2] for row in store.season.journal if row[5] == kind]


HELD_UP = {
    "a cycle": lambda n: 1,
    "cycles": lambda n: 3,
    "now and then": lambda n: (0, 4, 0, 0, 7)[n % 5],
    "for ever, once": lambda n: NEVER if n == 6 else 0,
}


@pytest.mark.parametrize("mode", ["independent", "consensus"])
@pytest.mark.parametrize("how", HELD_UP)
def test_a_season_whose_machine_was_held_up_is_played_again_to_the_same_journal(
    how: str, mode: str
) -> None:
    database = MemoryDatabase()
    lost = frozenset({6}) if how == "for ever, once" else frozenset[int]()
    first = live(database, Thinker(HELD_UP[how]), mode=mode)
    second = again(database, Thinker(None, lost), mode=mode)

    assert records(second) == records(first)
    assert second.season.digest == first.season.digest
    # Only what differs from what the answers say themselves is on record.
    late = kinds(first, "external.answer")
    assert bool(late) == (how not in ("a cycle", "for ever, once"))
    assert any(row[4] == "thinker" and row[5] == "opened" for row in first.season.journal)


def test_an_answer_that_comes_late_counts_from_when_it_came() -> None:
    """Asked at the end of hour 1, there before hour 5 is played; then not asked before hour 6."""
    database = MemoryDatabase()
    first = live(database, Thinker(lambda n: 4))

    told = [row for row in first.season.journal if row[4] == "thinker"]
    late, approved, opened = (
        next(row for row in told if row[5] == kind)
        for kind in ("external.answer", "approved", "opened")
    )
    assert (late[2], approved[2], opened[2]) == (4, 4, 5)
    assert kinds(first, "external.answer")[:2] == [4, 9]


@pytest.mark.parametrize("mode", ["independent", "consensus"])
def test_answers_that_died_with_the_program_are_lost_and_the_season_goes_on_and_repeats(
    mode: str,
) -> None:
    database = MemoryDatabase()
    # Asked at the ends of hours 2, 4, …; what is asked fifth takes for ever, and the program dies.
    live(database, Thinker(lambda n: NEVER if n == 4 else 0), dies_after=13, mode=mode)
    stored = list(database.seasons["season-1"].journal)
    live(database, Thinker(lambda n: 0, frozenset({4})), dies_after=21, mode=mode)
    last = live(database, Thinker(lambda n: 0, frozenset({4})), mode=mode)

    assert last.season.journal[: len(stored)] == stored
    assert kinds(last, "external.lost") == [13]
    asked_again = [
        row[2] for row in last.season.journal if row[4] == "thinker" and row[5] == "approved"
    ]
    assert any(cycle > 13 for cycle in asked_again)
    assert not any(10 <= cycle <= 13 for cycle in asked_again)
    second = again(database, Thinker(None, frozenset({4})), mode=mode)
    assert records(second) == records(last)


def test_a_season_that_stopped_with_a_question_out_repeats_up_to_there() -> None:
    database = MemoryDatabase()
    first = live(database, Thinker(lambda n: NEVER if n == 4 else 2), dies_after=14)
    second = again(database, Thinker(None, frozenset({4})))

    stopped = records(first)
    assert records(second)[: len(stopped)] == stopped
    assert not kinds(first, "balance")
    assert kinds(second, "balance") == [14, 14]
