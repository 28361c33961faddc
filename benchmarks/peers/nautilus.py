"""nautilus_trader: one backtest an engine, since strategies of one backtest share an account.

Its indicators are compiled and updated bar by bar; logging is off, and neither its risk engine
nor its reports take part. The account is a hedging one: on a netting account it copies the
position at every turn, and gets slower the longer it plays. It asks for older packages than
Hydra, so it lives in an environment of its own (`--python nautilus=…/bin/python`).
"""

from __future__ import annotations

from decimal import Decimal

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, PositionSide
from nautilus_trader.model.events import PositionOpened
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

from benchmarks.workload import CASH, COINS, STOP_FRAC, Outcome, Run, Workload, candles

VENUE = Venue("SIM")
ID = InstrumentId(Symbol("BTCUSD"), VENUE)
BARS = BarType.from_str(f"{ID}-1-MINUTE-LAST-EXTERNAL")
PAIR = CurrencyPair(
    instrument_id=ID,
    raw_symbol=Symbol("BTCUSD"),
    base_currency=BTC,
    quote_currency=USD,
    price_precision=2,
    size_precision=4,
    price_increment=Price.from_str("0.01"),
    size_increment=Quantity.from_str("0.0001"),
    margin_init=Decimal("0.5"),
    margin_maint=Decimal("0.25"),
    maker_fee=Decimal(0),
    taker_fee=Decimal(0),
    ts_event=0,
    ts_init=0,
)


class EmaCrossConfig(StrategyConfig, frozen=True):  # type: ignore[misc, call-arg]
    """Periods in bars."""

    fast: int
    slow: int


class EmaCross(Strategy):  # type: ignore[misc]
    """Long when the fast mean comes above the slow one, short when below, with a stop."""

    def __init__(self, config: EmaCrossConfig) -> None:
        super().__init__(config)
        self.fast_line = ExponentialMovingAverage(config.fast)
        self.slow_line = ExponentialMovingAverage(config.slow)
        self.above: bool | None = None
        self.size = PAIR.make_qty(COINS)
        self.stop_price: Price | None = None
        self.guard: Order | None = None
        self.held: Position | None = None

    def on_start(self) -> None:
        self.register_indicator_for_bars(BARS, self.fast_line)
        self.register_indicator_for_bars(BARS, self.slow_line)
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Bar) -> None:
        if not self.slow_line.initialized:
            return
        above = self.fast_line.value > self.slow_line.value
        if above == self.above:
            return
        was, self.above = self.above, above
        if was is None:
            return
        if self.guard is not None and self.guard.is_open:
            self.cancel_order(self.guard)
        if self.held is not None and self.held.is_open:
            self.close_position(self.held)
        side = OrderSide.BUY if above else OrderSide.SELL
        away = 1 - STOP_FRAC if above else 1 + STOP_FRAC
        self.stop_price = PAIR.make_price(bar.close.as_double() * away)
        self.submit_order(self.order_factory.market(ID, side, self.size))

    def on_position_opened(self, event: PositionOpened) -> None:
        """Attach the stop: it can name its position only now."""
        self.held = self.cache.position(event.position_id)
        self.guard = self.order_factory.stop_market(
            ID,
            OrderSide.SELL if event.side == PositionSide.LONG else OrderSide.BUY,
            self.size,
            self.stop_price,
            reduce_only=True,
        )
        self.submit_order(self.guard, position_id=event.position_id)


def version() -> str:
    return str(nautilus_trader.__version__)


def prepare(workload: Workload) -> Run:
    def bars_of(bars: int) -> list[Bar]:
        c = candles(bars)
        frame = pd.DataFrame(
            {"open": c.open, "high": c.high, "low": c.low, "close": c.close, "volume": c.volume},
            # It stamps a bar with its close.
            index=pd.to_datetime(c.open_ns + np.int64(60_000_000_000), utc=True),
        )
        made: list[Bar] = BarDataWrangler(BARS, PAIR).process(frame)
        return made

    def play(data: list[Bar]) -> Outcome:
        trades, pnl = 0, 0.0
        for fast, slow in workload.periods:
            engine = BacktestEngine(
                BacktestEngineConfig(
                    logging=LoggingConfig(bypass_logging=True),
                    risk_engine=RiskEngineConfig(bypass=True),
                    run_analysis=False,
                )
            )
            engine.add_venue(
                venue=VENUE,
                oms_type=OmsType.HEDGING,
                account_type=AccountType.MARGIN,
                base_currency=USD,
                starting_balances=[Money(CASH, USD)],
                default_leverage=Decimal(2),
            )
            engine.add_instrument(PAIR)
            engine.add_data(data, sort=False)
            engine.add_strategy(EmaCross(EmaCrossConfig(fast=fast, slow=slow)))
            engine.run()
            closed = engine.cache.positions_closed()
            trades += len(closed)
            pnl += sum(position.realized_pnl.as_double() for position in closed)
            engine.dispose()
        return Outcome(trades, pnl)

    play(bars_of(1_000))
    data = bars_of(workload.bars)
    return lambda: play(data)
