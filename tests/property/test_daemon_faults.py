"""Whatever happens to the daemon: no ticket is lost or doubled, money is conserved, no risk is
taken after a latch, and no engine is touched by another's faults.

A seed that fails is played again by itself with HYDRA_FAULT_SEED=n in the environment; the nightly
tests take HYDRA_FAULT_SEEDS=n seeds each.
"""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from hydra.clock import NS_PER_S
from hydra.market.bars import BarTable
from hydra.storage import database, tables
from hydra.storage.database import reading
from tests.support.faults.check import check, check_latches, journal_of
from tests.support.faults.engines import Vice
from tests.support.faults.live import BAR_S, play_venues, told_by
from tests.support.faults.season import NAME, Setup, Strike, a_home, play_file
from tests.support.faults.writes import MOMENTS, Blow
from tests.support.processes import HOUR_NS, fork, sample_tables

ONE = os.environ.get("HYDRA_FAULT_SEED")
MANY = int(os.environ.get("HYDRA_FAULT_SEEDS", "1000"))
BARS = 30


def seeds(few: int) -> list[int]:
    return list(range(few)) if ONE is None else [int(ONE)]


def many(play: Callable[[int], None]) -> None:
    for seed in range(MANY):
        try:
            play(seed)
        except BaseException as error:
            error.add_note(f"again: HYDRA_FAULT_SEED={seed} pytest {Path(__file__).name}")
            raise
        gc.collect()  # a season that begins keeps all there is


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for SQLite's lock."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)


@cache
def bars() -> tuple[BarTable, ...]:
    return sample_tables(bars=BARS)[:2]


def a_setup(**more: object) -> Setup:
    tables = bars()
    return Setup(
        instruments=[table.instrument for table in tables],
        resolution_ns=4 * HOUR_NS,
        start_ns=min(int(table.open_ns[0]) for table in tables),
        **more,  # type: ignore[arg-type]
    )


@cache
def undisturbed() -> str:
    """The digest of the season to which nothing happens."""
    with a_home() as (home, writes):
        digest, lives = play_file(a_setup(), bars(), home, writes, ())
        assert lives == 1
        check(f"sqlite:///{writes.path}", NAME)
    return digest


AT_BEGIN = (Blow.LOCKED, Blow.FULL, Blow.READ_ONLY)  # what a transaction finds


def strikes_of(seed: int) -> list[Strike]:
    """Up to four times something happens at a write, anywhere in what is left of the season."""
    rng = Random(seed)
    strikes: list[Strike] = []
    for _ in range(rng.randrange(1, 5)):
        blow = rng.choice([Blow.DEATH] * 3 + list(Blow))
        moment = "begin" if blow in AT_BEGIN else rng.choice(MOMENTS)
        strikes.append((moment, rng.choice((rng.randrange(1, 8), rng.randrange(1, 75))), blow))
    return strikes


def is_played_through(seed: int) -> None:
    with a_home() as (home, writes):
        strikes = strikes_of(seed)
        digest, _ = play_file(a_setup(), bars(), home, writes, strikes)
        check(f"sqlite:///{writes.path}", NAME)
    assert digest == undisturbed(), f"seed {seed}: {strikes}"


@pytest.mark.parametrize("seed", seeds(8))
def test_killed_or_without_a_database_at_any_write_it_ends_as_if_nothing_had_happened(
    seed: int,
) -> None:
    is_played_through(seed)


@pytest.mark.parametrize("moment", MOMENTS)
def test_so_it_does_after_a_real_sigkill(moment: str) -> None:
    with a_home() as (home, writes):
        writes.is_real = True
        after = Random(moment).randrange(20, 60)

        def work(say: Callable[[str], None]) -> None:
            play_file(a_setup(), bars(), home, writes, [(moment, after, Blow.DEATH)])

        child = fork(work)
        assert (child.lines(), child.wait()) == ([], -signal.SIGKILL)
        check(f"sqlite:///{writes.path}", NAME)
        digest, _ = play_file(a_setup(), bars(), home, writes, ())
        check(f"sqlite:///{writes.path}", NAME)
    assert digest == undisturbed()


@pytest.mark.nightly
def test_so_do_thousands() -> None:
    many(is_played_through)


# Engines


Journals = dict[str, list[tuple[Any, ...]]]


