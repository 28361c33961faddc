"""What bars do to an account: margin, swap, floors, flattening; amounts to the last unit."""

from __future__ import annotations

import pytest

from hydra.portfolio.columns import (
    BREACHED,
    BY_DAILY_LOSS,
    BY_ENGINE,
    BY_MARGIN,
    BY_SEASON_END,
    BY_STOP,
    BY_STOP_OUT,
    BY_TARGET,
    BY_TOTAL_LOSS,
    CANCELLED,
    CLOSED,
    LIMIT,
    OPENED,
    SWAPPED,
    TRAIL_BALANCE,
    TRAIL_EQUITY,
)
from tests.support.tape import BAR_NS, NEVER, Prices, Tape, flat, kinds

# Money


def test_balance_changes_by_fees_at_the_entry_and_by_pnl_and_fees_at_the_exit() -> None:
    tape = Tape.of(commission_ppm=1_000, commission_step=2)
    slot = tape.order(+1, 10)
    tape.play(flat(1_000))

    assert tape["balance"] == 1_000_000 - 10 - 20  # a thousandth of 10,000, and 2 a step

    tape.close(slot, 10)
    (closed,) = tape.play(flat(1_100))

    assert (closed.pnl, closed.commission) == (1_000, 31)
    assert tape["balance"] == tape["equity"] == 1_000_000 - 30 + 1_000 - 31


def test_equity_is_the_balance_and_what_open_tickets_would_bring_at_the_touch() -> None:
    tape = Tape.of()
    tape.order(+1, 10)
    tape.order(-1, 4)
    tape.play((1_000, 1_000, 1_000, 1_050), spread=3)

    assert tape["equity"] == 1_000_000 + 10 * (1_050 - 1_003) + 4 * (1_000 - 1_053)


def test_spread_and_slippage_are_counted_beside_the_price_that_contains_them() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 4)
    (opened,) = tape.play(flat(1_000), spread=10, slip_base=1.0, slip_impact=0.5)
    tape.close(slot, 4)
    (closed,) = tape.play(flat(1_000), spread=10, slip_base=1.0, slip_impact=0.5)

    assert (opened.price, opened.spread) == (1_012, 4 * (5 + 2))
    assert (closed.price, closed.spread) == (998, 4 * (5 + 2))


# Several tickets


def test_tickets_of_both_sides_stand_beside_each_other_on_one_symbol() -> None:
    tape = Tape.of()
    tape.order(+1, 10, stop_at=900)
    tape.order(-1, 10, stop_at=1_100)
    tape.play(flat(1_000))

    assert tape["margin"] == 2 * 100  # each leg has its own

    events = tape.play((1_000, 1_000, 850, 880))

    assert [(e.kind, e.ticket, e.price) for e in events] == [(CLOSED, 1, 900)]
    assert tape.book.open_slots(0) == [1]


def test_slots_grow_with_the_tickets() -> None:
    tape = Tape.of(slots=1)
    for _ in range(5):
        tape.order(+1, 1)

    events = tape.play(flat(1_000))

    assert [event.ticket for event in events] == [1, 2, 3, 4, 5]
    assert len(tape.book.open_slots(0)) == 5


def test_a_free_slot_is_used_again_with_nothing_left_of_the_ticket_before() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 5, stop_at=900, target_at=1_200)
    tape.play(flat(1_000))
    tape.book.amend(0, slot, stop_at=950, target_at=-1, arrives_ns=NEVER)
    tape.close(slot, 5)
    tape.play(flat(1_000))

    assert tape.order(-1, 1) == slot
    tape.play(flat(1_000))
    tape.play((1_000, 1_300, 100, 1_000))

    assert tape.book.open_slots(0) == [slot]


# Margin


def test_an_order_without_margin_is_cancelled() -> None:
    tape = Tape.of(balance=999, leverage_x100=1_000)
    tape.order(+1, 10)

    (event,) = tape.play(flat(1_000))  # 10,000 at a leverage of 10 needs 1,000

    assert (event.kind, event.reason) == (CANCELLED, BY_MARGIN)
    assert tape["margin"] == 0


def test_closing_frees_margin_before_another_order_takes_it_in_the_same_bar() -> None:
    tape = Tape.of(balance=1_000, leverage_x100=1_000)
    first = tape.order(+1, 10)
    tape.play(flat(1_000))
    tape.order(-1, 10)
    tape.close(first, 10)

    assert kinds(tape.play(flat(1_000))) == [(CLOSED, BY_ENGINE), (OPENED, BY_ENGINE)]
    assert tape["margin"] == 1_000


