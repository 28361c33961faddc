"""backtrader: one run an engine (strategies of one run share an account), no observers."""

from __future__ import annotations

import time

import backtrader as bt

from benchmarks.peers.backtesting_py import frame
from benchmarks.workload import CASH, COINS, STOP_FRAC, Outcome, Run, Workload


class Bars(bt.feeds.PandasData):  # type: ignore[misc]
    """A frame of candles. Its loading, bar by bar, is timed and not counted."""

    loading_s = 0.0

    def preload(self) -> None:
        start = time.process_time()
        super().preload()
        type(self).loading_s += time.process_time() - start


class EmaCross(bt.Strategy):  # type: ignore[misc]
    """Long when the fast mean comes above the slow one, short when below, with a stop."""

    params = (("fast", 20), ("slow", 80))

    def __init__(self) -> None:
        self.fast_line = bt.indicators.EMA(period=self.p.fast)
        self.slow_line = bt.indicators.EMA(period=self.p.slow)
        self.above: bool | None = None
        self.stop_order: bt.Order | None = None
        self.trades = 0
        self.pnl = 0.0

    def notify_trade(self, trade: bt.Trade) -> None:
        if trade.isclosed:
            self.trades += 1
            self.pnl += trade.pnlcomm

    def next(self) -> None:
        above = self.fast_line[0] > self.slow_line[0]
        if above == self.above:
            return
        was, self.above = self.above, above
        if was is None:
            return
        if self.stop_order is not None and self.stop_order.alive():
            self.cancel(self.stop_order)
        if self.position:
            self.close()
        close = self.data.close[0]
        enter = self.buy_bracket if above else self.sell_bracket
        away = 1 - STOP_FRAC if above else 1 + STOP_FRAC
        orders = enter(
            size=COINS, exectype=bt.Order.Market, stopprice=round(close * away, 2), limitexec=None
        )
        self.stop_order = orders[1]


def version() -> str:
    return str(bt.__version__)


def prepare(workload: Workload) -> Run:
    def play(bars: int) -> Outcome:
        data = frame(bars)
        trades, pnl = 0, 0.0
        Bars.loading_s = 0.0
        for fast, slow in workload.periods:
            cerebro = bt.Cerebro(stdstats=False)
            cerebro.adddata(Bars(dataname=data))
            cerebro.addstrategy(EmaCross, fast=fast, slow=slow)
            cerebro.broker.setcash(CASH)
            (played,) = cerebro.run()
            trades += played.trades
            pnl += played.pnl
        return Outcome(trades, pnl, not_counted_s=Bars.loading_s)

    play(1_000)
    return lambda: play(workload.bars)
