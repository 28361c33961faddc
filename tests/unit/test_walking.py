"""What an order pays for walking a book level by level, by hand.

The book of every bar: 10 steps at the best ask, 20 two ticks above it and 30 five above, 60 in
all; the bids are half as deep. The model's impact is one tick times the square root of the steps.
"""

from __future__ import annotations

import numpy as np
import pytest

from hydra.market.bars import DEPTH_LEVELS, no_depth
from hydra.portfolio.columns import (
    BY_DAILY_LOSS,
    BY_DEVIATION,
    BY_ENGINE,
    BY_MARGIN,
    BY_STOP,
    BY_TARGET,
    CANCELLED,
    CLOSED,
    LIMIT,
    OPENED,
    STOP,
    TERMS,
)
from hydra.portfolio.fills import walked
from tests.support.tape import Prices, Tape, flat, kinds

BOOK = no_depth(1)[0]
BOOK[0, :3] = (0, 5), (2, 10), (5, 15)
BOOK[1, :3] = (0, 10), (2, 20), (5, 30)
DEAR = 77  # what the model would say


def walk(steps: int, side: int = +1, book: np.ndarray | None = None) -> int:
    terms = np.zeros(1, TERMS)
    terms["levels"][0] = BOOK if book is None else book
    ticks: int = walked(terms[0], side, steps, 1.0, DEAR)
    return ticks


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        (1, 0),
        (10, 0),  # all at the best
        (11, 1),  # 2 / 11, rounded up
        (20, 1),  # 10 x 0 + 10 x 2 = 20
        (30, 2),  # 20 x 2 = 40, 1.33
        (60, 4),  # 20 x 2 + 30 x 5 = 190, 3.17
        (61, 4),  # the last one 5 + root(61) = 13: 203, 3.33
        (100, 8),  # forty at 5 + root(100) = 15: 790, 7.9
    ],
)
def test_a_buy_takes_the_asks_level_by_level(steps: int, ticks: int) -> None:
    assert walk(steps) == ticks


@pytest.mark.parametrize(("steps", "ticks"), [(5, 0), (15, 2), (30, 4), (31, 4)])
def test_a_sell_takes_the_bids(steps: int, ticks: int) -> None:
    """10 x 2 of 15 is 1.33, 20 + 75 of 30 is 3.17, and the thirty-first pays 5 + 6."""
    assert walk(steps, side=-1) == ticks


def test_a_side_that_nobody_knows_is_the_models() -> None:
    one_sided = BOOK.copy()
    one_sided[1] = 0

    assert walk(10, +1, one_sided) == DEAR
    assert walk(15, -1, one_sided) == 2


def test_all_levels_are_walked() -> None:
    stairs = no_depth(1)[0]
    stairs[1] = [(level, 1) for level in range(DEPTH_LEVELS)]

    assert walk(DEPTH_LEVELS, book=stairs) == -(-sum(range(DEPTH_LEVELS)) // DEPTH_LEVELS)
    assert walk(DEPTH_LEVELS + 1, book=stairs) > walk(DEPTH_LEVELS, book=stairs)


def test_an_order_beyond_all_numbers_pays_its_worst_and_not_less() -> None:
    assert walk(2**60) == 5 + 2**30


# Through the compiled step


def test_a_market_order_pays_the_walk_and_says_what_it_cost() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 30)
    (opened,) = tape.play(flat(1_000), spread=10, book=BOOK, slip_base=50.0, slip_impact=1.0)
    tape.close(slot, 30)
    (closed,) = tape.play(flat(1_000), spread=10, book=BOOK, slip_base=50.0, slip_impact=1.0)

    assert (opened.kind, opened.price, opened.spread) == (OPENED, 1_012, 30 * (5 + 2))
    assert (closed.kind, closed.price, closed.spread) == (CLOSED, 996, 30 * (5 + 4))


def test_a_bar_whose_book_nobody_knows_pays_the_model_though_the_one_before_had_a_book() -> None:
    tape = Tape.of()
    tape.play(flat(1_000), book=BOOK)
    tape.order(+1, 4)
    (opened,) = tape.play(flat(1_000), slip_base=1.0, slip_impact=0.5)

    assert opened.price == 1_002


def test_a_sell_walks_the_bids() -> None:
    tape = Tape.of()
    tape.order(-1, 15)
    (opened,) = tape.play(flat(1_000), spread=10, book=BOOK)

    assert (opened.price, opened.spread) == (998, 15 * (5 + 2))


