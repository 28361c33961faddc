"""The shadow: what an engine would have had without the guardian's changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec
import pytest

from hydra.engines.view import View
from hydra.guardian.profiles import DailyLimit, Profile, profile
from hydra.mother.mother import Mother
from hydra.portfolio.intents import Intent
from tests.support.bars import a_table
from tests.support.seasons import USD, Played, Record, ScriptedEngine, play_bars

Wish = Callable[[View], Sequence[Intent]]
Script = Mapping[int | tuple[str, int], Wish]

# Only a size of a ticket is limited: 2 % of the initial balance at its stop, 500 USD.
SMALL = msgspec.structs.replace(profile("none"), name="small", position_risk_frac=Decimal("0.02"))
# Only one ticket at once.
ONE = msgspec.structs.replace(profile("none"), name="one", max_positions=1)


def play(script: Script, guard: Profile, *closes: float) -> Played:
    """Bar 0 closes at 100, the next at `closes`; each opens where the one before closed."""
    return play_bars(
        [a_table(closes=[100.0, *closes])], {"e": ScriptedEngine(script)}, profile=guard
    )


def pnl(played: Played, of: str = "shadow") -> float:
    """Of the engine `e`, at the end: its own, or its shadow's, USD."""
    (line,) = [line for line in played.standings if line.engine == "e"]
    figure = line.metrics[f"{of}_pnl_usd"]
    assert isinstance(figure, float)
    return figure


def buy(lots: int, stop: float | None = None, target: float | None = None) -> Wish:
    return lambda view: [view.buy(lots=Decimal(lots), stop=stop, target=target)]


def sell(lots: int, stop: float | None = None, target: float | None = None) -> Wish:
    return lambda view: [view.sell(lots=Decimal(lots), stop=stop, target=target)]


def close_all(view: View) -> Sequence[Intent]:
    return [view.close_ticket(ticket) for ticket in view.tickets]


def test_while_nothing_is_changed_the_shadow_is_the_account() -> None:
    played = play({0: buy(10, stop=90), 3: close_all}, SMALL, 100, 101, 105, 110, 90)

    samples = [row for row in played.store.season.equity.values() if row.engine == "e"]
    assert len(samples) > 4
    assert all(row.shadow_units == row.equity_units for row in samples)
    assert pnl(played) == pnl(played, "net") == 50


def test_of_a_ticket_made_smaller_the_shadow_holds_the_size_that_was_asked() -> None:
    played = play({0: buy(100, stop=90), 3: close_all}, SMALL, 100, 101, 105, 110)

    assert played.tickets[0].lots == 50
    assert pnl(played, "net") == 50 * 5
    assert pnl(played) == 100 * 5


def test_it_is_stopped_like_the_ticket_and_loses_more() -> None:
    played = play({0: buy(100, stop=90)}, SMALL, 100, 100, 80)

    assert pnl(played, "net") == -500
    assert pnl(played) == -1_000


def test_a_part_that_is_closed_is_the_same_part_of_the_shadow() -> None:
    half: Script = {
        0: buy(100, stop=90),
        2: lambda v: [v.close_ticket(v.tickets[0], lots=Decimal(25))],
        3: close_all,
    }

    played = play(half, SMALL, 100, 102, 104, 104)

    assert pnl(played, "net") == 25 * 2 + 25 * 4
    assert pnl(played) == 50 * 2 + 50 * 4


def test_an_amended_stop_moves_the_shadow_s_as_well() -> None:
    script: Script = {0: buy(100, stop=90), 1: lambda v: [v.amend(v.tickets[0], stop=99)]}

    played = play(script, SMALL, 100, 95, 200)

    assert pnl(played) == 2 * pnl(played, "net") == -100


def test_what_was_refused_the_shadow_has_after_all() -> None:
    played = play({0: buy(1), 1: sell(2)}, ONE, 100, 110)

    assert len(played.tickets) == 1
    assert pnl(played, "net") == 10
    assert pnl(played) == 10 - 2 * 10


