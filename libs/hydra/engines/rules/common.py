"""What the rule engines share: entering, sizing by volatility, checking parameters."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING

from hydra.clock import NS_PER_DAY
from hydra.engines.view import View
from hydra.errors import ConfigError
from hydra.portfolio.intents import Intent, Side

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_DAYS_PER_YEAR = 365.25
_TRADING_DAYS_PER_YEAR = 252
_SESSION_NS = NS_PER_DAY * 6.5 / 24  # a stock exchange's day


def check_positive(engine: DataclassInstance, *, but: str = "") -> None:
    """Raises ConfigError for a numeric parameter that is not above 0 (`but` excepted)."""
    for parameter in fields(engine):
        value = getattr(engine, parameter.name)
        if parameter.name == but or not isinstance(value, int | float | Decimal):
            continue
        if not 0 < value < float("inf"):
            raise ConfigError(
                f"engine {type(engine).__name__}: {parameter.name} is {value}, must be above 0"
            )


def check_order(engine: DataclassInstance, smaller: str, larger: str) -> None:
    """Raises ConfigError unless the one parameter is below the other."""
    low, high = getattr(engine, smaller), getattr(engine, larger)
    if not low < high:
        raise ConfigError(
            f"engine {type(engine).__name__}: {smaller} is {low}, must be below {larger}, {high}"
        )


def enter(
    view: View,
    side: Side,
    *,
    stop_distance: float,
    thesis: str,
    target: float | None = None,
    risk_frac: Decimal | None = None,
) -> tuple[Intent, ...]:
    """Hold one ticket on `side`: close those against it, open one where there is none.

    `stop_distance` is in quote currency from the newest close. Nothing is opened where stop
    or target would lie inside the spread: such a trade would be over before it began.
    """
    intents: list[Intent] = [
        view.close_ticket(ticket, thesis=thesis) for ticket in view.tickets if ticket.side != side
    ]
    if len(intents) < len(view.tickets):
        return tuple(intents)
    open_ = view.buy if side == Side.BUY else view.sell
    intent = open_(
        stop=view.close - side * stop_distance, target=target, risk_frac=risk_frac, thesis=thesis
    )
    bid, ask = view.bid, view.ask
    lower, upper = (
        (intent.stop, intent.target) if side == Side.BUY else (intent.target, intent.stop)
    )
    if (lower is None or 0 < lower < bid) and (upper is None or upper > ask):
        intents.append(intent)
    return tuple(intents)


def bars_per_year(calendar: str, resolution_ns: int) -> float:
    """Bars that trade in a year, by the instrument's calendar: always, five days, sessions."""
    if calendar == "24/7":
        return _DAYS_PER_YEAR * NS_PER_DAY / resolution_ns
    if calendar == "fx":
        return _DAYS_PER_YEAR * 5 / 7 * NS_PER_DAY / resolution_ns
    return _TRADING_DAYS_PER_YEAR * max(1.0, _SESSION_NS / resolution_ns)


def volatility_risk_frac(
    view: View, *, target_frac: float, bar_volatility: float, stop_distance: float
) -> Decimal:
    """The share of equity at risk that gives a position the volatility it is meant to have.

    A notional of equity × target ÷ own yearly volatility ÷ number of symbols loses
    `stop_distance` ÷ price of itself at the stop. `target_frac` is yearly volatility as a
    share of equity; `bar_volatility` the standard deviation of one bar's log return.
    """
    yearly = bars_per_year(view.instrument.calendar, view.resolution_ns) ** 0.5
    exposure = target_frac / (bar_volatility * yearly * max(1, len(view.market)))
    risk = min(exposure * stop_distance / view.close, 1.0)
    return max(Decimal(f"{risk:.8f}"), Decimal("1e-8"))
