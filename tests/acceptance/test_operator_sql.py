"""The operator's SQL, word for word, on the database that a season leaves."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hydra.clock import to_datetime
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


def columns_and_rows(database: Path, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(statement)
        return [column[0] for column in cursor.description], cursor.fetchall()


def journal_of(
    database: Path, season: str
) -> list[tuple[str, str, int, int | None, dict[str, Any]]]:
    """(engine, kind, at_ns, amount_units, body) of every record."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT engine, kind, journal.at_ns, amount_units, body FROM journal "
            "JOIN seasons ON seasons.id = season_id WHERE name = ? ORDER BY seq",
            (season,),
        )
        return [(*row[:4], msgspec.json.decode(row[4])) for row in rows]


def test_trades_by_engine_agree_with_the_money_that_the_journal_posted(database: Path) -> None:
    posted: dict[int, int] = defaultdict(int)
    balance: dict[str, int] = defaultdict(lambda: 25_000 * 10**8)
    opening: dict[int, int] = {}  # balance when the ticket opened
    closed: dict[int, str] = {}
    for engine, kind, _, amount, body in journal_of(database, "short"):
        if kind == "opened":
            opening[body["ticket"]] = balance[engine]
        if amount is not None:
            posted[body["ticket"]] += amount
            balance[engine] += amount
        if kind == "closed":
            closed[body["ticket"]] = engine
    figures: dict[str, list[float]] = defaultdict(list)
    for ticket, engine in closed.items():
        figures[engine].append(100 * posted[ticket] / opening[ticket])

    columns, rows = columns_and_rows(database, BY_ENGINE)

    assert columns == ["engine", "trades", "wins", "avg_pnl"]
    assert {row[0]: row[1:3] for row in rows} == {
        engine: (len(all_of), sum(one > 0 for one in all_of)) for engine, all_of in figures.items()
    }
    for engine, _, _, average in rows:
        assert average == pytest.approx(sum(figures[engine]) / len(figures[engine]), abs=0.0051)


def test_the_newest_trades_are_those_that_the_journal_approved_last(database: Path) -> None:
    approved = [
        (at_ns, engine, body["intent"]["symbol"], "LONG" if body["intent"]["side"] > 0 else "SHORT")
        for engine, kind, at_ns, _, body in journal_of(database, "short")
        if kind == "approved" and body["intent"]["type"] == "open"
    ]

    columns, rows = columns_and_rows(database, NEWEST)

    assert columns == ["timestamp", "engine", "asset", "direction", "status", "pnl_percent"]
    assert len(rows) == 20
    found = {(iso_of(row[0]), *row[1:4]) for row in rows}
    assert found <= {(to_datetime(at_ns), *rest) for at_ns, *rest in approved}


def iso_of(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_scores_are_the_last_of_each_engine_in_the_current_season(database: Path) -> None:
    columns, rows = columns_and_rows(database, SCORES)
    found = {row[columns.index("engine")]: dict(zip(columns, row, strict=True)) for row in rows}
    with closing(sqlite3.connect(database)) as connection:
        last = connection.execute(
            "SELECT engine, total_points, weight, net_pnl_units, trades, wins, max(scores.at_ns) "
            "FROM scores JOIN seasons ON seasons.id = season_id WHERE name = 'short' "
            "GROUP BY engine"
        ).fetchall()

    assert set(found) == {row[0] for row in last}
    for engine, points, weight, units, trades, wins, _ in last:
        line = found[engine]
        assert (line["total_points"], line["weight"]) == (points, weight)
        assert (line["trades"], line["wins"]) == (trades, wins)
        assert line["net_pnl"] == pytest.approx(units / 10**8)


def test_the_season_that_is_played_next_becomes_the_current_one(tmp_path: Path) -> None:
    path = tmp_path / "hydra.db"
    first = Setup(tables=sample_tables(bars=60), name="first")
    first.play_stored(f"sqlite:///{path}")
    before = columns_and_rows(path, NEWEST)[1]

    Setup(tables=sample_tables(bars=10), name="second", specs=("flat",)).play_stored(
        f"sqlite:///{path}"
    )
    during = columns_and_rows(path, NEWEST)[1]
    first.play_stored(f"sqlite:///{path}", resume=True)

    assert before
    assert during == []
    assert columns_and_rows(path, NEWEST)[1] == before


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
