"""One rule engine on the same bars in Hydra and in backtesting.py, ticket by ticket.

The engine is the registered `ema_trend`, with a fixed size and, if asked, a target. For
backtesting.py it is written a second time, indicators included, so that the two sides share
the bars and nothing else.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from numpy.typing import NDArray

from hydra.engines.rules.ema_trend import EmaTrend
from hydra.engines.view import View
from hydra.features.specs import Feature
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.instruments import UNITS_PER_USD, Instrument
from hydra.mother.contestants import Contestant
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Intent, Open
from hydra.storage.memory import MemoryDatabase
from hydra.tournament.season import SeasonRow, TicketRow

CASH_USD = 10_000_000

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deal:
    """One ticket as both sides can tell it. Bars are numbers of the table's rows."""

    side: int
    entry_bar: int
    entry_ticks: int
    stop_ticks: int
    target_ticks: int | None
    exit_bar: int
    exit_ticks: int
    pnl_units: int  # 1e-8 USD


@dataclass(frozen=True, slots=True)
class Played:
    """What one side made of the bars, in the order in which tickets were entered."""

    deals: list[Deal]
    unprotected: list[int]  # entry bars of tickets beyond their own stop or target at once


# Hydra


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """The engine's decisions with a fixed size and a target so many ATR away (None: none)."""

    engine: EmaTrend
    lots: Decimal
    target_atr: float | None

    @property
    def features(self) -> Sequence[Feature]:
        return self.engine.features

    def decide(self, view: View) -> Sequence[Intent]:
        return [
            msgspec.structs.replace(intent, lots=self.lots, target=self._target(view, intent))
            if isinstance(intent, Open)
            else intent
            for intent in self.engine.decide(view)
        ]

    def _target(self, view: View, intent: Open) -> Decimal | None:
        if self.target_atr is None:
            return None
        one = view.instrument
        return one.price(one.ticks(view.close + intent.side * self.target_atr * view.features[-1]))


def by_hydra(
    table: BarTable, engine: EmaTrend, *, lots: Decimal, target_atr: float | None = None
) -> Played:
    """A whole season through Mother: profile none, no costs, no latency."""
    season = SeasonRow(
        name="parity", mode="independent", profile="none", seed=1,
        initial_units=CASH_USD * UNITS_PER_USD, settings={}, inputs=(),
    )  # fmt: skip
    store = MemoryDatabase().open_season(season, resume=False)
    streams = streams_of([table])
    mother = Mother(
        plan=SeasonPlan(
            mode="independent",
            profile=profile("none"),
            costs=costs_named("none"),
            seed=1,
            start_ns=int(table.open_ns[0]),
            sample_ns=86_400_000_000_000,
            initial_units=season.initial_units,
            luck_traders=0,
        ),
        contestants=[
            Contestant(
                name="ema_trend",
                engine=Sized(engine=engine, lots=lots, target_atr=target_atr),
                title="EMA trend",
            )
        ],
        streams=streams,
        store=store,
    )
    asyncio.run(mother.run(ReplayFeed(streams, [table]).chunks()))
    rows = sorted(store.season.tickets.values(), key=lambda row: row.ticket)
    # An order for a bar that never came was neither filled nor refused.
    asked = [row for row in rows if row.exit_reason != "season end" or row.status == "CLOSED"]
    odd = {row.exit_reason for row in asked if row.status == "CANCELLED"} - {"unprotected"}
    assert not odd, f"orders were cancelled for reasons that this comparison does not know: {odd}"
    return Played(
        deals=[_deal(row, table) for row in asked if row.status == "CLOSED"],
        unprotected=[
            _bar_opening(table, row.closed_ns) for row in asked if row.status == "CANCELLED"
        ],
    )


def _deal(row: TicketRow, table: BarTable) -> Deal:
    one = table.instrument
    assert row.entry_price is not None and row.stop_price is not None
    assert row.exit_price is not None and row.pnl_units is not None
    level = {"stop": row.stop_price, "target": row.target_price}.get(row.exit_reason or "")
    # What fills at its own price fills somewhere inside a bar, stamped with the bar's close.
    inside = row.exit_price == level or row.exit_reason == "season end"
    find = _bar_closing if inside else _bar_opening
    return Deal(
        side=1 if row.direction == "LONG" else -1,
        entry_bar=_bar_opening(table, row.opened_ns),
        entry_ticks=one.ticks(row.entry_price),
        stop_ticks=one.ticks(row.stop_price),
        target_ticks=None if row.target_price is None else one.ticks(row.target_price),
        exit_bar=find(table, row.closed_ns),
        exit_ticks=one.ticks(row.exit_price),
        pnl_units=row.pnl_units,
    )


def _bar_opening(table: BarTable, at_ns: int | None) -> int:
    bar = int(np.searchsorted(table.open_ns, at_ns or 0))
    assert table.open_ns[bar] == at_ns, f"no bar opens at {at_ns}"
    return bar


def _bar_closing(table: BarTable, at_ns: int | None) -> int:
    return _bar_opening(table, (at_ns or 0) - table.resolution_ns)


# backtesting.py


