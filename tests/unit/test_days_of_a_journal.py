"""Where the guardian's days lie in a journal, account by account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from apps.cli.daily import DailyReports
from hydra.clock import NS_PER_S, to_ns
from hydra.storage.database import reading
from hydra.storage.days import cuts, happened
from hydra.storage.schema import ensure
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.tournament.season import GuardianDayRow, LatchRow, ScoreRow
from tests.support.seasons import a_season

END_NS = to_ns(datetime(2024, 1, 10, 23, tzinfo=UTC))  # of 10 January in Prague
HOUR_NS = 3_600 * NS_PER_S
LATCH = LatchRow(
    engine="b", rule="daily-loss", at_ns=END_NS, until_ns=None, limit_units=1, figure_units=2,
    text="",
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two accounts and two days. Closing b's first day comes after a has begun its second."""
    url = f"sqlite:///{tmp_path}/hydra.db"
    ensure(url)
    with open_season(url, a_season(), resume=False) as store:
        refused(store, "a")
        day(store, "a", "2024-01-10")
        refused(store, "a")  # of a's second day
        refused(store, "b")  # still of b's first
        day(store, "b", "2024-01-10")
        store.journal(1, END_NS, "b", "latch", None, msgspec.json.encode(LATCH))
        for engine in ("a", "b"):
            day(store, engine, "2024-01-11")
        refused(store, "a")  # of a day that is not over
        for at_ns, points in ((END_NS - HOUR_NS, 1), (END_NS, 2), (END_NS + HOUR_NS, 3)):
            score(store, at_ns, points)
        store.commit(1, END_NS)
    return url


def refused(store: SqlSeasonStore, engine: str) -> None:
    store.journal(1, END_NS, engine, "refused", None, b'{"refused":{"rule":"stop"}}')


def day(store: SqlSeasonStore, engine: str, label: str) -> None:
    row = GuardianDayRow(
        engine=engine, day=label, start_balance_units=0, daily_floor_units=None,
        total_floor_units=None, worst_equity_units=0, end_balance_units=0, opened=0, refused=1,
        resized=0, breach="",
    )  # fmt: skip
    store.guardian_day(row)
    store.journal(1, END_NS, engine, "day", None, msgspec.json.encode(row))


def score(store: SqlSeasonStore, at_ns: int, points: int) -> None:
    store.score(
        ScoreRow(
            at_ns=at_ns, scoring_cycle=points, engine="a", rank=1, total_points=points, weight=1.0,
            net_pnl_units=0, trades=0, wins=0,
        )
    )  # fmt: skip


def test_a_record_belongs_to_the_day_of_its_own_account(url: str) -> None:
    with reading(url) as connection:
        first, second = cuts(connection).values()
        one, two = (happened(connection, None, cut) for cut in (first, second))

    assert one.refusals == {("a", "stop"): 1, ("b", "stop"): 1}
    assert two.refusals == {("a", "stop"): 1}
    assert one.latches == ()
    assert two.latches == (LATCH,)


def test_a_day_that_is_not_over_is_none(url: str) -> None:
    with reading(url) as connection:
        assert list(DailyReports(connection).days) == ["2024-01-10", "2024-01-11"]


def test_standings_of_a_bar_that_closes_with_the_day_are_the_days(url: str) -> None:
    with reading(url) as connection:
        standings = DailyReports(connection).of("2024-01-10")["standings"]

    assert isinstance(standings, list)
    assert [row["points"] for row in standings] == [2]
