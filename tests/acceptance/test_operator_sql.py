"""The operator's SQL, word for word, on the database that a season leaves."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.processes import Setup, sample_tables

BY_ENGINE = """SELECT engine, COUNT(*) as trades,
       SUM(CASE WHEN outcome='win' THEN 1 ELSE 0 END) as wins,
       ROUND(AVG(pnl_percent), 2) as avg_pnl
FROM hydra_trades WHERE status='CLOSED' GROUP BY engine ORDER BY avg_pnl DESC;"""
NEWEST = """SELECT timestamp, engine, asset, direction, status, pnl_percent FROM hydra_trades ORDER BY timestamp DESC LIMIT 20;"""  # noqa: E501
SCORES = "SELECT * FROM tournament_scores ORDER BY total_points DESC;"
KILL = "UPDATE guardian_state SET kill_switch=1;"
RELEASE = "UPDATE guardian_state SET kill_switch=0;"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seasons, the shorter one last: it is the current one."""
    path = tmp_path_factory.mktemp("sql") / "hydra.db"
    Setup(tables=sample_tables(bars=400), name="long").play_stored(f"sqlite:///{path}")
    Setup(tables=sample_tables(bars=200), name="short").play_stored(f"sqlite:///{path}")
    return path


def test_trades_by_engine_are_those_of_the_current_season(database: Path) -> None:
    setup = Setup(tables=sample_tables(bars=200))
    memory = replace(setup, name="short").play_in_memory()[1].seasons["short"]
    percents: dict[str, list[float]] = defaultdict(list)
    wins: dict[str, int] = defaultdict(int)
    for ticket in memory.tickets.values():
        if ticket.status == "CLOSED":
            assert ticket.pnl_frac is not None
            percents[ticket.engine].append(ticket.pnl_frac * 100)
            wins[ticket.engine] += ticket.outcome == "win"

    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(BY_ENGINE).fetchall()

    assert {row[0]: (row[1], row[2]) for row in rows} == {
        engine: (len(values), wins[engine]) for engine, values in percents.items()
    }
    for engine, _, _, average in rows:
        assert average == pytest.approx(sum(percents[engine]) / len(percents[engine]), abs=0.0051)
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)


def test_the_newest_trades_come_first(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(NEWEST).fetchall()

    assert len(rows) == 20
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    assert {row[3] for row in rows} <= {"LONG", "SHORT"}


def test_scores_are_sorted_by_points_and_every_engine_has_a_line(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(SCORES)
        columns = [column[0] for column in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]

    assert {"engine", "rank", "total_points", "weight", "net_pnl", "trades", "wins"} <= set(columns)
    assert len(rows) == 8
    points = [row["total_points"] for row in rows]
    assert points == sorted(points, reverse=True)
    assert sum(row["weight"] for row in rows) == pytest.approx(1.0)


def test_the_switch_is_thrown_and_released(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement, expected in ((KILL, 1), (RELEASE, 0)):
            connection.execute(statement)
            connection.commit()
            state = connection.execute("SELECT kill_switch FROM guardian_state").fetchall()
            assert state == [(expected,)]
