"""An engine that fails is recorded, then benched with its tickets closed; the rest play on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from hydra.engines.protocol import Engine
from hydra.engines.rules.flat import Flat
from hydra.engines.view import View
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Amend, Close, Intent, Open, OrderType, Side
from tests.support.bars import a_random_walk, a_table
from tests.support.seasons import Played, Record, a_contestant, play_bars

NAN = Decimal("NaN")


class Doing:
    """An engine whose decision is a function of the view and of how often it was asked."""

    features = ()

    def __init__(self, decide: Callable[[View, int], Any]) -> None:
        self._decide = decide
        self.asked = 0

    def decide(self, view: View) -> Sequence[Intent]:
        self.asked += 1
        return self._decide(view, self.asked)  # type: ignore[no-any-return]


def trader() -> Engine:
    """In and out, on whatever it is shown."""

    def trade(view: View, asked: int) -> Sequence[Intent]:
        if view.tickets:
            return [view.close_ticket(ticket) for ticket in view.tickets] if asked % 3 == 0 else []
        return [view.buy(stop=view.close * 0.97, target=view.close * 1.02)]

    return Doing(trade)


def walk(bars: int = 60, symbol: str = "BTC-USD", seed: int = 3) -> BarTable:
    return a_random_walk(np.random.default_rng(seed), bars, symbol, "1h", volatility_frac=0.01)


def of_others(season: Played, engine: str = "bad") -> list[tuple[object, ...]]:
    """Every record but the first (which tells the engines) and those of `engine`."""
    return [row[2:8] for row in season.store.season.journal[1:] if row[4] != engine]


def play(bad: Engine, tables: Sequence[BarTable] | None = None, **plan: Any) -> Played:
    engines: Mapping[str, Engine] = {"before": trader(), "bad": bad, "after": trader()}
    return play_bars(tables or [walk()], engines, profile="production", **plan)


def failures(season: Played) -> list[Record]:
    return season.records("bad", "failed")


def boom(view: View, asked: int) -> Sequence[Intent]:
    raise RuntimeError(f"decision {asked} went wrong")


# Raising


def test_what_it_raised_is_recorded_and_after_three_in_a_row_it_is_benched() -> None:
    bad = Doing(boom)
    season = play(bad)

    assert [record.body["text"] for record in failures(season)] == [
        f"RuntimeError: decision {n} went wrong" for n in (1, 2, 3)
    ]
    (benched,) = season.records("bad", "benched")
    assert (benched.cycle, benched.body["reason"]) == (3, "RuntimeError: decision 3 went wrong")
    assert bad.asked == 3
    row = season.store.season.engines["bad"]
    assert (row.state, row.reason, row.since_ns) == (
        "benched",
        "RuntimeError: decision 3 went wrong",
        benched.at_ns,
    )


def test_the_others_never_notice() -> None:
    assert of_others(play(Doing(boom))) == of_others(play(Flat()))


def test_its_line_stays_in_the_standings_with_the_reason() -> None:
    season = play(Doing(boom))

    line = next(row for row in season.standings if row.engine == "bad")
    assert line.rank is not None
    assert line.metrics["state"] == "benched"
    assert line.metrics["reason"] == "RuntimeError: decision 3 went wrong"
    assert line.metrics["weight"] == 0


def test_how_many_failures_bench_it_is_a_setting() -> None:
    season = play(Doing(boom), failures_to_bench=1)

    assert len(failures(season)) == 1
    assert season.records("bad", "benched")[0].cycle == 1


def test_its_tickets_are_closed_at_the_next_bar() -> None:
    def buys_then_fails(view: View, asked: int) -> Sequence[Intent]:
        if asked > 5:
            raise RuntimeError
        return [] if view.tickets else [view.buy(stop=view.close * 0.5)]

    season = play(Doing(buys_then_fails))

    (benched,) = season.records("bad", "benched")
    (closed,) = season.records("bad", "closed")
    assert closed.cycle == benched.cycle + 1
    assert closed.body["reason"] == "bench"
    assert season.account("bad").tickets == ()


def test_an_order_that_still_works_is_cancelled() -> None:
    def orders_then_fails(view: View, asked: int) -> Sequence[Intent]:
        if asked > 5:
            raise RuntimeError
        if view.tickets:
            return []
        return [view.buy(order=OrderType.LIMIT, price=view.close * 0.5, stop=view.close * 0.4)]

    season = play(Doing(orders_then_fails))

    (cancelled,) = season.records("bad", "cancelled")
    assert cancelled.cycle == season.records("bad", "benched")[0].cycle + 1
    assert season.records("bad", "opened") == []


def test_what_it_wished_for_elsewhere_in_the_cycle_that_benched_it_is_not_done() -> None:
    def fails_on_the_second_symbol(view: View, asked: int) -> Sequence[Intent]:
        if asked in (4, 6):
            assert view.symbol == "SOL-USD"
            raise RuntimeError
        return [view.buy(stop=view.close * 0.5, lots=Decimal("0.01"))] if asked == 5 else []

    tables = [walk(symbol="BTC-USD"), walk(symbol="SOL-USD", seed=4)]
    season = play(Doing(fails_on_the_second_symbol), tables, failures_to_bench=2)

    (benched,) = season.records("bad", "benched")
    assert benched.cycle == 3  # in which it was asked for the fifth and the sixth time
    assert season.records("bad", "approved") == []
    assert season.tickets_of("bad") == []


def test_one_good_decision_clears_its_count() -> None:
    def fails_now_and_then(view: View, asked: int) -> Sequence[Intent]:
        if asked % 3 != 0:
            raise RuntimeError
        return [view.buy(stop=view.close * 0.5)] if not view.tickets else []

    season = play(Doing(fails_now_and_then))

    assert len(failures(season)) == 40
    assert season.records("bad", "benched") == []


def test_to_want_nothing_is_a_good_decision() -> None:
    def fails_now_and_then(view: View, asked: int) -> Sequence[Intent]:
        if asked % 10 == 0:
            raise RuntimeError
        return ()

    season = play(Doing(fails_now_and_then))

    assert len(failures(season)) == 6
    assert season.records("bad", "benched") == []


def test_an_engine_that_leaves_the_program_is_benched_like_any_other() -> None:
    def leaves(view: View, asked: int) -> Sequence[Intent]:
        raise SystemExit(2)

    season = play(Doing(leaves))

    assert len(failures(season)) == 3
    assert of_others(season) == of_others(play(Flat()))


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("half a \ud800 character"), "ValueError: half a ? character"),
        (ValueError("a zero \0 byte"), "ValueError: a zero ? byte"),
        (ValueError("x" * 1_000_000), "ValueError: " + "x" * 500),
        (Wordless(), "Wordless: its message cannot be read"),
        (ExceptionGroup("both", [ValueError()]), "ExceptionGroup: both (1 sub-exception)"),
        (StopIteration(), "StopIteration: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_it_raises_can_be_recorded(error: Exception, said: str) -> None:
    def raises(view: View, asked: int) -> Sequence[Intent]:
        raise error

    season = play(Doing(raises))

    assert [record.body["text"] for record in failures(season)] == [said] * 3
    assert of_others(season) == of_others(play(Flat()))


def test_the_operator_can_still_interrupt() -> None:
    def interrupted(view: View, asked: int) -> Sequence[Intent]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(Doing(interrupted))


# Nonsense instead of a list of intents


@pytest.mark.parametrize("nothing", [None, (), [], "", 0, False, {}], ids=repr)
def test_nothing_is_nothing(nothing: object) -> None:
    season = play(Doing(lambda view, asked: nothing))

    assert season.records("bad", "failed") == []
    assert of_others(season) == of_others(play(Flat()))


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        ("buy", "returned str"),
        (5, "returned int"),
        ({"side": "buy"}, "returned dict"),
        (iter([1]), "iterator"),
        (Open(symbol="BTC-USD", side=Side.BUY), "returned Open, not a list"),
        ([None], "returned NoneType, which is not an intent"),
        (["buy"], "returned str, which is not an intent"),
        ([Open], "returned StructMeta, which is not an intent"),
        (np.array([1.0, 2.0]), "ValueError"),
        (np.array([1.0]), "returned ndarray"),
        (SimpleNamespace(), "returned SimpleNamespace"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_list_of_intents_is_a_failure(nonsense: object, said: str) -> None:
    season = play(Doing(lambda view, asked: nonsense))

    assert len(failures(season)) == 3
    assert said in failures(season)[0].body["text"]
    assert of_others(season) == of_others(play(Flat()))


# Nonsense inside an intent: refused with a reason, and if need be the engine is benched

OPENS: dict[str, dict[str, Any]] = {
    "a symbol that is not traded": {"symbol": "DOGE-USD"},
    "no symbol": {"symbol": None},
    "a list for a symbol": {"symbol": ["BTC-USD"]},
    "a number for a symbol": {"symbol": 7},
    "a symbol that is no text": {"symbol": "\ud800"},
    "no side": {"side": None},
    "a side in words": {"side": "buy"},
    "a side of 5": {"side": 5},
    "a stop that is not a number": {"stop": NAN},
    "an infinite stop": {"stop": Decimal("-Infinity")},
    "a negative stop": {"stop": Decimal(-5)},
    "a stop of zero": {"stop": Decimal(0)},
    "a stop off the grid": {"stop": Decimal("90.00001")},
    "a stop as float": {"stop": 90.0},
    "a stop as NaN float": {"stop": float("nan")},
    "a stop as text": {"stop": "90"},
    "a stop above": {"stop": Decimal(100_000)},
    "an endless stop": {"stop": Decimal("1E+400")},
    "a target that is not a number": {"target": NAN},
    "a target below": {"target": Decimal("0.5")},
    "a price on a market order": {"price": Decimal(100)},
    "a limit without price": {"order": OrderType.LIMIT},
    "a limit at NaN": {"order": OrderType.LIMIT, "price": NAN},
    "a limit at 1E+300": {"order": OrderType.LIMIT, "price": Decimal("1E+300")},
    "an order of no kind": {"order": "iceberg"},
    "an order of a list": {"order": [1]},
    "negative lots": {"lots": Decimal(-1)},
    "no lots": {"lots": Decimal(0)},
    "lots that are not a number": {"lots": NAN},
    "huge lots": {"lots": Decimal("1E+60")},
    "endless lots": {"lots": Decimal("Infinity")},
    "lots as text": {"lots": "1"},
    "lots off the grid": {"lots": Decimal("0.00001")},
    "a risk of NaN": {"risk_frac": NAN},
    "a risk of 200 %": {"risk_frac": Decimal(2)},
    "a negative risk": {"risk_frac": Decimal(-1)},
    "a risk as text": {"risk_frac": "much"},
    "a risk as float": {"risk_frac": 0.01},
    "an expiry of NaN": {"expires_s": float("nan")},
    "an endless expiry": {"expires_s": float("inf")},
    "a negative expiry": {"expires_s": -1.0},
    "an expiry as text": {"expires_s": "soon"},
    "an expiry after the world": {"expires_s": 1e300},
    "a confidence of NaN": {"confidence": float("nan")},
    "a confidence as text": {"confidence": "high"},
    "a thesis that is a number": {"thesis": 5},
    "a thesis that is an object": {"thesis": object()},
    "a thesis that is no text": {"thesis": "\ud800"},
    "a thesis with a zero byte": {"thesis": "a\0b"},
    "a very long thesis": {"thesis": "x" * 1_000_000},
}


@pytest.mark.parametrize("mode", ["independent", "consensus"])
@pytest.mark.parametrize("what", OPENS)
def test_nonsense_in_an_open_harms_no_one_else(what: str, mode: str) -> None:
    def ask(view: View, asked: int) -> Sequence[Intent]:
        terms: dict[str, Any] = {
            "symbol": view.symbol,
            "side": Side.BUY,
            "stop": Decimal(50),
        } | OPENS[what]
        return [Open(**terms)] if 3 < asked < 10 else []

    season = play(Doing(ask), [walk(30)], mode=mode)

    assert season.digest
    answers = season.records("bad", "refused") + season.records("bad", "approved")
    assert answers or failures(season)
    if mode == "independent":
        untouched = play(Flat(), [walk(30)])
        assert without_ticket_numbers(of_others(season)) == without_ticket_numbers(
            of_others(untouched)
        )


def without_ticket_numbers(records: list[tuple[object, ...]]) -> list[object]:
    """Tickets are numbered through all accounts: another engine's shift the numbers."""

    def plain(body: str) -> object:
        facts = msgspec.json.decode(body)
        facts.pop("ticket", None)
        facts.get("intent", {}).pop("ticket", None)
        return facts

    return [(*record[:-1], plain(str(record[-1]))) for record in records]


