from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.errors import ConfigError
from hydra.tournament.house import House
from hydra.tournament.ranking import Entrant, Standing, State, Weights, standings
from hydra.tournament.scoring import Scoreboard


def entrant(
    engine: str, pnl: int, state: State = State.PLAYING, *, reference: bool = False
) -> Entrant:
    return Entrant(engine=engine, net_pnl_units=pnl, state=state, is_reference=reference)


def places(found: tuple[Standing, ...]) -> list[tuple[str, int | None, Fraction]]:
    return [(s.entrant.engine, s.rank, s.weight) for s in found]


def percent(*weights: int) -> list[Fraction]:
    return [Fraction(weight, 100) for weight in weights]


def test_ranks_follow_pnl_and_weights_follow_ranks() -> None:
    field = [entrant(name, pnl) for name, pnl in zip("abcde", (5, 50, -3, 20, 7), strict=True)]
    found = standings(field)

    assert [s.entrant.engine for s in found] == ["b", "d", "e", "a", "c"]
    assert [s.rank for s in found] == [1, 2, 3, 4, 5]
    assert [s.weight for s in found] == percent(40, 30, 20, 10, 0)
    assert [s.points for s in found] == [40, 30, 20, 10, 0]


@pytest.mark.parametrize(
    ("count", "weights"),
    [
        (1, [Fraction(1)]),
        (2, [Fraction(4, 7), Fraction(3, 7)]),
        (3, [Fraction(4, 9), Fraction(3, 9), Fraction(2, 9)]),
    ],
)
def test_fewer_than_four_share_the_whole(count: int, weights: list[Fraction]) -> None:
    found = standings(entrant(f"e{n}", -n) for n in range(count))

    assert [s.weight for s in found] == weights


def test_equals_share_the_mean_of_the_weights_they_cover() -> None:
    found = standings([entrant("a", 9), entrant("c", 5), entrant("b", 5), entrant("d", 1)])

    assert places(found) == [
        ("a", 1, Fraction(40, 100)),
        ("b", 2, Fraction(25, 100)),
        ("c", 2, Fraction(25, 100)),
        ("d", 4, Fraction(10, 100)),
    ]


def test_a_tie_across_the_fourth_place_shares_its_ten_percent() -> None:
    found = standings(
        entrant(name, {"e": 1, "d": 1}.get(name, ord("z") - ord(name))) for name in "abcde"
    )

    assert [s.weight for s in found][3:] == [Fraction(5, 100)] * 2


def test_references_have_a_line_where_their_pnl_puts_it_and_no_rank() -> None:
    found = standings([entrant("a", 9), entrant("hold", 7, reference=True), entrant("b", 5)])

    assert [(s.entrant.engine, s.rank) for s in found] == [("a", 1), ("hold", None), ("b", 2)]
    assert [s.weight for s in found] == [Fraction(4, 7), 0, Fraction(3, 7)]


def test_a_benched_engine_keeps_its_rank_but_its_weight_passes_on() -> None:
    found = standings([entrant("a", 9, State.BENCHED), entrant("b", 5), entrant("c", 1)])

    assert [(s.entrant.engine, s.rank) for s in found] == [("a", 1), ("b", 2), ("c", 3)]
    assert [s.weight for s in found] == [0, Fraction(4, 7), Fraction(3, 7)]


def test_a_breached_engine_ranks_below_all_whatever_it_earned() -> None:
    found = standings(
        [
            entrant("rich", 99, State.BREACHED),
            entrant("poor", -99, State.BREACHED),
            entrant("benched", -5, State.BENCHED),
            entrant("playing", -7),
        ]
    )

    assert [s.entrant.engine for s in found] == ["benched", "playing", "rich", "poor"]
    assert [s.rank for s in found] == [1, 2, 3, 4]
    assert [s.weight for s in found] == [0, 1, 0, 0]


def test_with_nobody_playing_there_are_no_weights() -> None:
    found = standings([entrant("a", 1, State.BENCHED), entrant("b", 0, State.BREACHED)])

    assert [s.weight for s in found] == [0, 0]