def test_that_order_is_served_even_from_an_earlier_slot() -> None:
    tape = Tape.of(balance=2_000, leverage_x100=1_000)
    early, late = tape.order(+1, 10), tape.order(+1, 10)
    tape.play(flat(1_000))
    tape.close(early, 10)
    tape.play(flat(1_000))
    tape.order(-1, 10)
    tape.order(-1, 10)
    tape.close(late, 10)

    events = tape.play(flat(1_000))

    assert kinds(events) == [(CLOSED, BY_ENGINE), (OPENED, BY_ENGINE), (OPENED, BY_ENGINE)]


def test_a_partial_close_frees_its_part_of_the_margin() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 10)
    tape.play(flat(1_050))
    tape.close(slot, 3)
    tape.play(flat(1_050))

    assert tape["margin"] == 74  # 7,350 at 100, rounded up
    tape.close(slot, 7)
    tape.play(flat(1_050))
    assert tape["margin"] == 0


@pytest.mark.parametrize(("low", "stopped"), [(951, False), (950, True)])
def test_equity_at_half_the_margin_inside_a_bar_closes_everything(low: int, stopped: bool) -> None:
    tape = Tape.of(balance=1_000, leverage_x100=1_000)
    tape.order(+1, 10)
    tape.play(flat(1_000))

    events = tape.play((1_000, 1_000, low, 990))

    expected = [(BREACHED, BY_STOP_OUT), (CLOSED, BY_STOP_OUT)] if stopped else []
    assert kinds(events) == expected


# Swap


def test_swap_is_charged_on_what_was_open_at_the_rollover() -> None:
    tape = Tape.of(swap_long_ppm=100, swap_short_ppm=-50)
    tape.order(+1, 10)
    tape.play(flat(1_000))
    tape.order(-1, 20)
    events = tape.play(flat(1_000), swap_ns=BAR_NS, swap_count=1)

    # The second ticket is filled in the bar: it was not there at the rollover.
    assert [(e.kind, e.ticket, e.pnl) for e in events if e.kind == SWAPPED] == [(SWAPPED, 1, -1)]

    events = tape.play(flat(1_000), swap_ns=3 * BAR_NS, swap_count=3)

    swaps = [(e.ticket, e.pnl) for e in events if e.kind == SWAPPED]
    assert swaps == [(1, -3), (2, 3)]  # three nights; the short side is paid
    assert tape["balance"] == 1_000_000 - 1 - 3 + 3


# Floors


def test_a_floor_that_the_worst_price_of_a_bar_reaches_closes_everything_at_that_price() -> None:
    tape = Tape.of()
    tape.book.accounts["daily_floor"] = 999_000
    tape.order(+1, 10)
    pending = tape.order(+1, 10, order=LIMIT, price=100)
    tape.play(flat(1_000))

    events = tape.play((1_000, 1_000, 900, 990), slip_base=2.0)

    assert kinds(events) == [
        (BREACHED, BY_DAILY_LOSS),
        (CLOSED, BY_DAILY_LOSS),
        (CANCELLED, BY_DAILY_LOSS),
    ]
    assert events[0].pnl == 999_000  # the equity that reached it
    assert events[1].price == 898
    assert tape["balance"] == tape["equity"] == 1_000_000 - 1_020
    assert pending not in tape.book.live_slots(0)


def test_a_day_s_worst_equity_includes_what_getting_out_cost() -> None:
    tape = Tape.of(commission_step=1)
    tape.book.accounts["daily_floor"] = 999_000
    tape.order(+1, 10)
    tape.play(flat(1_000))
    tape.play((1_000, 1_000, 900, 990), slip_base=2.0)

    assert tape["worst"] == tape["day_worst"] == tape["balance"] == 1_000_000 - 10 - 1_020 - 10
    assert tape["drawdown_ppb"] == pytest.approx(1_040 * 1_000, abs=1)


def test_one_unit_above_the_floor_is_no_breach() -> None:
    tape = Tape.of()
    tape.book.accounts["daily_floor"] = 998_999
    tape.order(+1, 10)
    tape.play(flat(1_000))

    assert tape.play((1_000, 1_000, 900, 990)) == []
    assert tape["worst"] == tape["day_worst"] == 999_000


