"""One suite for every place that keeps a season: memory, SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.storage.database import reading, writing
from hydra.storage.journal import GENESIS, record_hash
from hydra.storage.memory import MemoryDatabase, MemorySeasonStore
from hydra.storage.queries import season, set_kill_switch
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.tournament.season import SeasonRow
from tests.support.seasons import START_NS, a_season, play

pytest_plugins = ["tests.support.postgres"]


class Home(Protocol):
    """What the suite asks of a place beyond the stores it opens."""

    def open(self, row: SeasonRow, *, resume: bool) -> MemorySeasonStore | SqlSeasonStore: ...

    def set_switch(self, on: bool) -> None: ...

    def committed(self, name: str) -> tuple[int, str]:
        """The last committed cycle, and the digest then."""


class MemoryHome:
    def __init__(self) -> None:
        self._database = MemoryDatabase()

    def open(self, row: SeasonRow, *, resume: bool) -> MemorySeasonStore:
        return self._database.open_season(row, resume=resume)

    def set_switch(self, on: bool) -> None:
        self._database.kill_switch = on

    def committed(self, name: str) -> tuple[int, str]:
        found = self._database.seasons[name]
        return found.cycle, found.digest


class SqlHome:
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, row: SeasonRow, *, resume: bool) -> SqlSeasonStore:
        return open_season(self._url, row, resume=resume)

    def set_switch(self, on: bool) -> None:
        with writing(self._url) as connection:
            set_kill_switch(connection, on, "test")

    def committed(self, name: str) -> tuple[int, str]:
        with reading(self._url) as connection:
            found = season(connection, name)
        return found.cycle, found.digest


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "memory":
        return MemoryHome()
    if request.param == "sqlite":
        return SqlHome(f"sqlite:///{tmp_path}/hydra.db")
    return SqlHome(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def undisturbed() -> str:
    """The digest of the season that `play` plays."""
    return play(MemoryDatabase().open_season(a_season(), resume=False), cycles=6)


def test_the_digest_is_the_hash_of_the_last_record_and_knows_no_name(home: Home) -> None:
    store = home.open(a_season("any name"), resume=False)
    store.journal(0, START_NS, "", "season", None, b"{}")
    store.journal(1, START_NS + 1, "ema", "closed", -5, b'{"a":"\xc3\xa9"}')

    digest = store.close(1, START_NS + 1, ())
    store.release()

    first = record_hash(GENESIS, 1, 0, START_NS, "", "season", None, b"{}")
    second = record_hash(first, 2, 1, START_NS + 1, "ema", "closed", -5, b'{"a":"\xc3\xa9"}')
    assert digest == second.hex()
    assert home.committed("any name") == (1, digest)


@pytest.mark.parametrize("commit_every", [1, 2, 5])
def test_how_often_one_commits_does_not_change_the_digest(
    home: Home, commit_every: int, undisturbed: str
) -> None:
    store = home.open(a_season(), resume=False)

    assert play(store, cycles=6, commit_every=commit_every) == undisturbed
    store.release()


def test_what_was_not_committed_is_gone(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    play(store, cycles=3, commit_every=2, close=False)
    store.release()

    assert home.committed("season-1")[0] == 2


@pytest.mark.parametrize("before", [1, 2, 7])
@pytest.mark.parametrize("after", [1, 4])
def test_a_resumed_season_ends_as_an_undisturbed_one_however_often_either_committed(
    home: Home, before: int, after: int, undisturbed: str
) -> None:
    store = home.open(a_season(), resume=False)
    play(store, cycles=5, commit_every=before, close=False)
    store.release()

    resumed = home.open(a_season(), resume=True)
    assert resumed.stored_cycle == 5 // before * before
    assert play(resumed, cycles=6, commit_every=after) == undisturbed
    resumed.release()
    assert home.committed("season-1") == (6, undisturbed)


def test_a_finished_season_can_be_played_again_and_stays_as_it_is(
    home: Home, undisturbed: str
) -> None:
    for resume in (False, True, True):
        store = home.open(a_season(), resume=resume)
        assert play(store, cycles=6) == undisturbed
        store.release()


def test_a_resumed_season_tells_what_came_from_outside(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    assert store.external_inputs() == ()
    assert store.stored_cycle == 0
    play(store, close=False)
    store.release()

    resumed = home.open(a_season(), resume=True)
    assert resumed.external_inputs() == ((2, "external.kill", b"{}"),)
    resumed.release()


def test_a_resumed_season_that_differs_is_stopped_at_the_first_record(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    play(store, close=False)
    store.release()

    resumed = home.open(a_season(), resume=True)
    resumed.journal(0, START_NS, "", "season", None, b'{"seed":7}')
    with pytest.raises(JournalFault, match=r"record 2 .*kind was 'approved', now 'refused'"):
        resumed.journal(1, START_NS, "ema", "refused", None, b"{}")
    resumed.release()


def test_a_resumed_season_that_leaves_records_out_cannot_go_beyond_them(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    play(store, close=False)
    store.release()

    resumed = home.open(a_season(), resume=True)
    resumed.journal(0, START_NS, "", "season", None, b'{"seed":7}')
    resumed.commit(0, START_NS)
    with pytest.raises(JournalFault, match="without record 2"):
        resumed.commit(4, START_NS)
    resumed.release()


def test_a_resumed_season_cannot_add_records_to_cycles_that_are_committed(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    store.journal(1, START_NS, "", "season", None, b"{}")
    store.commit(9, START_NS)
    store.release()

    resumed = home.open(a_season(), resume=True)
    resumed.journal(1, START_NS, "", "season", None, b"{}")
    resumed.journal(4, START_NS, "ema", "approved", None, b"{}")
    with pytest.raises(JournalFault, match=r"record 2 \(approved of ema, cycle 4\)"):
        resumed.commit(5, START_NS)
    resumed.release()


def test_a_name_can_be_taken_once(home: Home) -> None:
    home.open(a_season(), resume=False).release()

    with pytest.raises(ConfigError, match="season-1"):
        home.open(a_season(), resume=False)


def test_what_is_not_there_cannot_be_resumed(home: Home) -> None:
    with pytest.raises(ConfigError, match="no season season-1"):
        home.open(a_season(), resume=True)


def test_a_season_goes_on_with_the_setup_it_began_with(home: Home) -> None:
    home.open(a_season(), resume=False).release()

    with pytest.raises(ConfigError, match="set up differently"):
        home.open(a_season(seed=8), resume=True)


def test_a_season_has_one_writer(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    with pytest.raises(StorageError, match="being played by"):
        home.open(a_season(), resume=True)
    other = home.open(a_season("season-2"), resume=False)
    other.release()
    store.release()

    home.open(a_season(), resume=True).release()


def test_the_kill_switch_is_seen_when_another_commits_it(home: Home) -> None:
    store = home.open(a_season(), resume=False)
    seen = [store.kill_switch()]
    for on in (True, False):
        home.set_switch(on)
        seen.append(store.kill_switch())

    assert seen == [False, True, False]
    store.release()
