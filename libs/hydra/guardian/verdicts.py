"""What the guardian says: approved, allowed, refused; breached, reached, rolled over.

Money is in units of 1e-8 USD, prices in ticks, volumes in lot steps, instants in ns (UTC).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hydra.market.instruments import UNITS_PER_USD
from hydra.portfolio.intents import Amend, Close, Intent, Open

Figure = int | float | str | None  # money in units, counts as they are, lots as text


class Change(msgspec.Struct, frozen=True, gc=False):
    """A rule made an order smaller."""

    rule: str
    from_steps: int
    to_steps: int
    limit: Figure
    figure: Figure


class Approved(msgspec.Struct, frozen=True, gc=False):
    """An opening intent may become an order of `steps`."""

    intent: Open
    steps: int
    worst_entry_ticks: int | None  # a fill worse than this is to be cancelled; None: any fill
    risk_units: int | None  # lost at the stop from the worst entry, costs in; None: no stop
    changes: tuple[Change, ...] = ()


class Allowed(msgspec.Struct, frozen=True, gc=False):
    """A close of `steps`, or new stop and target for a ticket of `steps`."""

    intent: Close | Amend
    steps: int


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An intent may not be carried out: by which rule, its limit, the figure that met it."""

    intent: Intent
    rule: str
    limit: Figure
    figure: Figure
    text: str


class Breach(msgspec.Struct, frozen=True, gc=False):
    """A limit was reached. The account is latched until `until_ns`; None: for the season.

    Rules: `daily-loss` and `max-loss` are the guardian's own, `firm-daily-loss` and
    `firm-max-loss` the firm's (the challenge is failed), `benched` comes from Mother.
    """

    rule: str
    at_ns: int
    until_ns: int | None
    limit_units: int  # the floor
    figure_units: int  # the equity that reached it
    text: str

    @property
    def is_firm(self) -> bool:
        """Whether the firm's own limit was broken."""
        return self.rule.startswith("firm-")


class TargetReached(msgspec.Struct, frozen=True, gc=False):
    """The profit target is reached with every position closed: the challenge is passed."""

    engine: str
    at_ns: int
    balance_units: int
    target_units: int
    trading_days: int


class GuardianDay(msgspec.Struct, frozen=True, kw_only=True):
    """One guardian's day of one account, over."""

    engine: str
    day: str  # 2024-01-31, in the profile's zone
    start_balance_units: int
    daily_floor_units: int | None  # the guardian's; None: there is no such limit
    total_floor_units: int | None
    worst_equity_units: int
    end_balance_units: int
    opened: int  # tickets
    refused: int  # intents
    resized: int
    breach: str  # first rule that was breached, or ""


class DayRoll(msgspec.Struct, frozen=True, kw_only=True):
    """A day ended, another began: its floors, and what its first equity already broke."""

    day: str
    daily_floor_units: int | None  # the guardian's
    total_floor_units: int | None
    firm_daily_floor_units: int | None
    firm_total_floor_units: int | None
    breaches: tuple[Breach, ...]
    finished: GuardianDay

    @property
    def breach(self) -> Breach | None:
        """The gravest of the breaches: one that lasts for the season before one for the day."""
        lasting = [one for one in self.breaches if one.until_ns is None]
        return next(iter(lasting or self.breaches), None)


class Trail(msgspec.Struct, frozen=True):
    """How the total floor follows the account between resets.

    floor = max(floor, min(top - distance_units, lock_units)), top being the closed balance
    or the equity.
    """

    on: Literal["balance", "equity"]
    distance_units: int
    lock_units: int


def usd(units: int) -> str:
    """Money for a reader."""
    return f"{units / UNITS_PER_USD:,.2f} USD"
