"""The luck line: what random entries would have earned in an engine's place.

10,000 traders make the engine's own trades (symbol, side, size, holding time, costs) on the
same market, but at bars picked blindly. An engine that does not stand out among them has shown
no timing. Also the chance that a coin would win as often.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.errors import ConfigError
from hydra.tournament import kernels
from hydra.tournament.bootstrap import in_threads

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

TRADERS = 10_000


class LuckMarket:
    """The closes of all symbols, laid end to end once for all engines."""

    def __init__(self, closes: Sequence[tuple[Int64 | Float64, Int64 | Float64]]) -> None:
        """`closes[s]` is (bid, ask) of symbol s, each (bars,), in any unit of price.

        Raises ConfigError when a symbol's bid and ask differ in length.
        """
        for symbol, (bid, ask) in enumerate(closes):
            if len(bid) != len(ask):
                raise ConfigError(
                    f"luck line: symbol {symbol} has {len(bid)} bids and {len(ask)} asks;"
                    " both need one value for each bar"
                )
        empty = np.empty(0)
        self.bid: Float64 = np.concatenate([empty, *(np.asarray(bid, float) for bid, _ in closes)])
        self.ask: Float64 = np.concatenate([empty, *(np.asarray(ask, float) for _, ask in closes)])
        self.bars: Int64 = np.array([len(bid) for bid, _ in closes], np.int64)
        self.begin: Int64 = np.cumsum(self.bars) - self.bars


class LuckTrades(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's closed trades in columns, each (trades,)."""

    symbol: Int64  # index into the market's closes
    hold_bars: Int64  # bars from entry to exit; less than one counts as one
    side: Int64  # 1 bought, -1 sold
    notional_usd: Float64  # at entry, above 0
    cost_usd: Float64  # paid besides the spread: commission, swap, slippage
    pnl_usd: Float64  # what the engine made of each, net of all costs


class LuckLine(msgspec.Struct, frozen=True, kw_only=True):
    """Net P&L of the random traders; None, with a reason, where there was nothing to compare."""

    p5_usd: float | None = None
    p50_usd: float | None = None
    p95_usd: float | None = None
    percentile: float | None = None  # 0 to 100: share of traders the engine beat, ties half
    traders: int = 0
    trades: int = 0
    reason: str = ""


def luck_line(
    market: LuckMarket, trades: LuckTrades, *, seed: int, traders: int = TRADERS
) -> LuckLine:
    """Where the engine stands among random traders.

    Entries are uniform over the bars that leave room for the trade, independent of one another;
    entry and exit are at closes, across the spread. Stops and targets play no part: the holding
    time is kept. Trades on a symbol with fewer than two bars are left out on both sides.
    """
    playable = market.bars[trades.symbol] >= 2
    count = int(playable.sum())
    if count < 1:
        return LuckLine(reason="no closed trades")
    symbol = trades.symbol[playable]
    bars = market.bars[symbol]
    columns = (
        np.ascontiguousarray(market.begin[symbol]),
        np.ascontiguousarray(bars),
        np.clip(trades.hold_bars[playable], 1, bars - 1).astype(np.int64),
        np.ascontiguousarray(trades.side[playable], np.int64),
        np.ascontiguousarray(trades.notional_usd[playable], np.float64),
        np.ascontiguousarray(trades.cost_usd[playable], np.float64),
    )
    earned = float(trades.pnl_usd[playable].sum())
    out = np.empty(traders)
    word = np.uint64(seed % 2**64)

    def work(first: int, last: int) -> None:
        kernels.random_traders(market.bid, market.ask, *columns, first, word, out[first:last])

    in_threads(work, traders)
    p5, p50, p95 = np.quantile(out, (0.05, 0.5, 0.95))
    beaten = float((out < earned).mean() + 0.5 * (out == earned).mean())
    return LuckLine(
        p5_usd=float(p5),
        p50_usd=float(p50),
        p95_usd=float(p95),
        percentile=100.0 * beaten,
        traders=traders,
        trades=count,
    )


def chance_of_wins(wins: int, trades: int, p_win: Fraction = Fraction(1, 2)) -> float:
    """P(at least `wins` of `trades`) where each is won with `p_win`: the binomial tail, exact.

    Raises ValueError unless 0 ≤ wins ≤ trades and 0 ≤ p_win ≤ 1.
    """
    if not (0 <= wins <= trades and 0 <= p_win <= 1):
        raise ValueError(f"{wins} wins of {trades} trades at {p_win}")
    won, all_ = p_win.numerator, p_win.denominator
    tail = sum(
        comb(trades, n) * won**n * (all_ - won) ** (trades - n) for n in range(wins, trades + 1)
    )
    return float(Fraction(tail, all_**trades))
