"""What Mother makes of answers: orders as late as they are, and records that tell them apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from hydra.engines.protocol import Abstention, Answer, Refusal
from hydra.engines.view import View
from hydra.market.bars import BarTable
from hydra.mother.contestants import NEVER
from hydra.portfolio.columns import BY_BENCH
from hydra.portfolio.intents import Invalidation, OrderType
from hydra.storage.memory import MemoryDatabase
from hydra.tournament.ranking import State
from hydra.tournament.season import (
    TAG_CUTOFF,
    EngineRow,
    LessonRow,
    ModelCallRow,
    PromptRow,
    StandingRow,
)
from tests.support.bars import START_NS, a_random_walk, a_table
from tests.support.seasons import (
    HOUR_NS,
    USD,
    Played,
    ScriptedEngine,
    a_contestant,
    a_season,
    play_bars,
)

SECOND_NS = 1_000_000_000
Script = Callable[[View, int], Answer]


class Answering:
    """An engine one waits for; a script of the view and the number of the question, from 0."""

    features = ()

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked_ns: list[int] = []

    async def decide(self, view: View) -> Answer:
        self.asked_ns.append(view.account.now_ns)
        await asyncio.sleep(0)
        return self._script(view, len(self.asked_ns) - 1)


def answering(name: str, script: Script, **changes: Any) -> Any:
    return a_contestant(name, Answering(script), **({"every_s": 3_600} | changes))


def always(answer: Answer) -> Script:
    return lambda view, number: answer


def once(make: Callable[[View], Answer], at: int = 0) -> Script:
    return lambda view, number: make(view) if number == at else Answer(holds=("nothing new",))


def buy(view: View, **terms: Any) -> Answer:
    latency_ns = terms.pop("latency_ns", 0)
    terms = {"stop": view.close * 0.5} | terms
    return Answer(intents=(view.buy(**terms),), latency_ns=latency_ns)


def rising(bars: int = 12) -> BarTable:
    return a_table(closes=[100.0 + i for i in range(bars)])


def standing_of(season: Played, engine: str) -> StandingRow:
    return next(line for line in season.standings if line.engine == engine)


def a_call(view: View, engine: str, attempt: int = 1, **changes: Any) -> ModelCallRow:
    values: dict[str, Any] = {
        "engine": engine, "at_ns": view.account.now_ns, "attempt": attempt,
        "provider": "openai", "model": "m", "model_said": "m-1", "prompt_version": "v1",
        "prompt_sha256": "ab" * 32, "system_sha256": "cd" * 32, "prompt": "[]", "params": {},
        "outcome": "answered", "error": "", "reply": "{}", "finish": "stop",
        "input_tokens": 1_000, "output_tokens": 100, "cached_tokens": 0, "cost_units": USD // 100,
        "latency_ns": SECOND_NS, "tries": 1, "called_ns": 1,
    }  # fmt: skip
    return ModelCallRow(**(values | changes))


# Abstain, hold, refused


def test_abstaining_holding_and_being_refused_are_three_different_records() -> None:
    senseless = Refusal(
        symbol="DOGE", rule="unknown-asset", limit="BTC-USD", figure="DOGE",
        text="DOGE is not traded in this season", decision={"asset": "DOGE"},
    )  # fmt: skip
    said = [
        Answer(abstention=Abstention(reason="late", text="no answer within 60 s")),
        Answer(holds=("no edge today",)),
        Answer(refusals=(senseless,)),
    ]
    season = play_bars([rising(4)], [answering("g", lambda view, n: said[min(n, 2)])])

    assert [(r.kind, r.cycle) for r in season.records("g")][:3] == [
        ("abstained", 1), ("held", 2), ("refused", 3),
    ]  # fmt: skip
    abstained, held, refused = season.records("g")[:3]
    assert abstained.body == {"reason": "late", "text": "no answer within 60 s"}
    assert held.body == {"texts": ["no edge today"]}
    assert refused.body["refused"]["rule"] == "unknown-asset"
    assert refused.body["decision"] == {"asset": "DOGE"}
    metrics = standing_of(season, "g").metrics
    assert metrics["model_answers"] == 4
    assert metrics["model_abstentions"] == {"late": 1}
    assert metrics["model_holds"] == 1
    assert metrics["model_refused"] == 2


def test_what_a_plain_engine_does_leaves_no_figures_of_models() -> None:
    season = play_bars([rising()], {"plain": ScriptedEngine()})

    assert not [name for name in season.standings[0].metrics if name.startswith("model_")]


def test_three_lasting_abstentions_bench_and_passing_ones_do_not() -> None:
    def abstain(lasting: bool) -> Answer:
        return Answer(
            abstention=Abstention(reason="why", text="the key is not taken", lasting=lasting)
        )

    season = play_bars(
        [rising()],
        [answering("lasting", always(abstain(True))), answering("passing", always(abstain(False)))],
    )

    assert season.records("lasting", "benched")[0].body == {
        "reason": "EngineError: the key is not taken"
    }
    assert season.store.season.engines["passing"].state == "playing"
    assert len(season.records("passing", "abstained")) == 12


@pytest.mark.parametrize(
    "nonsense",
    [
        Answer(intents=("buy",)),  # type: ignore[arg-type]
        Answer(holds=[]),  # type: ignore[arg-type]
        Answer(latency_ns=-1),
        Answer(holds=("x",), abstention=Abstention(reason="r", text="t")),
        Answer(calls=({},)),  # type: ignore[arg-type]
    ],
    ids=["intents", "holds", "latency", "both", "calls"],
)
def test_an_answer_that_makes_no_sense_is_a_failure(nonsense: Answer) -> None:
    season = play_bars([rising()], [answering("bad", always(nonsense))])

    assert len(season.records("bad", "failed")) == 3
    assert season.records("bad", "benched")


# As late as they are


def entry_of(season: Played) -> tuple[int, Decimal | None]:
    ticket = season.tickets[0]
    assert ticket.opened_ns is not None
    return ticket.opened_ns, ticket.entry_price


def test_an_answer_that_took_a_while_fills_after_it_and_worse() -> None:
    table = a_table(
        closes=[100.0, 101.0, 102.0, 103.0], highs=[104.0] * 4, lows=[99.0] * 4,
        opens=[100.0, 100.0, 101.0, 102.0],
    )  # fmt: skip

    def after(seconds: int) -> Played:
        script = once(lambda view: buy(view, latency_ns=seconds * SECOND_NS))
        return play_bars([table], [answering("g", script)])

    prompt, late = after(0), after(900)

    close_ns = START_NS + HOUR_NS
    assert entry_of(prompt) == (close_ns, Decimal("100"))
    assert entry_of(late)[0] > close_ns + 900 * SECOND_NS  # inside a bar nobody knows when
    assert entry_of(late)[1] > Decimal("100")  # type: ignore[operator]


def test_an_answer_later_than_a_bar_is_judged_by_the_last_price_before_it_arrives() -> None:
    season = play_bars(
        [rising()],
        [answering("g", once(lambda view: buy(view, latency_ns=2 * HOUR_NS + 60 * SECOND_NS)))],
    )

    (approved,) = season.records("g", "approved")
    asked_ns = START_NS + HOUR_NS
    assert approved.at_ns == asked_ns + 2 * HOUR_NS
    assert entry_of(season)[0] == asked_ns + 3 * HOUR_NS  # in the bar in which it arrived


def test_while_an_answer_is_on_its_way_nobody_is_asked_again() -> None:
    contestant = answering("g", once(lambda view: buy(view, latency_ns=3 * HOUR_NS)))
    season = play_bars([rising(8)], [contestant])

    abstained = season.records("g", "abstained")
    assert [r.body["reason"] for r in abstained] == ["still-thinking"] * 3
    # Due exactly at the close of bar 4, its orders meet the bar after; then it is asked again.
    assert [r.cycle for r in abstained] == [2, 3, 4]
    assert len(contestant.engine.asked_ns) == 5


def test_how_the_bars_are_cut_does_not_change_what_a_late_answer_does() -> None:
    def season(chunk: int) -> str:
        script = once(lambda view: buy(view, latency_ns=2 * HOUR_NS + 1))
        return play_bars([rising()], [answering("g", script)], chunk_cycles=chunk).digest

    assert season(1) == season(3) == season(1024)


def test_a_late_answer_of_who_was_benched_meanwhile_is_dropped() -> None:
    class Failing(Answering):
        async def decide(self, view: View) -> Answer:
            if self.asked_ns:
                raise RuntimeError("gone")
            return await super().decide(view)

    first = answering("g", once(lambda view: buy(view, latency_ns=5 * HOUR_NS)))
    season = play_bars([rising()], [first], failures_to_bench=1)
    assert season.tickets  # it arrives where nothing happens to the engine

    def latch(mother: Any, cycle: int, now_ns: int) -> None:
        if cycle == 2:
            mother._exits.leave(mother.accounts[0], State.BENCHED, "test", BY_BENCH)

    def paid(view: View) -> Answer:
        order = view.buy(stop=view.close * 0.5)
        return Answer(intents=(order,), calls=(a_call(view, "g"),), latency_ns=5 * HOUR_NS)

    season = play_bars([rising()], [answering("g", once(paid))], on_cycle=latch)
    assert not season.tickets
    assert len(season.records("g", "model")) == 1  # but what it cost is kept


def test_one_slow_engine_delays_nobody() -> None:
    def others(latency_ns: int) -> list[Any]:
        season = play_bars(
            [rising()],
            [
                answering("slow", once(lambda view: buy(view, latency_ns=latency_ns))),
                answering("quick", once(buy)),
            ],
        )
        return [(r.cycle, r.at_ns, r.kind) for r in season.records("quick")]

    assert others(0) == others(4 * HOUR_NS)


# Theses that are proved wrong


def invalidated(closes: Sequence[float], wrong: Invalidation, *, at: int = 0) -> Played:
    table = a_table(closes=closes)
    return play_bars(
        [table], [answering("g", once(lambda view: buy(view, invalidation=wrong), at=at))]
    )


def test_a_close_beyond_the_level_closes_the_ticket_between_two_questions() -> None:
    wrong = Invalidation(resolution_ns=HOUR_NS, below=Decimal(98), text="a close below 98")
    season = play_bars(
        [a_table(closes=[100, 101, 99, 98, 97.5, 97, 96])],
        [answering("g", once(lambda view: buy(view, invalidation=wrong)), every_s=86_400)],
    )

    (record,) = season.records("g", "invalidated")
    assert record.cycle == 5
    assert record.body["text"] == "a close at 97.5, below 98"
    (ticket,) = season.tickets
    assert ticket.exit_reason == "invalidation"
    assert ticket.closed_ns == START_NS + 5 * HOUR_NS  # at the open of the next bar


def test_a_touch_of_the_level_and_the_mirror_of_it_prove_nothing() -> None:
    wrong = Invalidation(resolution_ns=HOUR_NS, below=Decimal(98), above=Decimal(110))
    season = invalidated([100, 101, 98, 110, 100], wrong)

    assert not season.records("g", "invalidated")


def test_a_coarser_bar_counts_only_when_it_closes() -> None:
    hours = a_table(closes=[100, 90, 100, 100, 90, 90, 90, 90, 90, 90])
    fours = a_table(closes=[100, 90], resolution="4h")
    wrong = Invalidation(resolution_ns=4 * HOUR_NS, below=Decimal(95))
    season = play_bars(
        [hours, fours],
        [answering("g", once(lambda view: buy(view, invalidation=wrong)), every_s=86_400)],
    )

    assert [r.cycle for r in season.records("g", "invalidated")] == [8]


def test_a_thesis_that_has_not_worked_out_in_time_is_over() -> None:
    season = invalidated([100.0] * 8, Invalidation(within_s=3 * 3_600.0))

    (record,) = season.records("g", "invalidated")
    assert record.at_ns == START_NS + 4 * HOUR_NS
    assert record.body["text"] == "still open 3 h after its entry"


def test_a_pending_order_is_cancelled_by_what_proves_it_wrong() -> None:
    wrong, limit = Invalidation(resolution_ns=HOUR_NS, above=Decimal(103)), OrderType.LIMIT
    season = play_bars(
        [a_table(closes=[100, 101, 104, 105, 80])],
        [
            answering(
                "g",
                once(
                    lambda view: buy(view, invalidation=wrong, order=limit, price=90.0, stop=50.0)
                ),
            )
        ],
    )

    assert [t.status for t in season.tickets] == ["CANCELLED"]


def test_a_ticket_that_ended_before_is_not_watched_any_more() -> None:
    wrong = Invalidation(resolution_ns=HOUR_NS, below=Decimal(98))
    season = play_bars(
        [a_table(closes=[100, 101, 90, 90, 90])],
        [answering("g", once(lambda view: buy(view, stop=99.0, invalidation=wrong)))],
    )

    assert season.tickets[0].exit_reason == "stop"
    assert not season.mother.desk.watched


# Knowledge cutoff


def seasonal(cutoff_ns: int, **plan: Any) -> Played:
    """Buys at every sixth question and closes two questions later, on a rising market."""

    def script(view: View, number: int) -> Answer:
        if number % 6 == 0:
            return buy(view)
        if number % 6 == 2:
            return Answer(intents=tuple(view.close_ticket(t) for t in view.account.tickets))
        return Answer(holds=("wait",))

    return play_bars(
        [rising(40)],
        [
            answering("g", script, cutoff_ns=cutoff_ns),
            a_contestant("plain", ScriptedEngine({3: lambda view: [view.buy(stop=50.0)]})),
        ],
        **plan,
    )


def test_decisions_from_before_the_cutoff_are_tagged_and_hold_no_rank() -> None:
    season = seasonal(NEVER)

    assert {t.tag for t in season.tickets_of("g")} == {TAG_CUTOFF}
    assert {t.tag for t in season.tickets_of("plain")} == {""}
    line = standing_of(season, "g")
    assert line.rank is None
    assert line.metrics["weight"] == 0.0
    assert line.metrics["tag"] == TAG_CUTOFF
    assert line.metrics["net_pnl_usd"] > 0  # type: ignore[operator]
    assert line.metrics["counted_pnl_usd"] == 0.0
    assert standing_of(season, "plain").rank == 1


def test_after_the_cutoff_an_engine_ranks_by_what_it_decided_since() -> None:
    cutoff_ns = START_NS + 20 * HOUR_NS
    season = seasonal(cutoff_ns)

    tickets = season.tickets_of("g")
    early = [t for t in tickets if t.decided_ns < cutoff_ns]
    late = [t for t in tickets if t.decided_ns >= cutoff_ns]
    assert early and late
    assert {t.tag for t in early} == {TAG_CUTOFF}
    assert {t.tag for t in late} == {""}
    line = standing_of(season, "g")
    assert line.rank is not None
    counted = sum(t.pnl_units or 0 for t in late) / USD
    assert line.metrics["counted_pnl_usd"] == pytest.approx(counted)
    assert line.metrics["net_pnl_usd"] == pytest.approx(
        counted + sum(t.pnl_units or 0 for t in early) / USD
    )


def test_a_tagged_ticket_that_is_still_open_does_not_count_either() -> None:
    cutoff_ns = START_NS + 3 * HOUR_NS
    counted: list[int] = []

    def look(mother: Any, cycle: int, now_ns: int) -> None:
        counted.append(mother.accounts[0].counted_units)

    play_bars(
        [rising(10)], [answering("g", once(buy), cutoff_ns=cutoff_ns)], on_cycle=look
    )  # bought before, open to the end

    assert set(counted) == {0}


def test_it_can_be_asked_for_that_all_decisions_count() -> None:
    season = seasonal(NEVER, counts_tagged=True)

    line = standing_of(season, "g")
    assert line.rank is not None
    assert {t.tag for t in season.tickets_of("g")} == {TAG_CUTOFF}
    assert line.metrics["counted_pnl_usd"] == line.metrics["net_pnl_usd"]


# Rows


def test_calls_lessons_and_prompts_are_rows_and_the_journal_has_their_hashes() -> None:
    def script(view: View, number: int) -> Answer:
        lesson = LessonRow(
            engine="g", at_ns=view.account.now_ns, ticket=1, text="was stopped out", words=""
        )
        if number == 0:
            return Answer(holds=("h",), calls=(a_call(view, "g"),), lessons=(lesson,))
        return Answer(holds=("h",), calls=(a_call(view, "g", cost_units=None),))

    prompt = PromptRow(sha256="cd" * 32, version="v1", text="You trade.")
    season = play_bars([rising(2)], [answering("g", script, prompts=(prompt,))])

    stored = season.store.season
    assert list(stored.prompts.values()) == [prompt]
    assert [row.text for row in stored.lessons.values()] == ["was stopped out"]
    assert len(stored.model_calls) == 2
    (first, _) = season.records("g", "model")
    assert first.body["prompt_sha256"] == "ab" * 32
    assert "latency_ns" not in first.body and "called_ns" not in first.body
    metrics = standing_of(season, "g").metrics
    assert metrics["model_calls"] == 2
    assert metrics["model_cost_usd"] == pytest.approx(0.01)
    assert metrics["model_unknown_costs"] == 1
    assert metrics["net_of_models_usd"] is None


def test_what_was_paid_for_counts_although_the_season_ended_first() -> None:
    def late(view: View, number: int) -> Answer:
        return Answer(holds=("h",), calls=(a_call(view, "g"),), latency_ns=6 * HOUR_NS)

    season = play_bars([rising(4)], [answering("g", late)])

    assert len(season.store.season.model_calls) == 1
    assert [r.body["asked_ns"] for r in season.records("g", "model")] == [
        call.at_ns for call in season.store.season.model_calls.values()
    ]
    assert season.records("g", "held") == []
    assert standing_of(season, "g").metrics["model_cost_usd"] == pytest.approx(0.01)


def test_who_cannot_play_is_on_the_bench_with_a_reason_and_has_no_account() -> None:
    absent = EngineRow(
        engine="claude", title="t", params={}, is_reference=False, state="benched",
        reason="no key: set ANTHROPIC_API_KEY",
    )  # fmt: skip
    season = play_bars([rising()], {"plain": ScriptedEngine()}, absent=[absent])

    assert season.store.season.engines["claude"] == absent
    assert season.records("claude")[0].body == {"reason": "no key: set ANTHROPIC_API_KEY"}
    assert [account.name for account in season.mother.accounts] == ["plain"]
    assert [line.engine for line in season.standings] == ["plain"]


# What it sees


def test_it_sees_its_room_rulings_rank_costs_and_closed_tickets() -> None:
    seen: list[Any] = []

    def script(view: View, number: int) -> Answer:
        own = view.account
        seen.append((own.room_units, own.rulings, own.place, own.closed, own.rules))
        if number == 0:
            return Answer(intents=(view.buy(stop=view.close * 0.9, thesis="up"), view.buy()))
        if number == 2:
            return Answer(
                intents=tuple(view.close_ticket(t) for t in own.tickets), holds=("enough",)
            )
        return Answer(holds=("wait",))

    season = play_bars(
        [rising(8)],
        [answering("g", script, keeps_history=True), a_contestant("other", ScriptedEngine())],
        profile="ftmo-2step",
        costs="real",
    )

    room, rulings, place, closed, rules = seen[-1]
    assert room[0] is not None and 0 < room[0] <= 0.046 * 25_000 * USD
    assert room[1] is not None and room[1] <= 0.091 * 25_000 * USD
    assert [(one.kind, one.rule, one.symbol) for one in rulings] == [
        ("refused", "stop-required", "BTC-USD")
    ]
    assert place[1] == 2
    assert [(one.thesis, one.reason) for one in closed] == [("up", "engine")]
    assert closed[0].net_usd == Decimal(season.tickets[0].pnl_units or 0) / USD
    assert "Every trade needs a stop." in rules


def test_costs_are_those_of_the_market_now() -> None:
    seen: list[Any] = []

    def script(view: View, number: int) -> Answer:
        seen.append(view.account.costs("BTC-USD"))
        return Answer(holds=("look",))

    table = a_table(closes=[100.0, 100.0, 100.0], spread=0.5)
    play_bars([table], [answering("g", script)])

    assert seen[-1].spread_bps == pytest.approx(0.5 / 100.25 * 10_000)
    assert seen[-1].commission_bps == 0.0
    assert seen[-1].least_move_bps == pytest.approx(seen[-1].spread_bps)


def test_coarser_bars_are_beside_the_finer_ones_and_never_ahead_of_them() -> None:
    seen: list[tuple[int, int, int]] = []

    def script(view: View, number: int) -> Answer:
        wide = view.wider["BTC-USD"]
        seen.append((view.account.now_ns, view.now_ns, wide.now_ns))
        return Answer(holds=("look",))

    hours = a_random_walk(np.random.default_rng(1), 24, resolution="1h")
    fours = a_random_walk(np.random.default_rng(2), 6, resolution="4h")
    play_bars([hours, fours], [answering("g", script, context_ns=4 * HOUR_NS)])

    assert all(now == fine for now, fine, _ in seen)
    assert all(wide <= now and now - wide < 4 * HOUR_NS for now, _, wide in seen[3:])
    assert seen[0][2] == 0  # the first coarser bar has not closed yet


# Consensus


def test_answers_vote_and_the_house_is_as_late_as_the_latest_of_its_voters() -> None:
    def voter(latency_s: int) -> Script:
        return once(lambda view: buy(view, latency_ns=latency_s * SECOND_NS))

    table = a_table(closes=[100.0] * 4, highs=[110.0] * 4, lows=[90.0] * 4)
    season = play_bars(
        [table],
        [
            answering("a", voter(5)),
            answering("b", voter(400)),
            answering("c", always(Answer(abstention=Abstention(reason="late", text="late")))),
        ],
        mode="consensus",
    )

    (house,) = season.tickets_of("house")
    (quick,), (slow,) = season.tickets_of("a"), season.tickets_of("b")
    assert house.entry_price == slow.entry_price != quick.entry_price
    assert house.thesis == "67% of the weight votes buy"


def test_where_too_many_abstain_the_house_decides_nothing() -> None:
    silent = always(Answer(abstention=Abstention(reason="late", text="late")))
    season = play_bars(
        [rising()],
        [answering("a", once(buy)), answering("b", silent), answering("c", silent)],
        mode="consensus",
    )

    assert season.tickets_of("a")
    assert not season.tickets_of("house")


# Resumed seasons


def test_a_season_killed_while_an_answer_is_on_its_way_goes_on_with_it() -> None:
    class Interrupted(Exception):
        pass

    def engines() -> list[Any]:
        return [answering("g", once(lambda view: buy(view, latency_ns=3 * HOUR_NS + 5)))]

    whole = play_bars([rising()], engines())
    for stop_at in range(1, 8):
        database = MemoryDatabase()

        def stop(mother: object, cycle: int, now_ns: int, at: int = stop_at) -> None:
            if cycle == at:
                raise Interrupted

        store = database.open_season(a_season(), resume=False)
        with pytest.raises(Interrupted):
            play_bars([rising()], engines(), store=store, on_cycle=stop)
        store.release()
        resumed = play_bars(
            [rising()], engines(), store=database.open_season(a_season(), resume=True)
        )
        assert resumed.digest == whole.digest, stop_at
