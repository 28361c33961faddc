"""Floors, breaches and days: the golden vectors of FTMO and hand-worked floors of each firm."""

from __future__ import annotations

import json

import msgspec
import pytest

from hydra.clock import NS_PER_DAY, NS_PER_S
from hydra.errors import ConfigError
from hydra.guardian.guardian import NO_FLOOR, Approved, DayRoll, Guardian, Refused
from hydra.guardian.profiles import profile
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


def roll(
    guardian: Guardian, balance: float | str, equity: float | str | None = None, days: int = 1
) -> DayRoll:
    """Some resets later."""
    at_ns = NOW_NS + days * NS_PER_DAY
    return guardian.roll_day("a", at_ns, usd(balance), usd(balance if equity is None else equity))


def floors_usd(guardian: Guardian) -> tuple[float, float]:
    daily, total = guardian.floors("a")
    return daily / 1e8, total / 1e8


# Golden vectors of FTMO.md


def test_vector_1_a_floating_loss_breaks_the_static_ten_percent() -> None:
    guardian = a_guardian("ftmo-2step", initial=100_000)
    assert roll(guardian, 92_000).breaches == ()

    breaches = guardian.on_worst_equity("a", usd(92_000 - 2_001), usd(92_000 - 2_001), NOW_NS)

    firm = [one for one in breaches if one.is_firm]
    assert [one.rule for one in firm] == ["firm-max-loss"]
    assert (firm[0].limit_units, firm[0].figure_units) == (usd(90_000), usd(89_999))
    assert firm[0].until_ns is None
    assert guardian.headroom_units("a", usd(89_999)) == (usd(89_999 - 87_000), usd(-1))


def test_vector_1_at_ninety_percent_exactly_the_challenge_is_alive() -> None:
    guardian = a_guardian("ftmo-2step", initial=100_000)
    roll(guardian, 92_000)

    breaches = guardian.on_worst_equity("a", usd(90_000), usd(90_000), NOW_NS)

    assert [one.rule for one in breaches] == ["max-loss"]  # the guardian's own 9 %


def test_vector_2_a_loss_held_across_midnight_breaks_the_new_days_limit() -> None:
    guardian = a_guardian("ftmo-2step", initial=200_000)

    rolled = roll(guardian, 204_000, 191_000)

    assert rolled.firm_daily_floor_units == usd(194_000)
    assert rolled.daily_floor_units == usd(195_000)
    assert [one.rule for one in rolled.breaches] == ["daily-loss", "firm-daily-loss"]
    assert rolled.breach is not None
    assert rolled.breach.is_firm
    assert guardian.is_halted("a")


def test_vector_2_the_same_loss_was_within_the_day_before() -> None:
    guardian = a_guardian("ftmo-2step", initial=200_000)

    assert guardian.on_worst_equity("a", usd(191_001), usd(191_001), NOW_NS) == ()


def test_vector_3_the_permitted_losses_follow_from_the_midnight_balance() -> None:
    guardian = a_guardian("ftmo-2step", initial=200_000)
    roll(guardian, "194494.96")

    daily, total = guardian.headroom_units("a", usd("195159.09"))

    assert (daily, total) == (usd("10664.13"), usd("15159.09"))


# Floors of each profile


def test_two_step_daily_floor_moves_both_ways_with_the_balance_and_the_total_stays() -> None:
    guardian = a_guardian("ftmo-2step")
    assert floors_usd(guardian) == (95_500, 91_000)

    roll(guardian, 103_000)
    assert floors_usd(guardian) == (98_500, 91_000)

    roll(guardian, 98_000, days=2)
    assert floors_usd(guardian) == (93_500, 91_000)


def test_one_step_total_floor_follows_the_highest_midnight_balance_and_never_falls() -> None:
    guardian = a_guardian("ftmo-1step")
    assert floors_usd(guardian) == (97_300, 91_000)

    rolled = roll(guardian, 104_000)
    assert floors_usd(guardian) == (101_300, 95_000)
    assert rolled.firm_total_floor_units == usd(94_000)

    roll(guardian, 101_000, days=2)
    assert floors_usd(guardian) == (98_300, 95_000)


def test_stellar_days_turn_at_server_midnight() -> None:
    guardian = a_guardian("fundednext-stellar")
    seventeen_in_new_york = NOW_NS + 10 * 3_600 * NS_PER_S

    assert guardian.next_reset_ns(NOW_NS) == seventeen_in_new_york
    assert floors_usd(guardian) == (95_500, 91_000)


def test_high_stakes_day_is_measured_from_the_better_of_balance_and_equity() -> None:
    guardian = a_guardian("the5ers-high-stakes")

    rolled = roll(guardian, 100_000, 104_000)
    assert rolled.firm_daily_floor_units == usd(98_800)  # 5 % of 104,000 below it
    assert rolled.daily_floor_units == usd(99_320)

    rolled = roll(guardian, 102_000, 99_000, days=2)
    assert rolled.firm_daily_floor_units == usd(96_900)
    assert rolled.total_floor_units == usd(91_000)


