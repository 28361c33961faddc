"""The kill switch, thrown by SQL from another process, stops a running season at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from hydra.engines.view import View
from hydra.portfolio.intents import Intent
from tests.support.processes import Setup, sample_tables

STATEMENT = "UPDATE guardian_state SET kill_switch={};"
FEEDS = tuple(table for table in sample_tables(bars=120) if table.symbol == "BTC-USDT")
KILLED_AT, RELEASED_AT = 40, 80


def from_another_process(path: Path, value: int) -> None:
    """Run the operator's statement with a program of its own, and wait for it."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30);"
        " c.execute(sys.argv[2]); c.commit()"
    )
    statement = STATEMENT.format(value)
    subprocess.run([sys.executable, "-c", code, str(path), statement], check=True, timeout=60)


class Operated:
    """Buys whenever it holds nothing; the operator acts while it decides."""

    features = ()

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bar = 0

    def decide(self, view: View) -> Sequence[Intent]:
        self._bar += 1
        if self._path is not None and self._bar in (KILLED_AT, RELEASED_AT):
            from_another_process(self._path, int(self._bar == KILLED_AT))
        if view.tickets:
            return ()
        return (view.buy(stop=view.close * 0.9),)


def setup_of(path: Path | None) -> Setup:
    return Setup(
        tables=FEEDS,
        specs=(),
        more=lambda: {"operated": Operated(path)},
        profile="none",
        costs="none",
        plan={"poll_ms": 0, "commit_ms": 0},
    )


def records_of(path: Path) -> list[tuple[int, str, dict[str, object]]]:
    """(cycle, kind, body) of the whole journal."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT cycle, kind, body FROM journal ORDER BY seq")
        return [(cycle, kind, msgspec.json.decode(body)) for cycle, kind, body in rows]


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The database of a season that was stopped and released, and its digest."""
    path = tmp_path_factory.mktemp("kill") / "hydra.db"
    return path, setup_of(path).play_stored(f"sqlite:///{path}")


def test_it_stops_within_one_cycle_and_open_tickets_are_closed(
    operated: tuple[Path, str],
) -> None:
    records = records_of(operated[0])

    assert [(c, k) for c, k, _ in records if k.startswith("external.")] == [
        (KILLED_AT + 1, "external.kill"),
        (RELEASED_AT + 1, "external.release"),
    ]
    closed = [(c, body["reason"]) for c, kind, body in records if kind == "closed"]
    assert closed[0] == (KILLED_AT + 1, "kill switch")  # at the first bar after the order
    held = range(KILLED_AT + 1, RELEASED_AT + 1)
    assert not [c for c, kind, _ in records if kind in ("approved", "opened") and c in held]
    rules = {
        body["refused"]["rule"]  # type: ignore[index]
        for c, kind, body in records
        if kind == "refused" and c in held
    }
    assert rules == {"kill-switch"}


def test_it_is_released_likewise(operated: tuple[Path, str]) -> None:
    approved = [c for c, kind, _ in records_of(operated[0]) if kind == "approved"]

    assert RELEASED_AT + 1 in approved


def test_a_resumed_season_hears_it_again(operated: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    with closing(sqlite3.connect(operated[0])) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        # As a season that was killed on the way: its journal ends early.
        last = RELEASED_AT + 20
        copy.execute("DELETE FROM journal WHERE cycle > ?", (last,))
        count, digest = copy.execute(
            "SELECT count(*), (SELECT hash FROM journal ORDER BY seq DESC LIMIT 1) FROM journal"
        ).fetchone()
        copy.execute(
            "UPDATE seasons SET state='playing', cycle=?, journal_count=?, digest=?,"
            " finished_ns=NULL",
            (last, count, digest.hex()),
        )
        copy.commit()

    assert setup_of(None).play_stored(f"sqlite:///{path}", resume=True) == operated[1]


def test_it_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    first = setup_of(None)
    first.play_stored(f"sqlite:///{path}")
    from_another_process(path, 1)
    second = setup_of(None)
    second.name = "second"

    second.play_stored(f"sqlite:///{path}")

    with closing(sqlite3.connect(path)) as connection:
        opened = connection.execute("SELECT count(*) FROM hydra_trades").fetchone()
    assert opened == (0,)


def test_the_environment_throws_it_too() -> None:
    setup = setup_of(None)
    setup.plan = {**setup.plan, "kill_switch": True}

    season = setup.play_in_memory()[1].seasons["season"]

    assert not season.tickets
