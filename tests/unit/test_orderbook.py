"""The fast order book and the numbers it is made of."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra.market.events import Listing, fixed
from hydra.market.orderbook import OrderBook


def test_levels_come_change_and_go_and_the_best_is_at_hand() -> None:
    book = OrderBook()
    book.load([(99, 5), (100, 7), (98, 0)], [(101, 3), (103, 4)])
    assert (book.best_bid, book.best_ask) == ((100, 7), (101, 3))

    book.apply([(100, 0), (97, 2)], [(102, 9), (101, 1)])
    assert (book.best_bid, book.best_ask) == ((99, 5), (101, 1))
    assert book.depth(2) == (((99, 5), (97, 2)), ((101, 1), (102, 9)))
    assert len(book) == 5

    book.apply([(50, 0), (99, 0), (97, 0)], [])  # 50 was never there
    assert book.best_bid is None
    assert book.depth(9) == ((), ((101, 1), (102, 9), (103, 4)))


def test_a_repeated_price_counts_as_it_came_last() -> None:
    book = OrderBook()
    book.load([(100, 1), (100, 2)], [(101, 1), (101, 0)])

    assert (book.best_bid, book.best_ask) == ((100, 2), None)


@pytest.mark.parametrize(("ask", "crossed"), [(99, True), (100, True), (101, False)])
def test_a_bid_at_or_above_an_ask_is_crossed(ask: int, crossed: bool) -> None:
    book = OrderBook()
    book.load([(100, 1)], [(ask, 1)])

    assert book.is_crossed is crossed


@pytest.mark.parametrize(
    ("text", "decimals", "number"),
    [
        ("61837.63000000", 2, 6_183_763),
        ("0.00001303", 8, 1_303),
        ("100", 3, 100_000),
        ("0.0", 1, 0),
        ("2.57200000", 3, 2_572),
        ("5.", 0, 5),
        ("0.10", 1, 1),
    ],
)
def test_a_number_is_read_exactly(text: str, decimals: int, number: int) -> None:
    assert fixed(text, decimals) == number


@pytest.mark.parametrize(
    "text",
    ["", ".5", "-1", "+1", "1e5", "NaN", "1_0", "1.2.3", " 1", "1,5", "٣", "1.234", "9" * 41],
)
def test_what_is_no_number_of_the_grid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"plain number|decimals"):
        fixed(text, 2)


def test_a_price_is_above_zero_and_comes_back_as_decimal() -> None:
    listing = Listing(
        source="x", symbol="X-USD", venue_symbol="X-USD", price_decimals=4, size_decimals=2
    )

    assert listing.price(listing.ticks("0.7902")) == Decimal("0.7902")
    assert listing.size(listing.steps("468.0")) == Decimal("468.00")
    with pytest.raises(ValueError, match="zero"):
        listing.ticks("0.0000")