def journals(vice: Vice | None, after: int = 0) -> Journals:
    """By engine, its records, where one of them has a vice from its so many-th decision on."""
    with a_home() as (home, writes):
        play_file(with_limits(vice, after), bars(), home, writes, ())
        url = f"sqlite:///{writes.path}"
        check(url, NAME)
        return {name: journal_of(url, NAME, name) for name in (*OTHERS, "faulty")}


def with_limits(vice: Vice | None, after: int) -> Setup:
    deadline_s = 0.1 if vice is Vice.HANGS else 10.0
    plan = {"memory_limit_mb": 64}
    return a_setup(vice=vice, vice_after=after, deadline_s=deadline_s, plan=plan)


OTHERS = ("alpha", "beta", "coarse")
ENDS_ON_THE_BENCH = set(Vice) - {Vice.CROWDS, Vice.FOREIGN}


@cache
def virtuous() -> Journals:
    return journals(None)


@pytest.mark.parametrize("vice", Vice, ids=lambda vice: vice.name.lower())
def test_an_engines_vice_is_nobody_elses_trouble(vice: Vice) -> None:
    played = journals(vice, after=Random(vice.name).randrange(60))

    for name in OTHERS:
        assert numbered_anew(played[name]) == numbered_anew(virtuous()[name]), name
        if vice is not Vice.CROWDS:
            assert played[name] == virtuous()[name], name
    kinds = [record[2] for record in played["faulty"]]
    assert ("benched" in kinds) == (vice in ENDS_ON_THE_BENCH), kinds
    if vice in (Vice.HOARDS, Vice.SWELLS):
        assert any("more memory" in record[-1] for record in played["faulty"])


def numbered_anew(records: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The records as if nobody else had tickets: numbers of tickets are a whole season's."""
    numbers: dict[str, str] = {}

    def anew(match: re.Match[str]) -> str:
        return match[1] + numbers.setdefault(match[2], str(len(numbers) + 1))

    return [(*record[:-1], re.sub(r'("ticket":)(\d+)', anew, record[-1])) for record in records]


def test_who_hung_or_took_all_memory_does_so_again_when_the_season_goes_on() -> None:
    for vice in (Vice.HANGS, Vice.HOARDS):
        with a_home() as (home, writes):
            strikes: list[Strike] = [("begin", 50, Blow.DEATH), ("commit", 20, Blow.DEATH)]
            _, lives = play_file(with_limits(vice, 20), bars(), home, writes, strikes)
            assert lives == 3
            check(f"sqlite:///{writes.path}", NAME)


@pytest.mark.parametrize(("at_ns", "engine", "is_fault"), [
    (15, "alpha", True), (20, "alpha", False), (15, "beta", False),
])  # fmt: skip
def test_the_check_itself_sees_risk_that_is_taken_after_a_latch(
    at_ns: int, engine: str, is_fault: bool
) -> None:
    def record(kind: str, at_ns: int, engine: str, body: dict[str, object]) -> SimpleNamespace:
        text = msgspec.json.encode(body).decode()
        return SimpleNamespace(seq=1, kind=kind, at_ns=at_ns, engine=engine, body=text)

    latch = record("latch", 10, "alpha", {"until_ns": 20})
    opened = record("opened", at_ns, engine, {"ticket": 1})

    with pytest.raises(AssertionError, match="after a latch") if is_fault else nullcontext():
        check_latches([latch, opened])


# Venues


def assert_no_hole(url: str, start_ns: int) -> None:
    """Of every minute from its first on there are bars: heard, or made up afterwards."""
    bars = tables.season_bars.c
    with reading(url) as connection:
        opens = connection.execute(select(bars.open_ns).where(bars.open_ns >= start_ns)).scalars()
        found = sorted({(open_ns - start_ns) // NS_PER_S for open_ns in opens})
    assert found == list(range(0, len(found) * BAR_S, BAR_S))


def is_played_on_venues(seed: int) -> None:
    with a_home() as (home, writes):
        story = play_venues(seed, home, writes)
        with told_by(story):
            check(f"sqlite:///{writes.path}", NAME)
            if story.is_on_time:
                assert_no_hole(f"sqlite:///{writes.path}", story.start_ns)


@pytest.mark.parametrize("seed", seeds(8))
def test_whatever_venues_clock_database_and_engines_do_nothing_is_lost(seed: int) -> None:
    is_played_on_venues(seed)


@pytest.mark.nightly
def test_whatever_they_do_thousands_of_times() -> None:
    many(is_played_on_venues)