class _EmaTrend(Strategy):  # type: ignore[misc]  # backtesting.py has no types
    """The rule of `ema_trend`, in backtesting.py's words."""

    engine = EmaTrend()  # its parameters
    units = 1
    decimals = 2  # of a price on the tick grid
    target_atr: float | None = None

    def init(self) -> None:
        high, low, close = (np.asarray(x) for x in (self.data.High, self.data.Low, self.data.Close))
        ranges = [
            max(top, before) - min(bottom, before)
            for top, bottom, before in zip(high[1:], low[1:], close[:-1], strict=True)
        ]
        fast, slow, period = self.engine.fast, self.engine.slow, self.engine.atr_period
        columns = {
            "fast": _smooth(close, fast, 2 / (fast + 1)),
            "slow": _smooth(close, slow, 2 / (slow + 1)),
            "atr": np.array([np.nan, *_smooth(np.array(ranges), period, 1 / period)]),
        }
        self.fast, self.slow, self.atr = (
            self.I(lambda c=column: c, name=name, plot=False) for name, column in columns.items()
        )

    def next(self) -> None:
        fast, slow = self.fast[-1], self.slow[-1]
        if fast == slow:
            return
        side = 1 if fast > slow else -1
        if side * (self.fast[-2] - self.slow[-2]) > 0:
            return
        against = [trade for trade in self.trades if trade.size * side < 0]
        for trade in against:
            trade.close()
        if len(against) < len(self.trades):
            return
        close, atr = self.data.Close[-1], self.atr[-1]
        target = self.target_atr and round(close + side * self.target_atr * atr, self.decimals)
        enter = self.buy if side > 0 else self.sell
        stop = round(close - side * self.engine.stop_atr * atr, self.decimals)
        enter(size=self.units, sl=stop, tp=target)


def _smooth(values: Float64, seed: int, weight: float) -> Float64:
    """An exponential mean, seeded with the plain mean of the first `seed` values."""
    out = np.full(len(values), np.nan)
    level = float(np.mean(values[:seed]))
    out[seed - 1] = level
    for i in range(seed, len(values)):
        level = level + weight * (float(values[i]) - level)
        out[i] = level
    return out


def by_backtesting_py(
    table: BarTable, engine: EmaTrend, *, lots: Decimal, target_atr: float | None = None
) -> Played:
    """Orders fill at the next open, nothing costs anything, and no trade is closed at the end."""
    one = table.instrument
    data = pd.DataFrame(
        {"Open": table.open, "High": table.high, "Low": table.low, "Close": table.close},
        index=pd.to_datetime(table.open_ns),
    )
    units = int(lots * one.contract_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the last trade stays open
        stats = Backtest(data, _EmaTrend, cash=CASH_USD, spread=0.0, commission=0.0).run(
            engine=engine,
            units=units,
            decimals=-int(one.tick_size.normalize().as_tuple().exponent),
            target_atr=target_atr,
        )
    trades = stats["_trades"]
    closed = [
        (row.Size, row.EntryBar, row.EntryPrice, row.SL, row.TP, row.ExitBar, row.ExitPrice)
        for row in trades.itertuples()
    ]
    pnl_usd = trades["PnL"].tolist()
    # What is still open at the end is valued at the last close, as Hydra closes it.
    last = len(table) - 1
    for trade in stats["_strategy"].trades:
        closed.append(
            (trade.size, trade.entry_bar, trade.entry_price, trade.sl, trade.tp, last,
             table.close[last])
        )  # fmt: skip
        pnl_usd.append(trade.pl)
    deals = [
        Deal(
            side=1 if size > 0 else -1,
            entry_bar=int(entry_bar),
            entry_ticks=_on_grid(one, entry),
            stop_ticks=_on_grid(one, stop),
            target_ticks=None if target is None or np.isnan(target) else _on_grid(one, target),
            exit_bar=int(exit_bar),
            exit_ticks=_on_grid(one, exit_),
            # Its floats are off by less than a cent's billionth; all P&L is whole ticks.
            pnl_units=round(pnl * UNITS_PER_USD / one.tick_value_units) * one.tick_value_units,
        )
        for (size, entry_bar, entry, stop, target, exit_bar, exit_), pnl in zip(
            closed, pnl_usd, strict=True
        )
    ]
    deals.sort(key=lambda deal: deal.entry_bar)
    return Played(
        deals=[deal for deal in deals if not _over_at_once(deal)],
        unprotected=[deal.entry_bar for deal in deals if _over_at_once(deal)],
    )


def _over_at_once(deal: Deal) -> bool:
    """Whether it was entered at or beyond its own stop or target, and so left in the same bar."""
    beyond_stop = deal.side * (deal.entry_ticks - deal.stop_ticks) <= 0
    target = deal.target_ticks
    beyond_target = target is not None and deal.side * (target - deal.entry_ticks) <= 0
    if not (beyond_stop or beyond_target):
        return False
    assert deal.exit_bar == deal.entry_bar, f"{deal} was kept"
    return True


def _on_grid(one: Instrument, price: float) -> int:
    ticks = one.ticks(price)
    off = abs(price - float(one.price(ticks))) / float(one.tick_size)
    assert off < 1e-6, f"{price} lies {off} ticks off the grid"
    return ticks
