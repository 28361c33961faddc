"""Who has to leave the tournament, and why nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.errors import ConfigError
from hydra.tournament.elimination import EliminationRules, Judgement, judge
from hydra.tournament.ranking import Entrant, State, standings

USD = 100_000_000
RULES = EliminationRules(every_h=24)


def entrant(engine: str, pnl_usd: float, trades: int = 5, **changes: Any) -> Entrant:
    values: dict[str, Any] = {
        "engine": engine,
        "net_pnl_units": round(pnl_usd * USD),
        "trades": trades,
        "counted_trades": trades,
    }
    return Entrant(**(values | changes))


def judged(*field: Entrant, rules: EliminationRules = RULES) -> Judgement:
    return judge(standings(field), rules)


FOUR = (entrant("a", 900), entrant("b", 50), entrant("c", -20), entrant("d", -40.5))


def test_the_last_of_five_leaves_when_it_lost_money_and_is_told_why() -> None:
    found = judged(*FOUR, entrant("e", -312.4, 17))

    assert found == Judgement(
        engine="e",
        text="last of 5 judged (at least 3 closed trades each): net P&L -312.40 USD after"
        " 17 trades, 271.90 USD behind d",
    )


def test_four_that_play_are_the_fewest_there_may_be() -> None:
    found = judged(*FOUR)

    assert found == Judgement(
        engine=None,
        text="nobody is eliminated: 4 engines with a rank play, and 4 have to go on",
    )


@pytest.mark.parametrize(
    "out", [State.BENCHED, State.BREACHED, State.ELIMINATED], ids=lambda state: state.value
)
def test_who_is_out_is_neither_judged_nor_counted(out: State) -> None:
    gone = entrant("gone", -5_000, state=out)

    assert judged(*FOUR, gone).engine is None
    assert judged(*FOUR, entrant("e", -60), gone).engine == "e"


@pytest.mark.parametrize("unranked", [{"is_reference": True}, {"is_tagged": True}])
def test_who_holds_no_rank_is_neither_judged_nor_counted(unranked: dict[str, bool]) -> None:
    beside = entrant("beside", -5_000, **unranked)

    assert judged(*FOUR, beside).engine is None
    assert judged(*FOUR, entrant("e", -60), beside).engine == "e"


def test_too_few_trades_are_no_judgement_and_the_last_of_the_others_leaves() -> None:
    found = judged(*FOUR, entrant("new", -700, 2))

    assert found.engine == "d"
    assert found.text.startswith("last of 4 judged")
    assert judged(*FOUR, entrant("new", -700, 3)).engine == "new"


def test_only_trades_that_count_for_the_rank_make_it_one_to_judge() -> None:
    reader = entrant("reader", -700, 50, counted_trades=2)

    assert judged(*FOUR, reader).engine == "d"


def test_one_alone_is_not_the_last() -> None:
    """Who trades more than the others is not sent away before they can be judged."""
    field = [entrant(name, -1, 2) for name in "abcd"]

    assert judged(*field, entrant("busy", -50)).text == (
        "nobody is eliminated: only busy of 5 engines has 3 closed trades yet"
    )
    assert judged(*field, entrant("busy", -50), entrant("other", -20)).engine == "busy"


def test_nobody_with_enough_trades_is_nobody_judged() -> None:
    field = [entrant(name, -1, 2) for name in "abcde"]

    assert judged(*field).text == (
        "nobody is eliminated: none of 5 engines has 3 closed trades yet"
    )


@pytest.mark.parametrize("pnl_usd", [0, 12.5])
def test_a_last_place_without_a_loss_is_no_reason_to_leave(pnl_usd: float) -> None:
    field = [entrant(name, 100 + i) for i, name in enumerate("abcd")]

    assert judged(*field, entrant("e", pnl_usd)).text == (
        "nobody is eliminated: the last of 5 judged (at least 3 closed trades each), e, lost"
        f" nothing: net P&L {pnl_usd:.2f} USD"
    )
    assert judged(*field, entrant("e", -0.01)).engine == "e"


def test_a_draw_at_the_last_place_sends_nobody_away() -> None:
    found = judged(*FOUR, entrant("e", -40.5))

    assert found == Judgement(
        engine=None,
        text="nobody is eliminated: d and e share the last place of 5 judged (at least 3 closed"
        " trades each): net P&L -40.50 USD",
    )
    assert judged(*FOUR, entrant("e", -40.5, 2)).engine == "d"  # e is not judged


def test_other_rules_move_the_bounds() -> None:
    assert judged(*FOUR, rules=EliminationRules(least_playing=3)).engine == "d"
    assert judged(*FOUR, rules=EliminationRules(least_playing=3, least_trades=6)).engine is None


@pytest.mark.parametrize(
    "wrong", [{"every_h": -1}, {"every_h": 8_761}, {"least_trades": 0}, {"least_playing": 0}]
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="elimination"):
        EliminationRules(**wrong)


entrants = st.builds(
    Entrant,
    engine=st.uuids().map(str),
    net_pnl_units=st.integers(-3, 3),
    state=st.sampled_from([State.PLAYING] * 5 + list(State)),
    is_reference=st.integers(0, 5).map(lambda n: n == 0),
    is_tagged=st.integers(0, 5).map(lambda n: n == 0),
    counted_trades=st.integers(0, 6),
)


def ranked_and_playing(field: Sequence[Entrant]) -> list[Entrant]:
    return [
        one
        for one in field
        if one.state is State.PLAYING and not one.is_reference and not one.is_tagged
    ]


@given(st.lists(entrants, max_size=9, unique_by=lambda one: one.engine))
def test_who_leaves_is_the_only_worst_loser_of_those_that_can_be_judged(
    field: list[Entrant],
) -> None:
    found = judge(standings(field), RULES)

    playing = ranked_and_playing(field)
    able = [one for one in playing if one.counted_trades >= 3]
    worst = min((one.net_pnl_units for one in able), default=0)
    losers = [one.engine for one in able if one.net_pnl_units == worst < 0]
    goes = losers[0] if len(losers) == 1 < len(able) and len(playing) > 4 else None
    assert found.engine == goes
    assert found.text


@given(st.lists(entrants, max_size=9, unique_by=lambda one: one.engine))
def test_however_often_it_is_judged_four_go_on_and_nobody_leaves_twice(
    field: list[Entrant],
) -> None:
    could = len(ranked_and_playing(field))
    gone: list[str] = []
    while (found := judge(standings(field), RULES)).engine is not None:
        assert found.engine not in gone
        gone.append(found.engine)
        field = [
            one
            if one.engine != found.engine
            else Entrant(engine=one.engine, net_pnl_units=one.net_pnl_units, state=State.ELIMINATED)
            for one in field
        ]

    assert len(ranked_and_playing(field)) == could - len(gone)
    assert not gone or could - len(gone) >= 4
