"""Kept bars in large chunks are the cycles that were lived through one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from apps.runtime.kept import cycles_of
from hydra.clock import NS_PER_S
from hydra.errors import StorageError
from hydra.feeds.cycles import Cycles
from hydra.feeds.kept import MADE_UP, NO_BAR, KeptBars, chunks_of, parted
from hydra.feeds.replay import streams_of
from hydra.feeds.tables import rows_between
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable, Chunk, Stream
from hydra.market.resample import resampled
from hydra.mother.mother import Mother
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.storage.bars import KeptBar, SeasonBars
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from hydra.storage.store import open_season
from tests.support.bars import START_NS, a_random_walk
from tests.support.seasons import USD, ScriptedEngine, a_contestant, a_season

MINUTE_NS = 60 * NS_PER_S
FIVE_NS, HOUR_NS = 5 * MINUTE_NS, 60 * MINUTE_NS
MINUTES = 600
REASONS = ("", "", "", "silent for 12 s", "its book is crossed")


def a_market(seed: int, *, symbols: int = 3, pieces: int = 4) -> list[KeptBars]:
    """Kept bars as hard times leave them: minutes in which one or all symbols are missing,
    runs of reasons not to trade, gaps that were made up, spreads now real and now not."""
    rng = np.random.default_rng(seed)
    whole = [
        a_random_walk(rng, MINUTES, name, "1m", gap_share=0.2)
        for name in ("BTC-USD", "ETH-USD", "SOL-USD")[:symbols]
    ]
    silent = [_span(rng, 90) for _ in range(2)]  # of all symbols: coarse bars end in it
    made_up = [_span(rng, 60) for _ in range(2)]
    kept: list[KeptBars] = []
    for table in whole:
        minute = (table.open_ns - START_NS) // MINUTE_NS
        is_there = ~np.any([(minute >= a) & (minute < b) for a, b in silent], axis=0)
        table = _rows(table, np.flatnonzero(is_there))
        minute = minute[is_there]
        unfit = [REASONS[i] for i in np.repeat(rng.integers(0, len(REASONS), 60), 11)[minute]]
        for a, b in made_up:
            unfit = [MADE_UP if a <= m < b else why for m, why in zip(minute, unfit, strict=True)]
        cuts = np.sort(rng.integers(1, len(table), pieces - 1)).tolist()
        for low, high in zip([0, *cuts], [*cuts, len(table)], strict=True):
            if low < high:
                one = replace(rows_between(table, low, high), real_spread=bool(rng.integers(0, 2)))
                kept.append(KeptBars(one, unfit[low:high]))
    return kept


def _span(rng: Generator, most: int) -> tuple[int, int]:
    first = int(rng.integers(0, MINUTES - most))
    return first, first + int(rng.integers(1, most))


def _rows(table: BarTable, rows: Any) -> BarTable:
    names = [f.name for f in fields(table) if isinstance(getattr(table, f.name), np.ndarray)]
    return replace(table, **{name: getattr(table, name)[rows] for name in names})


def streams_for(kept: Sequence[KeptBars]) -> tuple[tuple[Stream, ...], dict[str, BarTable]]:
    empty = {one.table.symbol: rows_between(one.table, 0, 0) for one in kept}
    coarse = [resampled(table, n) for n in (FIVE_NS, HOUR_NS) for table in empty.values()]
    return streams_of([*empty.values(), *coarse]), empty


def begun(kept: Sequence[KeptBars], start_ns: int) -> tuple[Cycles, list[KeptBars]]:
    streams, empty = streams_for(kept)
    cycles = Cycles(streams, empty)
    warm, played = parted(kept, start_ns)
    by_symbol = {one.table.symbol: one.table for one in warm}
    cycles.begin(by_symbol, start_ns)
    return cycles, played


def one_at_a_time(cycles: Cycles, kept: Sequence[KeptBars]) -> Iterator[Chunk]:
    bars = [
        KeptBar(rows_between(one.table, row, row + 1), why)
        for one in kept
        for row, why in enumerate(one.unfit)
    ]
    bars.sort(key=lambda bar: (bar.close_ns, bar.table.symbol))
    for close_ns, group in groupby(bars, key=lambda bar: bar.close_ns):
        yield from cycles_of(cycles, close_ns, list(group))


def lines(chunks: Iterable[Chunk]) -> list[Any]:
    """All that a chunk says of each of its cycles."""
    told = []
    for chunk in chunks:
        for c, close_ns in enumerate(chunk.close_ns.tolist()):
            rows = []
            for row in range(chunk.first_row[c], chunk.first_row[c + 1]):
                stream, bar = int(chunk.row_stream[row]), int(chunk.row_bar[row])
                table = chunk.tables[stream]
                is_fine = table.resolution_ns == MINUTE_NS
                rows.append(
                    (
                        stream, table.symbol, table.resolution_ns,
                        table.real_spread if is_fine else None,
                        *(
                            getattr(table, f.name)[bar].tobytes()
                            for f in fields(table)
                            if isinstance(getattr(table, f.name), np.ndarray)
                        ),
                    )
                )  # fmt: skip
            told.append((close_ns, dict(chunk.unfit), chunk.settles_only, rows))
    return told


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("warm_minutes", [0, 95])
def test_every_cycle_is_the_same_to_the_last_bit(seed: int, warm_minutes: int) -> None:
    kept = a_market(seed, symbols=1 + seed % 3)
    start_ns = START_NS + warm_minutes * MINUTE_NS

    lived = lines(one_at_a_time(*begun(kept, start_ns)))
    again = lines(chunks_of(*begun(kept, start_ns), known_cycles=10**9))

    assert again == lived
    assert any(rows[0][2] > MINUTE_NS for _, _, _, rows in lived)  # a coarse bar on its own
    assert {why for _, unfit, _, _ in lived for why in unfit.values()} >= {NO_BAR, REASONS[3]}


@pytest.mark.parametrize("seed", range(4))
def test_the_market_goes_on_after_them_with_the_coarse_bars_that_are_open(seed: int) -> None:
    kept = a_market(seed)
    before, after = parted(kept, START_NS + 333 * MINUTE_NS)

    cycles, _ = begun(kept, START_NS)
    lived = lines(one_at_a_time(cycles, before)) + lines(one_at_a_time(cycles, after))
    cycles, _ = begun(kept, START_NS)
    again = lines(chunks_of(cycles, before, 10**9)) + lines(one_at_a_time(cycles, after))

    assert again == lived


def test_what_was_not_committed_is_played_cycle_by_cycle() -> None:
    cycles, played = begun(a_market(5), START_NS)
    chunks = list(chunks_of(cycles, played, known_cycles=200))
    many = [len(chunk.close_ns) for chunk in chunks]

    ends = np.cumsum(many).tolist()
    assert 200 in ends
    assert many[ends.index(200) + 1 :] == [1] * (sum(many) - 200)
    assert max(many[: ends.index(200)]) > 1


def test_a_quiet_market_comes_in_few_chunks() -> None:
    table = a_random_walk(np.random.default_rng(1), 5_000, "BTC-USD", "1m")
    kept = [KeptBars(table, [""] * len(table))]
    cycles, played = begun(kept, START_NS)

    assert [len(c.close_ns) for c in chunks_of(cycles, played, 10**9)] == [1024] * 4 + [904]
    assert list(chunks_of(cycles, [], 10**9)) == []


def a_season_of(chunks: Iterable[Chunk], streams: Sequence[Stream]) -> MemorySeasonStore:
    def act(view: Any) -> Any:
        return (
            [view.close_ticket(t) for t in view.tickets]
            if view.tickets
            else [view.sell(stop=view.close * 1.01)]
        )

    def trader(every: int) -> ScriptedEngine:
        return ScriptedEngine(dict.fromkeys(range(0, MINUTES, every), act))

    store = MemoryDatabase().open_season(a_season(), resume=False)
    plan = SeasonPlan(
        mode="independent", profile=profile("ftmo-2step"), costs=costs_named("none"), seed=1,
        start_ns=START_NS, sample_ns=HOUR_NS, initial_units=25_000 * USD, luck_traders=0,
        bootstrap_replicates=2, is_live=True, commit_ms=0,
    )  # fmt: skip
    mother = Mother(
        plan=plan,
        contestants=[
            a_contestant("minutes", trader(3)),
            a_contestant("fives", trader(2), resolution_ns=FIVE_NS),
            a_contestant("hours", trader(1), resolution_ns=HOUR_NS),
            a_contestant("clock", trader(1), every_s=1_800),
        ],
        streams=streams,
        store=store,
    )

    async def coming() -> AsyncIterator[Chunk]:
        for chunk in chunks:
            yield chunk

    asyncio.run(mother.run(coming()))
    return store


@pytest.mark.parametrize("seed", range(2))
def test_a_season_has_the_same_journal(seed: int) -> None:
    kept = a_market(seed)
    streams, _ = streams_for(kept)

    lived = a_season_of(one_at_a_time(*begun(kept, START_NS)), streams)
    again = a_season_of(chunks_of(*begun(kept, START_NS), 10**9), streams)

    kinds = {row[5] for row in lived.season.journal}
    assert {"approved", "refused", "opened", "closed"} <= kinds
    assert again.season.journal == lived.season.journal


def test_bars_come_back_from_the_database_in_columns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    kept = a_market(7)
    with open_season(url, a_season(), resume=False) as store:
        bars = SeasonBars(url, store.season_id)
        for one in kept:
            bars.append(
                KeptBar(rows_between(one.table, row, row + 1), why)
                for row, why in enumerate(one.unfit)
            )
    found = bars.load({one.table.symbol: one.table.instrument for one in kept})

    by_bar = [(row, list(p.unfit)[i]) for p in found for i, row in enumerate(rows_of(p.table))]
    assert by_bar == [
        (row, one.unfit[i]) for one in kept for i, row in enumerate(rows_of(one.table))
    ]
    assert len(found) < 20
    with pytest.raises(StorageError, match="which it does not trade"):
        bars.load({})


def rows_of(table: BarTable) -> list[tuple[Any, ...]]:
    columns = [
        getattr(table, f.name).tolist()
        for f in fields(table)
        if isinstance(getattr(table, f.name), np.ndarray)
    ]
    return [(table.symbol, table.real_spread, *row) for row in zip(*columns, strict=True)]