def test_topstep_trails_the_end_of_day_balance_and_locks_at_the_start() -> None:
    guardian = a_guardian("topstep-50k", initial=50_000)
    assert floors_usd(guardian)[1] == 48_200  # the firm's 48,000 and the guardian's tenth

    rolled = roll(guardian, 51_000)
    assert (rolled.firm_total_floor_units, rolled.total_floor_units) == (usd(49_000), usd(49_200))

    rolled = roll(guardian, 50_400, days=2)
    assert rolled.firm_total_floor_units == usd(49_000)

    rolled = roll(guardian, 58_000, days=3)
    assert (rolled.firm_total_floor_units, rolled.total_floor_units) == (usd(50_000), usd(50_200))


def test_topsteps_daily_limit_pauses_and_fails_nothing() -> None:
    guardian = a_guardian("topstep-50k", initial=50_000)

    breaches = guardian.on_worst_equity("a", usd(48_900), usd(48_950), NOW_NS)

    assert [one.rule for one in breaches] == ["daily-loss"]
    assert roll(guardian, 48_950).breaches == ()
    assert not guardian.is_halted("a")


def test_e8_trails_the_closed_balance_at_once_and_locks_at_the_start() -> None:
    guardian = a_guardian("e8-one")
    assert floors_usd(guardian) == (96_400, 94_600)

    guardian.on_flat("a", usd(102_000), NOW_NS)
    assert floors_usd(guardian) == (96_400, 96_600)

    guardian.on_flat("a", usd(101_000), NOW_NS)
    assert floors_usd(guardian) == (96_400, 96_600)

    guardian.on_peak("a", usd(120_000))
    assert floors_usd(guardian) == (96_400, 100_600)
    trail = guardian.trail("a")
    assert trail is not None
    assert (trail.on, trail.distance_units, trail.lock_units) == (
        "balance", usd(5_400), usd(100_600),
    )  # fmt: skip


def test_a_floor_trailing_intraday_follows_the_equity() -> None:

    base = profile("e8-one")
    assert base.max is not None
    guardian = a_guardian(
        tuned("e8-one", max=msgspec.structs.replace(base.max, mode="trailing_intraday"))
    )

    guardian.on_peak("a", usd(103_000))

    assert floors_usd(guardian)[1] == 97_600
    trail = guardian.trail("a")
    assert trail is not None
    assert trail.on == "equity"


@pytest.mark.parametrize("name", ["learning", "production"])
def test_the_presets_stop_at_two_percent_a_day_and_have_no_challenge_to_fail(name: str) -> None:
    guardian = a_guardian(name)
    assert floors_usd(guardian) == (98_000, 91_000)

    breaches = guardian.on_worst_equity("a", usd(80_000), usd(80_000), NOW_NS)

    assert [one.rule for one in breaches] == ["daily-loss", "max-loss"]


def test_none_has_no_floor() -> None:
    guardian = a_guardian("none")

    assert guardian.floors("a") == (NO_FLOOR, NO_FLOOR)
    assert guardian.trail("a") is None
    assert guardian.on_worst_equity("a", usd(1), usd(1), NOW_NS) == ()
    assert guardian.headroom_units("a", usd(1)) == (None, None)
    rolled = roll(guardian, 50)
    assert (rolled.daily_floor_units, rolled.total_floor_units) == (None, None)


# Breaches and latches


def test_a_daily_breach_latches_until_the_next_reset() -> None:
    guardian, market = a_guardian(), FakeMarket()

    breaches = guardian.on_worst_equity("a", usd(95_500), usd(96_000), NOW_NS)

    assert [(one.rule, one.until_ns) for one in breaches] == [
        ("daily-loss", guardian.next_reset_ns(NOW_NS))
    ]
    refused = guardian.review(buy(), an_account(balance=96_000), market)
    assert isinstance(refused, Refused)
    assert refused.rule == "latched"

    roll(guardian, 96_000)

    tomorrow = market.after(86_400)
    assert isinstance(guardian.review(buy(), an_account(balance=96_000), tomorrow), Approved)


def test_a_breach_is_told_once_and_then_the_firms_floor_is_watched() -> None:
    guardian = a_guardian()
    guardian.on_worst_equity("a", usd(95_400), usd(95_400), NOW_NS)

    assert guardian.on_worst_equity("a", usd(95_300), usd(95_300), NOW_NS) == ()
    assert guardian.floors("a") == (usd(95_000) - 1, usd(91_000))

    deeper = guardian.on_worst_equity("a", usd(94_999), usd(94_999), NOW_NS)
    assert [one.rule for one in deeper] == ["firm-daily-loss"]
    assert guardian.floors("a") == (NO_FLOOR, usd(91_000))


@pytest.mark.parametrize("worst", [90_500, 89_000])
def test_a_total_breach_latches_for_the_season(worst: float) -> None:
    guardian = a_guardian()
    guardian.on_worst_equity("a", usd(worst), usd(worst), NOW_NS)

    roll(guardian, worst, days=30)

    assert guardian.is_halted("a")
    assert {one.rule for one in guardian.latches("a")} >= {"max-loss"}


