"""Hypertables: by TimescaleDB's rules where it is there, and nothing else where it is not.

No TimescaleDB can be had here. What is sent to it is checked against functions with the names
and arguments that it documents, which keep its rules and write down how they were called.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import BigInteger, UniqueConstraint, make_url, text

from apps.cli.main import run
from hydra.errors import StorageError
from hydra.storage import hypertables, tables
from hydra.storage.database import reading, writing
from hydra.storage.hypertables import HYPERTABLES, make_hypertables
from hydra.storage.schema import upgrade
from hydra.storage.store import open_season
from hydra.storage.verify import verify_season
from tests.support.seasons import a_season, play

pytest_plugins = ["tests.support.postgres"]

QUARTER_NS = 7_776_000_000_000_000
EXPECTED = [
    ("journal", "seq", 1_000_000),
    ("equity_points", "at_ns", QUARTER_NS),
    ("scores", "at_ns", QUARTER_NS),
    ("model_calls", "at_ns", QUARTER_NS),
]
# create_hypertable and by_range as TimescaleDB 2.13 to 2.27 declare them (sql/ddl_api.sql).
DOCUMENTED = """
CREATE SCHEMA _timescaledb_internal;
CREATE TYPE _timescaledb_internal.dimension_info AS (column_name NAME, span BIGINT);
CREATE TABLE public.asked (
    id SERIAL, relation TEXT, column_name TEXT, span BIGINT,
    create_default_indexes BOOLEAN, if_not_exists BOOLEAN, migrate_data BOOLEAN);
CREATE FUNCTION by_range(
    column_name NAME, partition_interval ANYELEMENT = NULL::BIGINT, partition_func REGPROC = NULL
) RETURNS _timescaledb_internal.dimension_info LANGUAGE sql AS
$$ SELECT ROW(column_name, partition_interval)::_timescaledb_internal.dimension_info $$;
CREATE FUNCTION create_hypertable(
    relation REGCLASS, dimension _timescaledb_internal.dimension_info,
    create_default_indexes BOOLEAN = TRUE, if_not_exists BOOLEAN = FALSE,
    migrate_data BOOLEAN = FALSE
) RETURNS TABLE(hypertable_id INT, created BOOL) LANGUAGE plpgsql AS $$
DECLARE attribute pg_attribute;
BEGIN
    SELECT * INTO STRICT attribute FROM pg_attribute
        WHERE attrelid = relation AND attname = dimension.column_name;
    IF NOT attribute.attnotnull OR attribute.atttypid <> 'bigint'::regtype THEN
        RAISE EXCEPTION 'invalid type for dimension "%%"', attribute.attname;
    END IF;
    IF EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisunique
               AND NOT attribute.attnum = ANY (indkey)) THEN
        RAISE EXCEPTION 'cannot create a unique index without the column "%%"', attribute.attname;
    END IF;
    IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = relation
               AND NOT EXISTS (SELECT FROM pg_locks WHERE pg_locks.relation = confrelid
                               AND mode = 'ShareRowExclusiveLock' AND pid = pg_backend_pid())) THEN
        RAISE EXCEPTION 'may deadlock: lock the referenced tables first';
    END IF;
    created := NOT EXISTS (SELECT FROM asked a WHERE a.relation = $1::text);
    hypertable_id := 1;
    INSERT INTO asked (relation, column_name, span, create_default_indexes, if_not_exists,
                       migrate_data)
        VALUES ($1::text, $2.column_name, $2.span, $3, $4, $5);
    RETURN NEXT;
