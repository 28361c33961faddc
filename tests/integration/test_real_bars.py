"""Every real price file is either read whole or refused for what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest

from hydra.clock import iso
from hydra.errors import DataFault
from hydra.feeds.barfile import load_bars
from hydra.feeds.inspect import inspect_file
from hydra.feeds.replay import ReplayFeed, streams_of
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from hydra.market.timeframes import timeframe_name
from tests.support.shared_data import ROOT, shared_data, shared_files

CATALOGUE = Catalogue.load()
CROSSED = {  # bid and ask were sampled apart, so some rows have an ask below the bid
    "fxcm_m1_bidask_201202_gbpusd.parquet": 1203,
    "lean_spy_quote_1m_20131004_11.parquet": 24,
}
FILES = shared_files("bars", "*.parquet") or ["bars"]


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_read_whole_or_refused_by_row(name: str) -> None:
    path = shared_data(name)
    if path.is_dir():
        pytest.skip("no real price files on this machine")
    crossed = CROSSED.get(path.name, 0)
    if crossed:
        with pytest.raises(DataFault, match=f"{crossed} faulty rows"):
            load_bars([path], catalogue=CATALOGUE)

    loaded = load_bars([path], catalogue=CATALOGUE, skip_bad_rows=True)
    facts = inspect_file(path, CATALOGUE)

    assert sum(skipped.rows for skipped in loaded.skipped) == crossed
    assert sum(len(table) for table in loaded.tables) == sum(f.rows for f in facts) - crossed
    assert sorted((f.symbol, f.resolution) for f in facts) == [
        (table.symbol, timeframe_name(table.resolution_ns)) for table in loaded.tables
    ]
    for table in loaded.tables:
        check(table)
    feed = ReplayFeed(streams_of(loaded.tables), loaded.tables)
    assert sum(len(chunk.row_bar) for chunk in feed.chunks()) == sum(map(len, loaded.tables))


def check(table: BarTable) -> None:
    """What every table promises."""
    tick = float(table.instrument.tick_size)
    assert not table.instrument.is_default
    assert (np.diff(table.open_ns) > 0).all()
    for side in ("open", "high", "low", "close"):
        bid, ask = getattr(table, f"bid_{side}"), getattr(table, f"ask_{side}")
        middle = (bid + ask) / 2 * tick
        assert (bid >= 1).all()
        assert (ask >= bid).all()
        np.testing.assert_allclose(middle, getattr(table, side), rtol=0, atol=0.51 * tick)
    assert (table.bid_high >= np.maximum(table.bid_open, table.bid_close)).all()
    assert (table.ask_low <= np.minimum(table.ask_open, table.ask_close)).all()


@pytest.mark.parametrize(
    ("name", "symbols", "resolution"),
    [
        ("crypto_4h.csv", ["BNB-USDT", "BTC-USDT", "ETH-USDT", "SOL-USDT"], "4h"),
        ("eurusd_1h.csv", ["EURUSD"], "1h"),
    ],
)
def test_the_embedded_prices_are_clean(name: str, symbols: list[str], resolution: str) -> None:
    loaded = load_bars([ROOT / "data" / "sample" / name], catalogue=CATALOGUE)

    assert [table.symbol for table in loaded.tables] == symbols
    assert {timeframe_name(table.resolution_ns) for table in loaded.tables} == {resolution}
    assert loaded.warnings == ()
    assert loaded.skipped == ()
    for table in loaded.tables:
        check(table)


def test_a_broker_clock_seven_hours_ahead_of_new_york_puts_the_week_right() -> None:
    path = shared_data("bars/mt5_m5_202605_202607_eurusd_gbpusd_xauusd_us30_nas100.parquet")

    facts = {f.symbol: f for f in inspect_file(path, CATALOGUE, tz="America/New_York+7")}

    assert facts["EURUSD"].gaps == 0
    assert facts["EURUSD"].closed_gaps == 8  # its weekends
    hole = facts["XAUUSD"].largest_gap
    assert hole is not None
    assert (hole.last[:10], hole.next[:10]) == ("2026-06-25", "2026-07-08")


def test_real_quotes_start_on_the_minute_they_say() -> None:
    path = shared_data("bars/lean_oanda_quote_1m_20140501_20140515_eurusd_xauusd.parquet")

    loaded = load_bars([path], catalogue=CATALOGUE)

    assert all(table.real_spread for table in loaded.tables)
    assert {iso(int(table.open_ns[0])) for table in loaded.tables} == {"2014-05-01T00:00:00Z"}
