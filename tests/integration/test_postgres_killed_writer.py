"""A writer killed by `kill -9` leaves whole commits, a free season and a chain that goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from hydra.errors import StorageError
from hydra.storage.database import reading
from hydra.storage.memory import MemoryDatabase
from hydra.storage.queries import season
from hydra.storage.store import open_season
from hydra.storage.verify import verify_season
from tests.support.seasons import a_season, play

pytest_plugins = ["tests.support.postgres"]

ROOT = Path(__file__).resolve().parents[2]
CYCLES = 400


def start_writer(url: str, commit_every: int, cycles: int = CYCLES) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.season_writer", url, str(cycles), str(commit_every)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_commits(writer: subprocess.Popen[str], count: int) -> int:
    """The last cycle of the first `count` commits that the writer told of."""
    assert writer.stdout is not None
    return [int(writer.stdout.readline()) for _ in range(count)][-1]


def kill(writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.wait()
    if writer.stdout is not None:
        writer.stdout.close()


def survives(url: str, dice: random.Random) -> None:
    commit_every = dice.choice((1, 3, 10))
    writer = start_writer(url, commit_every)
    told = wait_for_commits(writer, dice.randrange(1, 30))
    kill(writer)

    with reading(url) as connection:
        left = season(connection)
        verdict = verify_season(connection)
    assert verdict.is_sound, verdict.faults
    assert left.cycle >= told
    assert left.cycle % commit_every == 0
    assert left.journal_count == 1 + 8 * left.cycle + (left.cycle >= 2)

    undisturbed = play(MemoryDatabase().open_season(a_season(), resume=False), cycles=CYCLES)
    with open_season(url, a_season(), resume=True) as store:
        assert store.stored_cycle == left.cycle
        assert play(store, cycles=CYCLES, commit_every=7) == undisturbed
    with reading(url) as connection:
        assert verify_season(connection).is_sound


@pytest.mark.parametrize("seed", range(6))
def test_on_sqlite(tmp_path: Path, seed: int) -> None:
    survives(f"sqlite:///{tmp_path}/hydra.db", random.Random(seed))


@pytest.mark.parametrize("seed", range(2))
def test_on_postgres(postgres_url: str, seed: int) -> None:
    survives(postgres_url, random.Random(seed))


def test_while_it_lives_no_other_process_may_write_its_season(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    # Many cycles: it must not have ended, however long this process is kept waiting.
    writer = start_writer(url, 1, cycles=1_000_000)
    try:
        wait_for_commits(writer, 1)
        with pytest.raises(StorageError, match=f"being played by process {writer.pid}"):
            open_season(url, a_season(), resume=True)
    finally:
        kill(writer)