@pytest.mark.parametrize(
    "intent",
    [
        Close(ticket=999_999),
        Close(ticket=-1),
        Close(ticket=None),  # type: ignore[arg-type]
        Close(ticket=[1]),  # type: ignore[arg-type]
        Close(ticket="1"),  # type: ignore[arg-type]
        Close(ticket=10**30),
        Amend(ticket=999_999, stop=Decimal(1)),
        Amend(ticket=[1], stop=Decimal(1)),  # type: ignore[arg-type]
    ],
    ids=repr,
)
@pytest.mark.parametrize("mode", ["independent", "consensus"])
def test_a_change_to_a_ticket_that_is_not_there_harms_no_one(intent: Intent, mode: str) -> None:
    season = play(Doing(lambda view, asked: [intent]), [walk(20)], mode=mode)

    assert season.records("bad", "refused") or failures(season)


@pytest.mark.parametrize(
    "terms",
    [
        {"stop": NAN},
        {"stop": Decimal("Infinity")},
        {"stop": "90"},
        {"stop": Decimal(0)},
        {"stop": Decimal(-1)},
        {"stop": Decimal("1E+300")},
        {"target": NAN},
        {"target": Decimal(-1)},
        {"target": 5.0},
        {},
    ],
    ids=repr,
)
def test_a_ticket_is_not_amended_to_nonsense(terms: dict[str, Any]) -> None:
    def amends(view: View, asked: int) -> Sequence[Intent]:
        if asked == 1:
            return [view.buy(stop=view.close * 0.5, target=view.close * 2)]
        return [Amend(ticket=ticket.id, **terms) for ticket in view.tickets if ticket.is_open]

    season = play(Doing(amends), [walk(20)])

    (ticket,) = season.tickets_of("bad")
    assert ticket.stop_price is not None and 40 < ticket.stop_price < 60
    assert ticket.target_price is not None and 180 < ticket.target_price < 220
    assert season.records("bad", "refused") or failures(season)


