"""Each rule of the guardian: what it refuses, what it makes smaller, what it lets pass.

Gold stands at 2000.00 / 2000.20; a lot of it loses 100 USD a dollar. Costs are left out but
where a test is about them.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from hydra.clock import NS_PER_DAY, NS_PER_S
from hydra.guardian.guardian import Allowed, Approved, Guardian, Refused
from hydra.guardian.profiles import Profile
from hydra.market.instruments import Instrument
from hydra.portfolio.account import AccountState
from hydra.portfolio.intents import Amend, Close, Intent, OrderType, Side
from tests.support.bars import an_instrument
from tests.support.guarded import (
    NOW_NS,
    FakeMarket,
    a_guardian,
    a_ticket,
    an_account,
    buy,
    tuned,
    usd,
)

FREE = {"slippage_allowance_bps": Decimal(0), "max_entry_deviation_frac": Decimal(0)}


def plain(base: str = "ftmo-2step", **changes: object) -> Profile:
    """A profile whose sizes come out round: no allowance for costs or deviation."""
    return tuned(base, **{**FREE, **changes})


def refusal(
    intent: Intent,
    account: AccountState | None = None,
    market: FakeMarket | None = None,
    guardian: Guardian | None = None,
) -> Refused:
    verdict = (guardian or a_guardian()).review(
        intent, account or an_account(), market or FakeMarket()
    )
    assert isinstance(verdict, Refused), verdict
    return verdict


def approval(
    intent: Intent,
    account: AccountState | None = None,
    market: FakeMarket | None = None,
    guardian: Guardian | None = None,
) -> Approved:
    verdict = (guardian or a_guardian()).review(
        intent, account or an_account(), market or FakeMarket()
    )
    assert isinstance(verdict, Approved), verdict
    return verdict


# Size


def test_a_wish_without_a_size_risks_the_profiles_share_of_equity() -> None:
    verdict = approval(buy(stop="1990.20"), guardian=a_guardian(plain()))

    assert verdict.steps == 100  # 1 % of 100,000 over 10 USD of stop
    assert (verdict.risk_units, verdict.worst_entry_ticks, verdict.changes) == (
        usd(1_000), 200_020, (),
    )  # fmt: skip


def test_a_named_risk_is_of_equity_and_rounded_down_to_steps() -> None:
    account = an_account(balance=100_000, equity=99_990)

    assert approval(buy(risk="0.005"), account, guardian=a_guardian(plain())).steps == 49


def test_a_sell_is_sized_from_the_bid() -> None:
    wish = buy(side=Side.SELL, stop="2010.00", risk="0.01")

    assert approval(wish, guardian=a_guardian(plain())).steps == 100


def test_a_pending_order_is_sized_from_its_price() -> None:
    wish = buy(order=OrderType.LIMIT, price="1995.20", stop="1990.20", risk="0.01")

    verdict = approval(wish, guardian=a_guardian(plain()))

    assert (verdict.steps, verdict.worst_entry_ticks) == (200, 199_520)


def test_costs_to_come_make_the_size_smaller() -> None:
    gold = an_instrument(
        "XAUUSD", tick_size="0.01", lot_step="0.01", contract_size="100", commission_per_lot="2.5",
    )  # fmt: skip
    market = FakeMarket(instruments={"XAUUSD": gold})
    guardian = a_guardian(plain(slippage_allowance_bps=Decimal(2)))

    verdict = approval(buy(risk="0.01"), market=market, guardian=guardian)

    # A lot: 1,000 at the stop, 2 x 2.50 commission, 2 bps of 199,020 slippage = 1,044.804.
    assert verdict.steps == 95
    assert verdict.risk_units == 95 * usd("10.44804")


@pytest.mark.parametrize(
    ("order", "price", "worst"),
    [
        (OrderType.MARKET, None, 200_270),  # a quarter of 10.00 beyond the ask
        (OrderType.STOP, "2005.20", 200_895),  # a quarter of 15.00 beyond the price
        (OrderType.LIMIT, "1999.20", 199_920),  # a limit order is never filled worse
    ],
)
def test_the_worst_entry_lies_a_quarter_of_the_stop_distance_away(
    order: OrderType, price: str | None, worst: int
) -> None:
    assert approval(buy(order=order, price=price)).worst_entry_ticks == worst


def test_the_risk_of_a_market_order_is_counted_from_its_worst_entry() -> None:
    guardian = a_guardian(tuned("ftmo-2step", slippage_allowance_bps=Decimal(0)))

    verdict = approval(buy(risk="0.015"), guardian=guardian)

    assert verdict.steps == 120  # 1.5 % over 12.50
    assert verdict.risk_units == usd(1_500)
    (change,) = verdict.changes
    assert (change.rule, change.from_steps, change.to_steps) == ("risk-per-trade", 150, 120)
    assert (change.limit, change.figure) == (usd(1_500), usd(1_875))


def test_less_than_the_smallest_order_is_refused_never_rounded_up() -> None:
    refused = refusal(buy(stop="1000", risk="0.0001"), guardian=a_guardian(plain()))

    assert (refused.rule, refused.limit, refused.figure) == ("min-size", "0.01", "0.00")


def test_more_than_the_largest_order_is_made_smaller() -> None:
    verdict = approval(buy(lots="80"), guardian=a_guardian("none"))

    assert verdict.steps == 5_000
    assert [one.rule for one in verdict.changes] == ["max-size"]


# Malformed wishes are refused by every profile, "none" included


@pytest.mark.parametrize("profile", ["ftmo-2step", "none"])
@pytest.mark.parametrize(
    ("wish", "rule"),
    [
        (buy("GBPUSD"), "instrument"),
        (buy(stop="1990.205"), "malformed"),
        (buy(stop="NaN"), "malformed"),
        (buy(stop="sNaN"), "malformed"),
        (buy(stop="-Infinity"), "malformed"),
        (buy(stop="-10"), "malformed"),
        (buy(stop="1E+400"), "malformed"),
        (buy(target="2100.001"), "malformed"),
        (buy(stop="2000.10"), "stop-side"),  # between bid and ask: closed at once
        (buy(stop="2000.00"), "stop-side"),
        (buy(side=Side.SELL, stop="2000.20"), "stop-side"),
        (buy(side=Side.SELL, stop="1990"), "stop-side"),
        (buy(target="2000.20"), "target-side"),
        (buy(side=Side.SELL, stop="2010", target="2000.10"), "target-side"),
        (buy(order=OrderType.LIMIT), "malformed"),
        (buy(order=OrderType.LIMIT, price="1990.20"), "stop-side"),
        (buy(order=OrderType.STOP, price="2010", target="2010"), "target-side"),
        (buy(price="1999"), "malformed"),
        (buy(lots="0"), "malformed"),
        (buy(lots="-1"), "malformed"),
        (buy(lots="0.009"), "malformed"),
        (buy(lots="NaN"), "malformed"),
        (buy(lots="Infinity"), "malformed"),
        (buy(risk="0"), "malformed"),
        (buy(risk="-0.01"), "malformed"),
        (buy(risk="1.01"), "malformed"),
        (buy(risk="NaN"), "malformed"),
        (buy(expires_s=0.0), "malformed"),
        (buy(expires_s=float("nan")), "malformed"),
        (msgspec.structs.replace(buy(), side=0), "malformed"),
        (msgspec.structs.replace(buy(), stop=1990.0), "malformed"),
        (msgspec.structs.replace(buy(), lots=1.0), "malformed"),
    ],
)
def test_a_malformed_wish_is_refused(wish: Intent, rule: str, profile: str) -> None:
    refused = refusal(wish, guardian=a_guardian(profile))

    assert refused.rule == rule
    assert refused.text


def test_none_refuses_nothing_else() -> None:
    guardian, stale = a_guardian("none"), FakeMarket(now_ns=NOW_NS + NS_PER_DAY)
    tickets = [a_ticket(n, stop=None) for n in range(1, 9)]
    account = msgspec.structs.replace(an_account(*tickets, equity=5), equity_units=None)
    for _ in range(50):
        verdict = approval(buy(stop=None, lots="50"), account, stale, guardian)
        assert (verdict.steps, verdict.worst_entry_ticks, verdict.changes) == (5_000, None, ())
        assert verdict.risk_units is None


def test_none_cannot_size_a_wish_without_stop_or_lots() -> None:
    assert refusal(buy(stop=None), guardian=a_guardian("none")).rule == "malformed"


# The unknown is refused


def test_an_unknown_account_is_refused() -> None:
    assert refusal(buy(), an_account(name="b")).rule == "unknown-account"


def test_unknown_equity_is_refused() -> None:
    account = msgspec.structs.replace(an_account(), equity_units=None)

    assert refusal(buy(), account).rule == "equity-unknown"
    assert refusal(buy(), account, guardian=a_guardian("none")).rule == "equity-unknown"


def test_a_symbol_without_a_price_is_refused() -> None:
    market = FakeMarket(touches={"XAUUSD": None})

    assert refusal(buy(), market=market).rule == "fresh-quote"
    assert refusal(buy(), market=market, guardian=a_guardian("none")).rule == "fresh-quote"


@pytest.mark.parametrize(("age_s", "fresh"), [(0, True), (180, True), (181, False), (-1, False)])
def test_a_price_is_fresh_for_as_long_as_the_market_says(age_s: int, fresh: bool) -> None:
    market = FakeMarket(now_ns=NOW_NS + age_s * NS_PER_S)

    verdict = a_guardian().review(buy(), an_account(), market)

    assert isinstance(verdict, Approved) is fresh
    if isinstance(verdict, Refused):
        assert (verdict.rule, verdict.limit, verdict.figure) == (
            "fresh-quote", 180 * NS_PER_S, age_s * NS_PER_S,
        )  # fmt: skip


def test_a_day_that_was_not_rolled_is_refused() -> None:
    refused = refusal(buy(), market=FakeMarket().after(86_400))

    assert (refused.rule, "2026-01-14 is over" in refused.text) == ("daily-loss", True)


def test_a_closed_market_is_refused_but_at_the_instant_of_its_last_price() -> None:
    def never(instrument: Instrument, at_ns: int) -> bool:
        return False

    guardian = Guardian(tuned("ftmo-2step"), is_open=never)
    guardian.open_account("a", usd(100_000), NOW_NS)

    assert refusal(buy(), market=FakeMarket(now_ns=NOW_NS + 1), guardian=guardian).rule == (
        "market-open"
    )
    approval(buy(), guardian=guardian)


# Kill switch


def test_the_kill_switch_stops_new_risk_until_it_is_released() -> None:
    guardian = a_guardian()
    guardian.kill("KILL_SWITCH=true")

    assert refusal(buy(), guardian=guardian).text == "kill switch: KILL_SWITCH=true"
    assert guardian.is_halted("a")

    guardian.release()

    approval(buy(), guardian=guardian)


def test_the_kill_switch_works_under_every_profile() -> None:
    guardian = a_guardian("none")
    guardian.kill("the operator")

    assert refusal(buy(), guardian=guardian).rule == "kill-switch"


# Limits of loss


@pytest.mark.parametrize(("equity", "rule"), [(95_500, "daily-loss"), (95_500.01, None)])
def test_no_new_risk_at_the_days_floor(equity: float, rule: str | None) -> None:
    verdict = a_guardian().review(buy(lots="0.01"), an_account(equity=equity), FakeMarket())

    assert (verdict.rule if isinstance(verdict, Refused) else None) == rule


def test_no_new_risk_at_the_accounts_floor() -> None:
    guardian = a_guardian()
    guardian.roll_day("a", NOW_NS + NS_PER_DAY, usd(92_000), usd(92_000))

    refused = refusal(
        buy(), an_account(balance=92_000, equity=91_000), FakeMarket().after(86_400), guardian
    )

    assert (refused.rule, refused.limit, refused.figure) == (
        "max-loss", usd(91_000), usd(91_000),
    )  # fmt: skip


# Counts


def test_at_most_three_tickets_pending_ones_included() -> None:
    held = [
        a_ticket(1, lots="0.01"),
        a_ticket(2, lots="0.01"),
        a_ticket(3, lots="0.01", entry=None),
    ]

    approval(buy(), an_account(*held[:2]))
    refused = refusal(buy(), an_account(*held))

    assert (refused.rule, refused.limit, refused.figure) == ("max-positions", 3, 3)


def test_orders_approved_at_this_instant_count_before_their_tickets_are_shown() -> None:
    guardian = a_guardian(plain(cooldown_s=None, max_positions=2))

    approval(buy(), guardian=guardian)
    approval(buy(), guardian=guardian)
    assert refusal(buy(), guardian=guardian).rule == "max-positions"

    shown = a_ticket(1, entry=None, entry_ns=NOW_NS, lots="0.01")
    assert refusal(buy(), an_account(shown), guardian=guardian).figure == 2


def test_the_same_trade_again_within_five_minutes_is_a_duplicate() -> None:
    guardian, market = a_guardian(), FakeMarket()
    approval(buy(), market=market, guardian=guardian)

    refused = refusal(buy(), market=market.after(299), guardian=guardian)
    assert (refused.rule, refused.limit, refused.figure) == ("cooldown", 300, 299)

    approval(buy(side=Side.SELL, stop="2010"), market=market.after(299), guardian=guardian)
    approval(buy(), market=market.after(300), guardian=guardian)


def test_a_refused_wish_starts_no_cooldown() -> None:
    guardian = a_guardian()
    refusal(buy(stop="2100"), guardian=guardian)

    approval(buy(), guardian=guardian)


def test_orders_in_a_minute_are_limited() -> None:
    guardian = a_guardian(plain(cooldown_s=None, max_positions=None, max_orders_per_minute=2))
    market = FakeMarket()
    for second in (0, 30):
        approval(buy(lots="0.01"), market=market.after(second), guardian=guardian)

    refused = refusal(buy(lots="0.01"), market=market.after(59), guardian=guardian)
    assert (refused.rule, refused.limit, refused.figure) == ("order-rate", 2, 2)

    approval(buy(lots="0.01"), market=market.after(60), guardian=guardian)


def test_orders_in_a_day_are_limited() -> None:
    guardian = a_guardian(plain(max_orders_per_day=1))
    approval(buy(), guardian=guardian)

    assert refusal(
        buy(side=Side.SELL, stop="2010"), market=FakeMarket().after(60), guardian=guardian
    ).rule == ("orders-per-day")

    guardian.roll_day("a", NOW_NS + NS_PER_DAY, usd(100_000), usd(100_000))
    approval(buy(), market=FakeMarket().after(86_400), guardian=guardian)


def test_trades_in_a_day_are_limited_pending_ones_included() -> None:
    guardian = a_guardian(plain("production", max_trades_per_day=2))
    guardian.on_opened("a", NOW_NS)
    approval(buy(), guardian=guardian)
    pending = a_ticket(2, entry=None, entry_ns=NOW_NS, lots="0.01", stop="1990.20")
    later = FakeMarket().after(400)

    refused = refusal(buy(), an_account(pending), later, guardian)
    assert (refused.rule, refused.limit, refused.figure) == ("trades-per-day", 2, 2)


# Shape of the position


def test_a_stop_is_required() -> None:
    assert refusal(buy(stop=None, lots="1")).rule == "stop-required"


@pytest.mark.parametrize(
    ("correlation", "held", "wish", "refused"),
    [
        (0.71, Side.BUY, Side.BUY, True),
        (0.70, Side.BUY, Side.BUY, False),
        (0.71, Side.SELL, Side.BUY, False),  # one hedges the other
        (-0.71, Side.SELL, Side.BUY, True),
        (-0.71, Side.BUY, Side.BUY, False),
        (None, Side.BUY, Side.BUY, True),
        (float("nan"), Side.BUY, Side.BUY, True),
    ],
)
def test_tickets_that_move_alike_are_refused(
    correlation: float | None, held: Side, wish: Side, refused: bool
) -> None:
    stop = "1.09" if held is Side.BUY else "1.11"
    other = a_ticket(1, "EURUSD", held, lots="0.01", entry="1.10", stop=stop)
    market = FakeMarket(correlations={frozenset(("XAUUSD", "EURUSD")): correlation})

    verdict = a_guardian().review(buy(side=wish), an_account(other), market)

    assert isinstance(verdict, Refused) is refused
    if isinstance(verdict, Refused):
        assert (verdict.rule, verdict.limit) == ("correlation", 0.7)


def test_correlation_counts_orders_approved_at_this_instant() -> None:
    guardian = a_guardian()
    approval(buy(), guardian=guardian)

    wish = buy("EURUSD", stop="1.09000")

    assert refusal(wish, guardian=guardian).rule == "correlation"


def test_a_ticket_on_the_same_symbol_is_no_matter_of_correlation() -> None:
    approval(buy(), an_account(a_ticket(lots="0.01")))


def test_contracts_asked_beyond_the_largest_order_are_refused_sized_ones_shrink() -> None:
    refused = refusal(buy(lots="1.5", stop="1999"), guardian=a_guardian("learning"))
    assert (refused.rule, refused.limit, refused.figure) == ("order-size", "1", "1.50")

    verdict = approval(buy(stop="1999"), guardian=a_guardian("learning"))
    assert verdict.steps == 100
    assert verdict.changes[0].rule == "order-size"


def test_net_exposure_counts_lots_of_one_symbol() -> None:
    stop = "1999.90"
    long = a_ticket(1, lots="2", stop=stop)
    pending_long = a_ticket(2, lots="0.5", entry=None, stop=stop)
    pending_short = a_ticket(3, side=Side.SELL, lots="3", entry=None, stop="2010")
    elsewhere = a_ticket(4, "EURUSD", lots="3", entry="1.10", stop="1.09999")
    market = FakeMarket(correlations={frozenset(("XAUUSD", "EURUSD")): 0.0})
    rules = plain("production", max_positions=None, daily=None, max=None)
    account = an_account(long, pending_long, pending_short, elsewhere)

    refused = refusal(buy(lots="0.51", stop="1999"), account, market, a_guardian(rules))
    assert (refused.rule, refused.limit, refused.figure) == ("net-exposure", "3", "3.01")

    approval(buy(lots="0.50", stop="1999"), account, market, a_guardian(rules))
    sized = approval(buy(stop="1999"), account, market, a_guardian(rules))
    assert sized.steps == 50
    wish = buy(side=Side.SELL, lots="2", stop="2001")
    approval(wish, an_account(long), market, a_guardian(rules))


# Risk


def test_position_size_is_capped_at_two_percent_of_the_initial_balance() -> None:
    guardian = a_guardian(plain(risk_per_trade_frac=None))

    verdict = approval(buy(lots="10"), guardian=guardian)

    assert verdict.steps == 200
    (change,) = verdict.changes
    assert (change.rule, change.from_steps, change.to_steps) == ("position-size", 1_000, 200)
    assert (change.limit, change.figure) == (usd(2_000), usd(10_000))


@pytest.mark.parametrize(("is_scalper", "steps"), [(False, 150), (True, 100)])
def test_risk_per_trade_is_lower_for_a_scalper(is_scalper: bool, steps: int) -> None:
    guardian = a_guardian(plain(), is_scalper=is_scalper)

    verdict = approval(buy(lots="10"), guardian=guardian)

    assert verdict.steps == steps
    assert verdict.changes[-1].rule == "risk-per-trade"


def test_a_wish_that_cannot_shrink_far_enough_is_refused() -> None:
    refused = refusal(buy(lots="1", stop="100"), an_account(initial=1_000), guardian=a_guardian(
        plain(), initial=1_000
    ))  # fmt: skip

    assert refused.rule == "position-size"
    assert refused.limit == usd(20)
    assert "less than 0.01 lots would be left" in refused.text


# Budget: every ticket stopped out, the account still stands above its floors


def test_the_budget_leaves_what_the_other_stops_do_not_use() -> None:
    other = a_ticket(1, lots="3.8", entry="2000", stop="1990")  # 3,800 of 4,500

    verdict = approval(buy(), an_account(other), guardian=a_guardian(plain()))

    assert verdict.steps == 69  # 700 less the last unit: at the floor itself it is a breach
    (change,) = verdict.changes
    assert (change.rule, change.limit) == ("risk-budget", usd(700) - 1)


def test_a_full_budget_refuses() -> None:
    refused = refusal(buy(), an_account(a_ticket(lots="4.495")), guardian=a_guardian(plain()))

    assert refused.rule == "risk-budget"


def test_what_was_lost_today_is_gone_from_the_budget() -> None:
    verdict = approval(buy(), an_account(balance=96_000), guardian=a_guardian(plain()))

    assert verdict.steps == 49  # 500 above the floor of 95,500


def test_the_budget_keeps_the_accounts_floor_as_well() -> None:
    guardian = a_guardian(plain())
    guardian.roll_day("a", NOW_NS + NS_PER_DAY, usd(91_300), usd(91_300))

    verdict = approval(buy(), an_account(balance=91_300), FakeMarket().after(86_400), guardian)

    assert verdict.steps == 29


def test_gains_of_today_do_not_widen_the_budget_beyond_the_next_days_limit() -> None:
    other = a_ticket(1, lots="4", entry="2000", stop="1990")
    account = an_account(other, balance=110_000)  # 14,500 above today's floor

    verdict = approval(buy(), account, guardian=a_guardian(plain()))

    assert verdict.changes[-1].rule == "risk-budget"
    assert verdict.risk_units == usd(490)  # inside 4,500 across midnight, 4,000 used


def test_a_trailing_maximum_alone_bounds_the_stops_as_well() -> None:
    guardian = a_guardian(plain("topstep-50k", daily=None), initial=50_000)
    account = an_account(a_ticket(lots="1.5"), initial=50_000, balance=60_000)

    verdict = approval(buy(), account, guardian=guardian)

    # 9,800 above the floor, but the floor may follow to 3.6 % of 50,000 below the balance.
    assert verdict.risk_units == usd(290)


def test_a_stop_beyond_the_entry_risks_nothing_and_earns_nothing() -> None:
    locked = a_ticket(1, lots="50", entry="1900", stop="1990")
    other = a_ticket(2, lots="4", entry="2000", stop="1990")

    verdict = approval(buy(), an_account(locked, other), guardian=a_guardian(plain()))

    assert verdict.risk_units == usd(490)  # a unit short of 500


def test_a_pending_ticket_counts_from_the_worst_entry_it_was_approved_for() -> None:
    guardian = a_guardian(tuned("ftmo-2step", slippage_allowance_bps=Decimal(0)))
    approval(buy(lots="1"), guardian=guardian)  # 12.50 from its worst entry
    pending = a_ticket(1, entry=None, entry_ns=NOW_NS, stop="1990.20", lots="1")
    later = FakeMarket().after(400)

    assert guardian.excess_risk_units(an_account(pending, balance=96_750.01), later) == 0
    short = guardian.excess_risk_units(an_account(pending, balance=96_740), later)
    assert short == usd(10) + 1


def test_a_ticket_of_unknown_risk_refuses_new_risk() -> None:
    guardian, bare = a_guardian(), an_account(a_ticket(stop=None))

    refused = refusal(buy(), bare, guardian=guardian)
    assert (refused.rule, refused.limit) == ("risk-budget", None)
    assert guardian.excess_risk_units(bare, FakeMarket()) is None

    stranger = an_account(a_ticket(entry=None))  # pending, but nobody approved it
    assert refusal(buy(), stranger, guardian=guardian).rule == "risk-budget"


def test_two_wishes_of_one_instant_share_one_budget() -> None:
    guardian = a_guardian(plain(risk_per_trade_frac=None, max_positions=None, cooldown_s=None))

    risks = [approval(buy(lots="2"), guardian=guardian).risk_units for _ in range(3)]

    assert risks == [usd(2_000), usd(2_000), usd(490)]
    assert refusal(buy(lots="2"), guardian=guardian).rule == "risk-budget"


# Closes and amendments


def test_a_close_passes_under_kill_switch_and_latches() -> None:
    guardian, account = a_guardian(), an_account(a_ticket(lots="1.5"))
    guardian.on_worst_equity("a", usd(80_000), usd(80_000), NOW_NS)
    guardian.kill("the operator")
    market = FakeMarket()

    whole = guardian.review(Close(ticket=1), account, market)
    part = guardian.review(Close(ticket=1, lots=Decimal("0.505")), account, market)
    more = guardian.review(Close(ticket=1, lots=Decimal(9)), account, market)

    assert isinstance(whole, Allowed)
    assert isinstance(part, Allowed)
    assert isinstance(more, Allowed)
    assert (whole.steps, part.steps, more.steps) == (150, 50, 150)


@pytest.mark.parametrize(
    ("intent", "rule"),
    [
        (Close(ticket=7), "ticket"),
        (Close(ticket=1, lots=Decimal("0.001")), "malformed"),
        (Close(ticket=1, lots=Decimal("NaN")), "malformed"),
        (Amend(ticket=7, stop=Decimal(1990)), "ticket"),
        (Amend(ticket=1), "malformed"),
        (Amend(ticket=1, stop=Decimal("1990.001")), "malformed"),
        (Amend(ticket=1, stop=Decimal(2000)), "stop-side"),
        (Amend(ticket=1, target=Decimal(2000)), "target-side"),
    ],
)
def test_a_malformed_change_is_refused(intent: Intent, rule: str) -> None:
    assert refusal(intent, an_account(a_ticket())).rule == rule


def test_a_nearer_stop_passes_under_kill_switch_and_latches() -> None:
    guardian = a_guardian()
    guardian.on_worst_equity("a", usd(80_000), usd(80_000), NOW_NS)
    guardian.kill("the operator")
    market = FakeMarket()

    for ticket, stop in (
        (a_ticket(stop="1990"), "1995"),
        (a_ticket(stop=None), "1980"),
        (a_ticket(side=Side.SELL, stop="2010"), "2005"),
    ):
        verdict = guardian.review(Amend(ticket=1, stop=Decimal(stop)), an_account(ticket), market)
        assert isinstance(verdict, Allowed)


def test_a_wider_stop_is_judged_as_new_risk() -> None:
    wider = Amend(ticket=1, stop=Decimal(1986))
    account = an_account(a_ticket(lots="1"))

    assert isinstance(a_guardian(plain()).review(wider, account, FakeMarket()), Allowed)

    killed = a_guardian(plain())
    killed.kill("the operator")
    assert refusal(wider, account, guardian=killed).rule == "kill-switch"

    latched = a_guardian(plain())
    latched.bench("a", "slow", NOW_NS)
    assert refusal(wider, account, guardian=latched).rule == "latched"

    too_wide = Amend(ticket=1, stop=Decimal(1984))
    refused = refusal(too_wide, account, guardian=a_guardian(plain()))
    assert (refused.rule, refused.limit, refused.figure) == (
        "risk-per-trade", usd(1_500), usd(1_600),
    )  # fmt: skip

    poor = an_account(a_ticket(lots="1"), balance=96_800)
    assert refusal(wider, poor, guardian=a_guardian(plain())).rule == "risk-budget"


def test_a_wider_stop_does_not_count_its_own_ticket_twice() -> None:
    account = an_account(a_ticket(lots="1"), balance=96_950)  # 1,450 above the floor

    verdict = a_guardian(plain()).review(Amend(ticket=1, stop=Decimal(1986)), account, FakeMarket())

    assert isinstance(verdict, Allowed)


def test_another_target_is_free_but_for_the_rates() -> None:
    guardian = a_guardian(plain(max_orders_per_minute=1))
    guardian.kill("the operator")
    farther, account = Amend(ticket=1, target=Decimal(2100)), an_account(a_ticket())

    assert isinstance(guardian.review(farther, account, FakeMarket()), Allowed)
    assert refusal(farther, account, guardian=guardian).rule == "order-rate"


def test_a_pending_tickets_stop_is_judged_against_its_worst_entry() -> None:
    guardian = a_guardian(plain())
    approval(buy(order=OrderType.LIMIT, price="1990", stop="1985", lots="1"), guardian=guardian)
    account = an_account(a_ticket(entry=None, stop="1985", entry_ns=NOW_NS))

    wider = Amend(ticket=1, stop=Decimal(1980))
    wrong = Amend(ticket=1, stop=Decimal(1995))

    assert isinstance(guardian.review(wider, account, FakeMarket()), Allowed)
    assert refusal(wrong, account, guardian=guardian).rule == "stop-side"


def test_an_instrument_that_is_no_longer_traded_is_named() -> None:
    market = FakeMarket(instruments={})

    for intent in (Close(ticket=1), Amend(ticket=1, stop=Decimal(1995))):
        assert refusal(intent, an_account(a_ticket()), market).rule == "instrument"


def test_a_size_that_would_slip_further_than_the_allowance_is_made_smaller() -> None:
    as_usual = approval(buy())
    smaller = approval(buy(), market=FakeMarket(slip_ticks=500))  # 5.00 of a stop 9.80 away

    assert smaller.steps < as_usual.steps
    assert smaller.risk_units is not None
    assert as_usual.risk_units is not None
    assert smaller.risk_units <= usd(1_000) * 1.25  # from the worst entry, a quarter further


def test_no_new_risk_on_prices_that_are_unfit_but_what_is_open_may_be_closed() -> None:
    market = FakeMarket(unfits={"XAUUSD": "nothing of coinbase for 14.0 s, limit 10 s"})
    held = a_ticket()
    account = an_account(held)

    refused = refusal(buy("XAUUSD"), market=market)
    assert refused.rule == "unfit-market"
    assert refused.text == "XAUUSD: nothing of coinbase for 14.0 s, limit 10 s"
    approval(buy("EURUSD", stop="1.09"), market=market)
    closing = a_guardian().review(Close(ticket=held.id), account, market)
    assert isinstance(closing, Allowed)
