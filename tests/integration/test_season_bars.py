"""The kept bars of a live season come back as they were, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from hydra.errors import StorageError
from hydra.feeds.tables import rows_between
from hydra.market.bars import DEPTH_LEVELS, BarTable, no_depth
from hydra.storage.bars import KeptBar, SeasonBars
from hydra.storage.database import reading, writing
from hydra.storage.store import open_season
from hydra.storage.tables import season_bars
from tests.support.bars import a_random_walk
from tests.support.seasons import a_season

pytest_plugins = ["tests.support.postgres"]

CONSTANT = ("instrument", "resolution_ns", "source", "real_spread")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hydra.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def bars(url: str) -> SeasonBars:
    with open_season(url, a_season(), resume=False) as store:
        return SeasonBars(url, store.season_id)


def some_bars() -> list[BarTable]:
    """Five bars: a full book, one level, one side, an empty book, and one without depth."""
    table = a_random_walk(np.random.default_rng(3), bars=5)
    depth = no_depth(5)
    depth[0, :, :, 0] = np.arange(DEPTH_LEVELS) * 2**40
    depth[0, :, :, 1] = 1 + np.arange(DEPTH_LEVELS)
    depth[1, :, 0] = (0, 2**57), (3, 1)
    depth[2, 1, :2] = (0, 5), (1, 6)
    values: dict[str, Any] = {one.name: getattr(table, one.name) for one in fields(table)}
    known = BarTable(**(values | {"depth": depth}))
    return [rows_between(known, i, i + 1) for i in range(4)] + [rows_between(table, 4, 5)]


def test_bars_come_back_as_they_were(bars: SeasonBars) -> None:
    tables = some_bars()
    bars.append([KeptBar(table, "silent" * (i % 2)) for i, table in enumerate(tables)])

    (loaded,) = bars.load({"BTC-USD": tables[0].instrument})

    assert list(loaded.unfit) == ["", "silent", "", "silent", ""]
    for row, table in enumerate(tables):
        for one in fields(table):
            if one.name not in ("depth", *CONSTANT):
                assert getattr(loaded.table, one.name)[row] == getattr(table, one.name)[0], one.name
    assert [getattr(loaded.table, name) for name in CONSTANT] == [
        getattr(tables[0], name) for name in CONSTANT
    ]
    known = [table.depth for table in tables[:3] if table.depth is not None]
    assert loaded.table.depth is not None
    np.testing.assert_array_equal(loaded.table.depth[:3], np.concatenate(known))
    assert not loaded.table.depth[3:].any()  # an empty book is one that nobody knows


def test_bars_none_of_which_has_depth_have_none(bars: SeasonBars) -> None:
    tables = some_bars()[3:]
    bars.append([KeptBar(table) for table in tables])

    (loaded,) = bars.load({"BTC-USD": tables[0].instrument})

    assert loaded.table.depth is None


def test_depth_is_kept_as_short_text(url: str, bars: SeasonBars) -> None:
    bars.append([KeptBar(table) for table in some_bars()])

    with reading(url) as connection:
        texts = connection.execute(
            select(season_bars.c.depth).order_by(season_bars.c.open_ns)
        ).scalars()
        kept = list(texts)
    assert kept[1:] == [f"[[[0,{2**57}]],[[3,1]]]", "[[],[[0,5],[1,6]]]", None, None]


def test_a_depth_that_is_none_is_named(url: str, bars: SeasonBars) -> None:
    tables = some_bars()
    bars.append([KeptBar(tables[0])])
    too_many = f"[[{','.join(['[0,1]'] * (DEPTH_LEVELS + 1))}],[]]"
    for text in ("[]", "{}", "[[[0,1,2]],[]]", "[[[0,-1e99]],[]]", too_many):
        with writing(url) as connection:
            connection.execute(season_bars.update().values(depth=text))

        with pytest.raises(StorageError, match="depth of a bar of BTC-USD cannot be read"):
            bars.load({"BTC-USD": tables[0].instrument})