def test_the_account_s_floor_is_told_before_the_day_s() -> None:
    tape = Tape.of()
    tape.book.accounts["daily_floor"] = tape.book.accounts["total_floor"] = 999_000
    tape.order(-1, 10)
    tape.play(flat(1_000))

    assert kinds(tape.play((1_000, 1_100, 1_000, 1_000)))[0] == (BREACHED, BY_TOTAL_LOSS)


def test_the_worst_of_every_symbol_counts_at_once() -> None:
    tape = Tape.of(symbols=2)
    tape.order(+1, 10)
    tape.order(-1, 10, symbol=1)
    tape.play(flat(1_000), flat(1_000))

    tape.play((1_000, 1_010, 950, 1_000), (1_000, 1_030, 990, 1_000))

    assert tape["worst"] == 1_000_000 - 10 * 50 - 10 * 30
    assert tape["equity"] == 1_000_000


def test_a_ticket_without_a_bar_at_the_breach_is_closed_at_its_next_open() -> None:
    tape = Tape.of(symbols=2)
    tape.book.accounts["daily_floor"] = 999_000
    tape.order(+1, 10)
    tape.order(+1, 10, symbol=1)
    tape.play(flat(1_000), flat(1_000))
    tape.play((1_000, 1_000, 900, 990), None)
    tape.book.accounts["daily_floor"] = -NEVER

    (event,) = tape.play(None, (980, 990, 970, 985))

    assert (event.ticket, event.price, event.reason) == (2, 980, BY_DAILY_LOSS)


def test_a_ticket_that_reached_its_target_may_have_been_at_its_worst_before() -> None:
    tape = Tape.of()
    tape.order(+1, 10, target_at=1_100)
    tape.play(flat(1_000))
    (closed,) = tape.play((1_000, 1_200, 900, 1_150))

    assert closed.reason == BY_TARGET
    assert tape["worst"] == 1_000_000 - 10 * 100


def test_a_trailing_floor_follows_the_balance_up_to_its_lock_and_never_down() -> None:
    tape = Tape.of()
    account = tape.book.accounts[0]
    account["total_floor"], account["trail"] = 990_000, TRAIL_BALANCE
    account["trail_distance"], account["trail_lock"] = 10_000, 992_500

    for price, floor in ((1_100, 991_000), (1_000, 991_000), (1_400, 992_500)):
        slot = tape.order(+1, 10)
        tape.play(flat(1_000))
        tape.play(flat(price))
        assert tape["total_floor"] < floor or price == 1_000  # an open gain moves nothing
        tape.close(slot, 10)
        tape.play(flat(price))
        assert tape["total_floor"] == floor


def test_a_trailing_floor_may_follow_the_equity_from_the_bar_after_its_peak() -> None:
    tape = Tape.of()
    account = tape.book.accounts[0]
    account["total_floor"], account["trail"] = 999_500, TRAIL_EQUITY
    account["trail_distance"], account["trail_lock"] = 500, NEVER
    tape.order(+1, 10)
    tape.play(flat(1_000))

    assert tape.play((1_000, 1_100, 1_000, 1_100)) == []
    assert tape["total_floor"] == 1_000_000 + 1_000 - 500

    assert kinds(tape.play((1_100, 1_100, 1_050, 1_100)))[0] == (BREACHED, BY_TOTAL_LOSS)


# The end, and accounts beside each other


def test_settling_closes_at_the_last_touch_and_charges_the_fee() -> None:
    tape = Tape.of(commission_step=3)
    tape.order(+1, 10)
    tape.order(-1, 10, order=LIMIT, price=2_000)
    tape.play((1_000, 1_000, 1_000, 1_020), spread=4)

    events = tape.book.events(tape.book.settle(0, tape.now_ns, BY_SEASON_END))

    assert kinds(events) == [(CLOSED, BY_SEASON_END), (CANCELLED, BY_SEASON_END)]
    assert tape["balance"] == tape["equity"] == 1_000_000 - 30 + 10 * (1_020 - 1_004) - 30
    assert tape["margin"] == tape["live"] == 0


def test_accounts_are_stepped_apart() -> None:
    tape = Tape.of(accounts=3)
    tape.order(+1, 10, account=2, stop_at=950)
    tape.play(flat(1_000))
    tape.play((1_000, 1_000, 900, 900))

    assert tape.book.accounts["balance"].tolist() == [1_000_000, 1_000_000, 999_500]
    assert {event.account for event in tape.all_events} == {2}