@pytest.mark.parametrize(
    "lots", [NAN, Decimal(-1), Decimal(0), "all", 0.5, Decimal("Infinity"), Decimal("1E+60")]
)
def test_a_ticket_is_not_closed_by_nonsense(lots: Any) -> None:
    def closes(view: View, asked: int) -> Sequence[Intent]:
        if asked == 1:
            return [view.buy(stop=view.close * 0.5)]
        return [Close(ticket=ticket.id, lots=lots) for ticket in view.tickets if ticket.is_open]

    season = play(Doing(closes), [walk(20)])

    (ticket,) = season.tickets_of("bad")
    assert ticket.exit_reason in ("season end", "bench")
    assert season.records("bad", "refused") or failures(season)


def test_another_engines_ticket_is_out_of_reach() -> None:
    def grasps(view: View, asked: int) -> Sequence[Intent]:
        return [Close(ticket=number) for number in range(1, 40)]

    season = play(Doing(grasps))

    assert season.records("bad", "approved") == []
    assert of_others(season) == of_others(play(Flat()))
    assert {r.body["refused"]["rule"] for r in season.records("bad", "refused")} == {"ticket"}


def test_of_a_list_with_one_bad_intent_nothing_is_done() -> None:
    def half(view: View, asked: int) -> Any:
        return [view.buy(stop=view.close * 0.5), "nonsense"] if asked == 1 else []

    season = play(Doing(half))

    assert season.records("bad", "approved") == []
    assert len(failures(season)) == 1


# What an engine may not change


def test_what_an_engine_is_shown_it_cannot_change() -> None:
    def meddles(view: View, asked: int) -> Sequence[Intent]:
        bars = view.bars(10)
        for array in (bars.open_ns, bars.open, bars.high, bars.low, bars.close, bars.volume):
            with pytest.raises(ValueError, match="read-only"):
                array[-1] = 0
        return ()

    season = play(Doing(meddles), [a_table(closes=[100.0] * 20)])

    assert failures(season) == []


def test_a_contestant_with_a_latency_is_benched_alike() -> None:
    season = play_bars([walk()], [a_contestant("bad", Doing(boom), latency_ns=10**9)])

    assert len(season.records("bad", "failed")) == 3
