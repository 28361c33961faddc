"""A season that is copied arrives whole and equal, or leaves no trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import func, make_url, select, text

from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, no_depth
from hydra.storage import copying, queries, tables
from hydra.storage.bars import KeptBar, SeasonBars
from hydra.storage.copying import SEASON_TABLES, copy_season
from hydra.storage.database import reading, writing
from hydra.storage.jobs import JobRun, SeasonJobs
from hydra.storage.memory import MemoryDatabase
from hydra.storage.schema import downgrade, ensure
from hydra.storage.store import open_season
from hydra.storage.verify import verify_season
from hydra.tournament.season import LessonRow, ModelCallRow, PromptRow, SeasonStore
from tests.support.bars import a_random_walk
from tests.support.processes import die, fork
from tests.support.seasons import START_NS, a_season, a_ticket, play

pytest_plugins = ["tests.support.postgres"]

PAIRS = [
    ("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres"),
]  # fmt: skip
Place = Callable[[str, str], str]
CYCLES = 6


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """URL of an empty database of a kind, by a name of its own; PostgreSQL has one."""

    def url(kind: str, name: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        found: str = request.getfixturevalue("postgres_url")
        return found

    return url


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, place: Place) -> str:
    return place(request.param, "target")


@pytest.fixture
def source(place: Place) -> str:
    """A SQLite database with the finished season `season-1`."""
    url = place("sqlite", "source")
    ensure(url)
    with open_season(url, a_season(), resume=False) as store:
        keep_bars(url, store.season_id)
        play_all(store)
    return url


def keep_bars(url: str, season_id: int) -> None:
    plain = a_random_walk(np.random.default_rng(3), bars=4)
    depth = no_depth(4)
    depth[::2, 0, :3] = (0, 7), (3, 2**40), (2**33, 1)
    table = BarTable(
        **{one.name: getattr(plain, one.name) for one in fields(plain)} | {"depth": depth}
    )
    bars = [KeptBar(rows_between(table, i, i + 1), "silent" * (i % 2)) for i in range(4)]
    SeasonBars(url, season_id).append(bars)


def play_all(store: SeasonStore, *, close: bool = True) -> str:
    """A season with rows in every table, odd ones among them."""
    store.prompt(PromptRow(sha256=sha256(b"be wise").hexdigest(), version="v1", text="be wise"))
    for attempt, reply in enumerate(("buy\tlow\\.\n", '"\u4f60\u597d" \\N', ""), start=1):
        call: dict[str, Any] = {
            "asked_ns": START_NS,
            "attempt": attempt,
            "prompt_sha256": "cd" * 32,
            "reply_sha256": sha256(reply.encode()).hexdigest(),
            "outcome": "answered",
            "input_tokens": 10,
            "output_tokens": None,
            "cost_units": 2**62,
        }
        store.journal(0, START_NS, "ema", "model", None, msgspec.json.encode(call))
        del call["reply_sha256"], call["asked_ns"]
        store.model_call(
            ModelCallRow(
                engine="ema", at_ns=START_NS, provider="x", model="m", model_said="",
                prompt_version="v1", system_sha256=sha256(b"be wise").hexdigest(),
                prompt='[["user","?"]]', params={"b": 1.0, "a": [1, None]}, error="", reply=reply,
                finish="", cached_tokens=None, latency_ns=5, tries=1, called_ns=9, **call,
            )
        )  # fmt: skip
    store.lesson(LessonRow(engine="ema", at_ns=START_NS, ticket=900, text="t", words="w"))
    lots = ("1E-8", "0.120", "1E+3", "-0.0", "123456789012345678901234567890.000000001")
    for number, exact in enumerate(lots, start=900):
        store.ticket(a_ticket(number, "idle", lots=Decimal(exact), pnl_frac=0.1 + 0.2))
    return play(store, cycles=CYCLES, close=close)


def left(url: str, name: str) -> dict[str, list[str]]:
    """All rows of a season, as text in an order of their own; exact decimals in full, zero
    without a sign."""
    with reading(url) as connection:
        season = queries.find_season(connection, name)._mapping
        found = {"seasons": [str({k: season[k] for k in season if k not in ("id", "name")})]}
        for table in SEASON_TABLES:
            exact = [i for i, c in enumerate(table.c) if c.type is tables.EXACT]
            statement = select(table).where(table.c.season_id == season["id"])
            rows = []
            for row in connection.execute(statement):
                values = list(row)
                for i in exact:
                    if values[i] is not None:
                        values[i] = f"{Decimal(values[i]):f}".replace("-0.0", "0.0")
                rows.append(repr(values[1:]))
            found[table.name] = sorted(rows)
    return found


def count_all(url: str) -> int:
    """Rows of all seasons in all tables."""
    with reading(url) as connection:
        return sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.seasons, *SEASON_TABLES)
        )


def test_every_table_is_copied_or_belongs_to_no_season() -> None:
    others = {"seasons", "guardian_state"}

    assert {table.name for table in SEASON_TABLES} | others == set(tables.metadata.tables)


@pytest.mark.parametrize(("kind_from", "kind_to"), PAIRS)
def test_all_rows_arrive_and_the_copy_can_be_resumed(
    place: Place, kind_from: str, kind_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGE_ROWS", 3)
    source, target = place(kind_from, "source"), place(kind_to, "target")
    with open_season(source, a_season(), resume=False) as store:
        keep_bars(source, store.season_id)
        SeasonJobs(source, store.season_id).keep("daily report", JobRun(7, "2024-01-31"))
        play_all(store, close=False)
    seen: list[tuple[int, int]] = []

    copied = copy_season(source, target, new_name="other", on_rows=lambda *n: seen.append(n))

    before, after = left(source, "season-1"), left(target, "other")
    if source == target:  # within one database, the season played last stays the current one
        assert not copied.is_current
        before["seasons"] = after["seasons"] = []
    assert after == before
    assert all(before[table.name] for table in SEASON_TABLES if table.name != "standings")
    assert copied.rows == {table.name: len(before[table.name]) for table in SEASON_TABLES}
    assert seen[-1] == (sum(copied.rows.values()),) * 2
    assert (copied.state, copied.cycle) == ("playing", CYCLES)

    with open_season(source, a_season(), resume=True) as store:
        digest = play_all(store)
    with open_season(target, a_season("other"), resume=True) as store:
        assert play_all(store) == digest
    with reading(target) as connection:
        assert verify_season(connection, "other").is_sound


def test_there_and_back_again_all_is_as_it_was(source: str, place: Place) -> None:
    postgres, back = place("postgres", "p"), place("sqlite", "back")
    copy_season(source, postgres)
    copied = copy_season(postgres, back)

    assert left(back, "season-1") == left(source, "season-1")
    assert copied.is_current
    with reading(back) as connection:
        assert len(queries.model_calls(connection)) == 3
        assert str(queries.trades(connection, engine="idle")[0].lots) == "1E-8"


@pytest.mark.parametrize(("kind_from", "kind_to"), PAIRS[:3])
def test_of_a_season_that_is_played_meanwhile_the_copy_is_one_moment(
    place: Place, kind_from: str, kind_to: str
) -> None:
    source, target = place(kind_from, "source"), place(kind_to, "target")
    store = open_season(source, a_season(), resume=False)
    play(store, cycles=4, close=False)
    before = left(source, "season-1")
    played = iter(range(5, 1000))

    def play_on(done: int, total: int) -> None:
        cycle = next(played)
        store.journal(cycle, START_NS + cycle, "ema", "approved", None, b"{}")
        store.commit(cycle, START_NS + cycle)

    copied = copy_season(source, target, on_rows=play_on)
    store.release()

    assert copied.cycle == 4
    assert left(target, "season-1") == before
    assert left(source, "season-1") != before


def test_the_source_is_only_read(source: str, target: str) -> None:
    path = Path(source.removeprefix("sqlite:///"))
    before = hashlib.sha256(path.read_bytes()).digest()

    copy_season(source, target)

    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_a_copy_becomes_current_only_where_no_season_is(source: str, target: str) -> None:
    assert copy_season(source, target).is_current
    assert not copy_season(source, target, new_name="second").is_current

    with reading(target) as connection:
        assert queries.season(connection).season.name == "season-1"


def test_what_cannot_be_copied_is_refused_with_a_word_on_what_to_do(
    source: str, target: str, place: Place
) -> None:
    copy_season(source, target)
    before = count_all(target)

    with pytest.raises(ConfigError, match=r"already has a season season-1: .* by --as"):
        copy_season(source, target)
    with pytest.raises(ConfigError, match="no season x; there are: season-1"):
        copy_season(source, target, "x")
    with pytest.raises(StorageError, match="there is no database"):
        copy_season(place("sqlite", "nowhere"), target)
    assert count_all(target) == before

    new = place("sqlite", "new")
    with writing(source) as connection:
        connection.execute(text("UPDATE journal SET amount_units = 7 WHERE seq = 9"))
    with pytest.raises(JournalFault, match=r"does not verify and was not copied: .*record 9"):
        copy_season(source, new)
    downgrade(source, "0001")
    with pytest.raises(StorageError, match=r"is at schema 0001, not .*: run hydra db upgrade"):
        copy_season(source, new)
    assert not Path(new.removeprefix("sqlite:///")).exists()


SPOILED = {
    "equity_points": "equity_units = equity_units + 1",
    "model_calls": "prompt = 'another'",
    "tickets": "lots = '0.12'",
    "journal": "body = '{}'",
}


@pytest.mark.parametrize("table", SPOILED)
def test_a_copy_that_differs_is_taken_back(source: str, place: Place, table: str) -> None:
    target = place("sqlite", "target")
    ensure(target)
    # A database that does not keep what it is given.
    with writing(target) as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER spoil AFTER INSERT ON {table} BEGIN"
            f" UPDATE {table} SET {SPOILED[table]} WHERE season_id = NEW.season_id; END"
        )

    with pytest.raises(StorageError, match="nothing was kept"):
        copy_season(source, target)
    assert count_all(target) == 0


def test_text_that_postgresql_cannot_hold_is_named(place: Place) -> None:
    source, target = place("sqlite", "source"), place("postgres", "target")
    with open_season(source, a_season(), resume=False) as store:
        store.lesson(LessonRow(engine="e", at_ns=1, ticket=1, text="a\0b", words=""))
        play(store)

    with pytest.raises(StorageError, match=r"postgresql.*NUL.*can live in SQLite"):
        copy_season(source, target)
    assert count_all(target) == 0


@pytest.mark.parametrize("page", [1, 8, 12])
def test_a_copy_that_is_killed_leaves_no_trace_and_does_not_stand_in_the_way(
    source: str, target: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGE_ROWS", 10)

    def work(say: Callable[[str], None]) -> None:
        pages = 0

        def on_rows(done: int, total: int) -> None:
            nonlocal pages
            pages += 1
            if pages == page:
                die()

        copy_season(source, target, on_rows=on_rows)

    assert fork(work).wait() == -9

    assert count_all(target) == 0
    assert copy_season(source, target).digest == in_memory()


def in_memory() -> str:
    return play_all(MemoryDatabase().open_season(a_season(), resume=False))


def test_a_password_is_in_no_message(source: str) -> None:
    bad = make_url("postgresql://u:secret@127.0.0.1:9/x").render_as_string(hide_password=False)

    with pytest.raises(StorageError, match="is the server running") as caught:
        copy_season(source, bad)
    assert "secret" not in str(caught.value)
