"""Consensus mode: votes weighed by rank, one decision of the house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hydra.engines.view import View
from hydra.mother.consensus import Consensus
from hydra.mother.ledgers import Account
from hydra.mother.seats import Seat
from hydra.portfolio.intents import Amend, Close, Intent, Open, Side, Ticket
from tests.support.bars import a_table
from tests.support.seasons import Played, ScriptedEngine, a_contestant, play_bars

BTC, ETH = "BTC-USD", "ETH-USD"


@dataclass
class Parliament:
    """A consensus among engines that the test names, and the house's tickets."""

    weights: dict[str, float]
    held: tuple[Ticket, ...] = ()
    references: set[str] = field(default_factory=set)

    def decide(self, wishes: dict[str, Sequence[Intent]]) -> list[Intent]:
        """What the house does when each engine wishes so; ticket 1 to 9 are its own on BTC."""
        accounts = [
            SimpleNamespace(
                live={
                    n: SimpleNamespace(instrument=SimpleNamespace(symbol=BTC)) for n in range(1, 10)
                }
            )
            for _ in wishes
        ]
        seats = [
            SimpleNamespace(
                account=i,
                contestant=SimpleNamespace(name=name, is_reference=name in self.references),
            )
            for i, name in enumerate(wishes)
        ]
        consensus = Consensus(
            cast(Account, SimpleNamespace(tickets=self.held)),
            SimpleNamespace(weights=self.weights),
        )
        consensus.hear(
            [
                (cast(Seat, seat), wish, 0)
                for seat, wish in zip(seats, wishes.values(), strict=True)
            ],
            cast(Sequence[Account], accounts),
        )
        return consensus.decide()


def buy(stop: object = 90, symbol: str = BTC, **terms: Any) -> Open:
    return Open(symbol=symbol, side=Side.BUY, stop=exact(stop), **terms)


def sell(stop: object = 110, symbol: str = BTC, **terms: Any) -> Open:
    return Open(symbol=symbol, side=Side.SELL, stop=exact(stop), **terms)


def exact(price: object) -> Decimal | None:
    return None if price is None else Decimal(str(price))


def a_ticket(side: Side, number: int = 7, symbol: str = BTC) -> Ticket:
    return Ticket(
        id=number, symbol=symbol, side=side, lots=Decimal(1), stop=None, target=None,
        is_open=True, entry=Decimal(100), entry_ns=0,
    )  # fmt: skip


RANKS = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}


def sides(intents: Sequence[Intent]) -> list[Side]:
    return [intent.side for intent in intents if isinstance(intent, Open)]


def test_without_votes_nothing_is_decided() -> None:
    assert Parliament(RANKS).decide({"a": [], "b": ()}) == []


@pytest.mark.parametrize(
    ("buyers", "decided"),
    [("a", False), ("bc", True), ("ad", True), ("bd", False), ("cd", False), ("abcd", True)],
)
def test_a_side_needs_half_of_all_weights(buyers: str, decided: bool) -> None:
    found = Parliament(RANKS).decide({name: [buy()] for name in buyers})

    assert sides(found) == [Side.BUY] * decided


def test_the_heavier_side_wins() -> None:
    found = Parliament(RANKS).decide({"a": [sell()], "b": [buy()], "c": [sell()], "d": [buy()]})

    assert sides(found) == [Side.SELL]


def test_a_tie_decides_nothing() -> None:
    found = Parliament(RANKS).decide({"a": [buy()], "b": [sell()], "c": [sell()], "d": [buy()]})

    assert found == []


@pytest.mark.parametrize("engines", [3, 6, 7, 9, 11, 14, 49])
def test_equal_shares_are_counted_exactly(engines: int) -> None:
    """Floats would make 7 of 14 a little less than half, or tell 3/7 from 3/7."""
    names = [f"e{i}" for i in range(2 * engines)]
    parliament = Parliament(dict.fromkeys(names, 1 / (2 * engines)))

    half = parliament.decide({name: [buy()] for name in names[:engines]})
    tie = parliament.decide({name: [buy() if i % 2 else sell()] for i, name in enumerate(names)})

    assert sides(half) == [Side.BUY]
    assert tie == []


