"""Whose rules an account is played by: named sets of limits, and how to change them.

Sources: FTMO.md, section 1, for each firm's own limits; the guardian's limits (`guard_frac`)
lie inside them by a tenth, as 4.5 % lies inside FTMO's 5 % and 9 % inside its 10 %, so that
a slipped stop still ends inside. What the sources do not state is said in docs/guardian.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from hydra.errors import ConfigError

OFF = "off"  # in a TOML file: this limit does not apply


def _fraction(owner: str, name: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and 0 < value <= 1):
        raise ConfigError(f"{owner}: {name} is {value}, it must be above 0 and at most 1")


class DailyLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be lost in a day: the floor is the day's reference less a fraction.

    Raises ConfigError when the guardian's limit lies outside the firm's.
    """

    limit_frac: Decimal  # the firm's
    guard_frac: Decimal  # the guardian's, at most limit_frac
    base: Literal["initial", "reference"] = "initial"  # what the fraction is of
    reference: Literal["balance", "max(balance, equity)"] = "balance"  # at the reset
    kind: Literal["hard", "pause"] = "hard"  # pause: the firm only ends the day

    def __post_init__(self) -> None:
        _check_inside("daily", self.limit_frac, self.guard_frac)


class MaxLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be lost at all, as a fraction of the initial balance.

    static: below the initial balance. trailing_*: below the highest balance at a reset
    (eod), the highest closed balance (closed) or the highest equity (intraday), and never
    below where it has been. `lock_at_frac` is the level, as a fraction of the initial
    balance, above which the firm's floor does not rise; None: no such level.
    """

    mode: Literal["static", "trailing_eod", "trailing_closed", "trailing_intraday"] = "static"
    limit_frac: Decimal  # the firm's
    guard_frac: Decimal  # the guardian's, at most limit_frac
    lock_at_frac: Decimal | None = None

    def __post_init__(self) -> None:
        _check_inside("max", self.limit_frac, self.guard_frac)
        if self.lock_at_frac is not None and not self.lock_at_frac > 0:
            raise ConfigError(f"max: lock_at_frac is {self.lock_at_frac}, it must be above 0")


def _check_inside(owner: str, limit_frac: Decimal, guard_frac: Decimal) -> None:
    _fraction(owner, "limit_frac", limit_frac)
    _fraction(owner, "guard_frac", guard_frac)
    if guard_frac > limit_frac:
        raise ConfigError(
            f"{owner}: guard_frac {guard_frac} is above limit_frac {limit_frac};"
            " the guardian's limit must lie inside the firm's"
        )


class Reset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the guardian's day begins."""

    zone: str = "Europe/Prague"  # IANA
    at: time = time(0)  # local


