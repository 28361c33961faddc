"""The bars of a live season: durable before they are played, so that the season can be resumed.

A live season is played again from these bars and, from where they end, goes on with the market.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import insert, select

from hydra.errors import StorageError
from hydra.feeds.kept import KeptBars
from hydra.feeds.tables import rows_between
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
        values = [{"season_id": self._season_id} | values_of(bar) for bar in bars]
        if values:
            with writing(self._url) as connection:
                connection.execute(insert(tables.season_bars), values)

    def load(self, instruments: Mapping[str, Instrument]) -> list[KeptBars]:
        """All kept bars, by symbol, length and instant; a piece ends where the source changes.

        Raises StorageError where one is of a symbol that is not among `instruments`, or its depth
        is none.
        """
        columns = tables.season_bars.c
        statement = (
            select(tables.season_bars)
            .where(columns.season_id == self._season_id)
            .order_by(columns.symbol, columns.resolution_ns, columns.open_ns)
        )
        with reading(self._url) as connection:
            rows = connection.execute(statement)
            return kept_of(rows.fetchall(), list(rows.keys()), instruments)


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
        "depth": None if table.depth is None else _depth_text(table.depth[0]),
        "unfit": bar.unfit,
    }


def kept_of(
    rows: Iterable[Sequence[Any]], names: Sequence[str], instruments: Mapping[str, Instrument]
) -> list[KeptBars]:
    """The bars of rows with the columns of `season_bars`, which come by symbol, length and instant.

    Raises StorageError as `SeasonBars.load`.
    """
    piece = itemgetter(
        *(names.index(one) for one in ("symbol", "resolution_ns", "source", "real_spread"))
    )
    return [
        _bars(dict(zip(names, zip(*group, strict=True), strict=True)), instruments)
        for _, group in groupby(rows, key=piece)
    ]


def singly(kept: Iterable[KeptBars]) -> Iterator[KeptBar]:
    """Each bar by itself."""
    for one in kept:
        for row, why in enumerate(one.unfit):
            yield KeptBar(rows_between(one.table, row, row + 1), why)


def _depth_text(depth: Int64) -> str | None:
    """The levels there are, best first; None where there is none."""
    sides = [[level for level in side if level[1]] for side in depth.tolist()]
    return msgspec.json.encode(sides).decode() if any(sides) else None


def _depths(texts: Sequence[str | None], symbol: str) -> Int64 | None:
    """Of bars in order; None where none of them has any."""
    if all(text is None for text in texts):
        return None
    out = no_depth(len(texts))
    for row, text in enumerate(texts):
        if text is None:
            continue
        try:
            for side, levels in enumerate(_decode_depth(text)):
                out[row, side, : len(levels)] = np.array(levels, np.int64).reshape(-1, 2)
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise StorageError(
                f"season_bars: the depth of a bar of {symbol} cannot be read ({error}):"
                f" {text[:60]!r}; take the database back from a backup"
            ) from error
    return out


def _bars(of: Mapping[str, Sequence[Any]], instruments: Mapping[str, Instrument]) -> KeptBars:
    """The bars of columns."""
    symbol = of["symbol"][0]
    instrument = instruments.get(symbol)
    if instrument is None:
        raise StorageError(f"the season keeps bars of {symbol}, which it does not trade")
    ticks: dict[str, Any] = {
        name: np.array(of[name], np.int64)
        for name in ("open_ns", *(f"{side}_{part}" for side in SIDES for part in tables.OHLC))
    }
    floats: dict[str, Any] = {  # a volume that is not known is None, and becomes NaN
        name: np.array(of[name], np.float64) for name in (*tables.OHLC, "volume")
    }
    return KeptBars(
        BarTable(
            instrument=instrument,
            resolution_ns=of["resolution_ns"][0],
            source=of["source"][0],
            real_spread=bool(of["real_spread"][0]),
            depth=_depths(of["depth"], symbol),
            **ticks,
            **floats,
        ),
        of["unfit"],
    )
