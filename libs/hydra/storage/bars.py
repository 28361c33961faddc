"""The bars of a live season: durable before they are played, so that the season can be resumed.

A live season is played again from these bars and, from where they end, goes on with the market.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Row, insert, select

from hydra.errors import StorageError
from hydra.market.bars import BarTable, Int64, no_depth
from hydra.market.instruments import Instrument
from hydra.storage import tables
from hydra.storage.database import reading, writing

SIDES = ("bid", "ask")
_Levels = list[tuple[int, int]]
_decode_depth = msgspec.json.Decoder(tuple[_Levels, _Levels]).decode


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
        values = [self._values(bar) for bar in bars]
        if values:
            with writing(self._url) as connection:
                connection.execute(insert(tables.season_bars), values)

    def _values(self, bar: KeptBar) -> dict[str, object]:
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
            "season_id": self._season_id,
            "symbol": table.symbol,
            "open_ns": int(table.open_ns[0]),
            "resolution_ns": table.resolution_ns,
            "source": table.source,
            "real_spread": int(table.real_spread),
            **prices,
            **{part: float(getattr(table, part)[0]) for part in tables.OHLC},
            "volume": None if math.isnan(volume) else volume,
            "depth": None if table.depth is None else _depth_text(table.depth[0]),
            "unfit": bar.unfit,
        }

    def load(self, instruments: Mapping[str, Instrument]) -> list[KeptBar]:
        """All kept bars, by the instant at which they close, then by symbol and length.

        Raises StorageError where one is of a symbol that is not among `instruments`, or its depth
        is none.
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
            return [_bar(row, instruments) for row in connection.execute(statement)]


def _depth_text(depth: Int64) -> str | None:
    """The levels there are, best first; None where there is none."""
    sides = [[level for level in side if level[1]] for side in depth.tolist()]
    return msgspec.json.encode(sides).decode() if any(sides) else None


def _depth(text: str, symbol: str) -> Int64:
    out = no_depth(1)
    try:
        for side, levels in enumerate(_decode_depth(text)):
            out[0, side, : len(levels)] = np.array(levels, np.int64).reshape(-1, 2)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise StorageError(
            f"season_bars: the depth of a bar of {symbol} cannot be read ({error}):"
            f" {text[:60]!r}; take the database back from a backup"
        ) from error
    return out


def _bar(row: Row[*tuple[Any, ...]], instruments: Mapping[str, Instrument]) -> KeptBar:
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
            depth=None if row.depth is None else _depth(row.depth, row.symbol),
            **prices,
            **floats,
        ),
        row.unfit,
    )
