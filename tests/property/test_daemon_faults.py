"""Whatever happens to the daemon: no ticket is lost or doubled, money is conserved, no risk is
taken after a latch, and no engine is touched by another's faults.

A seed that fails is played again by itself: HYDRA_FAULT_SEED=n pytest tests/property/\
test_daemon_faults.py; many more by HYDRA_FAULT_SEEDS=5000 pytest -m nightly of the same file.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random

import pytest

from hydra.market.bars import BarTable
from hydra.storage import database
from tests.support.faults.check import check
from tests.support.faults.season import NAME, Setup, Strike, a_home, play_file
from tests.support.faults.writes import MOMENTS, Blow
from tests.support.processes import HOUR_NS, sample_tables

ONE = os.environ.get("HYDRA_FAULT_SEED")
MANY = int(os.environ.get("HYDRA_FAULT_SEEDS", "2000"))
BARS = 40


def seeds(few: int) -> list[int]:
    return list(range(few)) if ONE is None else [int(ONE)]


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
        strikes.append((moment, rng.choice((rng.randrange(1, 8), rng.randrange(1, 100))), blow))
    return strikes


def is_played_through(seed: int) -> None:
    with a_home() as (home, writes):
        strikes = strikes_of(seed)
        digest, _ = play_file(a_setup(), bars(), home, writes, strikes)
        check(f"sqlite:///{writes.path}", NAME)
    assert digest == undisturbed(), f"seed {seed}: {strikes}"


@pytest.mark.parametrize("seed", seeds(16))
def test_killed_or_without_a_database_at_any_write_it_ends_as_if_nothing_had_happened(
    seed: int,
) -> None:
    is_played_through(seed)
