"""Real money of a day: reserved before a request, settled after it, never counted twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hydra.clock import NS_PER_DAY, NS_PER_S, ManualClock, to_ns
from hydra.engines.llm.budget import Budget, Reservation
from hydra.engines.llm.calls import Outcome

NOON_NS = to_ns(datetime(2026, 11, 26, 12, tzinfo=UTC))
CENT = 1_000_000  # units of 1e-8 USD


def a_budget(usd: str = "0.10", clock: ManualClock | None = None, **spent: int) -> Budget:
    return Budget({"them": Decimal(usd)}, clock=clock or ManualClock(NOON_NS), spent_units=spent)


def held(budget: Budget, units: int) -> Reservation:
    reservation = budget.reserve("them", units)
    assert isinstance(reservation, Reservation)
    return reservation


def test_what_is_reserved_counts_as_spent_until_it_is_settled() -> None:
    budget = a_budget()
    first = held(budget, 6 * CENT)

    assert budget.reserve("them", 5 * CENT) is Outcome.OVER_BUDGET
    first.settle(1 * CENT)
    assert budget.spent_today_units("them") == 1 * CENT
    held(budget, 9 * CENT)  # to the last unit
    assert budget.reserve("them", 1) is Outcome.OVER_BUDGET


def test_an_unknown_cost_leaves_the_most_it_could_be() -> None:
    budget = a_budget()
    held(budget, 6 * CENT).settle(None)

    assert budget.spent_today_units("them") == 6 * CENT


def test_what_nobody_settles_stays_spent() -> None:
    budget = a_budget()
    held(budget, 6 * CENT)

    assert budget.spent_today_units("them") == 6 * CENT


def test_a_true_cost_above_the_estimate_is_booked_as_it_is() -> None:
    budget = a_budget()
    held(budget, 6 * CENT).settle(12 * CENT)

    assert budget.spent_today_units("them") == 12 * CENT
    assert budget.reserve("them", 0) is Outcome.OVER_BUDGET


def test_an_unknown_price_is_refused_even_where_money_is_left() -> None:
    assert a_budget("1000").reserve("them", None) is Outcome.UNPRICED


def test_without_money_only_what_is_free_may_be_asked() -> None:
    budget = a_budget("0")

    assert budget.reserve("them", 1) is Outcome.OVER_BUDGET
    held(budget, 0).settle(0)


def test_a_restart_goes_on_where_the_day_was() -> None:
    budget = a_budget(them=9 * CENT)

    assert budget.spent_today_units("them") == 9 * CENT
    assert budget.reserve("them", 2 * CENT) is Outcome.OVER_BUDGET


def test_a_new_day_begins_at_midnight_utc() -> None:
    clock = ManualClock(NOON_NS)
    budget = a_budget(clock=clock, them=10 * CENT)
    midnight_ns = NOON_NS - NOON_NS % NS_PER_DAY + NS_PER_DAY

    clock.set_ns(midnight_ns - 1)
    assert budget.reserve("them", 1) is Outcome.OVER_BUDGET
    clock.set_ns(midnight_ns)
    held(budget, 10 * CENT)


def test_a_request_over_midnight_is_paid_from_the_day_on_which_it_left() -> None:
    clock = ManualClock(NOON_NS)
    budget = a_budget(clock=clock)
    request = held(budget, 6 * CENT)
    clock.set_ns(NOON_NS + NS_PER_DAY)

    request.settle(5 * CENT)

    assert budget.spent_today_units("them") == 0
    held(budget, 10 * CENT)


def test_each_gladiator_has_its_own_budget() -> None:
    budget = Budget({"a": Decimal("0.01"), "b": Decimal("0.02")}, clock=ManualClock(NOON_NS))
    assert isinstance(budget.reserve("a", CENT), Reservation)

    assert budget.reserve("a", 1) is Outcome.OVER_BUDGET
    assert isinstance(budget.reserve("b", 2 * CENT), Reservation)
    assert (budget.daily_units("a"), budget.daily_units("b")) == (CENT, 2 * CENT)
    with pytest.raises(KeyError):
        budget.reserve("c", 1)


def test_a_reservation_is_settled_once_and_never_earns_money() -> None:
    budget = a_budget()
    request = held(budget, CENT)
    with pytest.raises(ValueError, match="-1"):
        request.settle(-1)
    request.settle(0)

    with pytest.raises(ValueError, match="twice"):
        request.settle(0)
    assert budget.spent_today_units("them") == 0


async def test_a_hundred_tasks_together_spend_no_more_than_the_budget() -> None:
    budget = a_budget("0.10")

    async def call() -> bool:
        reservation = budget.reserve("them", CENT)
        await asyncio.sleep(0)
        if isinstance(reservation, Outcome):
            return False
        reservation.settle(CENT)
        return True

    done = await asyncio.gather(*(call() for _ in range(100)))

    assert sum(done) == 10
    assert budget.spent_today_units("them") == 10 * CENT


def test_a_clock_that_goes_on_within_the_day_changes_nothing() -> None:
    clock = ManualClock(NOON_NS)
    budget = a_budget(clock=clock)
    held(budget, 6 * CENT)
    clock.set_ns(NOON_NS + 3_600 * NS_PER_S)

    assert budget.spent_today_units("them") == 6 * CENT