END $$;
"""


@pytest.mark.parametrize("one", HYPERTABLES, ids=lambda one: one.table.name)
def test_each_keeps_the_rules_of_hypertables(one: hypertables.Hypertable) -> None:
    column = one.table.c[one.column]
    assert isinstance(column.type, BigInteger)
    assert not column.nullable
    assert column.primary_key
    assert not any(index.unique for index in one.table.indexes)
    assert not any(isinstance(c, UniqueConstraint) for c in one.table.constraints)
    others = {two.table for two in HYPERTABLES}
    referred = {
        key.column.table for table in tables.metadata.tables.values() for key in table.foreign_keys
    }
    assert not others & referred


def test_what_is_asked_of_timescaledb_is_what_it_documents(postgres_url: str) -> None:
    upgrade(postgres_url)
    with writing(postgres_url) as connection:
        connection.exec_driver_sql(DOCUMENTED)

    with writing(postgres_url) as connection:
        assert hypertables._convert(connection) == [name for name, _, _ in EXPECTED]
    with writing(postgres_url) as connection:
        assert hypertables._convert(connection) == []

    with reading(postgres_url) as connection:
        asked = connection.execute(text("SELECT * FROM asked ORDER BY id")).all()
    assert [tuple(row)[1:4] for row in asked] == EXPECTED * 2
    assert {tuple(row)[4:] for row in asked} == {(False, True, True)}


def test_a_table_that_it_refuses_changes_none(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(postgres_url)
    with writing(postgres_url) as connection:
        connection.exec_driver_sql(DOCUMENTED)
    wrong = (*HYPERTABLES, hypertables.Hypertable(tables.tickets, "decided_ns", QUARTER_NS))
    monkeypatch.setattr(hypertables, "HYPERTABLES", wrong)

    with pytest.raises(StorageError, match="without the column"), writing(postgres_url) as goal:
        hypertables._convert(goal)
    with reading(postgres_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM asked")).scalar() == 0


def test_plain_postgresql_works_unchanged_and_says_so(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["db", "upgrade", "--db", postgres_url]) == 0

    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].startswith("plain PostgreSQL: the server has no TimescaleDB")
    assert shown.err == ""
    with open_season(postgres_url, a_season(), resume=False) as store:
        play(store)
    with reading(postgres_url) as connection:
        assert verify_season(connection).is_sound


def test_sqlite_says_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "upgrade", "--db", f"sqlite:///{tmp_path}/hydra.db"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.fixture
def with_extension(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database whose server has an extension, which is not in it: pgvector stands in."""
    monkeypatch.setattr(hypertables, "_EXTENSION", "vector")
    monkeypatch.setattr(hypertables, "_OLDEST", (0, 1))
    monkeypatch.setattr(hypertables, "_CREATE", text("CREATE EXTENSION IF NOT EXISTS vector"))
    upgrade(postgres_url)
    return postgres_url


def test_where_it_is_available_it_is_made_and_the_tables_are_turned(with_extension: str) -> None:
    with writing(with_extension) as connection:
        connection.exec_driver_sql(DOCUMENTED)

    for new in (4, 0):
        said = make_hypertables(with_extension)
        assert said.endswith(
            f": journal, equity_points, scores, model_calls are hypertables ({new} new)"
        )


def test_an_extension_that_may_not_be_made_leaves_all_as_it_is(with_extension: str) -> None:
    with writing(with_extension) as connection:
        connection.execute(text("DROP ROLE IF EXISTS modest"))
        connection.execute(text("CREATE ROLE modest LOGIN"))
    modest = make_url(with_extension).set(username="modest").render_as_string(hide_password=False)

    said = make_hypertables(modest)

    assert said.startswith("TimescaleDB cannot be used, the tables stay plain: postgresql")
    assert "permission denied to create extension" in said
    with writing(with_extension) as connection:
        connection.execute(text("DROP ROLE modest"))


def test_an_extension_that_ends_the_connection_leaves_all_as_it_is(
    with_extension: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As TimescaleDB does where it is not preloaded: FATAL, and the connection is gone.
    end = text("SELECT pg_terminate_backend(pg_backend_pid())")
    monkeypatch.setattr(hypertables, "_CREATE", end)

    said = make_hypertables(with_extension)

    assert "cannot be used, the tables stay plain: " in said
    assert "terminating connection" in said
    assert not caplog.records


def test_an_old_timescaledb_is_named_and_not_installed(
    with_extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypertables, "_OLDEST", (2, 13))

    assert "is too old, the tables stay plain: 2.13" in make_hypertables(with_extension)
    with reading(with_extension) as connection:
        made = text("SELECT count(*) FROM pg_extension WHERE extname = 'vector'")
        assert connection.execute(made).scalar() == 0


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0", (2, 13)), ("2.27.2-dev", (2, 27)), ("1.7", (1, 7))]
)
def test_versions_are_compared_by_number(version: str, numbers: tuple[int, ...]) -> None:
    assert hypertables._numbers(version) == numbers
