"""A season that is killed at any point goes on and ends as if nothing had happened."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, event

from hydra.engines.view import View
from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Close, Intent
from hydra.storage.database import reading
from hydra.storage.verify import verify_season
from tests.support.processes import (
    Setup,
    die,
    fork,
    in_child,
    rows_of,
    sample_tables,
)

pytest_plugins = ["tests.support.postgres"]


class Mortal:
    """Wants nothing; its process dies at its so many-th decision, at 0 never."""

    features = ()

    def __init__(self, dies_at: int = 0) -> None:
        self._left = dies_at

    def decide(self, view: View) -> Sequence[Intent]:
        self._left -= 1
        if self._left == 0:
            die()
        return ()


class Failing:
    """Fails whenever it is asked."""

    features = ()

    def decide(self, view: View) -> Sequence[Intent]:
        raise RuntimeError("again")


class Troubled:
    """Trades, and now and then fails or asks for nonsense: never three times in a row."""

    features = ()

    def __init__(self) -> None:
        self._asked = 0

    def decide(self, view: View) -> Sequence[Intent]:
        self._asked += 1
        if self._asked % 17 == 0:
            raise RuntimeError(f"decision {self._asked}")
        if self._asked % 29 == 0:
            return (Close(ticket=10_000),)
        if view.tickets:
            return [view.close_ticket(t) for t in view.tickets] if self._asked % 5 == 0 else ()
        return (view.sell(stop=view.close * 1.04, target=view.close * 0.97),)


SETUP = Setup(tables=sample_tables(bars=250), more=lambda: {"mortal": Mortal()})
EVERY_CYCLE = {"poll_ms": 0, "commit_ms": 0}
Say = Callable[[str], None]


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/hydra.db"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, list[object]]]:
    """Digest and rows of the season that nothing disturbed."""
    url = url_of(tmp_path_factory.mktemp("undisturbed"))
    digest = SETUP.play_stored(url)
    return digest, dict(rows_of(url))  # type: ignore[arg-type]


def die_at_line(url: str, line: int) -> None:
    """Killed from outside once it has committed so many cycles, whatever it is doing then."""

    def work(say: Say) -> None:
        replace(SETUP, plan=EVERY_CYCLE).play_stored(
            url, on_commit=lambda cycle, now_ns: say(str(cycle))
        )

    child = fork(work)
    assert len(child.lines(line)) == line
    child.kill()
    assert child.wait() == -9


def die_at_statement(url: str, count: int, *, before: bool) -> None:
    """Killed inside a transaction: around its so many-th statement that writes."""

    def work(say: Say) -> None:
        left = count

        def look(connection: Connection, cursor: object, statement: str, *_: object) -> None:
            nonlocal left
            if statement.startswith(("INSERT", "UPDATE")):
                left -= 1
                if left == 0:
                    die()

        event.listen(Engine, "before_cursor_execute" if before else "after_cursor_execute", look)
        replace(SETUP, plan=EVERY_CYCLE).play_stored(url)

    assert fork(work).wait() == -9


def die_at_decision(url: str, count: int, commit_ms: int) -> None:
    """Killed while an engine decides, with cycles behind it that no commit has seen."""

    def work(say: Say) -> None:
        dying = replace(SETUP, more=lambda: {"mortal": Mortal(count)})
        replace(dying, plan={"poll_ms": 0, "commit_ms": commit_ms}).play_stored(url)

    assert fork(work).wait() == -9


def resumed(url: str) -> str:
    (digest,) = in_child(lambda say: say(SETUP.play_stored(url, resume=True)))
    return digest


def assert_sound(url: str) -> None:
    with reading(url) as connection:
        verdict = verify_season(connection)
    assert verdict.is_sound, verdict.faults


def points() -> list[tuple[str, int]]:
    """50 ways and moments to die, over the whole season."""
    rng = np.random.default_rng(20_240_131)
    lines = rng.choice(np.arange(1, 250), 24, replace=False)
    statements = rng.choice(np.arange(1, 700), 16, replace=False)
    decisions = rng.choice(np.arange(1, 800), 10, replace=False)
    return (
        [("line", int(n)) for n in np.sort(lines)]
        + [("statement", int(n)) for n in np.sort(statements)]
        + [("decision", int(n)) for n in np.sort(decisions)]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("way", "n"), points())
def test_killed_at_any_point_it_ends_with_the_undisturbed_digest_and_rows(
    tmp_path: Path, undisturbed: tuple[str, dict[str, list[object]]], way: str, n: int
) -> None:
    url = url_of(tmp_path)
    if way == "line":
        die_at_line(url, n)
    elif way == "statement":
        die_at_statement(url, n, before=n % 2 == 0)
    else:
        die_at_decision(url, n, commit_ms=25)
    assert_sound(url)

    digest = resumed(url)

    assert digest == undisturbed[0]
    assert_sound(url)
    rows = rows_of(url)
    for table, expected in undisturbed[1].items():
        assert rows[table] == expected, table
    tickets = Counter(row[0] for row in rows["tickets"])
    assert set(tickets) == set(range(1, len(tickets) + 1))
    assert set(tickets.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("n", [9, 77, 130, 201, 244])
def test_so_does_a_season_by_consensus_among_engines_in_trouble(tmp_path: Path, n: int) -> None:
    setup = replace(
        SETUP,
        specs=("ema_trend", "mean_reversion", "flat"),
        more=lambda: {"troubled": Troubled(), "fails": Failing()},
        mode="consensus",
    )
    whole = url_of(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    digest = setup.play_stored(whole)
    url = url_of(tmp_path)

    def work(say: Say) -> None:
        replace(setup, plan=EVERY_CYCLE).play_stored(url, on_commit=lambda c, now_ns: say(str(c)))

    child = fork(work)
    child.lines(n)
    child.kill()
    assert child.wait() == -9

    assert in_child(lambda say: say(setup.play_stored(url, resume=True))) == [digest]
    assert_sound(url)
    assert rows_of(url) == rows_of(whole)
    states = {row[0]: row[4] for row in rows_of(url)["engines"]}
    assert (states["fails"], states["troubled"]) == ("benched", "playing")


def test_killed_again_and_again_it_still_ends_as_it_should(
    tmp_path: Path, undisturbed: tuple[str, dict[str, list[object]]]
) -> None:
    url = url_of(tmp_path)
    die_at_line(url, 40)
    for line in (60, 90, 10):

        def work(say: Say) -> None:
            replace(SETUP, plan=EVERY_CYCLE).play_stored(
                url, resume=True, on_commit=lambda cycle, now_ns: say(str(cycle))
            )

        child = fork(work)
        child.lines(line)
        child.kill()
        assert child.wait() == -9
        assert_sound(url)

    assert resumed(url) == undisturbed[0]
    assert rows_of(url) == undisturbed[1]


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 60, 140, 230])
def test_on_postgres_too(
    postgres_url: str, undisturbed: tuple[str, dict[str, list[object]]], n: int
) -> None:
    die_at_line(postgres_url, n)
    assert_sound(postgres_url)

    assert resumed(postgres_url) == undisturbed[0]
    assert_sound(postgres_url)


def test_a_season_killed_before_its_first_commit_starts_from_the_beginning(
    tmp_path: Path, undisturbed: tuple[str, dict[str, list[object]]]
) -> None:
    url = url_of(tmp_path)
    die_at_decision(url, 1, commit_ms=0)

    assert resumed(url) == undisturbed[0]
    assert rows_of(url) == undisturbed[1]


def test_a_finished_season_played_again_changes_nothing(
    tmp_path: Path, undisturbed: tuple[str, dict[str, list[object]]]
) -> None:
    url = url_of(tmp_path)
    SETUP.play_stored(url)

    assert SETUP.play_stored(url, resume=True) == undisturbed[0]
    assert rows_of(url) == undisturbed[1]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(SETUP, seed=2), "seed was 1, now 2"),
        (replace(SETUP, profile="none"), "profile was 'ftmo-2step', now 'none'"),
        (replace(SETUP, mode="consensus"), "mode was 'independent', now 'consensus'"),
        (replace(SETUP, settings={"engines": ["flat"]}), "settings was"),
        (replace(SETUP, inputs=(("bars.csv", "11" * 32),)), "inputs was"),
    ],
)
def test_a_season_set_up_differently_is_refused_before_it_starts(
    tmp_path: Path, changed: Setup, named: str
) -> None:
    url = url_of(tmp_path)
    die_at_line(url, 5)

    with pytest.raises(ConfigError, match=r"was set up differently.*--season") as refused:
        changed.play_stored(url, resume=True)
    assert named in str(refused.value)


def test_other_engines_that_the_setup_does_not_tell_are_found_at_the_first_record(
    tmp_path: Path,
) -> None:
    url = url_of(tmp_path)
    die_at_line(url, 5)

    with pytest.raises(JournalFault, match=r"record 1 \(season of .*differs from the stored one"):
        replace(SETUP, specs=["flat"]).play_stored(url, resume=True)


def test_other_bars_that_the_setup_does_not_tell_are_found_at_the_first_record_they_change(
    tmp_path: Path,
) -> None:
    url = url_of(tmp_path)
    die_at_line(url, 200)
    before = rows_of(url)
    calmer = [a_flat_end(table, from_row=100) for table in SETUP.tables]

    with pytest.raises(
        JournalFault, match=r"record \d+ .*cycle \d+\).*(differs|without record|stored)"
    ):
        replace(SETUP, tables=calmer).play_stored(url, resume=True)
    assert rows_of(url) == before


def a_flat_end(table: BarTable, from_row: int) -> BarTable:
    """The table with its bars from a row on all like the one before."""

    def held(column: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.arange(len(column)) < from_row, column, column[from_row - 1])

    prices: dict[str, Any] = {
        name: held(getattr(table, name))
        for name in (
            "bid_open", "bid_high", "bid_low", "bid_close", "ask_open", "ask_high", "ask_low",
            "ask_close", "open", "high", "low", "close", "volume",
        )
    }  # fmt: skip
    return replace(table, **prices)


def damage(url: str, statement: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE journal SET body=replace(body, 'BTC', 'ETH') WHERE seq=40", None),
        ("UPDATE journal SET amount_units=amount_units+1 WHERE seq=(SELECT min(seq) FROM journal "
         "WHERE amount_units IS NOT NULL)", None),
        ("UPDATE journal SET hash=zeroblob(32) WHERE seq=12", "record 12 .* was altered"),
        ("DELETE FROM journal WHERE seq=33", "record 33 is missing"),
        ("DELETE FROM journal WHERE seq=(SELECT max(seq) FROM journal)", r"record \d+ is missing"),
        ("UPDATE seasons SET digest='00'", "does not lead to the season's digest 00"),
    ],
)  # fmt: skip
def test_a_torn_or_altered_journal_is_named_and_not_played_on(
    tmp_path: Path, statement: str, named: str | None
) -> None:
    url = url_of(tmp_path)
    die_at_line(url, 150)
    damage(url, statement)

    with pytest.raises(JournalFault, match=named or r"record \d+ \(.*cycle \d+\) was altered"):
        SETUP.play_stored(url, resume=True)


def test_while_one_process_plays_a_season_no_other_can_resume_it(tmp_path: Path) -> None:
    url = url_of(tmp_path)

    def work(say: Say) -> None:
        replace(SETUP, plan=EVERY_CYCLE).play_stored(
            url, on_commit=lambda cycle, now_ns: say(str(cycle))
        )

    child = fork(work)
    child.lines(3)
    try:
        with pytest.raises(StorageError, match=f"process {child.pid}"):
            SETUP.play_stored(url, resume=True)
    finally:
        child.kill()
        child.wait()
