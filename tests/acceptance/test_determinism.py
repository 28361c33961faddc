"""The same inputs and the same seed give the same journal, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from hydra.storage.database import reading
from hydra.storage.memory import MemoryDatabase
from hydra.storage.verify import verify_season
from hydra.tournament.season import StandingRow
from tests.support.processes import EURUSD, Setup, rows_of, sample_tables
from tests.support.shared_data import ROOT

pytest_plugins = ["tests.support.postgres"]

SETUP = Setup(tables=sample_tables(bars=300))
MODES = ("independent", "consensus")
ALONE = """
import sys
from tests.support.processes import Setup, sample_tables
print(Setup(tables=sample_tables(bars=300), mode=sys.argv[1]).play_in_memory()[0])
"""


def digest_of(setup: Setup) -> str:
    return setup.play_in_memory()[0]


def standings_of(setup: Setup) -> tuple[StandingRow, ...]:
    return setup.play(MemoryDatabase().open_season(setup.row(), resume=False))[1]


@pytest.fixture(scope="module", params=MODES)
def setup(request: pytest.FixtureRequest) -> Setup:
    return replace(SETUP, mode=request.param)


@pytest.fixture(scope="module")
def digest(setup: Setup) -> str:
    return digest_of(setup)


def test_a_second_season_in_the_same_process(setup: Setup, digest: str) -> None:
    digest_of(replace(setup, seed=5))

    assert digest_of(setup) == digest


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_a_fresh_process_with_other_hashes_of_text(
    setup: Setup, digest: str, hash_seed: str
) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, setup.mode],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert alone.stdout.strip() == digest


@pytest.mark.parametrize("chunk_cycles", [1, 7, 64])
def test_how_the_bars_are_cut_into_chunks_changes_nothing(
    setup: Setup, digest: str, chunk_cycles: int
) -> None:
    other = replace(setup, chunk_cycles=chunk_cycles)
    _, one = setup.play_in_memory()
    found, database = other.play_in_memory()

    assert found == digest
    assert database.seasons["season"] == one.seasons["season"]


def test_how_hourly_bars_with_weekends_are_cut_changes_nothing() -> None:
    hourly = Setup(tables=sample_tables(EURUSD, 900), profile="ftmo-1step")

    assert digest_of(replace(hourly, chunk_cycles=31)) == digest_of(hourly)


@pytest.mark.parametrize("commit_ms", [0, 3, 10_000])
def test_where_it_is_kept_and_how_often_changes_nothing(
    setup: Setup, digest: str, tmp_path: Path, commit_ms: int
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    other = replace(setup, plan={"poll_ms": 0, "commit_ms": commit_ms})

    assert other.play_stored(url) == digest
    with reading(url) as connection:
        verdict = verify_season(connection)
    assert verdict.is_sound, verdict.faults
    assert verdict.digest == digest


def test_postgres_holds_the_rows_that_sqlite_holds(
    setup: Setup, digest: str, tmp_path: Path, postgres_url: str
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    setup.play_stored(url)

    assert setup.play_stored(postgres_url) == digest
    ours, theirs = rows_of(url), rows_of(postgres_url)
    for table, rows in ours.items():
        assert [plain(row) for row in theirs[table]] == [plain(row) for row in rows], table


def plain(row: Sequence[object]) -> list[object]:
    """Exact numbers as text, which is how SQLite keeps them."""
    return [str(value) if isinstance(value, Decimal) else value for value in row]


def test_the_seed_decides_the_intervals_and_not_the_trades() -> None:
    figures = {"luck_traders": 50, "bootstrap_replicates": 200}
    one, other = replace(SETUP, plan=figures), replace(SETUP, plan=figures, seed=2)
    _, first = one.play_in_memory()
    _, second = other.play_in_memory()

    assert first.seasons["season"].digest != second.seasons["season"].digest
    assert first.seasons["season"].tickets == second.seasons["season"].tickets
    assert first.seasons["season"].equity == second.seasons["season"].equity
    assert first.seasons["season"].scores == second.seasons["season"].scores
    # The digests differ by the record of the settings, and the records that follow from it by hash.
    records = [
        [row[2:8] for row in database.seasons["season"].journal] for database in (first, second)
    ]
    assert records[0][0] != records[1][0]
    assert records[0][1:] == records[1][1:]

    drawn = ("low_frac", "high_frac", "p_first", "luck_percentile")
    same = {row.engine: row.metrics for row in first.seasons["season"].standings.values()}
    again = {row.engine: row.metrics for row in second.seasons["season"].standings.values()}
    assert any(same["ema_trend"][name] != again["ema_trend"][name] for name in drawn)
    for engine, metrics in same.items():
        for name in ("net_pnl_usd", "sharpe", "weight", "points", "trades"):
            assert metrics[name] == again[engine][name], (engine, name)


def test_the_same_seed_draws_the_same_intervals_and_luck_line() -> None:
    figures = {"luck_traders": 50, "bootstrap_replicates": 200}

    assert standings_of(replace(SETUP, plan=figures)) == standings_of(replace(SETUP, plan=figures))


@pytest.mark.parametrize(
    "other",
    [
        replace(SETUP, profile="production"),
        replace(SETUP, costs="none"),
        replace(SETUP, mode="consensus"),
        replace(SETUP, plan={"initial_units": 50_000 * 10**8}),
        replace(SETUP, plan={"failures_to_bench": 5}),
        replace(SETUP, specs=("flat", "ema_trend")),
        replace(SETUP, tables=sample_tables(bars=299)),
    ],
    ids=["profile", "costs", "mode", "cash", "bench", "engines", "bars"],
)
def test_another_setting_gives_another_digest(other: Setup) -> None:
    assert digest_of(other) != digest_of(SETUP)
