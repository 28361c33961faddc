"""At which price an order fills, told bar by bar: the paper exchange's specification.

Every bar is an hour. An engine decides at the close of bar 0; what it wants can happen from
bar 1 on. Nothing costs anything unless a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from hydra.engines.view import View
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.portfolio.columns import TERMS
from hydra.portfolio.costs import Costs, Slippage
from hydra.portfolio.fills import commission, margin, parts_per_million, slippage
from hydra.portfolio.intents import Intent, OrderType
from hydra.tournament.season import TicketRow
from tests.support.bars import START_NS, a_table, an_instrument
from tests.support.seasons import Played, ScriptedEngine, a_contestant, play_bars

HOUR_NS = 3_600_000_000_000
LOT = Decimal(1)
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP
Wish = Callable[[View], Intent | Sequence[Intent]]
Bar = tuple[float, float, float, float]  # open, high, low, close

FIRST: Bar = (100, 100, 100, 100)


def bars(*ohlc: Bar, spread: float | None = None) -> BarTable:
    """Bar 0 stands still at 100; then these."""
    columns = list(zip(FIRST, *ohlc, strict=True))
    return a_table(
        opens=columns[0], highs=columns[1], lows=columns[2], closes=columns[3], spread=spread
    )


def after(
    table: BarTable, *wishes: Wish, latency_ns: int = 0, costs: Costs | str = "none"
) -> Played:
    """Play a season in which an engine wishes the first thing at bar 0, the next at bar 1..."""

    def script(wish: Wish) -> Callable[[View], Sequence[Intent]]:
        def decide(view: View) -> Sequence[Intent]:
            wished = wish(view)
            return wished if isinstance(wished, Sequence) else [wished]

        return decide

    engine = ScriptedEngine({bar: script(wish) for bar, wish in enumerate(wishes)})
    return play_bars([table], [a_contestant("e", engine, latency_ns=latency_ns)], costs=costs)


def ticket(played: Played) -> TicketRow:
    (only,) = played.tickets
    return only


def exit_of(one: TicketRow) -> tuple[float | None, str | None]:
    """Price and reason of the last close."""
    return None if one.exit_price is None else float(one.exit_price), one.exit_reason


def nothing(view: View) -> Sequence[Intent]:
    return ()


def close_all(view: View) -> Sequence[Intent]:
    return [view.close_ticket(one) for one in view.tickets]


# Market orders


def test_a_market_order_fills_at_the_next_bars_open() -> None:
    bought = ticket(after(bars((103, 105, 101, 104)), lambda v: v.buy(lots=LOT)))

    assert bought.entry_price == 103
    assert bought.opened_ns == START_NS + HOUR_NS


def test_buys_pay_the_ask_and_sells_get_the_bid() -> None:
    table = bars((103, 105, 101, 104), (104, 106, 103, 105), spread=2)

    bought = ticket(after(table, lambda v: v.buy(lots=LOT), close_all))
    sold = ticket(after(table, lambda v: v.sell(lots=LOT), close_all))

    assert bought.entry_price == 105
    assert bought.exit_price == 104
    assert sold.entry_price == 103
    assert sold.exit_price == 106


def test_an_order_under_way_for_a_quarter_of_the_bar_pays_half_the_bars_run() -> None:
    table = bars((100, 104, 92, 100))

    bought = ticket(after(table, lambda v: v.buy(lots=LOT), latency_ns=HOUR_NS // 4))
    sold = ticket(after(table, lambda v: v.sell(lots=LOT), latency_ns=HOUR_NS // 4))

    assert bought.entry_price == 102
    assert sold.entry_price == 96


def test_an_order_that_takes_longer_than_a_bar_fills_in_the_next_one() -> None:
    table = bars((100, 104, 92, 100), (101, 109, 101, 105))

    assert ticket(
        after(table, lambda v: v.buy(lots=LOT), latency_ns=HOUR_NS + HOUR_NS // 4)
    ).entry_price == Decimal(105)


def test_an_order_that_arrives_while_no_bar_trades_fills_at_the_open_after_the_gap() -> None:
    table = a_table(closes=[100, 107], opens=[100, 107], open_ns=[START_NS, START_NS + 9 * HOUR_NS])

    bought = ticket(after(table, lambda v: v.buy(lots=LOT), latency_ns=HOUR_NS))

    assert bought.entry_price == 107
    assert bought.opened_ns == START_NS + 9 * HOUR_NS


# Limit orders


@pytest.mark.parametrize(("low", "fills"), [(98.01, False), (98.0, False), (97.99, True)])
def test_a_limit_must_be_traded_through(low: float, fills: bool) -> None:
    table = bars((100, 101, low, 100))

    bought = ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT)))

    assert bought.entry_price == (98 if fills else None)


@pytest.mark.parametrize(("high", "fills"), [(102.0, False), (102.01, True)])
def test_a_limit_to_sell_must_be_traded_through(high: float, fills: bool) -> None:
    table = bars((100, high, 99, 100))

    sold = ticket(after(table, lambda v: v.sell(order=LIMIT, price=102, lots=LOT)))

    assert sold.entry_price == (102 if fills else None)


def test_a_bar_that_opens_beyond_a_limit_fills_it_at_the_better_open() -> None:
    bought = ticket(after(bars((95, 99, 94, 98)), lambda v: v.buy(order=LIMIT, price=98, lots=LOT)))
    sold = ticket(
        after(bars((105, 107, 104, 106)), lambda v: v.sell(order=LIMIT, price=102, lots=LOT))
    )

    assert bought.entry_price == 95
    assert sold.entry_price == 105


def test_a_limit_to_buy_waits_for_the_ask() -> None:
    table = bars((100, 101, 97, 100), spread=2)

    assert (
        ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT))).status == "CANCELLED"
    )  # by the season's end: the ask was never below 99


def test_a_limit_that_arrives_inside_a_bar_waits_for_the_next() -> None:
    table = bars((100, 101, 90, 100), (100, 101, 97, 100))

    bought = ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT), latency_ns=1))

    assert bought.opened_ns == START_NS + 3 * HOUR_NS


# Stop orders


def test_a_stop_order_fills_at_its_price_once_it_is_touched() -> None:
    bought = ticket(
        after(bars((100, 102, 99, 101)), lambda v: v.buy(order=STOP, price=102, lots=LOT))
    )
    sold = ticket(after(bars((100, 101, 98, 99)), lambda v: v.sell(order=STOP, price=98, lots=LOT)))

    assert bought.entry_price == 102
    assert sold.entry_price == 98


def test_a_gap_over_a_stop_order_fills_it_at_the_worse_open() -> None:
    bought = ticket(
        after(bars((106, 108, 105, 107)), lambda v: v.buy(order=STOP, price=102, lots=LOT))
    )

    assert bought.entry_price == 106


# Stops and targets of a ticket


def test_a_stop_that_is_touched_fills_at_its_price() -> None:
    table = bars((100, 100, 100, 100), (100, 101, 97, 99))

    stopped = ticket(after(table, lambda v: v.buy(lots=LOT, stop=97)))

    assert exit_of(stopped) == (97, "stop")


def test_a_target_must_be_traded_through() -> None:
    touched = bars((100, 100, 100, 100), (100, 103, 99, 102))
    passed = bars((100, 100, 100, 100), (100, 103.01, 99, 102))

    assert ticket(after(touched, lambda v: v.buy(lots=LOT, target=103))).exit_reason == "season end"
    won = ticket(after(passed, lambda v: v.buy(lots=LOT, target=103)))
    assert exit_of(won) == (103, "target")


def test_when_a_bar_touches_both_the_stop_came_first() -> None:
    table = bars((100, 100, 100, 100), (100, 110, 90, 109))

    bought = ticket(after(table, lambda v: v.buy(lots=LOT, stop=97, target=103)))
    sold = ticket(after(table, lambda v: v.sell(lots=LOT, stop=103, target=97)))

    assert exit_of(bought) == (97, "stop")
    assert exit_of(sold) == (103, "stop")


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    table = bars((100, 100, 100, 100), (91, 98, 90, 97))

    stopped = ticket(after(table, lambda v: v.buy(lots=LOT, stop=97)))

    assert exit_of(stopped) == (91, "stop")
    assert stopped.closed_ns == START_NS + 2 * HOUR_NS


def test_a_gap_through_the_target_fills_at_the_better_open() -> None:
    table = bars((100, 100, 100, 100), (109, 110, 90, 95))

    won = ticket(after(table, lambda v: v.buy(lots=LOT, target=103)))

    assert exit_of(won) == (109, "target")


def test_even_then_the_stop_comes_first_where_the_bar_goes_on_to_touch_it() -> None:
    table = bars((100, 100, 100, 100), (109, 110, 90, 95))

    stopped = ticket(after(table, lambda v: v.buy(lots=LOT, stop=97, target=103)))

    assert exit_of(stopped) == (97, "stop")


def test_a_ticket_filled_inside_a_bar_cannot_reach_its_target_in_it() -> None:
    table = bars((100, 110, 97, 101), (101, 102, 100, 101))

    bought = ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT, target=105)))

    assert bought.entry_price == 98
    assert bought.exit_reason == "season end"


def test_a_ticket_filled_inside_a_bar_can_be_stopped_in_it() -> None:
    table = bars((100, 110, 90, 109))

    bought = ticket(
        after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT, stop=95, target=105))
    )

    assert bought.entry_price == 98
    assert exit_of(bought) == (95, "stop")


def test_a_ticket_filled_at_the_open_can_reach_its_target_in_the_same_bar() -> None:
    bought = ticket(after(bars((100, 106, 99, 101)), lambda v: v.buy(lots=LOT, target=105)))

    assert exit_of(bought) == (105, "target")


@pytest.mark.parametrize("first", [96.0, 97.0])
def test_an_entry_is_undone_when_its_stop_would_not_protect_it(first: float) -> None:
    table = bars((first, 101, 95, 100))

    bought = ticket(after(table, lambda v: v.buy(lots=LOT, stop=97)))

    assert (bought.status, bought.exit_reason) == ("CANCELLED", "unprotected")
    assert bought.entry_price is None


def test_an_entry_is_undone_when_the_market_is_past_its_target() -> None:
    bought = ticket(after(bars((104, 105, 103, 104)), lambda v: v.buy(lots=LOT, target=103)))

    assert (bought.status, bought.exit_reason) == ("CANCELLED", "unprotected")


def test_an_entry_further_from_the_decision_than_allowed_is_cancelled() -> None:
    careful = msgspec.structs.replace(profile("none"), max_entry_deviation_frac=Decimal("0.25"))

    def status(first: float) -> str | None:
        engine = ScriptedEngine({0: lambda v: [v.buy(lots=LOT, stop=96)]})
        played = play_bars([bars((first, 102, 99, 100))], {"e": engine}, profile=careful)
        return ticket(played).exit_reason

    assert status(101.0) == "season end"  # a quarter of the stop's distance: filled
    assert status(101.01) == "deviation"


# Expiry


def test_an_order_expires() -> None:
    table = bars((100, 101, 99, 100), (100, 101, 90, 95))

    bought = ticket(
        after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT, expires_s=3_600.0))
    )

    assert (bought.status, bought.exit_reason) == ("CANCELLED", "expiry")


def test_of_a_bar_in_which_an_order_expires_only_the_open_is_certain() -> None:
    inside = bars((100, 101, 90, 95))
    at_open = bars((97, 101, 90, 95))

    def wish(view: View) -> Intent:
        return view.buy(order=LIMIT, price=98, lots=LOT, expires_s=1_800.0)

    assert ticket(after(inside, wish, nothing)).entry_price is None
    assert ticket(after(at_open, wish, nothing)).entry_price == 97


def test_an_order_that_expires_on_its_way_never_fills() -> None:
    late = ticket(
        after(
            bars((100, 101, 99, 100)),
            lambda v: v.buy(lots=LOT, expires_s=60.0),
            latency_ns=HOUR_NS // 2,
        )
    )

    assert (late.status, late.exit_reason) == ("CANCELLED", "expiry")


# Closing and amending


def test_a_part_of_a_ticket_can_be_closed() -> None:
    table = bars((100, 100, 100, 100), (110, 110, 110, 110), (120, 120, 120, 120))

    played = after(
        table,
        lambda v: v.buy(lots=LOT),
        lambda v: v.close_ticket(v.tickets[0], lots=Decimal("0.25")),
        close_all,
    )

    assert [r.body["lots"] for r in played.records("e", "closed")] == ["0.2500", "0.7500"]
    assert ticket(played).pnl_units == (10 * 25 + 20 * 75) * 10**6
    assert played.account("e").balance_units == 25_000 * 10**8 + 175 * 10**7


def test_closing_an_order_that_has_not_filled_cancels_it() -> None:
    table = bars((100, 101, 99, 100), (100, 101, 90, 95))

    bought = ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT), close_all))

    assert (bought.status, bought.exit_reason) == ("CANCELLED", "engine")


def test_an_order_that_fills_before_its_cancellation_arrives_is_closed() -> None:
    table = bars((100, 101, 99, 100), (97, 99, 95, 98), (98, 98, 98, 98))

    bought = ticket(
        after(
            table,
            lambda v: v.buy(order=LIMIT, price=98, lots=LOT),
            close_all,
            latency_ns=HOUR_NS // 4,
        )
    )

    assert bought.entry_price == 97
    assert exit_of(bought) == (96, "engine")  # half of the fall to 95


def test_a_close_under_way_does_not_save_a_ticket_from_its_stop() -> None:
    table = bars((100, 100, 100, 100), (100, 101, 90, 99))

    stopped = ticket(
        after(table, lambda v: v.buy(lots=LOT, stop=97), close_all, latency_ns=HOUR_NS // 4)
    )

    assert stopped.exit_reason == "stop"


def test_an_amended_stop_holds_from_the_next_bar_on() -> None:
    table = bars((100, 100, 100, 100), (100, 101, 96, 100))

    stopped = ticket(
        after(table, lambda v: v.buy(lots=LOT, stop=90), lambda v: v.amend(v.tickets[0], stop=97))
    )

    assert stopped.exit_price == 97


def test_an_amendment_that_arrives_inside_a_bar_holds_from_the_bar_after_it() -> None:
    table = bars((100, 100, 100, 100), (100, 101, 96, 100), (100, 101, 95, 100))

    stopped = ticket(
        after(
            table,
            lambda v: v.buy(lots=LOT, stop=90),
            lambda v: v.amend(v.tickets[0], stop=97) if v.tickets else (),
            lambda v: v.amend(v.tickets[0], stop=97),
            latency_ns=1,
        )
    )

    assert stopped.closed_ns == START_NS + 4 * HOUR_NS
    assert stopped.exit_price == 97


def test_a_stop_and_a_target_amended_one_after_the_other_both_hold() -> None:
    table = bars((100, 100, 100, 100), (100, 101, 96, 100))

    stopped = ticket(
        after(
            table,
            lambda v: v.buy(lots=LOT, stop=90, target=120),
            lambda v: [v.amend(v.tickets[0], stop=97), v.amend(v.tickets[0], target=110)],
        )
    )

    assert stopped.exit_price == 97
    assert stopped.target_price == 110


# Costs of a fill


def test_slippage_worsens_market_and_stop_fills_but_no_limit() -> None:
    costs = Costs(name="slips", slippage=Slippage(base_bps=10.0, impact=0.0))
    table = bars((100, 101, 97, 100), (100, 101, 97, 99))

    at_market = ticket(after(table, lambda v: v.buy(lots=LOT, stop=98), costs=costs))
    at_limit = ticket(after(table, lambda v: v.buy(order=LIMIT, price=98, lots=LOT), costs=costs))

    assert at_market.entry_price == Decimal("100.10")
    assert at_market.exit_price == Decimal("97.90")
    assert at_limit.entry_price == 98


def test_slippage_grows_with_the_square_root_of_the_size() -> None:
    assert [slippage(0.0, 1.0, steps) for steps in (1, 4, 100)] == [1, 2, 10]
    assert slippage(0.4, 0.0, 1) == 1  # a part of a tick is a tick


def test_parts_of_a_million_are_rounded_against_the_account() -> None:
    assert parts_per_million(1, 1) == 1
    assert parts_per_million(10**6, 1) == 1
    assert parts_per_million(10**6 + 1, 1) == 2
    assert parts_per_million(10**6, -1) == -1  # a swap that is paid out
    assert parts_per_million(10**6 - 1, -1) == 0
    assert parts_per_million(9 * 10**18, 1_000_000) == 9 * 10**18


def test_commission_is_a_part_of_the_notional_and_a_fee_a_step() -> None:
    assert commission(2_000_000, 3, 100, 7) == 200 + 21


def test_a_sale_never_falls_below_one_tick() -> None:
    costs = Costs(name="slips", slippage=Slippage(base_bps=10_000.0, impact=0.0))
    table = a_table(closes=[0.02, 0.01, 0.01], instrument=an_instrument(lot_step="1"))

    sold = ticket(after(table, lambda v: v.sell(lots=LOT), costs=costs))

    assert sold.entry_price == Decimal("0.01")


@pytest.mark.parametrize(("leverage", "held"), [(100, 1_000), (3_000, 34), (10_000, 10)])
def test_margin_is_the_notional_over_the_leverage_rounded_up(leverage: int, held: int) -> None:
    terms = np.zeros(1, TERMS)
    terms["tick_value"], terms["leverage_x100"] = 10, leverage

    assert margin(10, 10, terms[0]) == held
