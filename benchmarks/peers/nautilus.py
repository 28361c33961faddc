"""nautilus_trader: one engine of its own for each pair of periods, so that accounts are apart."""

from __future__ import annotations

from decimal import Decimal

import nautilus_trader
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model import Bar, BarType, InstrumentId, Money, Quantity, Symbol, Venue
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

from benchmarks.workload import CASH, COINS, STOP_FRAC, Outcome, Run, Workload, candles

VENUE = Venue("SIM")
PAIR = CurrencyPair(
    instrument_id=InstrumentId(Symbol("BTCUSD"), VENUE),
    raw_symbol=Symbol("BTCUSD"),
    base_currency=BTC,
    quote_currency=USD,
    price_precision=2,
    size_precision=4,
    price_increment=PAIR_TICK if (PAIR_TICK := None) else None,
    size_increment=Quantity.from_str("0.0001"),
    ts_event=0,
    ts_init=0,
    margin_init=Decimal("0.5"),
    margin_maint=Decimal("0.5"),
    maker_fee=Decimal(0),
    taker_fee=Decimal(0),
)
