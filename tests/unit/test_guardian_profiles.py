"""Profiles: the figures of each firm, and how a file changes them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hydra.errors import ConfigError
from hydra.guardian.guardian import Guardian
from hydra.guardian.profiles import PROFILES, Profile, load_profiles, profile
from tests.support.guarded import tuned


def a_file(folder: Path, text: str) -> Path:
    path = folder / "profiles.toml"
    path.write_text(text)
    return path


def test_the_named_profiles_are_those_of_the_mission() -> None:
    assert set(PROFILES) == {
        "ftmo-2step", "ftmo-1step", "fundednext-stellar", "the5ers-high-stakes", "topstep-50k",
        "e8-one", "production", "learning", "none",
    }  # fmt: skip


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no guardian profile 'ftmo'.*ftmo-1step, ftmo-2step"):
        profile("ftmo")


@pytest.mark.parametrize("one", PROFILES.values(), ids=lambda p: p.name)
def test_the_guardians_limits_lie_inside_the_firms(one: Profile) -> None:
    for limit in (one.daily, one.max):
        if limit is not None and one.firm:
            assert limit.guard_frac == limit.limit_frac * Decimal("0.9")


@pytest.mark.parametrize("name", [n for n in PROFILES if n != "none"])
def test_every_profile_but_none_asks_for_a_stop_and_limits_risk(name: str) -> None:
    one = profile(name)

    assert one.stop_required
    assert one.risk_per_trade_frac == Decimal("0.015")
    assert one.scalper_risk_per_trade_frac == Decimal("0.01")
    assert one.position_risk_frac == Decimal("0.02")
    assert (one.max_positions, one.max_correlation, one.cooldown_s) == (3, Decimal("0.7"), 300)


@pytest.mark.parametrize(("name", "trades", "lots"), [("learning", 100, 1), ("production", 20, 2)])
def test_the_presets_count_trades_and_contracts(name: str, trades: int, lots: int) -> None:
    one = profile(name)

    assert one.daily is not None
    assert one.daily.guard_frac == Decimal("0.02")
    assert (one.max_trades_per_day, one.max_order_lots, one.max_net_lots) == (
        trades, Decimal(lots), Decimal(3),
    )  # fmt: skip


def test_a_file_changes_single_figures_and_adds_profiles(tmp_path: Path) -> None:
    path = a_file(
        tmp_path,
        """
        [ftmo-2step]
        risk_per_trade_frac = 0.005
        daily.guard_frac = 0.04

        [mine]
        base = "ftmo-1step"
        firm = "Mine"
        max_correlation = "off"
        max_positions = 5
        reset = {zone = "Asia/Tokyo", at = "06:30:00"}
        """,
    )

    profiles = load_profiles(path)

    ftmo = profile("ftmo-2step", profiles)
    assert ftmo.risk_per_trade_frac == Decimal("0.005")
    assert ftmo.daily is not None
    assert (ftmo.daily.limit_frac, ftmo.daily.guard_frac) == (Decimal("0.05"), Decimal("0.04"))
    assert ftmo.max == profile("ftmo-2step").max
    mine = profile("mine", profiles)
    assert (mine.name, mine.firm, mine.max_positions, mine.max_correlation) == (
        "mine", "Mine", 5, None,
    )  # fmt: skip
    assert (mine.reset.zone, mine.reset.at.isoformat()) == ("Asia/Tokyo", "06:30:00")
    assert mine.max == profile("ftmo-1step").max


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[ftmo-2step]\nrisk_per_trade = 0.01", "risk_per_trade"),
        ("[ftmo-2step]\ndaily.guard = 0.01", "guard"),
        ("[ftmo-2step]\ndaily.guard_frac = 0.06", "inside the firm's"),
        ("[ftmo-2step]\nrisk_per_trade_frac = 1.5", "at most 1"),
        ("[ftmo-2step]\nmax_positions = 0", "max_positions is 0"),
        ("[ftmo-2step]\nmax_positions = 2.5", "max_positions"),
        ("[ftmo-2step]\nmax.mode = 'rising'", "rising"),
        ("[mine]\nmax_positions = 1", "needs `base`"),
        ("mine = 3", "must be a table"),
        ("[mine", "not valid TOML"),
    ],
)
def test_a_faulty_file_is_refused_with_place_and_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load_profiles(a_file(tmp_path, text))
    assert "profiles.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_profiles(tmp_path / "nowhere.toml")


def test_a_profile_without_any_rule_is_a_config_error_unless_it_is_none() -> None:
    Guardian(profile("none"))

    with pytest.raises(ConfigError, match="has no rule left"):
        Guardian(tuned("none", name="mine"))


@pytest.mark.parametrize("one", PROFILES.values(), ids=lambda p: p.name)
def test_a_profile_survives_json(one: Profile) -> None:
    assert msgspec.json.decode(msgspec.json.encode(one), type=Profile) == one
