"""The bars of a live season: durable before they are played, so that the season can be resumed.

A live season is played again from these bars and, from where they end, goes on with the market.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import insert, select

from hydra.errors import StorageError
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.storage import tables
from hydra.storage.database import reading, writing

SIDES = ("bid", "ask")


class KeptBar(msgspec.Struct, frozen=True):
    """One bar as a table of one row, and why no new risk was to be taken on it."""

    table: BarTable
    unfit: str = ""

    @property
    def close_ns(self) -> int:
        return int(self.table.open_ns[0]) + self.table.resolution_ns


class SeasonBars:
    """Of one season. Each call is a transaction of its own."""

    def __init__(self, url: str, season_id: int) -> None:
        self._url = url
        self._season_id = season_id

    def append(self, bars: Iterable[KeptBar]) -> None:
        """Keep bars, all or none. Raises StorageError, also for one that is kept already."""
        values = [{"season_id": self._season_id} | values_of(bar) for bar in bars]
        if values:
            with writing(self._url) as connection:
                connection.execute(insert(tables.season_bars), values)

    def load(self, instruments: Mapping[str, Instrument]) -> list[KeptBar]:
        """All kept bars, by the instant at which they close, then by symbol and length.

        Raises StorageError where one is of a symbol that is not among `instruments`.
        """
        columns = tables.season_bars.c
        statement = (
            select(tables.season_bars)
            .where(columns.season_id == self._season_id)
            .order_by(
                columns.open_ns + columns.resolution_ns, columns.symbol, columns.resolution_ns
            )
        )
        with reading(self._url) as connection:
            return [bar_of(row, instruments) for row in connection.execute(statement)]


def values_of(bar: KeptBar) -> dict[str, object]:
    """A kept bar by the columns of `season_bars` that tell of it."""
    table = bar.table
    if len(table) != 1:
        raise ValueError(f"a table of {len(table)} bars, not one")
    volume = float(table.volume[0])
    prices = {
        f"{side}_{part}": int(getattr(table, f"{side}_{part}")[0])
        for side in SIDES
        for part in tables.OHLC
    }
    return {
        "symbol": table.symbol,
        "open_ns": int(table.open_ns[0]),
        "resolution_ns": table.resolution_ns,
        "source": table.source,
        "real_spread": int(table.real_spread),
        **prices,
        **{part: float(getattr(table, part)[0]) for part in tables.OHLC},
        "volume": None if math.isnan(volume) else volume,
        "unfit": bar.unfit,
    }


def bar_of(row: Any, instruments: Mapping[str, Instrument]) -> KeptBar:
    """The kept bar of such columns, as attributes. Raises StorageError on an unknown symbol."""
    instrument = instruments.get(row.symbol)
    if instrument is None:
        raise StorageError(f"the season keeps bars of {row.symbol}, which it does not trade")
    prices: dict[str, Any] = {
        f"{side}_{part}": np.array([getattr(row, f"{side}_{part}")], np.int64)
        for side in SIDES
        for part in tables.OHLC
    }
    floats: dict[str, Any] = {part: np.array([getattr(row, part)]) for part in tables.OHLC}
    return KeptBar(
        BarTable(
            instrument=instrument,
            resolution_ns=row.resolution_ns,
            source=row.source,
            real_spread=bool(row.real_spread),
            open_ns=np.array([row.open_ns], np.int64),
            volume=np.array([math.nan if row.volume is None else row.volume]),
            **prices,
            **floats,
        ),
        row.unfit,
    )
