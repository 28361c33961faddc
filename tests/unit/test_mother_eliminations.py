"""A season in which engines have to leave: when, what becomes of them, what stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hydra.engines.protocol import Answer
from hydra.engines.view import View
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable, Chunk
from hydra.mother.contestants import NEVER, Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.columns import BY_BENCH
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Intent, OrderType
from hydra.storage.memory import MemoryDatabase
from hydra.tournament.elimination import EliminationRules
from hydra.tournament.ranking import State
from hydra.tournament.season import ModelCallRow
from tests.support.bars import START_NS, a_table
from tests.support.seasons import (
    HOUR_NS,
    OPENING,
    USD,
    Played,
    Record,
    a_contestant,
    a_season,
    play_bars,
)

DAILY = EliminationRules(every_h=24)


@dataclass(kw_only=True)
class Churner:
    """Opens on every even bar what it closes on the next: in a falling market buyers lose.

    Sells where `lots` is below zero. On bar `also_at` it says what `also` says instead.
    """

    lots: float
    also_at: int = -1
    also: Any = None
    asked: int = 0
    features = ()

    def decide(self, view: View) -> Sequence[Intent] | Answer:
        bar, self.asked = self.asked, self.asked + 1
        if bar == self.also_at:
            said: Sequence[Intent] | Answer = self.also(view)
            return said
        if view.tickets:
            return [view.close_ticket(ticket) for ticket in view.tickets]
        lots = Decimal(str(abs(self.lots)))
        return [view.buy(lots=lots, stop=99) if self.lots > 0 else view.sell(lots=lots, stop=300)]


class Holder:
    """Buys once and holds on: it loses, but closes no trade."""

    features = ()

    def decide(self, view: View) -> Sequence[Intent]:
        return [] if view.tickets else [view.buy(lots=Decimal(100))]


def falling(hours: int = 96, open_ns: Sequence[int] | None = None) -> BarTable:
    """A quarter of a dollar down every hour: a round trip of one lot loses as much."""
    return a_table(closes=[200 - i / 4 for i in range(hours)], open_ns=open_ns)


LOTS = {"a": -10.0, "b": 1.0, "c": 2.0, "d": 3.0, "e": 40.0, "f": 20.0}


def field(**changes: Contestant) -> list[Contestant]:
    """Six that churn, the worse the more lots they buy, and one that holds no rank."""
    those = {name: a_contestant(name, Churner(lots=lots)) for name, lots in LOTS.items()}
    return [
        *(those | changes).values(),
        a_contestant("reference", Churner(lots=90), is_reference=True),
    ]


def play(
    table: BarTable | None = None, contestants: Sequence[Contestant] | None = None, **how: Any
) -> Played:
    settings: dict[str, Any] = {"elimination": DAILY, "start_ns": START_NS} | how
    return play_bars([table or falling()], contestants or field(), **settings)


def gone(season: Played) -> list[tuple[str, int]]:
    """(engine, hours since the start) of those that had to leave, in order."""
    return [(one.engine, hour(one)) for one in season.journal if one.kind == "eliminated"]


def spared(season: Played) -> list[int]:
    return [hour(one) for one in season.journal if one.kind == "spared"]


def hour(record: Record) -> int:
    return (record.at_ns - START_NS) // HOUR_NS


def test_every_24_hours_the_last_leaves_until_four_are_left() -> None:
    season = play()

    assert gone(season) == [("e", 24), ("f", 48)]
    assert spared(season) == [72]  # at hour 96 for the same reason: it is said once
    (why,) = {r.body["text"] for r in season.journal if r.kind == "spared"}
    assert why == "nobody is eliminated: 4 engines with a rank play, and 4 have to go on"


def test_its_row_says_when_and_why_and_it_stays_in_the_standings() -> None:
    season = play()

    row = season.store.season.engines["e"]
    # Eleven round trips of 40 lots, and as much open.
    reason = (
        "last of 6 judged (at least 3 closed trades each): net P&L -120.00 USD after 11 trades,"
        " 60.00 USD behind f"
    )
    assert (row.state, row.reason, row.since_ns) == ("eliminated", reason, START_NS + 24 * HOUR_NS)
    (record,) = season.records("e", "eliminated")
    assert record.body == {"reason": reason}
    lines = {line.engine: line for line in season.standings}
    assert len(lines) == 7
    figures = lines["e"].metrics
    assert (figures["state"], figures["reason"], figures["weight"]) == ("eliminated", reason, 0)
    assert lines["e"].rank == lines["f"].rank == 5  # f lost half as much, for twice as long


def test_its_open_ticket_is_closed_at_the_next_bar_and_it_is_asked_no_more() -> None:
    e = Churner(lots=40)
    season = play(contestants=field(e=a_contestant("e", e)))

    *before, last = season.tickets_of("e")
    assert {ticket.exit_reason for ticket in before} == {"engine"}
    assert (last.exit_reason, last.closed_ns) == ("elimination", START_NS + 24 * HOUR_NS)
    assert last.exit_price == Decimal("194.25")  # at which the next bar opened
    assert e.asked == 23
    assert season.records("e")[-1].kind == "balance"


def test_a_pending_order_of_who_leaves_is_cancelled() -> None:
    def limit(view: View) -> Sequence[Intent]:
        return [view.buy(lots=Decimal(1), order=OrderType.LIMIT, price=1.0)]

    e = a_contestant("e", Churner(lots=40, also_at=22, also=limit))
    season = play(contestants=field(e=e))

    (pending,) = [ticket for ticket in season.tickets_of("e") if ticket.status == "CANCELLED"]
    assert pending.exit_reason == "elimination"
    assert not season.account("e").live


def test_no_money_is_made_or_lost_by_it() -> None:
    season = play(costs="real")

    for account in season.mother.accounts:
        posted = sum(record.amount_units or 0 for record in season.records(account.name))
        assert account.balance_units == OPENING + posted, account.name
        assert account.equity_units == account.balance_units
        assert account.trades == len(season.tickets_of(account.name))


def test_never_is_a_season_without_judgement_and_its_journal_says_nothing_of_it() -> None:
    never, default = (
        play(elimination=EliminationRules()),
        play_bars([falling()], field(), start_ns=START_NS),
    )

    assert never.digest == default.digest
    assert not gone(never) and not spared(never)
    assert "elimination" not in never.journal[0].body["settings"]
    assert play().journal[0].body["settings"]["elimination"] == {
        "every_h": 24, "least_trades": 3, "least_playing": 4,
    }  # fmt: skip


def test_the_period_is_counted_from_the_seasons_start() -> None:
    late = a_table(closes=[200 - i / 4 for i in range(30)], start_ns=START_NS + 7 * HOUR_NS)

    assert gone(play(late, start_ns=START_NS + 7 * HOUR_NS)) == [("e", 7 + 24)]
    assert gone(play(elimination=EliminationRules(every_h=31))) == [("e", 31), ("f", 62)]


# Weights


def weights(season: Played, hours: int) -> dict[str, float]:
    found = season.store.season.equity
    at_ns = START_NS + hours * HOUR_NS
    return {name: found[name, at_ns].weight for name in "abexy"}


@pytest.mark.parametrize(("sampled_h", "next_h"), [(1, 25), (7, 30)])
def test_the_weight_of_who_leaves_passes_on_at_once(sampled_h: int, next_h: int) -> None:
    """Here the last of those judged is third: two worse ones have closed no trade yet.

    Up to that instant the house earns by the old weights, however rarely samples are taken.
    """
    lots = {"a": -10.0, "b": 1.0, "e": 5.0}
    some = [a_contestant(name, Churner(lots=one)) for name, one in lots.items()]
    some += [a_contestant(name, Holder()) for name in "xy"]

    season = play(falling(40), some, sample_ns=sampled_h * HOUR_NS)

    assert gone(season) == [("e", 24)]
    before = {"a": 0.4, "b": 0.3, "e": 0.2, "x": 0.05, "y": 0.05}  # x and y are equal
    after = {"a": 0.4, "b": 0.3, "e": 0.0, "x": 0.15, "y": 0.15}
    assert weights(season, 24) == pytest.approx(before)
    assert weights(season, next_h) == pytest.approx(after)
    points = {line.engine: line.metrics["points"] for line in season.standings}
    assert points["e"] == pytest.approx(20)  # of the one day that was scored with it


# Time that was missed


def test_periods_that_nothing_traded_in_are_made_up_for_by_one_judgement() -> None:
    """The market pauses from hour 20 to hour 80: three days end in it, and one engine goes."""
    hours = [*range(20), *range(80, 100)]
    paused = falling(40, [START_NS + one * HOUR_NS for one in hours])

    season = play(paused)

    assert gone(season) == [("e", 81), ("f", 96)]


def play_chunks(chunks: Iterable[Chunk], table: BarTable) -> Played:
    store = MemoryDatabase().open_season(a_season(), resume=False)
    mother = Mother(
        plan=SeasonPlan(
            mode="independent", profile=profile("none"), costs=costs_named("none"), seed=1,
            start_ns=START_NS, sample_ns=HOUR_NS, initial_units=25_000 * USD, luck_traders=0,
            bootstrap_replicates=2, elimination=DAILY,
        ),
        contestants=field(),
        streams=streams_of([table]),
        store=store,
    )  # fmt: skip
    return Played(mother=mother, digest=asyncio.run(mother.run(chunks)), store=store)


@pytest.mark.parametrize(("first", "last", "judged"), [(20, 60, 60), (23, 24, 24), (24, 90, 90)])
def test_on_bars_that_were_made_up_nobody_is_judged(first: int, last: int, judged: int) -> None:
    """Bars `first` to `last` are of a gap: whoever is out, is out at the first that is real."""
    table = falling()
    chunks = ReplayFeed(streams_of([table]), [table], 1).chunks()

    season = play_chunks(
        (replace(one, settles_only=first <= i < last) for i, one in enumerate(chunks)), table
    )

    assert gone(season)[0] == (("e", 24) if first >= 24 else ("e", judged + 1))
    assert not any(first < at <= last for _, at in gone(season))
    assert [at for _, at in gone(season)][1] == (91 if first == 24 else judged // 24 * 24 + 24)


# What is on its way


def a_call(at_ns: int) -> ModelCallRow:
    return ModelCallRow(
        engine="e", at_ns=at_ns, attempt=1, provider="p", model="m", model_said="m",
        prompt_version="1", prompt_sha256="", system_sha256="", prompt="[]", params={},
        outcome="answered", error="", reply="", finish="stop", input_tokens=1, output_tokens=1,
        cached_tokens=0, cost_units=5, latency_ns=1, tries=1, called_ns=1,
    )  # fmt: skip


def test_an_answer_on_its_way_is_paid_for_and_dropped() -> None:
    def late(view: View) -> Answer:
        return Answer(
            intents=(view.buy(lots=Decimal(1)),), calls=(a_call(view.now_ns),),
            latency_ns=5 * HOUR_NS,
        )  # fmt: skip

    def season(rules: EliminationRules) -> Played:
        e = a_contestant("e", Churner(lots=40, also_at=22, also=late))
        return play(contestants=field(e=e), elimination=rules)

    stays, leaves = season(EliminationRules()), season(DAILY)
    decided_ns = START_NS + 28 * HOUR_NS
    (paid,), (paid_too,) = stays.records("e", "model"), leaves.records("e", "model")
    assert paid == paid_too
    assert paid.at_ns == decided_ns
    assert leaves.account("e").tally.cost_units == 5
    assert 1 in [one.lots for one in stays.tickets_of("e") if one.decided_ns == decided_ns]
    assert max(one.decided_ns for one in leaves.tickets_of("e")) < START_NS + 24 * HOUR_NS


def test_who_has_left_is_benched_no_more_but_may_still_lose_its_account() -> None:
    def season(state: State) -> Played:
        def late(mother: Mother, cycle: int, now_ns: int) -> None:
            if cycle == 30:
                (account,) = [one for one in mother.accounts if one.name == "e"]
                mother._exits.leave(account, state, "test", BY_BENCH)

        return play(on_cycle=late)

    benched, breached = season(State.BENCHED), season(State.BREACHED)
    assert benched.store.season.engines["e"].state == "eliminated"
    assert not benched.records("e", "benched")
    assert breached.store.season.engines["e"].state == "breached"


def test_who_is_asked_by_the_clock_is_asked_no_more_either() -> None:
    e = Churner(lots=40)
    season = play(contestants=field(e=a_contestant("e", e, every_s=3_600)))

    assert gone(season)[0] == ("e", 24)
    assert e.asked == 23
    assert season.mother._clockwork.due_ns == NEVER  # nor does the clock ring for it


# Decisions that do not count


@pytest.mark.parametrize(("counts_all", "leaves"), [(False, "f"), (True, "e")])
def test_trades_from_before_a_cutoff_are_not_judged_by(counts_all: bool, leaves: str) -> None:
    """Of e's trades, the worst of all, only one was decided after its cutoff, at hour 20."""
    e = a_contestant("e", Churner(lots=400), cutoff_ns=START_NS + 20 * HOUR_NS)

    season = play(falling(30), field(e=e), counts_tagged=counts_all)

    assert gone(season) == [(leaves, 24)]


# The shadow


def test_the_shadow_of_who_leaves_ends_with_it() -> None:
    small = msgspec.structs.replace(
        profile("none"), name="small", position_risk_frac=Decimal("0.2")
    )

    def greedy(view: View) -> Sequence[Intent]:
        return [view.buy(lots=Decimal(400), stop=99)]  # 5,000 USD at most

    e = a_contestant("e", Churner(lots=40, also_at=22, also=greedy))
    season = play(contestants=field(e=e), profile=small)

    shadow = [
        season.store.season.equity["e", START_NS + hours * HOUR_NS].shadow_units
        for hours in range(20, 97)
    ]
    assert shadow[4] == shadow[3] - 100 * USD  # 400 lots, while the ticket has 52
    assert len(set(shadow[5:])) == 1


# The same again


@pytest.mark.parametrize("mode", ["independent", "consensus"])
def test_how_the_bars_are_cut_changes_nothing(mode: str) -> None:
    whole = play(mode=mode)

    assert gone(whole) == [("e", 24), ("f", 48)]
    assert {play(mode=mode, chunk_cycles=n).digest for n in (1, 7, 23)} == {whole.digest}