def test_a_double_goes_on_as_the_account_would_have_without_its_floors() -> None:
    tape = Tape.of(accounts=2)
    tape.book.accounts[0]["daily_floor"] = 999_500
    tape.order(+1, 10, stop_at=800)
    tape.play(flat(1_000))
    tape.book.copy_account(0, 1)
    tape.play((1_000, 1_000, 900, 1_200))

    assert tape.book.accounts["equity"].tolist() == [999_000, 1_002_000]


def test_a_close_asked_for_again_and_again_is_not_put_off() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 10)
    tape.play(flat(1_000))
    for _ in range(3):  # each request would arrive in the bar after the next
        tape.book.request_close(
            0, slot, steps=10, arrives_ns=tape.now_ns + BAR_NS, reason=BY_ENGINE
        )
        tape.play(flat(1_000))

    assert tape.all_events[-1].kind == CLOSED
    assert tape["live"] == 0


def test_a_stop_drawn_after_the_price_bar_by_bar_holds_in_spite_of_the_latency() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 10, stop_at=900)
    tape.play(flat(1_000))
    for stop in (960, 970, 980):
        tape.book.amend(0, slot, stop_at=stop, target_at=-1, arrives_ns=tape.now_ns + 1)
        tape.play(flat(1_000))

    (event,) = tape.play((1_000, 1_000, 950, 950))

    assert (event.price, event.reason) == (980, BY_STOP)


# Amounts that are extreme and legal

USD = 10**8


@pytest.mark.parametrize(
    ("price", "tick_value", "steps"),
    [
        pytest.param(100_000_000, 1_000, 1_000_000, id="100 BTC at 1e6 in cents, 1e-5 a step"),
        pytest.param(1_500, 1, 10**13, id="SHIB in ticks of 1e-8, 1e13 coins"),
        pytest.param(2, 10**8, 10**7, id="a dollar a tick, ten million steps"),
    ],
)
def test_ten_million_dollars_at_a_leverage_of_a_hundred(
    price: int, tick_value: int, steps: int
) -> None:
    tape = Tape.of(10_000_000 * USD, tick_value=tick_value, commission_ppm=100, swap_long_ppm=30)
    slot = tape.order(+1, steps)
    value = price * steps * tick_value

    assert kinds(tape.play(flat(price))) == [(OPENED, BY_ENGINE)]
    assert tape["margin"] == value // 100
    tape.play(flat(2 * price), swap_ns=2 * BAR_NS, swap_count=3)
    tape.close(slot, steps)
    tape.play(flat(3 * price))

    fees = (value + 3 * value) * 100 // 10**6
    swap = 3 * (2 * value * 30 // 10**6)
    assert tape["balance"] == 10_000_000 * USD + 2 * value - fees - swap


def test_an_order_whose_worth_does_not_fit_the_ledger_is_refused_for_want_of_margin() -> None:
    tape = Tape.of(10_000_000 * USD, tick_value=10**4, leverage_x100=100_000)
    tape.order(+1, 10**9)  # a notional of 1e13 dollars

    (event,) = tape.play(flat(100_000_000))

    assert (event.kind, event.reason) == (CANCELLED, BY_MARGIN)
    assert tape["balance"] == tape["equity"] == 10_000_000 * USD


# Late news


def test_whoever_acts_on_a_bar_acts_as_late_as_it_was_told() -> None:
    """Bars come 150 ns after their close, and last 100: what is done on one arrives in the middle
    of the next but one, or holds from the open after it."""
    run: Prices = (1_000, 1_040, 980, 1_000)
    tape = Tape.of(grace_ns=150)
    tape.play(flat(1_000))

    slot = tape.order(+1, 10)
    assert tape.play(run) == []
    (opened,) = tape.play(run)
    assert opened.price == 1_000 + 29  # 40 x root(half a bar), rounded up

    tape.book.amend(0, slot, stop_at=990, target_at=-1, arrives_ns=tape.now_ns)
    assert tape.play(run) + tape.play(run) == []
    (stopped,) = tape.play(run)
    assert (stopped.reason, stopped.price) == (BY_STOP, 990)

    slot = tape.order(+1, 10)
    tape.play(run)
    tape.play(run)
    tape.close(slot, 10)
    assert tape.play(run) == []
    (closed,) = tape.play(run)
    assert (closed.reason, closed.price) == (BY_ENGINE, 1_000 - 15)  # 20 x root(half a bar)
