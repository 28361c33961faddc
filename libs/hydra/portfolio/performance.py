"""How an account did: the usual figures, each with its unit, None where it has no value.

Ratios are annualised once, here, by the periods that the market itself has in a year; nothing
returned is NaN or infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError
from hydra.market.instruments import UNITS_PER_USD

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_NS_PER_YEAR = 365.25 * 86_400 * 1e9


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's figures over a season. Fractions are of 1 (0.05 is 5 %)."""

    total_return_frac: float  # of the opening balance
    sharpe: float | None  # annualised; None below three samples or when nothing moved
    sortino: float | None  # annualised; None where no return was below zero
    calmar: float | None  # annual return over maximum drawdown; None without a drawdown
    max_drawdown_frac: float  # of the peak before it, at the sampling instants
    profit_factor: float | None  # gross gains over gross losses; None without a loss
    win_rate_frac: float | None  # of closed trades; None without one
    expectancy_usd: float | None  # mean net P&L of a closed trade
    turnover: float  # traded notional, entries and exits, over the opening balance
    exposure_frac: float  # of the time, with a ticket open
    costs_usd: float  # commission, swap, spread and slippage
    trades: int
    wins: int
    best_trade_usd: float | None
    worst_trade_usd: float | None


def performance(
    equity_usd: Float64,
    *,
    periods_per_year: float | None,
    trade_pnl_units: Sequence[int],
    traded_usd: float,
    exposure_frac: float,
    costs_units: int,
) -> Performance:
    """The figures of one account.

    `equity_usd` (T + 1,) starts at the opening balance, sampled at regular instants of the
    market, `periods_per_year` of them in a year (None: too few to say, and nothing is
    annualised). `trade_pnl_units` is the net P&L of each closed trade. Raises ConfigError when
    the curve is empty, not finite, or does not start above zero.
    """
    if not len(equity_usd) or not np.isfinite(equity_usd).all() or equity_usd[0] <= 0.0:
        raise ConfigError(
            "performance: an equity curve needs a first value above zero and no gaps;"
            f" got {len(equity_usd)} values"
            + (f", the first {float(equity_usd[0])}" if len(equity_usd) else "")
        )
    initial, final = float(equity_usd[0]), float(equity_usd[-1])
    returns = _returns(equity_usd)
    drawdown = max_drawdown(equity_usd)
    gains = sum(pnl for pnl in trade_pnl_units if pnl > 0)
    losses = -sum(pnl for pnl in trade_pnl_units if pnl < 0)
    trades = len(trade_pnl_units)
    wins = sum(pnl > 0 for pnl in trade_pnl_units)
    annual = _annual_return(final / initial, len(equity_usd) - 1, periods_per_year)
    return Performance(
        total_return_frac=final / initial - 1.0,
        sharpe=_sharpe(returns, periods_per_year),
        sortino=_sortino(returns, periods_per_year),
        calmar=_finite(annual / drawdown) if annual is not None and drawdown > 0.0 else None,
        max_drawdown_frac=drawdown,
        profit_factor=gains / losses if losses else None,
        win_rate_frac=wins / trades if trades else None,
        expectancy_usd=sum(trade_pnl_units) / trades / UNITS_PER_USD if trades else None,
        turnover=traded_usd / initial,
        exposure_frac=exposure_frac,
        costs_usd=costs_units / UNITS_PER_USD,
        trades=trades,
        wins=wins,
        best_trade_usd=max(trade_pnl_units) / UNITS_PER_USD if trades else None,
        worst_trade_usd=min(trade_pnl_units) / UNITS_PER_USD if trades else None,
    )


def periods_per_year(at_ns: Int64) -> float | None:
    """Samples that the market itself has in a year of 365.25 days, from when they fell.

    Nights and weekends without samples so count as they are: hourly samples give 8,766 where
    trading never stops, about 6,200 in currencies. None below two samples. A season shorter than
    a week says little of a market that closes; pass the calendar's own figure there.
    """
    if len(at_ns) < 2 or at_ns[-1] <= at_ns[0]:
        return None
    return (len(at_ns) - 1) * _NS_PER_YEAR / float(at_ns[-1] - at_ns[0])


def drawdowns(equity: Float64) -> Float64:
    """(n,) fall from the highest value so far, as a fraction of it, 0 at a peak."""
    peaks = np.maximum.accumulate(equity)
    falls: Float64 = 1.0 - equity / peaks
    return falls


def max_drawdown(equity: Float64) -> float:
    """The largest fall from a peak, as a fraction of the peak; 0 for a curve that never fell."""
    return float(drawdowns(equity).max())


def _returns(equity: Float64) -> Float64 | None:
    """Simple returns of each period; None once the account was at zero, below, or all but."""
    if (equity <= 0.0).any():
        return None
    with np.errstate(over="ignore"):
        simple: Float64 = equity[1:] / equity[:-1] - 1.0
    return simple if np.isfinite(simple).all() else None


def _sharpe(returns: Float64 | None, periods: float | None) -> float | None:
    """Mean over deviation (T − 1), times √periods; the riskless rate is taken as 0."""
    if returns is None or periods is None or len(returns) < 2 or np.ptp(returns) == 0.0:
        return None
    with np.errstate(over="ignore"):
        deviation = float(returns.std(ddof=1))
    return _ratio(float(returns.mean()), deviation, periods)


def _sortino(returns: Float64 | None, periods: float | None) -> float | None:
    """Mean over √mean(min(r, 0)²), times √periods; Sortino and Price 1994, target 0."""
    if returns is None or periods is None or len(returns) < 2:
        return None
    downside = float(np.sqrt((np.minimum(returns, 0.0) ** 2).mean()))  # of -1 to 0: never large
    return _ratio(float(returns.mean()), downside, periods)


def _ratio(mean: float, deviation: float, periods: float) -> float | None:
    if not 0.0 < deviation < math.inf:
        return None
    return _finite(mean / deviation * math.sqrt(periods))


def _annual_return(growth: float, samples: int, periods: float | None) -> float | None:
    """The compound return of a year at this pace; None where that overflows or ruin came."""
    if periods is None or samples < 1 or growth <= 0.0:
        return None
    exponent = math.log(growth) * periods / samples
    return math.expm1(exponent) if exponent < 700.0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
