"""What operators and programs do with the database itself, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from hydra.clock import ManualClock
from hydra.errors import ConfigError, StorageError
from hydra.storage import queries
from hydra.storage.database import reading, writing
from hydra.storage.schema import VERSION_TABLE, check, downgrade, ensure, upgrade
from hydra.storage.store import next_season_name, open_season
from hydra.storage.tables import metadata
from hydra.storage.verify import verify_season
from tests.support.seasons import OPENING, START_NS, USD, a_season, play

pytest_plugins = ["tests.support.postgres"]

TRADES_BY_ENGINE = """
SELECT engine, COUNT(*) as trades,
       SUM(CASE WHEN outcome='win' THEN 1 ELSE 0 END) as wins,
       ROUND(AVG(pnl_percent), 2) as avg_pnl
FROM hydra_trades WHERE status='CLOSED' GROUP BY engine ORDER BY avg_pnl DESC;
"""
NEWEST_TRADES = (
    "SELECT timestamp, engine, asset, direction, status, pnl_percent "
    "FROM hydra_trades ORDER BY timestamp DESC LIMIT 20;"
)
SCORES = "SELECT * FROM tournament_scores ORDER BY total_points DESC;"
KILL = "UPDATE guardian_state SET kill_switch=1;   -- stops all trading within one cycle"
RELEASE = "UPDATE guardian_state SET kill_switch=0;   -- releases it, likewise"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/hydra/hydra.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def test_the_operators_statements_read_the_current_season(url: str) -> None:
    for name, cycles in (("an older one", 1), ("season-1", 3)):
        with open_season(url, a_season(name), resume=False) as store:
            play(store, cycles=cycles)

    with reading(url) as connection:
        by_engine = connection.execute(text(TRADES_BY_ENGINE)).all()
        newest = connection.execute(text(NEWEST_TRADES)).all()
        scores = connection.execute(text(SCORES)).mappings().all()

    # 120 - 50.00000001 + 30 of 25,000 in three trades, and -80 - 20 + 10.
    assert [(row[0], row[1], row[2], float(row[3])) for row in by_engine] == [
        ("ema", 3, 2, 0.13),
        ("donchian", 3, 1, -0.12),
    ]
    assert len(newest) == 6
    assert str(newest[0].timestamp) == "2024-01-01 01:00:00+00:00"
    assert {row.direction for row in newest} == {"LONG"}
    assert [(row["engine"], row["rank"], row["total_points"]) for row in scores] == [
        ("ema", 1, 30.0),
        ("donchian", 2, 15.0),
    ]
    assert (scores[1]["net_pnl"], scores[1]["trades"], scores[1]["wins"]) == (-90, 3, 1)
    assert str(scores[1]["updated_at"]) == "2024-01-01 03:00:00+00:00"


def test_the_switch_set_by_plain_sql_reaches_a_playing_season_and_says_by_whom(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        for statement, expected in ((KILL, True), (RELEASE, False), (KILL, True)):
            with writing(url) as connection:
                connection.execute(text(statement))
            assert store.kill_switch() is expected

    with reading(url) as connection:
        state = queries.guardian_state(connection)
    assert (state.kill_switch, state.reason) == (True, "set by SQL")
    assert state.changed_ns is not None


def test_the_switch_set_by_a_program_keeps_its_reason_and_time(url: str) -> None:
    ensure(url)
    with writing(url) as connection:
        queries.set_kill_switch(connection, True, "news", ManualClock(START_NS))

    with reading(url) as connection:
        state = queries.guardian_state(connection)
    assert state == queries.GuardianState(kill_switch=True, reason="news", changed_ns=START_NS)


def test_a_missing_switch_counts_as_set(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        with writing(url) as connection:
            connection.execute(text("DELETE FROM guardian_state"))
        assert store.kill_switch()
    with reading(url) as connection:
        assert queries.guardian_state(connection).kill_switch
    with writing(url) as connection:
        queries.set_kill_switch(connection, False, "restored")
    with reading(url) as connection:
        assert not queries.guardian_state(connection).kill_switch


def test_migrations_go_up_down_and_up(url: str) -> None:
    upgrade(url)
    assert check(url).is_current
    downgrade(url, "base")
    assert check(url).revision is None
    upgrade(url)
    assert check(url).is_current
    with open_season(url, a_season(), resume=False) as store:
        play(store)


def test_the_migrations_make_the_tables_that_the_program_uses(url: str) -> None:
    upgrade(url)
    with reading(url) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_server_default": False}
        )
        assert compare_metadata(context, metadata) == []


def test_a_database_of_another_program_is_left_alone(url: str) -> None:
    with writing(url, create=True) as connection:
        connection.execute(text("CREATE TABLE invoices (id INTEGER)"))

    for use in (check, upgrade, ensure):
        with pytest.raises(StorageError, match=r"belongs to another program .*invoices"):
            use(url)


def test_a_database_of_a_newer_hydra_is_left_alone(url: str) -> None:
    upgrade(url)
    with writing(url) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))

    with pytest.raises(StorageError, match=r"schema 0999.*update the program"):
        open_season(url, a_season(), resume=False)


def test_all_is_read_back_as_it_was_written(url: str) -> None:
    with open_season(url, a_season(), resume=False, clock=ManualClock(5)) as store:
        digest = play(store)

    with reading(url) as connection:
        season = queries.season(connection)
        trades = queries.trades(connection, engine="ema", limit=2)
        decisions = queries.decisions(connection, engine="donchian", limit=3)
        refusals = queries.refusals_by_rule(connection)
        standings = queries.standings(connection)
        days = queries.guardian_days(connection)
        latches = queries.latches(connection)
        equity = queries.equity(connection, engine="ema")
        engines = queries.engines(connection)
        scores = queries.scores(connection)

    assert season == queries.SeasonSummary(
        season=a_season(),
        is_current=True,
        state="finished",
        created_ns=5,
        finished_ns=5,
        cycle=3,
        at_ns=START_NS + 3 * 3_600_000_000_000,
        journal_count=28,
        digest=digest,
    )
    assert [(t.ticket, t.pnl_units, t.lots, t.stop_price) for t in trades] == [
        (3, -50 * USD - 1, Decimal("0.120"), Decimal(41000)),
        (5, 30 * USD, Decimal("0.120"), Decimal(41000)),
    ]
    assert str(trades[0].lots) == "0.120"
    assert [d.kind for d in decisions] == ["refused", "approved", "refused"]
    assert decisions[1].body == {"ticket": 6}
    assert refusals == [
        queries.RefusalCount(engine=name, rule="max open", count=3) for name in ("donchian", "ema")
    ]
    assert [(s.engine, s.rank, s.metrics["sharpe"]) for s in standings] == [
        ("ema", 1, 1.5),
        ("donchian", 2, 1.5),
    ]
    assert [(d.engine, d.opened, d.total_floor_units) for d in days] == [
        ("donchian", 3, None),
        ("ema", 3, None),
    ]
    assert [(row.rule, row.text) for row in latches] == [("daily_loss", "below the floor")]
    assert [point.balance_units - OPENING for point in equity] == [
        120 * USD,
        70 * USD - 1,
        100 * USD - 1,
    ]
    assert [(e.engine, e.params) for e in engines] == [("donchian", {"n": 20}), ("ema", {"n": 20})]
    assert [s.engine for s in scores] == ["ema", "donchian"]


def test_names_of_seasons_count_on(url: str) -> None:
    assert next_season_name(url) == "season-1"
    for name in ("season-1", "season-9", "other-20", "season-x"):
        open_season(url, a_season(name), resume=False).release()

    assert next_season_name(url) == "season-10"


def test_asking_for_a_season_that_is_not_there_names_those_that_are(url: str) -> None:
    ensure(url)
    with pytest.raises(ConfigError, match="no season yet"), reading(url) as connection:
        queries.trades(connection)
    open_season(url, a_season(), resume=False).release()
    with (
        pytest.raises(ConfigError, match="no season x; there are: season-1"),
        reading(url) as connection,
    ):
        queries.trades(connection, "x")


def test_a_played_season_is_sound(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        digest = play(store)

    with reading(url) as connection:
        verdict = verify_season(connection)
    assert verdict.is_sound
    assert (verdict.records, verdict.digest) == (28, digest)
    assert [(a.engine, a.postings_units, a.tickets_units) for a in verdict.accounts] == [
        ("donchian", -90 * USD, -90 * USD),
        ("ema", 100 * USD - 1, 100 * USD - 1),
    ]


TAMPERING = {
    "one byte of a body": (
        """UPDATE journal SET body = '{"ticket":7}' WHERE seq = 6""",
        r"record 6 \(approved of donchian, cycle 1\) was altered",
    ),
    "an amount": (
        "UPDATE journal SET amount_units = amount_units + 1 WHERE seq = 8",
        r"record 8 \(closed of donchian, cycle 1\) was altered",
    ),
    "a hash": (
        "UPDATE journal SET hash = (SELECT hash FROM journal WHERE seq = 2) WHERE seq = 9",
        "record 9 .*was altered",
    ),
    "a row that is gone": ("DELETE FROM journal WHERE seq = 11", "record 11 is missing"),
    "the last row that is gone": (
        "DELETE FROM journal WHERE seq = 28",
        r"record 28 is missing \(28 were committed\)",
    ),
    "a row too many": (
        "INSERT INTO journal SELECT season_id, 29, cycle, at_ns, engine, kind, amount_units, "
        "body, hash FROM journal WHERE seq = 28",
        r"record 29 \(balance of donchian\) is beyond the 28 committed",
    ),
    "rows that changed places": (
        "UPDATE journal SET seq = CASE seq WHEN 103 THEN 4 ELSE 3 END WHERE seq IN (103, 104)",
        r"record 3 \(closed of ema, cycle 1\) was altered",
    ),
    "another digest": (
        "UPDATE seasons SET digest = 'ff'",
        "does not lead to the season's digest ff",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found_and_named(url: str, what: str) -> None:
    statement, fault = TAMPERING[what]
    with open_season(url, a_season(), resume=False) as store:
        play(store)
    with writing(url) as connection:
        if what == "rows that changed places":
            connection.execute(text("UPDATE journal SET seq = seq + 100 WHERE seq IN (3, 4)"))
        connection.exec_driver_sql(statement)

    with reading(url) as connection:
        verdict = verify_season(connection)
    assert len(verdict.faults) == 1
    assert re.search(fault, verdict.faults[0])
    with pytest.raises(StorageError, match=fault):
        open_season(url, a_season(), resume=True)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE tickets SET pnl_units = pnl_units + 1 WHERE ticket = 3", "ema: its tickets made"),
        (
            "UPDATE equity_points SET balance_units = balance_units - 1",
            "ema: the balance of the last equity point is",
        ),
        ("UPDATE seasons SET initial_units = 1", "ema: the closing balance in the journal is"),
    ],
)
def test_a_balance_that_does_not_follow_from_the_journal_is_named(
    url: str, statement: str, fault: str
) -> None:
    with open_season(url, a_season(), resume=False) as store:
        play(store)
    with writing(url) as connection:
        connection.execute(text(statement))

    with reading(url) as connection:
        faults = verify_season(connection).faults
    assert any(one.startswith(fault) for one in faults)


def test_a_season_can_be_read_while_it_is_written(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        play(store, cycles=2, close=False)
        with reading(url) as connection:
            before = _count(connection)
            store.journal(3, START_NS, "ema", "approved", None, b"{}")
            store.commit(3, START_NS)
            assert _count(connection) == before
            assert verify_season(connection).is_sound
        with reading(url) as connection:
            assert _count(connection) == before + 1


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM journal")).scalar_one())
