"""A live season pays what the live book costs, and pays the same when it is played again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.cli.season import Request
from apps.runtime.backlog import Backlog
from apps.runtime.live_season import LiveSeason, build_live
from hydra.clock import NS_PER_S
from hydra.engines.llm.recorded import RecordedModels
from hydra.engines.view import View
from hydra.errors import JournalFault
from hydra.feeds.minutes import Minute
from hydra.feeds.tables import rows_between
from hydra.market.bars import BarTable, no_depth
from hydra.market.catalogue import Catalogue
from hydra.storage.database import reading, writing
from hydra.storage.queries import season as season_of
from hydra.storage.queries import trades
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.storage.tables import season_bars
from tests.support.bars import START_NS, a_table
from tests.support.daemons import a_daemon
from tests.support.seasons import a_contestant

MINUTE_NS = 60 * NS_PER_S
BTC = Catalogue.load().instrument("BTC-USD", 2)
BARS = 6


def market(with_depth: bool = True) -> BarTable:
    """BTC-USD stands still at 50,000 with a spread of 1.00. On each side of the book 0.01 BTC lie
    at the best, 0.02 at 1.00 from it and 0.03 at 5.00."""
    table = a_table(closes=[50_000.0] * BARS, resolution="1m", instrument=BTC, spread=1.0)
    depth = no_depth(BARS)
    depth[:, :, :3] = (0, 1_000), (100, 2_000), (500, 3_000)
    values = {one.name: getattr(table, one.name) for one in fields(table)}
    return BarTable(**(values | {"depth": depth if with_depth else None}))


class Minutes:
    """Rows of the market up to one as a live source gives them; then the program dies."""

    def __init__(self, table: BarTable, last: int) -> None:
        self._table = table
        self._last = last

    async def minutes(self) -> AsyncIterator[Minute]:
        for row in range(self._last):
            close_ns = int(self._table.open_ns[row]) + MINUTE_NS
            bar = rows_between(self._table, row, row + 1)
            yield Minute(close_ns, {"BTC-USD": bar}, {"BTC-USD": ""})
        if self._last < BARS:
            raise Died

    async def aclose(self) -> None:
        pass


class Died(Exception):
    pass


class Trader:
    """Buys at the first bar what takes three levels, and sells it at the fourth."""

    features = ()

    def decide(self, view: View) -> Any:
        bars = len(view.bars(100).close)
        if bars == 1:
            return [view.buy(stop=49_000.0, lots=Decimal("0.06"))]
        return [view.close_ticket(one) for one in view.tickets] if bars == 4 else ()


def live(grace_ns: int = 0) -> LiveSeason:
    made = build_live(
        "live", Request(profile="none", engines=("flat",), models="off", costs="real"), [BTC],
        resolution_ns=MINUTE_NS, start_ns=START_NS, kill_switch=False, memory_limit_mb=0,
        client=RecordedModels(()), feed={"kind": "test"}, grace_ns=grace_ns,
    )  # fmt: skip
    values = {one.name: getattr(made, one.name) for one in fields(made)}
    return LiveSeason(**(values | {"contestants": (a_contestant("trader", Trader()),)}))


def play(home: Path, table: BarTable, last: int = BARS, grace_ns: int = 0) -> str:
    """Play, or go on with, the season up to a bar; the URL of its database."""
    url = f"sqlite:///{home}/hydra.db"
    season = live(grace_ns)
    resume = (home / "hydra.db").exists()

    async def live_on(store: SqlSeasonStore) -> None:
        backlog = Backlog(Minutes(table, last))
        with suppress(Died):
            await a_daemon(season, url, store, backlog, home).play()
        await backlog.aclose()

    with open_season(url, season.row, resume=resume, durable=True) as store:
        asyncio.run(live_on(store))
    return url


def digest(url: str) -> str:
    with reading(url) as connection:
        return season_of(connection).digest


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a season that was played undisturbed."""
    return play(tmp_path_factory.mktemp("whole"), market())


def test_an_order_larger_than_the_first_level_pays_the_walk(whole: str) -> None:
    """0.01 at the best, 0.02 a dollar away and 0.03 five: 17 / 6, in cents rounded up, 2.84."""
    with reading(whole) as connection:
        (ticket,) = trades(connection)
    assert ticket.entry_price == Decimal("50001.00") + Decimal("2.84")
    assert ticket.exit_price == Decimal("50000.00") - Decimal("2.84")
    # Both ways: half the spread and the walk, on 0.06 BTC.
    assert ticket.spread_units == round(2 * (0.5 + 2.84) * 0.06 * 10**8)


def test_without_depth_the_same_order_pays_the_model(tmp_path: Path) -> None:
    url = play(tmp_path, market(with_depth=False))

    with reading(url) as connection:
        (ticket,) = trades(connection)
    assert ticket.entry_price == Decimal("50002.01")  # 0.2 bps, and no range to pay impact of


@pytest.mark.parametrize("died_after", [2, 4])
def test_played_again_from_its_kept_bars_it_fills_the_same(
    whole: str, tmp_path: Path, died_after: int
) -> None:
    play(tmp_path, market(), died_after)
    after = market()
    assert after.depth is not None
    after.depth[:died_after] = 0  # nobody but the kept bars knows the books of before

    assert digest(play(tmp_path, after)) == digest(whole)


def test_a_kept_bar_that_lost_its_depth_is_noticed(tmp_path: Path) -> None:
    """The test before would not be worth much if depth did not enter the digest."""
    url = play(tmp_path, market(), 4)
    with writing(url) as connection:
        connection.execute(season_bars.update().values(depth=None))

    with pytest.raises(JournalFault):
        play(tmp_path, market())


@pytest.mark.parametrize("grace_s", [0, 2])
def test_no_order_is_filled_at_a_price_from_before_the_bar_was_told(
    tmp_path: Path, grace_s: int
) -> None:
    """Decided on the bar that closed at 60 s, which came at 62 s, it fills inside the next."""
    url = play(tmp_path, market(), grace_ns=grace_s * NS_PER_S)

    with reading(url) as connection:
        (ticket,) = trades(connection)
        plan: Any = season_of(connection).season.settings["plan"]
    assert plan.get("grace_ns", 0) == grace_s * NS_PER_S
    assert ticket.opened_ns is not None
    assert ticket.opened_ns - ticket.decided_ns >= grace_s * NS_PER_S
    assert (ticket.opened_ns == ticket.decided_ns) is (grace_s == 0)
