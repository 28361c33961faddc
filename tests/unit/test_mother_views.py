"""What an engine sees: closed bars up to now, its own account, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from hydra.engines.view import View
from hydra.features.specs import Feature, close, sma
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Intent
from tests.support.bars import START_NS, a_random_walk, a_table
from tests.support.seasons import HOUR_NS, a_contestant, play_bars


class Watcher:
    """Tells a test what it sees, and wants what the test says."""

    def __init__(self, look: Callable[[View], Any], features: Sequence[Feature] = ()) -> None:
        self._look = look
        self.features = features
        self.seen: list[Any] = []

    def decide(self, view: View) -> Sequence[Intent]:
        found = self._look(view)
        if isinstance(found, list):
            return found
        self.seen.append(found)
        return ()


def watch(look: Callable[[View], Any], tables: Sequence[BarTable], **changes: Any) -> list[Any]:
    """What an engine that looks so sees, decision by decision."""
    watcher = Watcher(look)
    chunk_cycles = changes.pop("chunk_cycles", 1024)
    season = play_bars(
        tables, [a_contestant("watcher", watcher, **changes)], chunk_cycles=chunk_cycles
    )
    assert season.records("watcher", "failed") == []
    return watcher.seen


def walk(bars: int = 40, symbol: str = "BTC-USD", **how: Any) -> BarTable:
    return a_random_walk(np.random.default_rng(5), bars, symbol, "1h", **how)


def test_its_newest_bar_is_the_one_that_has_just_closed() -> None:
    table = walk()

    seen = watch(
        lambda v: (v.now_ns, v.open, v.high, v.low, v.close, v.volume, v.bid, v.ask), [table]
    )

    price = table.instrument.price
    assert seen == [
        (
            int(table.open_ns[i]) + HOUR_NS, table.open[i], table.high[i], table.low[i],
            table.close[i], table.volume[i], price(int(table.bid_close[i])),
            price(int(table.ask_close[i])),
        )
        for i in range(len(table))
    ]  # fmt: skip


@pytest.mark.parametrize("chunk_cycles", [1, 7, 1024])
def test_bars_reach_back_as_far_as_asked_and_never_forward(chunk_cycles: int) -> None:
    table = walk()

    seen = watch(lambda v: tuple(v.bars(5).close), [table], chunk_cycles=chunk_cycles)

    assert seen == [tuple(table.close[max(0, i - 4) : i + 1]) for i in range(len(table))]


@pytest.mark.parametrize("asked", [0, 1_000, 1_001, 5_000])
def test_how_far_back_they_reach_does_not_depend_on_the_chunks(asked: int) -> None:
    table = walk(1_400)

    def lengths(chunk_cycles: int) -> list[int]:
        return watch(lambda v: len(v.bars(asked).close), [table], chunk_cycles=chunk_cycles)

    whole = lengths(4_096)
    assert whole == lengths(1) == lengths(300)
    assert max(whole) == min(asked, 1_000)


@pytest.mark.parametrize("chunk_cycles", [1, 1024])
def test_a_symbol_that_has_not_begun_shows_nothing(chunk_cycles: int) -> None:
    tables = [
        a_table("EARLY", [100.0] * 20, "1h"),
        a_table("LATE", np.arange(1.0, 6.0), "1h", start_ns=START_NS + 10 * HOUR_NS),
    ]

    def look(view: View) -> Any:
        late = view.market["LATE"]
        return view.symbol, len(late.bars(100).close), late.close

    seen = [
        (bars, close)
        for symbol, bars, close in watch(look, tables, chunk_cycles=chunk_cycles)
        if symbol == "EARLY"
    ]

    assert [bars for bars, _ in seen] == [0] * 10 + [1, 2, 3, 4, 5] + [5] * 5
    assert all(math.isnan(close) for _, close in seen[:10])
    assert [close for _, close in seen[10:]] == [1.0, 2.0, 3.0, 4.0, 5.0] + [5.0] * 5


def test_nothing_public_in_a_view_holds_a_bar_that_has_not_closed() -> None:
    """A name without an underscore is an offer; what it leads to must be in the past."""
    table = walk(30)

    def arrays(value: object, depth: int = 0) -> list[np.ndarray[Any, Any]]:
        if isinstance(value, np.ndarray):
            return [value]
        if depth == 3 or not type(value).__module__.startswith("hydra.engines"):
            return []
        names = [name for name in dir(value) if not name.startswith("_") and name != "market"]
        found = (getattr(value, name) for name in names)
        return [one for part in found if not callable(part) for one in arrays(part, depth + 1)]

    def look(view: View) -> Any:
        assert view.now_ns
        return sum(len(one) > 0 for one in arrays(view))

    assert set(watch(look, [table])) == {0}


def test_it_sees_its_own_tickets_alone() -> None:
    seen: list[set[str]] = []

    def buys(view: View) -> Any:
        seen.append({ticket.thesis for ticket in view.account.tickets})
        return [view.buy(stop=view.close * 0.5, thesis="mine")]

    others = Watcher(lambda view: [view.buy(stop=view.close * 0.5, thesis="not yours")])
    play_bars([walk(10)], {"a": others, "b": Watcher(buys), "c": others})

    assert seen[0] == set()
    assert set().union(*seen) == {"mine"}


def test_a_ticket_shows_its_whole_life() -> None:
    lives: list[Any] = []

    def lives_once(view: View) -> Any:
        lives.append([(t.is_open, t.entry, t.stop, t.lots) for t in view.tickets])
        if len(lives) == 1:
            return [view.buy(stop=90, target=130, thesis="up")]
        if len(lives) == 3:
            return [view.amend(view.tickets[0], stop=95)]
        if len(lives) == 4:
            return [view.close_ticket(view.tickets[0], lots=view.tickets[0].lots / 2)]
        return [view.close_ticket(t) for t in view.tickets] if len(lives) == 6 else []

    season = play_bars(
        [a_table(closes=[100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0])],
        {"one": Watcher(lives_once)},
    )

    (row,) = season.tickets
    assert [len(life) for life in lives] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert lives[1][0][:2] == (True, 100)
    assert [str(life[0][2]) for life in lives[1:6]] == ["90.00", "90.00", "95.00", "95.00", "95.00"]
    assert lives[4][0][3] == lives[3][0][3] / 2
    assert row.exit_reason == "engine"


def test_features_are_warm_or_it_is_not_asked() -> None:
    watcher = Watcher(lambda view: view.features, [sma(5), close()])
    table = walk(12)
    play_bars([table], {"one": watcher})

    assert len(watcher.seen) == 8
    for i, (mean, newest) in enumerate(watcher.seen, start=4):
        assert newest == table.close[i]
        assert mean == pytest.approx(table.close[i - 4 : i + 1].mean())


def test_of_its_account_it_sees_figures_and_never_the_ledger() -> None:
    def look(view: View) -> Any:
        return tuple(name for name in dir(view.account) if not name.startswith("_"))

    assert watch(look, [walk(5)])[0] == (
        "balance_units", "closed", "costs", "equity_units", "initial_units", "now_ns", "place",
        "room_units", "rules", "rulings", "tickets",
    )  # fmt: skip
