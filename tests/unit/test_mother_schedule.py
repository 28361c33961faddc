"""Who is asked when: by bar, by clock, on coarser bars, on symbols that come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from hydra.engines.view import View
from hydra.errors import ConfigError
from hydra.features.specs import Feature, sma
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Intent, OrderType
from tests.support.bars import START_NS, a_random_walk, a_table
from tests.support.seasons import HOUR_NS, Played, a_contestant, play_bars

MINUTE_NS = HOUR_NS // 60
CHUNKS = pytest.mark.parametrize("chunk_cycles", [1, 13, 4096])


class Diary:
    """Writes down when it was asked about what, and wants what the test says."""

    def __init__(
        self,
        wants: Callable[[View], Sequence[Intent]] = lambda view: (),
        features: Sequence[Feature] = (),
    ) -> None:
        self._wants = wants
        self.features = features
        self.asked: list[tuple[int, str]] = []  # (minutes since the start, symbol)

    def decide(self, view: View) -> Sequence[Intent]:
        self.asked.append(((view.now_ns - START_NS) // MINUTE_NS, view.symbol))
        return self._wants(view)


def play(diary: Diary, tables: Sequence[BarTable], **changes: Any) -> Played:
    chunk_cycles = changes.pop("chunk_cycles", 4096)
    season = play_bars(tables, [a_contestant("one", diary, **changes)], chunk_cycles=chunk_cycles)
    assert season.records("one", "failed") == []
    return season


def walk(bars: int, resolution: str = "1m", symbol: str = "BTC-USD", **how: Any) -> BarTable:
    return a_random_walk(np.random.default_rng(9), bars, symbol, resolution, **how)


# By bar


@CHUNKS
def test_it_is_asked_once_a_bar_and_symbol_in_the_order_of_the_symbols(chunk_cycles: int) -> None:
    diary = Diary()
    play(diary, [walk(3, symbol="B"), walk(3, symbol="A")], chunk_cycles=chunk_cycles)

    assert diary.asked == [(1, "A"), (1, "B"), (2, "A"), (2, "B"), (3, "A"), (3, "B")]


@CHUNKS
def test_symbols_come_and_go_on_their_own(chunk_cycles: int) -> None:
    tables = [
        walk(4, symbol="A"),
        walk(3, symbol="B", start_ns=START_NS + 2 * MINUTE_NS),
        walk(2, symbol="C", start_ns=START_NS + 6 * MINUTE_NS),
    ]
    diary = Diary()
    play(diary, tables, chunk_cycles=chunk_cycles)

    assert diary.asked == [
        (1, "A"), (2, "A"), (3, "A"), (3, "B"), (4, "A"), (4, "B"), (5, "B"), (7, "C"), (8, "C"),
    ]  # fmt: skip


def test_a_ticket_on_a_symbol_that_stopped_waits_until_the_season_ends() -> None:
    tables = [
        a_table("GONE", [100.0, 100.0, 110.0], "1m"),
        a_table("STAYS", [100.0] * 8, "1m"),
    ]

    def buys(view: View) -> Sequence[Intent]:
        if view.symbol == "GONE" and not view.tickets:
            return [view.buy(lots=Decimal(1))]
        return [view.close_ticket(t) for t in view.market["GONE"].tickets if view.symbol == "STAYS"]

    season = play(Diary(buys), tables)

    (ticket,) = season.tickets_of("one")[:1]
    assert ticket.asset == "GONE"
    assert ticket.status == "CLOSED"
    assert season.account("one").tickets == ()


def test_a_ticket_that_is_open_at_the_end_is_settled_at_the_last_price() -> None:
    def buys(view: View) -> Sequence[Intent]:
        return [view.buy(lots=Decimal(1))] if not view.tickets else []

    season = play(Diary(buys), [a_table(closes=[100.0, 101.0, 107.0], opens=[100.0, 100.0, 101.0])])

    (ticket,) = season.tickets
    assert (ticket.status, ticket.exit_reason) == ("CLOSED", "season end")
    assert (ticket.entry_price, ticket.exit_price) == (Decimal(100), Decimal(107))
    assert ticket.pnl_units == 7 * 10**8
    assert season.account("one").equity_units == season.account("one").balance_units
    assert season.records("one", "balance")[0].body == {
        "balance_units": season.account("one").balance_units
    }


def test_an_order_that_waits_at_the_end_is_cancelled() -> None:
    def bids(view: View) -> Sequence[Intent]:
        if view.tickets:
            return []
        return [view.buy(order=OrderType.LIMIT, price=50, stop=40)]

    season = play(Diary(bids), [a_table()])

    (ticket,) = season.tickets
    assert (ticket.status, ticket.exit_reason) == ("CANCELLED", "season end")


# Coarser bars


@CHUNKS
def test_an_engine_on_coarser_bars_sees_those_and_trades_on_the_finest(chunk_cycles: int) -> None:
    fine = walk(120)
    coarse = a_table(closes=[float(fine.close[59]), float(fine.close[119])], resolution="1h")

    def buys(view: View) -> Sequence[Intent]:
        return [view.buy(stop=view.close * 0.5)] if not view.tickets else []

    diary = Diary(buys)
    season = play(diary, [fine, coarse], chunk_cycles=chunk_cycles, resolution_ns=HOUR_NS)

    assert diary.asked == [(60, "BTC-USD"), (120, "BTC-USD")]
    (ticket,) = season.tickets
    assert ticket.opened_ns == START_NS + HOUR_NS
    assert float(ticket.entry_price or 0) == fine.open[60]


def test_bars_that_the_data_do_not_have_are_named() -> None:
    with pytest.raises(ConfigError, match=r"one: no bars of 3600 s; the data has 60 s"):
        play(Diary(), [walk(3)], resolution_ns=HOUR_NS)


# By clock


@CHUNKS
def test_an_engine_on_a_clock_is_asked_at_the_first_cycle_of_each_period(chunk_cycles: int) -> None:
    table = walk(60, start_ns=START_NS + 3 * MINUTE_NS)
    diary = Diary()
    play(diary, [table], chunk_cycles=chunk_cycles, every_s=900)

    # From the season's start, then on the grid of the epoch.
    assert [minute for minute, _ in diary.asked] == [4, 15, 30, 45, 60]


@CHUNKS
def test_it_is_asked_once_for_all_its_symbols(chunk_cycles: int) -> None:
    closes: list[float] = []

    def looks(view: View) -> Sequence[Intent]:
        closes.append(view.market["B"].close)
        return ()

    tables = [walk(30, symbol="A"), walk(30, symbol="B")]
    diary = Diary(looks)
    play(diary, tables, chunk_cycles=chunk_cycles, every_s=600)

    assert diary.asked == [(1, "A"), (10, "A"), (20, "A"), (30, "A")]
    assert closes == [tables[1].close[i] for i in (0, 9, 19, 29)]


@CHUNKS
def test_it_is_asked_with_the_first_symbol_that_has_begun(chunk_cycles: int) -> None:
    tables = [
        walk(20, symbol="A", start_ns=START_NS + 10 * MINUTE_NS),
        walk(30, symbol="B"),
    ]
    diary = Diary()
    play(diary, tables, chunk_cycles=chunk_cycles, every_s=300)

    assert diary.asked == [
        (1, "B"), (5, "B"), (10, "B"), (15, "A"), (20, "A"), (25, "A"), (30, "A"),
    ]  # fmt: skip


@CHUNKS
def test_it_waits_until_its_features_are_warm(chunk_cycles: int) -> None:
    diary = Diary(features=[sma(8)])
    play(diary, [walk(30)], chunk_cycles=chunk_cycles, every_s=300)

    assert [minute for minute, _ in diary.asked] == [8, 10, 15, 20, 25, 30]


def test_over_a_weekend_it_is_asked_once_when_the_market_is_back() -> None:
    minutes = [*range(10), *range(100, 110)]
    table = a_table(
        closes=[100.0] * 20,
        resolution="1m",
        open_ns=[START_NS + minute * MINUTE_NS for minute in minutes],
    )
    diary = Diary()
    play(diary, [table], every_s=600)

    assert [minute for minute, _ in diary.asked] == [1, 10, 101, 110]


# Latency


def buys_once(view: View) -> Sequence[Intent]:
    return [view.buy(lots=Decimal(1))] if not view.account.tickets else []


@pytest.mark.parametrize(
    ("latency_s", "opened_minute", "entry"),
    [(0, 1, 101.0), (60, 2, 102.0), (90, 2.5, None), (120, 3, 103.0)],
)
def test_an_order_fills_only_once_it_has_arrived(
    latency_s: int, opened_minute: float, entry: float | None
) -> None:
    table = a_table(
        closes=[101.0, 102.0, 103.0, 104.0, 105.0], opens=[100.0, 101.0, 102.0, 103.0, 104.0],
        resolution="1m",
    )  # fmt: skip
    season = play(Diary(buys_once), [table], latency_ns=latency_s * 10**9)

    (ticket,) = season.tickets
    assert ticket.opened_ns is not None
    opened = (ticket.opened_ns - START_NS) / MINUTE_NS
    if entry is None:  # inside a bar: known at its close, at a price within it, not better
        assert opened == 3
        assert 102.0 <= float(ticket.entry_price or 0) <= 103.0
    else:
        assert (opened, ticket.entry_price) == (opened_minute, Decimal(str(entry)))


def test_a_late_order_never_fills_better_than_an_early_one_in_a_rising_market() -> None:
    table = a_table(closes=np.arange(100.0, 130.0), resolution="1m")

    entries = []
    for seconds in (0, 10, 30, 59, 60, 150):
        (ticket,) = play(Diary(buys_once), [table], latency_ns=seconds * 10**9).tickets
        entries.append(ticket.entry_price)

    assert entries == sorted(entries, key=lambda price: price or 0)
