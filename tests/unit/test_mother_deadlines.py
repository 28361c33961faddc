"""A decision that takes too long is ended at its deadline, whoever is late and however."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from hydra.clock import monotonic_ns
from hydra.engines.view import View
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Intent
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from tests.support.bars import a_random_walk
from tests.support.seasons import Played, a_contestant, a_season, play_bars

DEADLINE_S = 0.15
Script = Callable[[View, int], Any]


class Doing:
    """An engine that does what a function of the view and the number of its bar says."""

    features = ()

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked = 0

    def decide(self, view: View) -> Sequence[Intent]:
        self.asked += 1
        return self._script(view, number_of(view))  # type: ignore[no-any-return]


def number_of(view: View) -> int:
    """Of the newest bar, the first being 1."""
    return len(view.bars(1000).close)


class Awaiting:
    """The same, but one waits for its answer."""

    features = ()

    def __init__(self, script: Callable[[View, int], Awaitable[Any]]) -> None:
        self._script = script
        self.asked = 0

    async def decide(self, view: View) -> Sequence[Intent]:
        self.asked += 1
        return await self._script(view, number_of(view))  # type: ignore[no-any-return]


def tables(bars: int = 12, *symbols: str) -> list[BarTable]:
    return [
        a_random_walk(np.random.default_rng(i), bars, symbol, "1h", volatility_frac=0.01)
        for i, symbol in enumerate(symbols or ("BTC-USD",))
    ]


def trade(view: View, bar: int) -> Sequence[Intent]:
    """Buys on every fifth bar what it sells two bars later."""
    if view.tickets:
        return [view.close_ticket(ticket) for ticket in view.tickets] if bar % 5 == 3 else []
    return [view.buy(stop=view.close * 0.9)] if bar % 5 == 1 else []


def spin_s(seconds: float) -> None:
    end = monotonic_ns() + int(seconds * 1e9)
    while monotonic_ns() < end:
        pass


def spin_on(*bars: int) -> Script:
    def script(view: View, bar: int) -> Sequence[Intent]:
        while bar in bars:
            pass
        return trade(view, bar)

    return script


def season_of(
    *engines: tuple[str, Any],
    store: MemorySeasonStore | None = None,
    deadline_s: float = DEADLINE_S,
    on: Sequence[BarTable] | None = None,
    **plan: Any,
) -> Played:
    contestants = [a_contestant(name, one, deadline_s=deadline_s) for name, one in engines]
    return play_bars(on or tables(), contestants, store=store, **plan)


def kinds_of(season: Played, engine: str) -> list[str]:
    return [record.kind for record in season.records(engine)]


# Plain engines


def test_an_engine_that_never_returns_is_ended_and_benched_after_three_times() -> None:
    engine = Doing(spin_on(*range(1, 100)))
    started = monotonic_ns()

    season = season_of(("stuck", engine), ("other", Doing(trade)))

    took_s = (monotonic_ns() - started) / 1e9
    assert [record.cycle for record in season.records("stuck", "external.timeout")] == [1, 2, 3]
    assert season.records("stuck", "benched")[0].body["reason"] == "no answer within 0.15 s"
    assert engine.asked == 3
    assert took_s < 3 * DEADLINE_S * 2 + 2
    assert season.records("other", "opened")


def test_catching_every_exception_does_not_keep_it_going() -> None:
    def swallows(view: View, bar: int) -> Sequence[Intent]:
        while True:
            try:
                spin_s(0.01)
            except Exception:
                continue

    season = season_of(("stuck", Doing(swallows)), failures_to_bench=1)

    assert kinds_of(season, "stuck")[:2] == ["external.timeout", "benched"]


def test_engines_that_take_their_time_one_after_the_other_are_not_late() -> None:
    def slow(view: View, bar: int) -> Sequence[Intent]:
        if bar == 2:
            spin_s(0.2)
        return trade(view, bar)

    season = season_of(*[(f"slow {i}", Doing(slow)) for i in range(5)], deadline_s=0.6)

    assert season.records("slow 4", "external.timeout") == []
    assert season.store.season.engines["slow 4"].state == "playing"


def test_only_the_engine_that_is_late_pays_for_it() -> None:
    def slow(view: View, bar: int) -> Sequence[Intent]:
        if bar == 2:
            spin_s(DEADLINE_S * 0.6)
        return trade(view, bar)

    season = season_of(
        ("before", Doing(slow)), ("stuck", Doing(spin_on(2))), ("after", Doing(slow))
    )

    late = [r for r in season.journal if r.kind == "external.timeout"]
    assert [(r.engine, r.cycle) for r in late] == [("stuck", 2)]


def test_the_others_play_as_if_the_late_one_had_stayed_at_home() -> None:
    def others(season: Played) -> list[tuple[object, ...]]:
        return [row[2:8] for row in season.store.season.journal[1:] if row[4] == "other"]

    idle = season_of(("stuck", Doing(lambda view, bar: ())), ("other", Doing(trade)))
    stuck = season_of(("stuck", Doing(spin_on(1, 2, 3))), ("other", Doing(trade)))

    assert others(stuck) == others(idle)


def test_outside_the_main_thread_a_season_plays_unwatched() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(season_of(("one", Doing(trade))).digest))
    thread.start()
    thread.join()

    assert found == [season_of(("one", Doing(trade))).digest]


# Engines one waits for


async def trade_later(view: View, bar: int) -> Sequence[Intent]:
    await asyncio.sleep(0)
    return trade(view, bar)


def test_an_answer_in_time_counts_as_if_it_had_come_at_once() -> None:
    assert (
        season_of(("one", Awaiting(trade_later))).digest == season_of(("one", Doing(trade))).digest
    )


def test_answers_are_taken_in_the_order_of_the_engines_not_of_their_arrival() -> None:
    def after(turns: int) -> Callable[[View, int], Awaitable[Any]]:
        async def script(view: View, bar: int) -> Sequence[Intent]:
            for _ in range(turns):
                await asyncio.sleep(0)
            return trade(view, bar)

        return script

    def digest(*turns: int) -> str:
        return season_of(*[(f"e{i}", Awaiting(after(n))) for i, n in enumerate(turns)]).digest

    assert digest(0, 3, 9) == digest(9, 3, 0) == digest(2, 2, 2)


def test_the_engines_wait_at_the_same_time() -> None:
    async def script(view: View, bar: int) -> Sequence[Intent]:
        if bar == 1:
            await asyncio.sleep(0.3)
        return trade(view, bar)

    started = monotonic_ns()
    season_of(*[(f"e{i}", Awaiting(script)) for i in range(10)], deadline_s=5.0)

    assert (monotonic_ns() - started) / 1e9 < 2.0


def test_an_answer_that_does_not_come_is_a_failure_like_any_other() -> None:
    async def never(view: View, bar: int) -> Sequence[Intent]:
        await asyncio.Event().wait()
        return ()

    season = season_of(("late", Awaiting(never)), ("other", Awaiting(trade_later)))

    assert [record.cycle for record in season.records("late", "external.timeout")] == [1, 2, 3]
    assert season.records("late", "benched")[0].body["reason"] == "no answer within 0.15 s"
    assert season.records("other", "opened")


def test_an_answer_that_blocks_everyone_is_ended_too() -> None:
    async def blocks(view: View, bar: int) -> Sequence[Intent]:
        await asyncio.sleep(0)
        while bar == 2:
            pass
        return trade(view, bar)

    season = season_of(("blocks", Awaiting(blocks)), ("other", Doing(trade)))

    late = [r for r in season.journal if r.kind == "external.timeout"]
    assert [(r.engine, r.cycle) for r in late] == [("blocks", 2)]


def test_what_an_answer_raises_is_recorded() -> None:
    async def raises(view: View, bar: int) -> Sequence[Intent]:
        await asyncio.sleep(0)
        raise ValueError("no sense in it")

    season = season_of(("bad", Awaiting(raises)), ("other", Awaiting(trade_later)))

    texts = [record.body["text"] for record in season.records("bad", "failed")]
    assert texts == ["ValueError: no sense in it"] * 3
    assert season.records("bad", "benched")


@pytest.mark.parametrize("leaving", [SystemExit, asyncio.CancelledError])
def test_an_answer_that_leaves_the_program_is_a_failure(leaving: type[BaseException]) -> None:
    async def leaves(view: View, bar: int) -> Sequence[Intent]:
        await asyncio.sleep(0)
        raise leaving

    season = season_of(("bad", Awaiting(leaves)), ("other", Awaiting(trade_later)))

    assert len(season.records("bad", "failed")) == 3
    assert season.records("other", "opened")


def test_an_answer_is_judged_by_what_was_known_when_it_was_asked_for() -> None:
    seen: list[tuple[int, int]] = []

    async def looks_twice(view: View, bar: int) -> Sequence[Intent]:
        before = view.now_ns
        await asyncio.sleep(0.001)
        seen.append((before, view.now_ns))
        return ()

    season_of(("slow", Awaiting(looks_twice)), ("other", Doing(trade)))

    assert len(seen) == 12
    assert all(before == after for before, after in seen)


# Late decisions of a season that is resumed


class Interrupted(Exception):
    """The program ends here."""


def resumed_after(
    cycle: int, engines: Callable[[bool], list[tuple[str, Any]]], on: Sequence[BarTable]
) -> tuple[Played, Played]:
    """An undisturbed season, and one that was interrupted after `cycle` and resumed.

    `engines(True)` are late, `engines(False)` would not be: only the journal tells.
    """
    whole = season_of(*engines(True), on=on)
    database = MemoryDatabase()

    def stop(mother: object, now: int, now_ns: int) -> None:
        if now == cycle:
            raise Interrupted

    store = database.open_season(a_season(), resume=False)
    with pytest.raises(Interrupted):
        season_of(*engines(True), on=on, store=store, on_cycle=stop)
    store.release()
    store = database.open_season(a_season(), resume=True)
    return whole, season_of(*engines(False), on=on, store=store)


def raising_on(*bars: int) -> Script:
    def script(view: View, bar: int) -> Sequence[Intent]:
        if bar in bars:
            raise RuntimeError("as always")
        return trade(view, bar)

    return script


def test_a_resumed_season_repeats_a_late_decision_without_waiting_for_it() -> None:
    def engines(late: bool) -> list[tuple[str, Any]]:
        stuck = spin_on(4) if late else trade
        return [("a", Doing(trade)), ("late", Doing(stuck)), ("b", Doing(trade))]

    whole, resumed = resumed_after(8, engines, tables())

    assert [r.cycle for r in whole.records("late", "external.timeout")] == [4]
    assert whole.records("late", "opened")
    assert resumed.digest == whole.digest


def test_the_engine_is_not_asked_where_it_was_late() -> None:
    database = MemoryDatabase()
    season_of(("late", Doing(spin_on(4))), store=database.open_season(a_season(), resume=False))
    again = Doing(trade)

    season_of(("late", again), store=database.open_season(a_season(), resume=True))

    assert again.asked == 11


def test_a_failure_before_it_in_the_cycle_stays_before_it() -> None:
    def engines(late: bool) -> list[tuple[str, Any]]:
        stuck = spin_on(4) if late else trade
        return [("a", Doing(raising_on(4))), ("late", Doing(stuck)), ("b", Doing(raising_on(4)))]

    whole, resumed = resumed_after(8, engines, tables())

    assert resumed.digest == whole.digest


def test_of_two_symbols_the_one_it_was_late_on_is_repeated() -> None:
    def engines(late: bool) -> list[tuple[str, Any]]:
        def script(view: View, bar: int) -> Sequence[Intent]:
            while late and bar == 6 and view.symbol == "SOL-USD":
                pass
            return trade(view, bar)

        return [("late", Doing(script))]

    whole, resumed = resumed_after(8, engines, tables(12, "BTC-USD", "SOL-USD"))

    (late,) = whole.records("late", "external.timeout")
    assert (late.cycle, late.body["symbol"]) == (6, "SOL-USD")
    assert [t.asset for t in whole.tickets] == [
        "BTC-USD",
        "SOL-USD",
        "BTC-USD",
        "BTC-USD",
        "SOL-USD",
    ]
    assert resumed.digest == whole.digest


def test_an_answer_that_came_too_late_is_repeated_in_its_place() -> None:
    def engines(late: bool) -> list[tuple[str, Any]]:
        async def script(view: View, bar: int) -> Sequence[Intent]:
            if late and bar == 4:
                await asyncio.Event().wait()
            return trade(view, bar)

        return [
            ("late", Awaiting(script)),
            ("plain", Doing(raising_on(4))),
            ("other", Awaiting(trade_later)),
        ]

    whole, resumed = resumed_after(8, engines, tables())

    assert [r.cycle for r in whole.records("late", "external.timeout")] == [4]
    assert resumed.digest == whole.digest


def test_a_bench_for_lateness_is_repeated_whatever_the_deadline_is_now() -> None:
    database = MemoryDatabase()
    stuck = ("stuck", Doing(spin_on(1, 2, 3)))
    whole = season_of(stuck, store=database.open_season(a_season(), resume=False))

    resumed = season_of(
        ("stuck", Doing(trade)),
        store=database.open_season(a_season(), resume=True),
        deadline_s=5.0,
    )

    assert resumed.digest == whole.digest