class Consistency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The target counts only while the best day is at most a fraction of `denominator`."""

    best_day_frac: Decimal
    denominator: Literal["profit", "target"] = "profit"

    def __post_init__(self) -> None:
        _fraction("consistency", "best_day_frac", self.best_day_frac)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits of one account. None: this limit does not apply.

    Raises ConfigError on figures out of range.
    """

    name: str
    firm: str = ""  # whose challenge it is; "": nobody's, there is nothing to fail
    daily: DailyLimit | None = None
    max: MaxLimit | None = None
    reset: Reset = Reset()
    target_frac: Decimal | None = Decimal("0.10")  # of the initial balance
    min_trading_days: int = 0
    consistency: Consistency | None = None
    default_risk_frac: Decimal = Decimal("0.01")  # of equity, where an intent names no size
    position_risk_frac: Decimal | None = Decimal("0.02")  # of the initial balance
    risk_per_trade_frac: Decimal | None = Decimal("0.015")  # of equity
    scalper_risk_per_trade_frac: Decimal | None = Decimal("0.01")  # of equity
    max_positions: int | None = 3  # open and pending tickets
    max_correlation: Decimal | None = Decimal("0.7")
    stop_required: bool = True
    cooldown_s: int | None = 300  # between two tickets of one symbol and side
    max_orders_per_minute: int | None = 30
    max_orders_per_day: int | None = 2_000
    max_trades_per_day: int | None = None
    max_order_lots: Decimal | None = None
    max_net_lots: Decimal | None = None  # of one symbol
    max_entry_deviation_frac: Decimal | None = Decimal("0.25")  # of the stop distance
    max_quote_age_factor: Decimal | None = Decimal(1)  # of the age that the market allows
    market_open_required: bool = True
    slippage_allowance_bps: Decimal = Decimal(2)  # of the notional, lost at a stop

    def __post_init__(self) -> None:
        for name in (
            "target_frac", "default_risk_frac", "position_risk_frac", "risk_per_trade_frac",
            "scalper_risk_per_trade_frac", "max_correlation",
        ):  # fmt: skip
            _fraction(f"profile {self.name}", name, getattr(self, name))
        for name in (
            "max_positions", "cooldown_s", "max_orders_per_minute", "max_orders_per_day",
            "max_trades_per_day", "max_order_lots", "max_net_lots", "max_quote_age_factor",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"profile {self.name}: {name} is {value}, it must be above 0 (or {OFF!r})"
                )
        for name in ("max_entry_deviation_frac", "slippage_allowance_bps", "min_trading_days"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(
                    f"profile {self.name}: {name} is {value}, it must not be negative"
                )

    @property
    def refuses_nothing(self) -> bool:
        """Whether no limit at all applies: meant only for the profile `none`."""
        return (
            self.daily is None
            and self.max is None
            and not self.stop_required
            and not self.market_open_required
            and all(getattr(self, name) is None for name in _LIMITS)
        )


_LIMITS = (
    "position_risk_frac", "risk_per_trade_frac", "max_positions", "max_correlation",
    "cooldown_s", "max_orders_per_minute", "max_orders_per_day", "max_trades_per_day",
    "max_order_lots", "max_net_lots", "max_quote_age_factor",
)  # fmt: skip

_SERVER_MIDNIGHT = Reset(zone="America/New_York", at=time(17))  # New York + 7 h, all year


def _daily(percent: str, guard: str) -> DailyLimit:
    return DailyLimit(limit_frac=Decimal(percent) / 100, guard_frac=Decimal(guard) / 100)


def _static(percent: str, guard: str) -> MaxLimit:
    return MaxLimit(limit_frac=Decimal(percent) / 100, guard_frac=Decimal(guard) / 100)


PROFILES: Mapping[str, Profile] = {
    one.name: one
    for one in (
        Profile(
            name="ftmo-2step",
            firm="FTMO",
            daily=_daily("5", "4.5"),
            max=_static("10", "9"),
            min_trading_days=4,
        ),
        Profile(
            name="ftmo-1step",
            firm="FTMO",
            daily=_daily("3", "2.7"),
            max=MaxLimit(
                mode="trailing_eod", limit_frac=Decimal("0.10"), guard_frac=Decimal("0.09")
            ),
            consistency=Consistency(best_day_frac=Decimal("0.5")),
        ),
        Profile(
            name="fundednext-stellar",
            firm="FundedNext",
            daily=_daily("5", "4.5"),
            max=_static("10", "9"),
            reset=_SERVER_MIDNIGHT,
        ),
        Profile(
            name="the5ers-high-stakes",
            firm="The5ers",
            daily=DailyLimit(
                limit_frac=Decimal("0.05"),
                guard_frac=Decimal("0.045"),
                base="reference",
                reference="max(balance, equity)",
            ),
            max=_static("10", "9"),
            reset=_SERVER_MIDNIGHT,
        ),
        Profile(
            name="topstep-50k",
            firm="Topstep",
            daily=DailyLimit(limit_frac=Decimal("0.02"), guard_frac=Decimal("0.018"), kind="pause"),
            max=MaxLimit(
                mode="trailing_eod",
                limit_frac=Decimal("0.04"),
                guard_frac=Decimal("0.036"),
                lock_at_frac=Decimal(1),
            ),
            reset=Reset(zone="America/Chicago", at=time(17)),
        ),
        Profile(
            name="e8-one",
            firm="E8",
            daily=_daily("4", "3.6"),
            max=MaxLimit(
                mode="trailing_closed",
                limit_frac=Decimal("0.06"),
                guard_frac=Decimal("0.054"),
                lock_at_frac=Decimal(1),
            ),
            reset=_SERVER_MIDNIGHT,
        ),
        Profile(
            name="production",
            daily=_daily("2", "2"),
            max=_static("9", "9"),
            max_trades_per_day=20,
            max_order_lots=Decimal(2),
            max_net_lots=Decimal(3),
        ),
        Profile(
            name="learning",
            daily=_daily("2", "2"),
            max=_static("9", "9"),
            max_trades_per_day=100,
            max_order_lots=Decimal(1),
            max_net_lots=Decimal(3),
        ),
        Profile(
            name="none",
            target_frac=None,
            position_risk_frac=None,
            risk_per_trade_frac=None,
            scalper_risk_per_trade_frac=None,
            max_positions=None,
            max_correlation=None,
            stop_required=False,
            cooldown_s=None,
            max_orders_per_minute=None,
            max_orders_per_day=None,
            max_entry_deviation_frac=None,
            max_quote_age_factor=None,
            market_open_required=False,
            slippage_allowance_bps=Decimal(0),
        ),
    )
}


def in_words(one: Profile) -> tuple[str, ...]:
    """What the profile asks of a single order, a sentence each, for whoever places orders."""

    def percent(frac: Decimal) -> str:
        return f"{(100 * frac).normalize():f} %"

    said = ["Every trade needs a stop."] if one.stop_required else []
    risks = [r for r in (one.position_risk_frac, one.risk_per_trade_frac) if r is not None]
    if risks:
        said.append(
            f"A trade may lose at most {percent(min(risks))} of equity at its stop; a larger one"
            f" is made smaller, one without a figure risks {percent(one.default_risk_frac)}."
        )
    if one.max_positions is not None:
        said.append(f"At most {one.max_positions} open and pending tickets.")
    if one.max_correlation is not None:
        said.append(
            "No ticket that moves as one on another asset does: correlation of returns, signed by"
            f" the sides, above {one.max_correlation}."
        )
    if one.cooldown_s is not None:
        said.append(f"{one.cooldown_s} s between two tickets of one asset and side.")
    if one.max_trades_per_day is not None:
        said.append(f"At most {one.max_trades_per_day} new tickets a day.")
    for lots, of in ((one.max_order_lots, "an order"), (one.max_net_lots, "one asset")):
        if lots is not None:
            said.append(f"At most {lots} lots in {of}.")
    if one.max_entry_deviation_frac is not None:
        said.append(
            "An entry is cancelled when the price has moved from the decision by more than"
            f" {percent(one.max_entry_deviation_frac)} of the distance to its stop."
        )
    return tuple(said)


def profile(name: str, among: Mapping[str, Profile] = PROFILES) -> Profile:
    """The profile of that name. Raises ConfigError, listing the names there are."""
    try:
        return among[name]
    except KeyError:
        raise ConfigError(
            f"no guardian profile {name!r}; there are: {', '.join(sorted(among))}"
        ) from None


def load_profiles(path: Path) -> dict[str, Profile]:
    """The named profiles, with the changes and additions of a TOML file.

    Each table is one profile. It starts from the profile of its own name, or from the one
    that `base` names, and replaces the figures it lists; "off" turns a limit off:

        [my-firm]
        base = "ftmo-2step"
        max_positions = 5
        max_correlation = "off"
        daily.guard_frac = 0.04

    Raises ConfigError on an unreadable file, an unknown key or a figure out of range.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file, parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    profiles = dict(PROFILES)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name!r} must be a table, [{name}], with a profile's keys")
        base = table.pop("base", name)
        if base not in profiles:
            raise ConfigError(
                f"{path}: [{name}] needs `base`, one of: {', '.join(sorted(profiles))}"
            )
        merged = _merge(msgspec.to_builtins(profiles[base]), table)
        try:
            profiles[name] = msgspec.convert({**merged, "name": name}, Profile)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: [{name}]: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: [{name}]: {error}") from error
    return profiles


def _merge(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if value == OFF:
            merged[key] = None
        elif isinstance(value, Mapping):
            merged[key] = _merge(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
