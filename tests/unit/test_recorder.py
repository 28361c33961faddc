"""The recorder: what is read again is what was heard, whatever happens in between."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from hydra.clock import NS_PER_DAY, NS_PER_S, ManualClock
from hydra.errors import ConfigError, DataFault
from hydra.feeds.bars_from_ticks import BarBuilder
from hydra.feeds.recorder import Recorder
from hydra.feeds.recording import Recorded, Recording, day_of, recordings
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, no_depth
from hydra.market.catalogue import Catalogue
from hydra.market.events import BookChange, Event, Quote, Trade
from hydra.market.instruments import Instrument
from hydra.storage.bars import KeptBar, singly
from tests.support.bars import START_NS, a_random_walk
from tests.support.recorded_events import LISTINGS, a_live_season, captured, drawn

MINUTE = 60 * NS_PER_S
DAY = day_of(START_NS)
NEXT_DAY = day_of(START_NS + NS_PER_DAY)


def a_recorder(folder: Path, said: list[str] | None = None, **changes: Any) -> Recorder:
    clock = ManualClock(changes.pop("now_ns", START_NS))
    say = (lambda text: None) if said is None else said.append
    return Recorder(folder, changes.pop("season", a_live_season()), clock=clock, say=say)


def recording_of(folder: Path) -> Recording:
    return Recording(folder / "live-1")


def minutes(count: int, start_ns: int = START_NS, symbol: str = "BTC-USD") -> list[KeptBar]:
    table = a_random_walk(np.random.default_rng(1), count, symbol, "1m", start_ns=start_ns)
    unfit = ["", "the book is crossed"]
    depth = no_depth(count)
    depth[:, 0, 0], depth[:, 0, 1], depth[:, 1, 0] = (0, 7), (3, 1), (2**40, 2**50)
    table = replace(table, depth=depth)
    return [KeptBar(rows_between(table, i, i + 1), unfit[i % 2]) for i in range(count)]


def bars_of(recording: Recording, among: Mapping[str, Instrument], **days: str) -> list[KeptBar]:
    """As they were kept: by close, then symbol and length."""
    return sorted(
        singly(recording.bars(among, **days)),
        key=lambda bar: (bar.close_ns, bar.table.symbol, bar.table.resolution_ns),
    )


def plain(bars: Sequence[KeptBar]) -> list[Any]:
    """Bars by their values."""

    def values(table: BarTable) -> list[Any]:
        return [
            getattr(table, one.name).tolist()
            if isinstance(getattr(table, one.name), np.ndarray)
            else getattr(table, one.name)
            for one in fields(table)
        ]

    return [(values(bar.table), bar.unfit) for bar in bars]


def instruments(bars: Sequence[KeptBar]) -> dict[str, Any]:
    return {bar.table.symbol: bar.table.instrument for bar in bars}


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


# What is read again


@pytest.mark.parametrize("flush_every", [1, 7, 10_000])
def test_events_are_read_again_as_they_were_heard(tmp_path: Path, flush_every: int) -> None:
    told = drawn(60 * flush_every if flush_every < 10 else 3_000)
    recorder = a_recorder(tmp_path)
    for i in range(0, len(told), flush_every):
        recorder.hear(told[i : i + flush_every])
        recorder.flush()
        if i == 20 * flush_every:
            recorder.seal()

    assert list(recording_of(tmp_path).events(DAY)) == told
    recorder.close()
    assert list(recording_of(tmp_path).events(DAY)) == told
    assert not partials(tmp_path)


def test_a_venue_or_a_symbol_is_read_alone(tmp_path: Path) -> None:
    told = drawn(2_000)
    with a_recorder(tmp_path) as recorder:
        recorder.hear(told)

    found = list(recording_of(tmp_path).events(DAY, source="bybit", symbol="ETH-USD"))

    wanted = [e for e in told if getattr(e, "listing", None) == LISTINGS[7]]
    assert found == wanted
    assert len(wanted) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("messages", "whole_bars"), [(15_000, 1), pytest.param(None, 4, marks=pytest.mark.nightly)]
)
def test_a_captured_market_makes_the_same_bars_from_its_recording(
    tmp_path: Path, messages: int | None, whole_bars: int
) -> None:
    """Of 41,249 messages of Binance: every event equal, and the bars that are built of them."""
    told = captured(messages)
    season = a_live_season(start_ns=told[0].at_ns)
    with a_recorder(tmp_path, season=season, now_ns=told[0].at_ns) as recorder:
        for i in range(0, len(told), 50):
            recorder.hear(told[i : i + 50])
    recording = recording_of(tmp_path)
    (day,) = recording.days()
    read = list(recording.events(day))

    assert read == told
    assert min(sum(type(e) is kind for e in told) for kind in (Trade, Quote, BookChange)) > 300
    instrument = Catalogue.load().instrument("BTC-USD", 2)

    def bars(events: Sequence[Event]) -> list[Any]:
        listing = next(e.listing for e in events if isinstance(e, Trade))
        builder = BarBuilder(instrument, listing, MINUTE, start_ns=told[0].at_ns, grace_s=2)
        closed = [bar for event in events for bar in builder.feed(event)]
        return plain([KeptBar(bar.table, str(bar.is_whole)) for bar in closed])

    assert bars(read) == bars(told)
    assert len(bars(told)) >= whole_bars


def test_bars_are_read_again_as_they_were_kept(tmp_path: Path) -> None:
    """Candles from before the season lie in its first day, whichever they are of."""
    warm = minutes(5, START_NS - NS_PER_DAY - 5 * MINUTE)
    played = minutes(6, START_NS + NS_PER_DAY - 3 * MINUTE)
    (known,) = minutes(1, symbol="X")
    unknown = [KeptBar(changed(known.table, volume=np.array([np.nan])))]
    with a_recorder(tmp_path) as recorder:
        recorder.keep([*warm, *unknown])
        recorder.keep(played[:4])
        recorder.keep(played[4:])
    recording = recording_of(tmp_path)
    among = instruments([*warm, *unknown])

    assert [str(one) for one in plain(bars_of(recording, among))] == [
        str(one) for one in plain([*warm, *unknown, *played])
    ]
    assert recording.days() == [DAY, NEXT_DAY]
    assert plain(bars_of(recording, among, first_day=NEXT_DAY)) == plain(played[3:])
    assert len(bars_of(recording, among, last_day=DAY)) == 9


def changed(table: BarTable, **changes: Any) -> BarTable:
    values = {one.name: getattr(table, one.name) for one in fields(table)}
    return BarTable(**(values | changes))


def test_a_day_begins_at_midnight_utc_and_is_sealed_when_the_next_one_has(tmp_path: Path) -> None:
    midnight_ns = START_NS + NS_PER_DAY
    before = drawn(500, at_ns=midnight_ns - 500, step_ns=1)
    after = drawn(500, at_ns=midnight_ns, step_ns=1, seed=2)
    recorder = a_recorder(tmp_path, now_ns=midnight_ns - NS_PER_S)
    recorder.hear(before)
    recorder.flush()
    assert (tmp_path / "live-1" / DAY / "fresh").is_dir()

    recorder.hear(after)
    recorder.flush()

    recording = recording_of(tmp_path)
    assert list(recording.events(DAY)) == before
    assert list(recording.events(NEXT_DAY)) == after
    assert not (tmp_path / "live-1" / DAY / "fresh").exists()
    assert (tmp_path / "live-1" / DAY / "trades" / "bybit-SOL-USD-0001.parquet").is_file()
    assert not (tmp_path / "live-1" / NEXT_DAY / "trades").exists()


# Runs that follow each other


def test_a_run_after_a_death_seals_what_was_left_and_goes_on(tmp_path: Path) -> None:
    first, second = drawn(900), drawn(900, at_ns=START_NS + NS_PER_S, seed=2)
    dead = a_recorder(tmp_path)
    dead.hear(first[:600])
    dead.flush()
    dead.hear(first[600:])  # which nobody writes any more
    torn = tmp_path / "live-1" / DAY / "fresh" / "trades-1.parquet.partial"
    torn.write_bytes(b"PAR1 half a file")

    with a_recorder(tmp_path, now_ns=START_NS + NS_PER_S) as recorder:
        assert not (tmp_path / "live-1" / DAY / "fresh").exists()
        recorder.hear(second)

    assert list(recording_of(tmp_path).events(DAY)) == [*first[:600], *second]
    assert not partials(tmp_path)


def test_a_clock_that_was_set_back_between_two_runs_does_not_mix_them(tmp_path: Path) -> None:
    first, second = drawn(300), drawn(300, seed=2)
    with a_recorder(tmp_path, now_ns=START_NS + NS_PER_DAY) as recorder:
        recorder.hear(first)
    with a_recorder(tmp_path, now_ns=START_NS) as recorder:
        recorder.hear(second)

    assert list(recording_of(tmp_path).events(DAY)) == [*first, *second]


def test_a_death_between_a_part_and_the_end_of_what_was_fresh_counts_nothing_twice(
    tmp_path: Path,
) -> None:
    told, kept = drawn(900), minutes(3)
    recorder = a_recorder(tmp_path)
    recorder.hear(told)
    recorder.keep(kept)
    recorder.flush()
    fresh = tmp_path / "live-1" / DAY / "fresh"
    shutil.copytree(fresh, tmp_path / "copy")
    recorder.seal()
    shutil.copytree(tmp_path / "copy", fresh)  # as it was when the process died

    assert list(recording_of(tmp_path).events(DAY)) == told
    rows = sum(one.rows for one in recording_of(tmp_path).inspect(DAY) if one.kind == "trades")
    assert rows == sum(isinstance(event, Trade) for event in told)

    a_recorder(tmp_path, now_ns=START_NS + NS_PER_S).close()
    assert not fresh.exists()
    assert list(recording_of(tmp_path).events(DAY)) == told
    assert len(pl.read_parquet(tmp_path / "live-1" / "*" / "trades" / "*.parquet")) == rows
    assert plain(bars_of(recording_of(tmp_path), instruments(kept))) == plain(kept)


def test_bars_that_only_the_database_has_are_completed_but_not_those_of_days_that_were_deleted(
    tmp_path: Path,
) -> None:
    every = minutes(9, START_NS + 2 * NS_PER_DAY - 6 * MINUTE)
    with a_recorder(tmp_path) as recorder:
        recorder.keep(minutes(2))
        recorder.keep(every[:2])
        recorder.keep(every[5:7])
    shutil.rmtree(tmp_path / "live-1" / DAY)

    with a_recorder(tmp_path) as recorder:
        recorder.keep(every[8:])
        assert recorder.complete([*minutes(2), *every]) == 4
        assert recorder.complete([*minutes(2), *every]) == 0

    assert plain(bars_of(recording_of(tmp_path), instruments(every))) == plain(every)


def test_another_season_of_that_name_is_refused(tmp_path: Path) -> None:
    a_recorder(tmp_path).close()
    a_recorder(tmp_path).close()

    with pytest.raises(ConfigError, match="another season live-1"):
        a_recorder(tmp_path, season=a_live_season(start_ns=START_NS + 1))


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="nothing can be recorded to"):
        a_recorder(tmp_path / "file")


# What goes wrong


def test_a_disk_that_fails_is_told_once_and_costs_ticks_but_no_bar(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = a_recorder(tmp_path, said)
    told, kept = drawn(400), minutes(3)
    recorder.hear(told[:100])
    recorder.flush()
    seen = tmp_path / "live-1" / DAY
    seen.rename(tmp_path / "aside")
    seen.write_text("no folder can be made here")  # which fails for root too
    for i in (100, 200):
        recorder.hear(told[i : i + 100])
        recorder.keep(kept[i // 100 - 1 : i // 100])
        recorder.flush()
    assert len(said) == 1 and "The season goes on" in said[0]

    seen.unlink()
    (tmp_path / "aside").rename(seen)
    recorder.hear(told[300:])
    recorder.keep(kept[2:])
    recorder.flush()
    recorder.close()

    assert said[1:] == ["recording goes on; 200 events were not recorded"]
    recording = recording_of(tmp_path)
    assert list(recording.events(DAY)) == [*told[:100], *told[300:]]
    assert plain(bars_of(recording, instruments(kept))) == plain(kept)
    assert sum(one.dropped for one in facts(recording)) == 200


def facts(recording: Recording) -> list[Recorded]:
    return [one for day in recording.days() for one in recording.inspect(day)]


def test_a_buffer_that_nobody_empties_ends_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra.feeds.recorder.MOST_HELD", 1_000)
    said: list[str] = []
    recorder = a_recorder(tmp_path, said)
    told = drawn(2_000)
    recorder.hear(told)
    recorder.close()

    heard = list(recording_of(tmp_path).events(DAY))
    assert 50 < len(heard) < 300
    assert heard == told[: len(heard)]
    assert sum(one.dropped for one in facts(recording_of(tmp_path))) == 2_000 - len(heard)


@pytest.mark.parametrize("where", ["price_ticks", "size_steps", "bids", "asks", "venue_ns"])
def test_a_number_that_no_venue_has_spoils_nothing_but_itself(tmp_path: Path, where: str) -> None:
    told = drawn(600)
    kind = BookChange if where in ("bids", "asks") else Trade
    victim = next(i for i, event in enumerate(told) if i > 100 and isinstance(event, kind))
    huge: Any = ((5, 7), (5, 2**63)) if kind is BookChange else 2**63
    hostile = msgspec.structs.replace(told[victim], **{where: huge})
    with a_recorder(tmp_path) as recorder:
        recorder.hear([*told[:victim], hostile, *told[victim + 1 :]])

    heard = list(recording_of(tmp_path).events(DAY))
    assert heard == [*told[:victim], *told[victim + 1 :]]
    assert sum(one.dropped for one in facts(recording_of(tmp_path))) == 1


def test_days_that_are_deleted_while_it_records_are_gone_and_nothing_else(tmp_path: Path) -> None:
    old, new = drawn(200), drawn(200, at_ns=START_NS + NS_PER_DAY)
    said: list[str] = []
    recorder = a_recorder(tmp_path, said)
    recorder.hear(old)
    recorder.flush()
    shutil.rmtree(tmp_path / "live-1" / DAY)
    recorder.hear(new)
    recorder.close()

    assert said == []
    assert list(recording_of(tmp_path).events(NEXT_DAY)) == new
    assert [one.folder.name for one in recordings(tmp_path)] == ["live-1"]


def test_a_file_that_is_torn_is_named(tmp_path: Path) -> None:
    with a_recorder(tmp_path) as recorder:
        recorder.hear(drawn(500))
    victim = tmp_path / "live-1" / DAY / "quotes" / "bybit-BTC-USD-0001.parquet"
    victim.write_bytes(victim.read_bytes()[:-20])

    with pytest.raises(DataFault, match=r"bybit-BTC-USD-0001\.parquet"):
        list(recording_of(tmp_path).events(DAY))
    with pytest.raises(ConfigError, match="no recording of a season"):
        Recording(tmp_path)


def test_gaps_rows_and_spans_are_told(tmp_path: Path) -> None:
    kept = minutes(10)
    quotes = [event for event in drawn(400) if isinstance(event, Quote)]
    quotes = [msgspec.structs.replace(q, listing=LISTINGS[0]) for q in quotes]
    later = msgspec.structs.replace(quotes[-1], at_ns=quotes[-1].at_ns + 7 * NS_PER_S)
    with a_recorder(tmp_path) as recorder:
        recorder.hear([*quotes, later])
        recorder.keep([*kept[:4], *kept[6:]])

    bars, ticks = (
        next(one for one in facts(recording_of(tmp_path)) if one.kind == kind)
        for kind in ("bars", "quotes")
    )
    assert (bars.symbol, bars.rows, bars.largest_gap_ns) == ("BTC-USD", 8, 2 * MINUTE)
    assert (bars.first_ns, bars.last_ns) == (START_NS, START_NS + 9 * MINUTE)
    assert (ticks.source, ticks.rows, ticks.files) == ("coinbase", len(quotes) + 1, 1)
    assert ticks.largest_gap_ns == 7 * NS_PER_S
