"""The recorder as a process: killed, out of disk, and beside an event loop that must not wait."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hydra.clock import NS_PER_S, SystemClock
from hydra.feeds import recorder
from hydra.feeds.recorder import Recorder
from hydra.feeds.recording import Recording, day_of
from hydra.market.events import BadMessage, BookChange, Down, NoQuote, Quote, Resync, Trade
from tests.support.bars import START_NS
from tests.support.disks import enlarge, small_disk
from tests.support.recorded_events import a_live_season, drawn
from tests.support.shared_data import ROOT

pytestmark = pytest.mark.slow

DAY = day_of(START_NS)


@pytest.mark.parametrize("after", [3_000, pytest.param(4_500, marks=pytest.mark.nightly)])
def test_killed_at_any_moment_it_leaves_whole_files_and_loses_what_was_not_flushed(
    tmp_path: Path, after: int
) -> None:
    flush_s = 0.1
    child = subprocess.Popen(
        [
            sys.executable, "-m", "tests.support.recording_process", str(tmp_path), str(flush_s),
            "0.25",
        ],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert child.stdout is not None
    told: list[tuple[int, int]] = []  # (events heard, when)
    for line in child.stdout:
        count, at_ns = line.split()
        told.append((int(count), int(at_ns)))
        if told[-1][0] >= after and len(told) > 30:
            child.kill()
            break
    child.wait()
    told += [(int(a), int(b)) for a, b in (line.split() for line in child.stdout if " " in line)]

    heard = list(Recording(tmp_path / "live-1").events(DAY))

    everything = drawn(6_000)
    # Of the seconds that were being written one kind may be there, and another not yet.
    whole = len(everything)  # up to there nothing is missing
    for kind in (Trade, Quote, BookChange, NoQuote | Resync | Down | BadMessage):
        of_kind = [(i, event) for i, event in enumerate(everything) if isinstance(event, kind)]
        found = [event for event in heard if isinstance(event, kind)]
        assert found == [event for _, event in of_kind[: len(found)]]
        whole = min(whole, of_kind[len(found)][0]) if len(found) < len(of_kind) else whole
    missing_since_ns = next((at for count, at in told if count > whole), told[-1][1])
    lost_s = (told[-1][1] - missing_since_ns) / NS_PER_S
    assert lost_s < flush_s + 2.0  # the rest is what a busy machine takes to write
    assert heard, "nothing was written before it was killed"
    # And the next run goes on behind it.
    again = Recorder(tmp_path, a_live_season(), clock=SystemClock(), say=print)
    again.hear(everything[:5])
    again.close()
    assert list(Recording(tmp_path / "live-1").events(DAY)) == [*heard, *everything[:5]]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_costs_ticks_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    told = drawn(12_000)
    with small_disk(tmp_path / "disk", "300k") as disk:
        one = Recorder(disk, a_live_season(), clock=SystemClock(), say=said.append)
        for i in range(0, 10_000, 500):
            one.hear(told[i : i + 500])
            one.flush()
        assert len(said) == 1 and "No space left" in said[0], said
        enlarge(disk, "20m")
        one.hear(told[10_000:])
        one.close()

        heard = list(Recording(disk / "live-1").events(DAY))
        lost = 12_000 - len(heard)
        assert said[1:] == [f"recording goes on; {lost:,} events were not recorded"]
        assert 0 < lost < 10_000
        recording = Recording(disk / "live-1")
        parts = [part for day in recording.days() for part in recording.inspect(day)]
        assert sum(part.dropped for part in parts) == lost
        assert heard[-2_000:] == told[10_000:]
        places = iter(told)
        assert all(event in places for event in heard)  # in their order, each at most once
        assert not list(disk.rglob("*.partial"))


def test_hearing_costs_less_than_ten_microseconds_an_event(tmp_path: Path) -> None:
    """100,000 events a second on one core: of nine listings, a few at once, books among them."""
    told = drawn(20_000)
    best_s = 1e9
    for _ in range(3):
        one = Recorder(tmp_path, a_live_season(), clock=SystemClock(), say=print)
        began_s = time.process_time()
        for i in range(0, len(told), 4):
            one.hear(told[i : i + 4])
        best_s = min(best_s, time.process_time() - began_s)

    assert len(told) / best_s > 100_000


async def test_the_market_is_not_held_up_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushed every half second, 4,000 events a second: what a loop's turn takes at most."""
    monkeypatch.setattr(recorder, "FLUSH_S", 0.5)
    monkeypatch.setattr(recorder, "SEAL_S", 1.0)
    told = drawn(8_000)
    turns: list[float] = []
    with Recorder(tmp_path, a_live_season(), clock=SystemClock(), say=print) as one:
        for i in range(0, len(told), 4):
            one.hear(told[i : i + 4])
            began_s = time.perf_counter()
            await asyncio.sleep(0.001)
            turns.append(time.perf_counter() - began_s)
        assert threading.active_count() > 1
    turns.sort()

    assert turns[len(turns) * 99 // 100] < 0.02, turns[-20:]
