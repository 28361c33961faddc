"""The audit trail says the same of a season on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from hydra.clock import ManualClock
from hydra.operations.audit import AuditTrail, check
from hydra.storage.database import reading
from hydra.storage.store import open_season
from tests.support.seasons import START_NS, a_season, play

pytest_plugins = ["tests.support.postgres"]


def test_both_databases_make_the_same_trail(tmp_path: Path, postgres_url: str) -> None:
    trails = []
    for name, url in (("lite", f"sqlite:///{tmp_path}/hydra.db"), ("post", postgres_url)):
        path = tmp_path / f"{name}.jsonl"
        clock = ManualClock(START_NS)  # of the season's row, by which the trail knows it
        with open_season(url, a_season(), resume=False, clock=clock) as store:
            play(store, cycles=4)
        with AuditTrail(path) as trail:
            for _ in range(2):
                with reading(url) as connection:
                    trail.follow(connection)
        with reading(url) as connection:
            found = check(path, connection)
        assert found.is_sound
        assert found.lines == 8 * 4 + 1
        trails.append(path.read_bytes())

    assert trails[0] == trails[1]