def test_a_part_that_is_closed_walks_as_far_as_it_goes() -> None:
    tape = Tape.of()
    slot = tape.order(+1, 30)
    tape.play(flat(1_000), book=BOOK)
    tape.close(slot, 5)
    (part,) = tape.play(flat(1_000), book=BOOK)
    tape.close(slot, 25)
    (rest,) = tape.play(flat(1_000), book=BOOK)

    assert (part.price, part.steps, part.left) == (1_000, 5, 25)
    assert (rest.price, rest.spread) == (997, 25 * 3)  # 20 + 50 of 25 is 2.8


GAP: Prices = (900, 905, 890, 900)


@pytest.mark.parametrize(
    ("bar", "reference"), [((1_000, 1_000, 940, 950), 950), (GAP, 900)], ids=["touched", "gap"]
)
def test_a_stop_walks_from_its_price_or_from_the_gap(bar: Prices, reference: int) -> None:
    tape = Tape.of()
    tape.order(+1, 30, stop_at=950)
    tape.play(flat(1_000), book=BOOK)
    (stopped,) = tape.play(bar, book=BOOK)

    assert kinds([stopped]) == [(CLOSED, BY_STOP)]
    assert (stopped.price, stopped.spread) == (reference - 4, 30 * 4)


def test_the_stop_of_a_short_walks_the_asks() -> None:
    tape = Tape.of()
    tape.order(-1, 30, stop_at=1_050)
    tape.play(flat(1_000), book=BOOK)
    (stopped,) = tape.play((1_000, 1_060, 1_000, 1_000), book=BOOK)

    assert stopped.price == 1_052


def test_a_stop_order_walks_from_its_price() -> None:
    tape = Tape.of()
    tape.order(+1, 30, order=STOP, price=1_020)
    (opened,) = tape.play((1_000, 1_030, 1_000, 1_025), book=BOOK)

    assert opened.price == 1_022


def test_a_limit_that_waited_pays_its_price() -> None:
    tape = Tape.of()
    tape.order(+1, 60, order=LIMIT, price=990)
    (opened,) = tape.play((1_000, 1_000, 980, 1_000), book=BOOK)

    assert (opened.price, opened.spread) == (990, 0)


@pytest.mark.parametrize(("limit", "price"), [(1_005, 1_002), (1_001, 1_001), (1_000, 1_000)])
def test_a_limit_that_the_open_is_beyond_takes_from_the_book_up_to_its_price(
    limit: int, price: int
) -> None:
    tape = Tape.of()
    tape.order(+1, 30, order=LIMIT, price=limit)
    (opened,) = tape.play(flat(1_000), book=BOOK)

    assert (opened.price, opened.spread) == (price, 30 * (price - 1_000))


@pytest.mark.parametrize(("target", "price"), [(1_040, 1_046), (1_048, 1_048), (1_050, 1_050)])
def test_a_target_that_the_open_is_beyond_gives_to_the_book_down_to_its_price(
    target: int, price: int
) -> None:
    tape = Tape.of()
    tape.order(+1, 30, target_at=target)
    tape.play(flat(1_000), book=BOOK)
    (closed,) = tape.play((1_050, 1_060, 1_050, 1_060), spread=2, book=BOOK)

    assert (closed.reason, closed.price) == (BY_TARGET, price)
    assert closed.spread == 30 * (1 + 1_050 - price)


def test_an_entry_that_would_walk_beyond_its_worst_price_is_cancelled() -> None:
    for worst, kind, reason in ((1_002, OPENED, BY_ENGINE), (1_001, CANCELLED, BY_DEVIATION)):
        tape = Tape.of()
        tape.order(+1, 30, worst_entry=worst)
        assert kinds(tape.play(flat(1_000), book=BOOK)) == [(kind, reason)]


def test_margin_is_held_for_the_price_that_was_walked_to() -> None:
    """At 1:1 thirty steps at 1,002 take 30,060."""
    for balance, kind, reason in ((30_060, OPENED, BY_ENGINE), (30_059, CANCELLED, BY_MARGIN)):
        tape = Tape.of(balance=balance, leverage_x100=100)
        tape.order(+1, 30)
        assert kinds(tape.play(flat(1_000), book=BOOK)) == [(kind, reason)]


def test_the_guardian_gets_out_of_a_book_by_walking_it() -> None:
    tape = Tape.of(balance=100_000)
    tape.order(+1, 30)
    tape.play(flat(1_000), book=BOOK)
    tape.book.accounts["daily_floor"] = 99_000
    *_, flattened = tape.play((1_000, 1_000, 960, 1_000), book=BOOK)

    assert (flattened.reason, flattened.price) == (BY_DAILY_LOSS, 956)
    assert flattened.spread == 30 * 4
