"""The same trades as backtesting.py, an independent backtester, on real bars.

With no spread, no costs and no latency both fill at the next open, stop at the stop or, past
a gap, at the open, and take the stop first where a bar touches stop and target. They differ in
three points, each told by a test below:

- a target that a bar's high or low touches to the tick and does not pass: filled there, not
  filled in Hydra, where a limit must be traded through;
- an entry whose open lies at or beyond its own stop or target: bought and sold at once there,
  undone in Hydra;
- tickets open at the end: left open there, closed at the last close in Hydra. Both value them
  the same.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hydra.engines.rules.ema_trend import EmaTrend
from hydra.feeds.barfile import load_bars
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from tests.support.parity import Deal, Played, by_backtesting_py, by_hydra
from tests.support.shared_data import ROOT, shared_data

SAMPLE = ROOT / "data" / "sample"


def real_bars(path: Path, symbol: str) -> BarTable:
    tables = load_bars([path], catalogue=Catalogue.load()).tables
    return next(table for table in tables if table.symbol == symbol)


def touched_to_the_tick(theirs: Deal, table: BarTable) -> bool:
    """Whether the bar in which they took the target ends exactly on it."""
    extreme = (table.high if theirs.side > 0 else table.low)[theirs.exit_bar]
    return theirs.exit_ticks == theirs.target_ticks == table.instrument.ticks(extreme)


def differing(ours: Played, theirs: Played) -> list[tuple[Deal, Deal]]:
    """The tickets of which not everything is the same: entered alike, or the test fails."""

    def entry(deal: Deal) -> tuple[object, ...]:
        return deal.side, deal.entry_bar, deal.entry_ticks, deal.stop_ticks, deal.target_ticks

    assert [entry(deal) for deal in ours.deals] == [entry(deal) for deal in theirs.deals]
    pairs = zip(ours.deals, theirs.deals, strict=True)
    return [(our, their) for our, their in pairs if our != their]


def both_touched(deals: list[Deal], table: BarTable) -> int:
    """Tickets that were stopped in a bar which also went through their target."""
    tick = float(table.instrument.tick_size)
    return sum(
        deal.exit_ticks == deal.stop_ticks
        and deal.target_ticks is not None
        and (
            table.high[deal.exit_bar] > (deal.target_ticks + 0.5) * tick
            if deal.side > 0
            else table.low[deal.exit_bar] < (deal.target_ticks - 0.5) * tick
        )
        for deal in deals
    )


@pytest.mark.parametrize(
    ("file", "symbol", "lots", "tickets"),
    [
        ("eurusd_1h.csv", "EURUSD", "1", 201),
        ("crypto_4h.csv", "BTC-USDT", "1", 7),
        ("crypto_4h.csv", "SOL-USDT", "100", 19),
    ],
)
def test_with_stops_every_ticket_is_the_same_to_the_tick_and_the_cent(
    file: str, symbol: str, lots: str, tickets: int
) -> None:
    table = real_bars(SAMPLE / file, symbol)

    ours = by_hydra(table, EmaTrend(), lots=Decimal(lots))
    theirs = by_backtesting_py(table, EmaTrend(), lots=Decimal(lots))

    assert ours == theirs
    assert len(ours.deals) == tickets


def test_a_gap_through_the_stop_fills_both_at_the_open() -> None:
    table = real_bars(SAMPLE / "eurusd_1h.csv", "EURUSD")

    ours = by_hydra(table, EmaTrend(), lots=Decimal(1))
    theirs = by_backtesting_py(table, EmaTrend(), lots=Decimal(1))
    gaps = [d for d in theirs.deals if d.side * (d.stop_ticks - d.exit_ticks) > 0]

    assert [d for d in ours.deals if d in gaps] == gaps
    assert len(gaps) == 1
    assert gaps[0].exit_ticks == table.instrument.ticks(table.open[gaps[0].exit_bar])


def test_a_ticket_open_at_the_end_is_closed_at_the_last_close_as_they_value_it() -> None:
    table = real_bars(SAMPLE / "eurusd_1h.csv", "EURUSD")

    ours = by_hydra(table, EmaTrend(), lots=Decimal(1)).deals[-1]

    assert ours == by_backtesting_py(table, EmaTrend(), lots=Decimal(1)).deals[-1]
    assert ours.exit_bar == len(table) - 1
    assert ours.exit_ticks == table.instrument.ticks(table.close[-1])


@pytest.mark.parametrize(
    ("stop_atr", "target_atr", "both", "touched"), [(3.0, 1.5, 0, 3), (0.5, 0.5, 22, 1)]
)
def test_with_targets_only_one_touched_to_the_tick_is_not_the_same(
    stop_atr: float, target_atr: float, both: int, touched: int
) -> None:
    table = real_bars(SAMPLE / "eurusd_1h.csv", "EURUSD")
    engine = EmaTrend(stop_atr=stop_atr)

    ours = by_hydra(table, engine, lots=Decimal(1), target_atr=target_atr)
    theirs = by_backtesting_py(table, engine, lots=Decimal(1), target_atr=target_atr)
    different = differing(ours, theirs)

    assert both_touched(ours.deals, table) == both_touched(theirs.deals, table) == both
    assert len(different) == touched
    for our, their in different:
        assert touched_to_the_tick(their, table)
        assert our.exit_bar >= their.exit_bar  # it stays open for another chance


def test_an_entry_that_opens_beyond_its_own_stop_is_undone() -> None:
    table = real_bars(SAMPLE / "eurusd_1h.csv", "EURUSD")
    engine = EmaTrend(stop_atr=0.3)

    ours = by_hydra(table, engine, lots=Decimal(1))
    theirs = by_backtesting_py(table, engine, lots=Decimal(1))

    assert len(ours.unprotected) == 1
    assert ours == theirs


@pytest.mark.parametrize(("stop_atr", "target_atr"), [(3.0, None), (3.0, 1.5)])
def test_a_month_of_minutes_trades_alike(stop_atr: float, target_atr: float | None) -> None:
    table = real_bars(shared_data("bars/btc_perp_1m_20211231_20220201.parquet"), "BTC-PERP")
    engine = EmaTrend(stop_atr=stop_atr)

    ours = by_hydra(table, engine, lots=Decimal(1), target_atr=target_atr)
    theirs = by_backtesting_py(table, engine, lots=Decimal(1), target_atr=target_atr)

    assert ours == theirs
    assert len(ours.deals) == 1_666