def test_an_engine_has_one_vote_however_many_tickets_it_asks_for() -> None:
    assert Parliament(RANKS).decide({"b": [buy(), buy(), buy()]}) == []
    assert Parliament(RANKS).decide({"b": [buy(), buy()], "c": [buy()]}) != []


def test_an_engine_has_one_vote_to_close_however_many_tickets_it_closes() -> None:
    house = (a_ticket(Side.BUY),)
    closes = [Close(ticket=1), Close(ticket=2), Close(ticket=3)]

    assert Parliament(RANKS, house).decide({"c": closes}) == []


def test_an_engine_that_wants_both_sides_votes_for_neither() -> None:
    assert Parliament(RANKS).decide({"a": [buy(), sell()], "b": [buy(), sell()]}) == []


def test_references_and_engines_without_weight_have_no_vote() -> None:
    parliament = Parliament({**RANKS, "benched": 0.0, "flat": 0.9}, references={"flat"})

    assert parliament.decide({"flat": [buy()], "benched": [buy()], "stranger": [buy()]}) == []


def test_each_symbol_is_decided_by_itself_in_order_of_names() -> None:
    found = Parliament(RANKS).decide(
        {"a": [buy(symbol=ETH), buy()], "b": [sell(symbol=ETH), buy()], "c": [buy(symbol=ETH)]}
    )

    assert [(i.symbol, i.side) for i in found if isinstance(i, Open)] == [
        (BTC, Side.BUY),
        (ETH, Side.BUY),
    ]


def test_what_is_held_on_the_same_side_is_kept_and_not_doubled() -> None:
    assert Parliament(RANKS, (a_ticket(Side.BUY),)).decide({"a": [buy()], "b": [buy()]}) == []


def test_what_is_held_on_the_other_side_is_closed_first() -> None:
    found = Parliament(RANKS, (a_ticket(Side.SELL),)).decide({"a": [buy()], "b": [buy()]})

    assert isinstance(found[0], Close) and found[0].ticket == 7
    assert sides(found) == [Side.BUY]


def test_tickets_on_other_symbols_are_left_alone() -> None:
    held = (a_ticket(Side.SELL, 7, ETH), a_ticket(Side.SELL, 8, BTC))
    found = Parliament(RANKS, held).decide({"a": [buy()], "b": [buy()]})

    assert [i.ticket for i in found if isinstance(i, Close)] == [8]


@pytest.mark.parametrize(("closers", "closed"), [("ab", True), ("ad", True), ("a", False)])
def test_to_close_needs_half_of_all_weights(closers: str, closed: bool) -> None:
    found = Parliament(RANKS, (a_ticket(Side.BUY),)).decide(
        {name: [Close(ticket=1)] for name in closers}
    )

    assert [i.ticket for i in found if isinstance(i, Close)] == [7] * closed


def test_to_close_needs_more_weight_than_either_side() -> None:
    house = (a_ticket(Side.BUY),)
    reversing: list[Intent] = [Close(ticket=1), sell()]

    found = Parliament(RANKS, house).decide({"a": reversing, "b": reversing})
    undecided = Parliament(RANKS, house).decide(
        {"a": [Close(ticket=1), buy()], "d": [Close(ticket=1), sell()]}
    )

    assert [type(intent) for intent in found] == [Close, Open]
    assert [type(intent) for intent in undecided] == [Close]


def test_a_close_of_a_ticket_that_is_not_there_is_no_vote() -> None:
    found = Parliament(RANKS, (a_ticket(Side.BUY),)).decide(
        {name: [Close(ticket=99)] for name in "abcd"}
    )

    assert found == []


def test_amendments_are_no_votes() -> None:
    assert (
        Parliament(RANKS).decide({name: [Amend(ticket=1, stop=Decimal(5))] for name in "ab"}) == []
    )


def merged(wishes: dict[str, Sequence[Intent]]) -> Open:
    (found,) = Parliament(RANKS).decide(wishes)
    assert isinstance(found, Open)
    return found