def test_overlapping_confidence_sets_share_weights_but_ranks_stay_those_of_pnl() -> None:
    field = [entrant("a", 9), entrant("b", 8), entrant("c", 7), entrant("d", 1)]
    sets = {"a": (1, 2), "b": (1, 3), "c": (2, 3), "d": (4, 4)}
    found = standings(field, weights_by=Weights.BY_CONFIDENCE, rank_sets=sets)

    assert [s.rank for s in found] == [1, 2, 3, 4]
    assert [s.weight for s in found] == [Fraction(30, 100)] * 3 + [Fraction(10, 100)]


def test_sets_that_touch_nobody_change_nothing() -> None:
    field = [entrant("a", 9), entrant("b", 8)]
    sets = {"a": (1, 1), "b": (2, 2)}

    assert standings(field, weights_by=Weights.BY_CONFIDENCE, rank_sets=sets) == standings(field)


def test_two_engines_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two engines named a"):
        standings([entrant("a", 1), entrant("a", 2)])
    with pytest.raises(ConfigError, match="sets of ranks"):
        standings([entrant("a", 1)], weights_by=Weights.BY_CONFIDENCE)


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.sampled_from(list(State)), st.booleans()), max_size=8
    ),
)
def test_weights_sum_to_one_and_the_order_given_is_of_no_account(
    drawn: list[tuple[int, State, bool]],
) -> None:
    field = [
        entrant(f"e{n}", pnl, state, reference=reference)
        for n, (pnl, state, reference) in enumerate(drawn)
    ]
    found = standings(field)
    somebody = any(e.state is State.PLAYING and not e.is_reference for e in field)

    assert sum(s.weight for s in found) == int(somebody)
    assert standings(reversed(field)) == found
    ranked = [s.rank for s in found if s.rank is not None]
    assert ranked == sorted(ranked)


def test_points_add_up_over_scoring_cycles() -> None:
    board = Scoreboard()
    board.score(standings([entrant("a", 2), entrant("b", 1), entrant("c", 0)]), at_ns=1)
    rows = board.score(standings([entrant("a", 1), entrant("b", 2), entrant("c", 0)]), at_ns=2)

    assert board.total("a") == Fraction(700, 9)
    assert [(r.engine, r.scoring_cycle, r.at_ns, r.rank) for r in rows] == [
        ("b", 2, 2, 1),
        ("a", 2, 2, 2),
        ("c", 2, 2, 3),
    ]
    assert rows[0].total_points == rows[1].total_points == float(Fraction(700, 9))
    assert board.total("nobody") == 0


def test_the_house_earns_by_the_weights_set_before_the_interval() -> None:
    house = House(1_000_000)
    house.advance({"a": 100, "b": 100})
    house.reweigh({"a": Fraction(3, 4), "b": Fraction(1, 4)})
    assert house.advance({"a": 110, "b": 100}) == 1_075_000  # 3/4 of 10 %

    house.reweigh({"b": Fraction(1)})
    assert house.advance({"a": 220, "b": 90}) == 967_500  # a's doubling came after it lost weight


def test_the_house_holds_cash_for_weights_not_given_and_engines_not_seen() -> None:
    house = House(1_000)
    house.reweigh({"a": Fraction(1, 2), "new": Fraction(1, 2)})

    assert house.advance({"a": 100}) == 1_000
    assert house.advance({"a": 120, "new": 50}) == 1_100
    assert house.advance({"a": 120, "new": 25}) == 825
    assert house.advance({"a": 0}) == 412  # rounded down from 412.5
    assert house.advance({"a": 500, "new": 25}) == 412  # from nothing comes nothing


def test_house_weights_above_the_whole_are_refused() -> None:
    for weights in ({"a": Fraction(2, 3), "b": Fraction(1, 2)}, {"a": Fraction(-1)}):
        with pytest.raises(ValueError, match="house weights"):
            House(1).reweigh(weights)