def test_a_wish_refused_again_and_again_is_one_wish() -> None:
    played = play({0: buy(1), 1: sell(2), 2: sell(2), 3: sell(2)}, ONE, 100, 100, 100, 110)

    assert pnl(played) == 10 - 2 * 10


def test_a_second_ticket_of_a_side_that_it_holds_is_taken_for_the_same_wish() -> None:
    played = play({0: buy(1), 1: buy(2)}, ONE, 100, 110)

    assert pnl(played) == pnl(played, "net") == 10


def test_a_stray_ticket_ends_when_the_engine_closes_on_its_symbol() -> None:
    played = play({0: buy(1), 1: sell(2), 3: close_all}, ONE, 100, 100, 110, 200)

    assert pnl(played, "net") == 10
    assert pnl(played) == 10 - 2 * 10


def test_a_stray_ticket_ends_when_the_engine_turns() -> None:
    script: Script = {0: buy(1, stop=95), 1: sell(2), 3: buy(1)}

    played = play(script, ONE, 100, 94, 90, 95)

    # Stopped at 95, bought again at 90; the shadow's own ticket, sold at 100, ends at 90.
    assert pnl(played, "net") == -5 + 5
    assert pnl(played) == -5 + 5 + 2 * 10


def test_a_stray_ticket_keeps_its_stop_and_its_target() -> None:
    won = play({0: buy(1), 1: sell(2, stop=110, target=95)}, ONE, 100, 94, 100)
    lost = play({0: buy(1), 1: sell(2, stop=105)}, ONE, 100, 106, 100)

    assert pnl(won) == 2 * 5
    assert pnl(lost) == -2 * 5


def test_a_floor_of_the_account_is_none_of_its_shadow() -> None:
    day = DailyLimit(limit_frac=Decimal("0.05"), guard_frac=Decimal("0.03"))  # 750 USD
    played = play({0: buy(100, stop=90)}, msgspec.structs.replace(SMALL, daily=day), 100, 91, 110)

    assert played.tickets[0].lots == 50
    assert pnl(played, "net") == 50 * 10
    assert pnl(played) == 100 * 10  # though it was at -900


@pytest.mark.parametrize("guard", [SMALL, ONE], ids=lambda guard: guard.name)
def test_a_shadow_leaves_no_trace_in_the_records(guard: Profile) -> None:
    script: Script = {
        0: buy(100, stop=90, target=120),
        1: sell(300, stop=125),
        3: close_all,
        4: buy(80, stop=70),
    }
    closes = (100, 105, 95, 115, 100, 85, 60)

    with_shadow = play(script, guard, *closes)
    told = {ticket.ticket for ticket in with_shadow.tickets}

    def seen(record: Record) -> bool:
        return "ticket" not in record.body or record.body["ticket"] in told

    assert all(seen(record) for record in with_shadow.journal)
    assert pnl(with_shadow) != pnl(with_shadow, "net")
    moved = sum(record.amount_units or 0 for record in with_shadow.records("e"))
    assert moved == with_shadow.account("e").balance_units - 25_000 * USD


def test_an_account_never_feels_its_shadow() -> None:
    """A ruined shadow, out of margin and below every floor, beside an account that trades."""
    script: Script = {
        0: buy(10_000, stop=99),
        2: buy(5, stop=90),
        5: close_all,
    }
    balances: list[int] = []

    def note(mother: Mother, cycle: int, now_ns: int) -> None:
        balances.append(mother.accounts[0].balance_units)

    table = a_table(closes=[100.0, 100, 98, 100, 100, 103, 103, 103])
    played = play_bars([table], {"e": ScriptedEngine(script)}, profile=SMALL, on_cycle=note)

    bought = played.tickets[-1]
    assert bought.pnl_units == 5 * 5 * USD
    assert balances[-1] == 25_000 * USD + sum(t.pnl_units or 0 for t in played.tickets)
