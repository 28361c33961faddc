"""From decisions to intents: one rule at a time, on a market that stands still."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hydra.engines.llm.decisions import Action, Decision, StatedInvalidation
from hydra.engines.llm.judge import NOTHING_DECIDED, Judged, judge
from hydra.engines.protocol import Refusal
from hydra.engines.view import View
from hydra.portfolio.intents import (
    Close,
    Intent,
    Invalidation,
    Open,
    OrderType,
    Side,
    Ticket,
    fault_of,
)
from tests.support.llm_replies import HOUR_NS, TIMEFRAMES, a_market, a_ticket

BTC_LONG = a_ticket(5, "BTC-USD", Side.BUY)
BTC_SHORT = a_ticket(6, "BTC-USD", Side.SELL)
BTC_SHORT_PENDING = a_ticket(8, "BTC-USD", Side.SELL, is_open=False)
ETH_LONG = a_ticket(7, "ETH-USD", Side.BUY)
GREATEST = (Decimal("1e999999"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"))


def a_decision(action: str, asset: str = "BTC-USD", **terms: Any) -> Decision:
    for name in ("limit_price", "risk_percent", "stop", "target", "expires_hours", "confidence",
                 "p_target_before_stop", "expected_hold_hours"):  # fmt: skip
        if terms.get(name) is not None:
            terms[name] = Decimal(terms[name])
    return Decision(asset=asset, action=Action(action), thesis="because", **terms)


def long(**terms: Any) -> Decision:
    """A market order to buy BTC, bid 65000, ask 65010, stop 63900."""
    defaults: dict[str, Any] = {"order_type": OrderType.MARKET, "stop": 63_900}
    return a_decision("open_long", **defaults | terms)


def short(**terms: Any) -> Decision:
    defaults: dict[str, Any] = {"order_type": OrderType.MARKET, "stop": 66_100}
    return a_decision("open_short", **defaults | terms)


def judged(*decisions: Decision, own: tuple[Ticket, ...] = (), view: View | None = None) -> Judged:
    return judge(decisions, view or a_market(*own), timeframes=TIMEFRAMES)


def opened(decision: Decision) -> Open:
    """The one intent that follows, which is fit for Mother."""
    found = judged(decision)
    assert (found.refusals, found.holds) == ((), ())
    (intent,) = found.intents
    assert isinstance(intent, Open)
    assert fault_of(intent) == ""
    return intent


def refusal(*decisions: Decision, own: tuple[Ticket, ...] = ()) -> Refusal:
    """The only thing that follows: a refusal that can be stored."""
    found = judged(*decisions, own=own)
    assert (found.intents, found.holds) == ((), ())
    (refused,) = found.refusals
    check_stored(refused)
    return refused


def refused_rule(decision: Decision) -> str:
    return refusal(decision).rule


def check_stored(refused: Refusal) -> None:
    for text in (refused.symbol, refused.rule, refused.limit, refused.figure, refused.text):
        assert text.isprintable()
        text.encode()
        assert len(text) <= 400
    assert msgspec.json.decode(msgspec.json.encode(refused), type=Refusal) == refused


def rules(found: Judged) -> list[str]:
    return [refused.rule for refused in found.refusals]


def kinds(intents: tuple[Intent, ...]) -> list[object]:
    """Numbers of tickets that are closed, sides that are opened, in order."""
    return [one.ticket if not isinstance(one, Open) else one.side.name for one in intents]


class TestOpenings:
    def test_all_that_was_said_is_passed_on(self) -> None:
        decision = long(
            order_type=OrderType.LIMIT, limit_price="64500.5", risk_percent="0.75",
            target=67_000, expires_hours=12, confidence="0.6", p_target_before_stop="0.45",
            expected_hold_hours="1.5",
            invalidation=StatedInvalidation(
                timeframe="4h", close_below=Decimal("63950.5"), within_hours=Decimal(2), text="no"
            ),
        )  # fmt: skip

        assert opened(decision) == Open(
            symbol="BTC-USD",
            side=Side.BUY,
            stop=Decimal("63900.00"),
            target=Decimal("67000.00"),
            order=OrderType.LIMIT,
            price=Decimal("64500.50"),
            risk_frac=Decimal("0.0075"),
            confidence=0.6,
            thesis="because",
            expires_s=43_200.0,
            target_first=0.45,
            hold_s=5_400.0,
            invalidation=Invalidation(
                resolution_ns=4 * HOUR_NS, below=Decimal("63950.5"), within_s=7_200.0, text="no"
            ),
        )

    def test_what_was_not_said_stays_open(self) -> None:
        assert opened(short()) == Open(
            symbol="BTC-USD", side=Side.SELL, stop=Decimal("66100.00"), thesis="because"
        )

    def test_prices_come_to_lie_on_the_grid(self) -> None:
        found = opened(long(asset="ETH-USD", stop="3300.12", target="3500.13"))
        assert (found.stop, found.target) == (Decimal("3300.10"), Decimal("3500.15"))

    def test_only_the_risk_gives_the_size(self) -> None:
        assert opened(long(risk_percent="100")).lots is None
        assert opened(long(risk_percent="100")).risk_frac == 1

    def test_what_is_against_it_is_closed_first(self) -> None:
        own = (BTC_LONG, BTC_SHORT, ETH_LONG, BTC_SHORT_PENDING)
        assert kinds(judged(long(), own=own).intents) == [6, 8, "BUY"]
        assert kinds(judged(short(), own=own).intents) == [5, "SELL"]

    def test_what_is_held_already_does_not_hinder_another_ticket(self) -> None:
        assert kinds(judged(long(), own=(BTC_LONG,)).intents) == ["BUY"]

    def test_a_refused_opening_closes_nothing(self) -> None:
        assert refusal(long(stop=66_000), own=(BTC_SHORT,)).rule == "stop-side"


class TestAssets:
    @pytest.mark.parametrize("asset", ["BTC-USD", "BTC/USD", "btc-usd", "BTCUSD", "btc_usd"])
    def test_an_asset_may_be_spelt_with_other_case_and_separators(self, asset: str) -> None:
        assert opened(long(asset=asset)).symbol == "BTC-USD"

    @pytest.mark.parametrize(
        "asset", ["BTC", "BTC-USDT", "DOGE-USD", "*", "ALL", "ВТС-USD", "BTC-UſD", "", "BTC-USD.x"]
    )
    def test_unknown_asset(self, asset: str) -> None:
        for action in ("close", "open_long"):
            refused = refusal(a_decision(action, asset))
            assert refused.rule == "unknown-asset"
            assert "BTC-USD, ETH-USD" in refused.limit

    def test_a_spelling_of_two_symbols_is_none_of_them(self) -> None:
        view = a_market()
        view.market = {"BTC-USD": view, "BTC/USD": view}
        found = judged(long(asset="BTCUSD"), long(asset="BTC/USD"), view=view)
        assert rules(found) == ["unknown-asset"]
        assert kinds(found.intents) == ["BUY"]

    def test_no_price(self) -> None:
        assert refused_rule(long(asset="SOL-USD", stop=140)) == "no-price"


class TestStopsAndTargets:
    def test_stop_missing(self) -> None:
        assert refused_rule(long(stop=None)) == "stop-missing"

    @pytest.mark.parametrize("stop", ["65000", "65000.004", "65005", "65010", "66000"])
    def test_stop_side_of_a_long(self, stop: str) -> None:
        """It would be hit at once at the bid, 65000."""
        assert refused_rule(long(stop=stop)) == "stop-side"
        assert opened(long(stop="64999.99")).stop == Decimal("64999.99")

    @pytest.mark.parametrize("stop", ["65010", "65005", "64000"])
    def test_stop_side_of_a_short(self, stop: str) -> None:
        assert refused_rule(short(stop=stop)) == "stop-side"
        assert opened(short(stop="65010.01")).stop == Decimal("65010.01")

    def test_target_side(self) -> None:
        """A long enters at the ask, 65010; a short at the bid, 65000."""
        for target in ("65010", "65005", "64000"):
            assert refused_rule(long(target=target)) == "target-side"
        for target in ("65000", "65005", "66000"):
            assert refused_rule(short(target=target)) == "target-side"
        assert opened(long(target="65010.01")).target == Decimal("65010.01")
        assert opened(short(target="64999.99")).target == Decimal("64999.99")

    def test_sides_of_a_waiting_order_are_those_of_its_price(self) -> None:
        limit = {"order_type": OrderType.LIMIT, "limit_price": 64_000}
        assert refused_rule(long(**limit, stop=64_000)) == "stop-side"
        assert refused_rule(long(**limit, stop=63_000, target=64_000)) == "target-side"
        assert opened(long(**limit, stop=63_999, target=64_001)).price == 64_000


class TestOrders:
    def test_order_type(self) -> None:
        assert refused_rule(long(order_type=None)) == "order-type"
        assert refused_rule(long(limit_price=64_000)) == "order-type"

    def test_price_missing(self) -> None:
        for order in (OrderType.LIMIT, OrderType.STOP):
            assert refused_rule(long(order_type=order)) == "price-missing"

    @pytest.mark.parametrize(
        ("opening", "order", "wrong", "right"),
        [
            (long, OrderType.LIMIT, ("65010", "65010.001", "66000"), "65009.99"),
            (long, OrderType.STOP, ("65010", "65000", "64000"), "65010.01"),
            (short, OrderType.LIMIT, ("65000", "64000"), "65000.01"),
            (short, OrderType.STOP, ("65000", "66000"), "64999.99"),
        ],
    )
    def test_limit_side(self, opening: Any, order: OrderType, wrong: Any, right: str) -> None:
        for price in wrong:
            assert refused_rule(opening(order_type=order, limit_price=price)) == "limit-side"
        assert opened(opening(order_type=order, limit_price=right)).price == Decimal(right)


class TestFarPrices:
    """The mid is 65005."""

    @pytest.mark.parametrize("price", ["52003.99", "20000", "0", "-5", "65", "65000000"])
    def test_far_price_of_an_order(self, price: str) -> None:
        order = long(order_type=OrderType.LIMIT, limit_price=price, stop=40_000)
        assert refused_rule(order) == "far-price"

    def test_a_waiting_order_may_lie_20_percent_away(self) -> None:
        order = long(order_type=OrderType.LIMIT, limit_price="52004", stop=50_000)
        assert opened(order).price == 52_004

    def test_far_price_of_a_stop(self) -> None:
        assert refused_rule(long(stop="32504.99")) == "far-price"
        assert opened(long(stop="32505")).stop == 32_505
        assert refused_rule(short(stop="97500.01")) == "far-price"
        assert opened(short(stop="97500")).stop == 97_500

    def test_far_price_of_a_target(self) -> None:
        assert refused_rule(long(target="195015.01")) == "far-price"
        assert opened(long(target="195015")).target == 195_015
        assert refused_rule(short(target="21668.33")) == "far-price"
        assert opened(short(target="21668.34")).target == Decimal("21668.34")

    def test_far_price_of_an_invalidation(self) -> None:
        for level in (Decimal(65), *GREATEST):
            said = StatedInvalidation(timeframe="4h", close_below=level)
            assert refused_rule(long(invalidation=said)) == "far-price"

    @pytest.mark.parametrize("price", GREATEST)
    def test_figures_beyond_all_measure_do_no_harm(self, price: Decimal) -> None:
        assert refused_rule(long(stop=price)) == "far-price"
        assert refused_rule(long(target=price)) == "far-price"
        assert refused_rule(long(order_type=OrderType.STOP, limit_price=price)) == "far-price"
        assert refused_rule(long(risk_percent=price)) == "absurd-size"
        assert refused_rule(long(expires_hours=price)) in ("expired", "too-long")

    def test_a_price_below_the_first_tick_is_none(self) -> None:
        view = a_market()
        view._history.bid_close[:] = view._history.ask_close[:] = 1
        found = judged(short(stop="0.02", target="0.005"), view=view)
        assert rules(found) == ["far-price"]


class TestFigures:
    @pytest.mark.parametrize("percent", ["0", "-1", "100.01", "1e9"])
    def test_absurd_size(self, percent: str) -> None:
        assert refused_rule(long(risk_percent=percent)) == "absurd-size"

    def test_a_risk_above_the_guardians_limits_is_the_guardians_to_judge(self) -> None:
        assert opened(long(risk_percent="40")).risk_frac == Decimal("0.4")

    @pytest.mark.parametrize("name", ["expires_hours", "expected_hold_hours"])
    def test_expired_and_too_long(self, name: str) -> None:
        for hours in ("0", "-4", "0.0001"):
            assert refused_rule(long(**{name: hours})) == "expired"
        assert refused_rule(long(**{name: "87840.001"})) == "too-long"
        opened(long(**{name: "87840"}))
        opened(long(**{name: "0.0003"}))

    def test_time_of_an_invalidation(self) -> None:
        for hours, rule in ((0, "expired"), (10**6, "too-long")):
            said = StatedInvalidation(within_hours=Decimal(hours))
            assert refused_rule(long(invalidation=said)) == rule


class TestInvalidations:
    @pytest.mark.parametrize(
        "timeframe", [None, "7m", "1w", "soon", "", "9" * 5_000 + "h", "4h" * 9]
    )
    def test_invalidation_unknown_timeframe(self, timeframe: str | None) -> None:
        said = StatedInvalidation(timeframe=timeframe, close_below=Decimal(64_000))
        refused = refusal(long(invalidation=said))
        assert refused.rule == "invalidation-unknown-timeframe"
        assert refused.limit == "1h, 4h"

    def test_each_symbol_has_its_own_timeframes(self) -> None:
        said = StatedInvalidation(timeframe="4h", close_below=Decimal(3_300))
        eth = long(asset="ETH-USD", stop=3_200, invalidation=said)
        assert refused_rule(eth) == "invalidation-unknown-timeframe"

    def test_time_alone_needs_no_timeframe(self) -> None:
        said = StatedInvalidation(timeframe="7m", within_hours=Decimal(4))
        assert opened(long(invalidation=said)).invalidation == Invalidation(within_s=14_400.0)

    def test_invalidation_met(self) -> None:
        """The newest close is the mid, 65005."""
        below = StatedInvalidation(timeframe="4H", close_below=Decimal("65005.01"))
        above = StatedInvalidation(timeframe="1h", close_above=Decimal("65004.99"))
        assert refused_rule(long(invalidation=below)) == "invalidation-met"
        assert refused_rule(short(invalidation=above)) == "invalidation-met"
        for met in ("close_below", "close_above"):
            at = StatedInvalidation(timeframe="1h", **{met: Decimal(65_005)})  # type: ignore[arg-type]
            opened(long(invalidation=at))


class TestCloses:
    def test_all_on_the_asset_or_one_ticket(self) -> None:
        own = (BTC_LONG, BTC_SHORT_PENDING, ETH_LONG)
        assert judged(a_decision("close"), own=own).intents == (
            Close(ticket=5, thesis="because"), Close(ticket=8, thesis="because"),
        )  # fmt: skip
        assert kinds(judged(a_decision("close", ticket=8), own=own).intents) == [8]
        assert kinds(judged(a_decision("close", "ethusd"), own=own).intents) == [7]

    def test_nothing_to_close(self) -> None:
        assert refusal(a_decision("close"), own=(ETH_LONG,)).rule == "nothing-to-close"
        assert refusal(a_decision("close", ticket=7), own=(ETH_LONG, BTC_LONG)).rule == (
            "nothing-to-close"
        )

    def test_a_ticket_is_closed_once_whoever_asks_for_it(self) -> None:
        own = (BTC_SHORT, BTC_SHORT_PENDING)
        one, all_ = a_decision("close", ticket=8), a_decision("close")
        assert kinds(judged(one, all_, own=own).intents) == [8, 6]
        assert kinds(judged(long(), all_, own=own).intents) == [6, 8, "BUY"]
        assert kinds(judged(all_, long(), own=own).intents) == [6, 8, "BUY"]

    def test_a_market_without_a_price_does_not_hinder_it(self) -> None:
        own = a_ticket(9, "SOL-USD", Side.BUY)
        assert kinds(judged(a_decision("close", "SOL-USD"), own=(own,)).intents) == [9]


class TestHolds:
    def test_a_hold_is_kept_with_its_reason(self) -> None:
        found = judged(a_decision("hold"), a_decision("hold", "*"), a_decision("hold", "SOL-USD"))
        assert found == Judged(holds=("BTC-USD: because", "because", "SOL-USD: because"))

    def test_all_is_everything_unless_it_is_a_symbol(self) -> None:
        assert judged(a_decision("hold", "ALL")).holds == ("because",)
        view = a_market()
        view.market = {"ALL": view}
        assert judged(a_decision("hold", "ALL"), view=view).holds == ("ALL: because",)

    def test_no_decisions_are_a_hold_of_everything(self) -> None:
        assert judged() == Judged(holds=(NOTHING_DECIDED,))

    def test_unknown_asset(self) -> None:
        assert refused_rule(a_decision("hold", "DOGE-USD")) == "unknown-asset"


class TestDecisionsTogether:
    def test_duplicate(self) -> None:
        found = judged(long(), long(asset="btcusd", stop=60_000), long(asset="ETH-USD", stop=3_300))
        assert kinds(found.intents) == ["BUY", "BUY"]
        assert rules(found) == ["duplicate"]
        assert found.refusals[0].symbol == "btcusd"

    def test_duplicate_of_what_was_refused(self) -> None:
        assert rules(judged(long(stop=66_000), long())) == ["stop-side", "duplicate"]

    def test_closes_of_different_tickets_are_no_duplicates(self) -> None:
        five, six = a_decision("close", ticket=5), a_decision("close", ticket=6)
        found = judged(five, six, five, own=(BTC_LONG, BTC_SHORT))
        assert kinds(found.intents) == [5, 6]
        assert rules(found) == ["duplicate"]

    def test_contradiction_of_openings_both_ways(self) -> None:
        found = judged(long(), short(asset="BTC/USD"), long(asset="ETH-USD", stop=3_300))
        assert rules(found) == ["contradiction"] * 2
        assert [one.symbol for one in found.intents if isinstance(one, Open)] == ["ETH-USD"]

    def test_contradiction_of_closing_and_opening_the_same_side(self) -> None:
        for pair in ((long(), a_decision("close")), (a_decision("close", ticket=5), long())):
            found = judged(*pair, own=(BTC_LONG, BTC_SHORT))
            assert rules(found) == ["contradiction"] * 2
            assert found.intents == ()

    def test_closing_one_side_and_opening_the_other_is_none(self) -> None:
        found = judged(a_decision("close", ticket=5), short(), own=(BTC_LONG, BTC_SHORT))
        assert kinds(found.intents) == [5, "SELL"]

    def test_closing_nothing_contradicts_nothing(self) -> None:
        found = judged(a_decision("close"), long())
        assert rules(found) == ["nothing-to-close"]
        assert kinds(found.intents) == ["BUY"]

    def test_contradiction_of_a_hold_and_an_order(self) -> None:
        for order in (long(), a_decision("close")):
            found = judged(a_decision("hold"), order, own=(BTC_LONG,))
            assert rules(found) == ["contradiction"] * 2

    def test_a_hold_of_everything_leaves_orders_as_they_are(self) -> None:
        found = judged(a_decision("hold", "*"), long())
        assert found.holds == ("because",)
        assert kinds(found.intents) == ["BUY"]

    def test_what_is_refused_leaves_the_others_as_they_are(self) -> None:
        found = judged(long(stop=66_000), a_decision("close", "ETH-USD"), own=(ETH_LONG,))
        assert rules(found) == ["stop-side"]
        assert kinds(found.intents) == [7]


class TestRefusals:
    def test_they_say_what_was_held_against_what(self) -> None:
        refused = refusal(long(stop="66000.5"))

        assert refused == Refusal(
            symbol="BTC-USD",
            rule="stop-side",
            limit="65000.00",
            figure="66000.50",
            text="stop 66000.50 does not lie on the losing side of 65000.00",
            decision=refused.decision,
        )
        assert refused.decision["stop"] == 66_000.5
        assert refused.decision["action"] == "open_long"
        assert refused.decision["order_type"] == "market"

    def test_they_can_be_stored_whatever_was_said(self) -> None:
        said = StatedInvalidation(timeframe="\0" * 900, close_below=Decimal(64_000))
        refusal(long(asset="\0\ud83d\x1b" * 99))
        refusal(long(invalidation=said))
        refusal(long(stop=Decimal("7" * 5_000)))