def test_a_failed_challenge_stays_failed_the_next_day() -> None:
    guardian = a_guardian()
    guardian.on_worst_equity("a", usd(94_000), usd(94_000), NOW_NS)

    roll(guardian, 94_000)

    assert [one.rule for one in guardian.latches("a")] == ["firm-daily-loss"]


def test_a_benched_account_takes_no_new_risk() -> None:
    guardian = a_guardian("none")
    guardian.bench("a", "five failures", NOW_NS)

    refused = guardian.review(buy(), an_account(), FakeMarket())

    assert isinstance(refused, Refused)
    assert (refused.rule, refused.text) == ("latched", "latched by benched: five failures")


def test_a_finished_day_tells_what_happened_on_it() -> None:
    guardian, market = a_guardian(), FakeMarket()
    guardian.review(buy(lots="10"), an_account(), market)  # shrunk
    guardian.on_opened("a", NOW_NS)
    guardian.review(buy(stop=None), an_account(), market)
    guardian.on_worst_equity("a", usd(95_000), usd(97_000), NOW_NS)

    day = guardian.roll_day(
        "a", NOW_NS + NS_PER_DAY, usd(97_000), usd(97_500), worst_units=usd(94_900)
    ).finished

    assert (day.engine, day.day, day.start_balance_units, day.end_balance_units) == (
        "a", "2026-01-14", usd(100_000), usd(97_000),
    )  # fmt: skip
    assert (day.daily_floor_units, day.total_floor_units) == (usd(95_500), usd(91_000))
    assert (day.worst_equity_units, day.opened, day.refused, day.resized, day.breach) == (
        usd(94_900), 1, 1, 1, "daily-loss",
    )  # fmt: skip


def test_a_day_cannot_be_rolled_before_it_is_over() -> None:
    guardian = a_guardian()

    with pytest.raises(ValueError, match="2026-01-14"):
        guardian.roll_day("a", NOW_NS + 60 * NS_PER_S, usd(1), usd(1))


def test_an_account_is_opened_once_and_with_money() -> None:
    guardian = a_guardian()

    with pytest.raises(ValueError, match="keeps the account a already"):
        guardian.open_account("a", usd(1), NOW_NS)
    with pytest.raises(ValueError, match="not above 0"):
        guardian.open_account("b", 0, NOW_NS)


# Target


def test_the_target_counts_once_with_all_positions_closed_and_four_days() -> None:
    guardian = a_guardian()
    for day in range(3):
        guardian.on_opened("a", NOW_NS + day * NS_PER_DAY)
        guardian.on_opened("a", NOW_NS + day * NS_PER_DAY + NS_PER_S)
    assert guardian.on_flat("a", usd(111_000), NOW_NS) is None

    guardian.on_opened("a", NOW_NS + 3 * NS_PER_DAY)
    assert guardian.on_flat("a", usd("109999.99"), NOW_NS) is None
    reached = guardian.on_flat("a", usd(110_000), NOW_NS)

    assert reached is not None
    assert (reached.target_units, reached.trading_days) == (usd(110_000), 4)
    assert guardian.on_flat("a", usd(111_000), NOW_NS) is None


def test_one_step_asks_that_the_best_day_is_at_most_half_of_the_profit() -> None:
    guardian = a_guardian("ftmo-1step")
    roll(guardian, 106_000)
    assert guardian.on_flat("a", usd(110_000), NOW_NS + NS_PER_DAY) is None  # 6,000 of 10,000

    assert guardian.on_flat("a", usd(112_000), NOW_NS + NS_PER_DAY) is not None


# Across restarts


def test_a_restored_guardian_goes_on_as_the_saved_one() -> None:
    guardian, market = a_guardian("e8-one"), FakeMarket()
    guardian.review(buy(), an_account(), market)
    guardian.on_opened("a", NOW_NS)
    guardian.on_peak("a", usd(101_000))
    guardian.on_worst_equity("a", usd(96_000), usd(96_100), NOW_NS)
    guardian.kill("the operator")

    saved = json.loads(json.dumps(guardian.snapshot()))
    other = Guardian(guardian.profile)
    other.restore(saved)

    assert other.snapshot() == guardian.snapshot() == saved
    assert other.floors("a") == guardian.floors("a")
    assert other.latches("a") == guardian.latches("a")
    assert other.killed
    pending = a_ticket(1, entry=None, stop="1990.20", lots="0.5", entry_ns=NOW_NS)
    account = an_account(pending)
    assert other.excess_risk_units(account, market) == guardian.excess_risk_units(account, market)
    assert other.excess_risk_units(account, market) is not None


def test_a_saved_state_of_another_profile_is_refused() -> None:
    saved = a_guardian("ftmo-1step").snapshot()

    with pytest.raises(ConfigError, match=r"profile ftmo-1step, not ftmo-2step"):
        a_guardian("ftmo-2step").restore(saved)
    with pytest.raises(ConfigError, match="cannot be read"):
        a_guardian("ftmo-2step").restore({"profile": "ftmo-2step"})