def test_stop_and_target_are_weighted_medians_of_the_winners() -> None:
    found = merged(
        {
            "a": [buy(95, target=exact(120))],
            "b": [buy(90, target=exact(130))],
            "c": [buy(80, target=exact(140))],
            "d": [sell(200, target=exact(1))],
        }
    )

    # Of 0.9, at least 0.45: 80 (0.2), 90 (0.5). Of the targets: 120 (0.4), 130 (0.7).
    assert (found.stop, found.target) == (Decimal(90), Decimal(130))


def test_who_names_no_stop_does_not_decide_it() -> None:
    found = merged({"a": [buy(None)], "b": [buy(90)], "c": [buy(None)]})

    assert found.stop == 90
    assert merged({"a": [buy(None)], "b": [buy(None)]}).stop is None


def test_risk_is_the_weighted_mean_of_those_who_named_one() -> None:
    found = merged(
        {
            "a": [buy(risk_frac=Decimal("0.01"))],
            "b": [buy()],
            "c": [buy(risk_frac=Decimal("0.04"))],
        }
    )

    assert found.risk_frac == Decimal("0.02")
    assert merged({"a": [buy()], "b": [buy()]}).risk_frac is None


def test_the_thesis_and_the_confidence_tell_how_many_agreed() -> None:
    found = merged({"a": [buy()], "b": [buy()], "c": [sell()]})

    assert found.confidence == pytest.approx(0.7)
    assert found.thesis == "70% of the weight votes buy"


@pytest.mark.parametrize("price", ["NaN", "Infinity", "sNaN"])
def test_a_vote_with_a_price_that_is_no_number_does_not_count(price: str) -> None:
    assert Parliament(RANKS).decide({"a": [buy(price)], "b": [buy()]}) == []
    found = merged({"a": [buy(price)], "b": [buy(90)], "c": [buy(80)]})
    assert found.stop in (80, 90)
    assert found.confidence == pytest.approx(0.5)


# In a season


def prices(n: int = 12) -> list[Any]:
    return [a_table(BTC, [100.0 + i for i in range(n)], "1h")]


def a_vote(view: View) -> Sequence[Intent]:
    return [view.buy(stop=view.close - 10)]


def house_season(**more: Any) -> Played:
    engines = {
        "a": ScriptedEngine({1: a_vote}),
        "b": ScriptedEngine({1: a_vote}),
        "c": ScriptedEngine(),
    }
    return play_bars(prices(), engines, mode="consensus", **more)


def test_the_house_trades_its_own_account_by_the_vote() -> None:
    season = house_season()

    (ticket,) = season.tickets_of("house")
    assert ticket.thesis == "67% of the weight votes buy"
    assert ticket.direction == "LONG"
    assert len(season.tickets_of("a")) == 1  # each engine goes on trading its own
    house = season.account("house")
    assert house.balance_units == house.initial_units + (ticket.pnl_units or 0)


def test_without_a_quorum_the_house_does_nothing() -> None:
    engines = {"a": ScriptedEngine({1: a_vote}), "b": ScriptedEngine(), "c": ScriptedEngine()}
    season = play_bars(prices(), engines, mode="consensus")

    assert season.tickets_of("house") == []
    assert len(season.tickets_of("a")) == 1


def test_the_house_holds_no_rank_and_has_an_equity_curve_of_its_own() -> None:
    season = house_season()

    assert "house" not in {row.engine for row in season.standings}
    points = [row for row in season.store.season.equity.values() if row.engine == "house"]
    assert points
    assert points[-1].equity_units == season.account("house").equity_units


def test_the_vote_of_an_engine_that_was_benched_no_longer_counts() -> None:
    class Bad:
        features = ()

        def decide(self, view: View) -> Sequence[Intent]:
            raise RuntimeError

    engines = [
        a_contestant("bad", Bad()),
        a_contestant("good", ScriptedEngine({30: a_vote})),
    ]
    season = play_bars(
        [a_table(BTC, [100.0 + i % 7 for i in range(60)], "1h")], engines, mode="consensus"
    )

    # Scored at midnight, the only engine that plays has all the weight.
    (ticket,) = season.tickets_of("house")
    assert ticket.thesis == "100% of the weight votes buy"
