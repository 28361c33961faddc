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
from tests.support.parity import Deal, Played, by_backtesting_py, by_hydra
from tests.support.shared_data import ROOT, shared_data

from hydra.feeds.barfile import load_bars
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue

SAMPLE = ROOT / "data" / "sample"


def real_bars(path: Path, symbol: str) -> BarTable:
    tables = load_bars([path], catalogue=Catalogue.load()).tables
    return next(table for table in tables if table.symbol == symbol)


def touched_to_the_tick(theirs: Deal, table: BarTable) -> bool:
    """Whether the bar in which they took the target ends exactly on it."""
    one = table.instrument
    extreme = (table.high if theirs.side > 0 else table.low)[theirs.exit_bar]
    return theirs.exit_ticks == theirs.target_ticks == one.ticks(extreme)


def differences(ours: Played, theirs: Played, table: BarTable) -> list[tuple[Deal, Deal]]:
    """Pairs of one ticket that differ otherwise than by a target touched to the tick."""
    assert [deal.entry_bar for deal in ours.deals] == [deal.entry_bar for deal in theirs.deals]
    return [
        (our, their)
        for our, their in zip(ours.deals, theirs.deals, strict=True)
        if our != their
        and not (
            touched_to_the_tick(their, table)
            and our.exit_bar >= their.exit_bar
            and (our.entry_ticks, our.stop_ticks, our.target_ticks)
            == (their.entry_ticks, their.stop_ticks, their.target_ticks)
        )
    ]


@pytest.mark.parametrize(
    ("file", "symbol", "lots", "tickets"),
    [
        ("eurusd_1h.csv", "EURUSD", Decimal(1), 218),
        ("crypto_4h.csv", "BTC-USDT", Decimal(1), 20),
        ("crypto_4h.csv", "SOL-USDT", Decimal(100), 20),
    ],
)
def test_ema_trend_with_stops_trades_alike_to_the_tick_and_the_cent(
    file: str, symbol: str, lots: Decimal, tickets: int
) -> None:
    table = real_bars(SAMPLE / file, symbol)

    ours = by_hydra(table, lots=lots)
    theirs = by_backtesting_py(table, lots=lots)

    assert ours == theirs
    assert len(ours.deals) == tickets


@pytest.mark.parametrize(
    ("file", "symbol", "lots", "touched"),
    [
        ("eurusd_1h.csv", "EURUSD", Decimal(1), 0),
        ("crypto_4h.csv", "BTC-USDT", Decimal(1), 0),
    ],
)
def test_with_targets_too_only_a_target_touched_to_the_tick_differs(
    file: str, symbol: str, lots: Decimal, touched: int
) -> None:
    table = real_bars(SAMPLE / file, symbol)

    ours = by_hydra(table, lots=lots, target_atr=1.5)
    theirs = by_backtesting_py(table, lots=lots, target_atr=1.5)

    assert differences(ours, theirs, table) == []
    assert ours.unprotected == theirs.unprotected
    assert sum(a != b for a, b in zip(ours.deals, theirs.deals, strict=True)) == touched


@pytest.mark.parametrize("target_atr", [None, 1.5])
def test_a_month_of_minutes_trades_alike(target_atr: float | None) -> None:
    table = real_bars(shared_data("bars/btc_perp_1m_20211231_20220201.parquet"), "BTC-PERP")

    ours = by_hydra(table, lots=Decimal(1), target_atr=target_atr)
    theirs = by_backtesting_py(table, lots=Decimal(1), target_atr=target_atr)

    assert differences(ours, theirs, table) == []
    assert ours.unprotected == theirs.unprotected
    assert len(ours.deals) > 1_000
