"""backtesting.py: one run an engine, indicators computed over whole columns beforehand."""

from __future__ import annotations

import warnings

import backtesting
import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

from benchmarks.workload import CASH, COINS, STOP_FRAC, Outcome, Run, Workload, candles, ema

# Its progress bar is drawn where standard error is no terminal, too, and costs time.
backtesting.backtesting._tqdm = lambda bars, **_: bars


class EmaCross(Strategy):  # type: ignore[misc]
    """Long when the fast mean comes above the slow one, short when below, with a stop."""

    fast = 20
    slow = 80

    def init(self) -> None:
        close = np.asarray(self.data.Close)
        self.fast_line = self.I(ema, close, self.fast, plot=False)
        self.slow_line = self.I(ema, close, self.slow, plot=False)
        self.above: bool | None = None

    def next(self) -> None:
        above = self.fast_line[-1] > self.slow_line[-1]
        if above == self.above:
            return
        was, self.above = self.above, above
        if was is None:
            return
        self.position.close()
        close = self.data.Close[-1]
        if above:
            self.buy(size=COINS, sl=round(close * (1 - STOP_FRAC), 2))
        else:
            self.sell(size=COINS, sl=round(close * (1 + STOP_FRAC), 2))


def version() -> str:
    return str(backtesting.__version__)


def frame(bars: int) -> pd.DataFrame:
    """The candles as backtesting.py and backtrader like them."""
    c = candles(bars)
    return pd.DataFrame(
        {"Open": c.open, "High": c.high, "Low": c.low, "Close": c.close, "Volume": c.volume},
        index=pd.to_datetime(c.open_ns),
    )


def prepare(workload: Workload) -> Run:
    warnings.filterwarnings("ignore")  # that a trade is still open at the end

    def play(data: pd.DataFrame) -> Outcome:
        test = Backtest(data, EmaCross, cash=CASH)
        trades, pnl = 0, 0.0
        for fast, slow in workload.periods:
            stats = test.run(fast=fast, slow=slow)
            trades += len(stats["_trades"])
            pnl += float(stats["_trades"]["PnL"].sum())
        return Outcome(trades, pnl)

    play(frame(1_000))
    data = frame(workload.bars)
    return lambda: play(data)
