"""Coarser bars from finer ones."""

from __future__ import annotations

import numpy as np

from hydra.errors import ConfigError
from hydra.market.bars import BarTable

SIDES = ("bid", "ask")


def resampled(table: BarTable, resolution_ns: int, *, is_covered: bool = False) -> BarTable:
    """The bars of `table` gathered into bars of `resolution_ns`, on the grid of the epoch.

    A coarse bar is known at its own close, like any other. Buckets without a bar are absent, and
    so are the first and the last where the table does not cover them to the edge, unless it is
    known to (`is_covered`: what is missing there did not trade). Volume is the sum, NaN where any
    part is unknown; depth is left out, for nothing fills on a coarse bar. Raises ConfigError
    unless `resolution_ns` is a multiple, above 1, of the table's own.
    """
    if resolution_ns <= table.resolution_ns or resolution_ns % table.resolution_ns:
        raise ConfigError(
            f"{table.symbol}: bars of {table.resolution_ns // 10**9} s cannot be gathered into"
            f" bars of {resolution_ns // 10**9} s; take a multiple"
        )
    bucket = table.open_ns // resolution_ns
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    last = np.append(first[1:], len(bucket)) - 1
    keep = np.ones(len(first), bool)
    if len(first) and not is_covered:
        keep[0] = table.open_ns[0] % resolution_ns == 0
        end_ns = int(table.open_ns[-1]) + table.resolution_ns
        keep[-1] &= end_ns % resolution_ns == 0
    columns = {}
    for prefix in ("", *(f"{side}_" for side in SIDES)):
        if not len(first):
            break
        columns[f"{prefix}open"] = getattr(table, f"{prefix}open")[first]
        columns[f"{prefix}high"] = np.maximum.reduceat(getattr(table, f"{prefix}high"), first)
        columns[f"{prefix}low"] = np.minimum.reduceat(getattr(table, f"{prefix}low"), first)
        columns[f"{prefix}close"] = getattr(table, f"{prefix}close")[last]
    if not len(first):
        return _like(table, resolution_ns, {})
    columns["volume"] = np.add.reduceat(table.volume, first)
    columns["open_ns"] = bucket[first] * resolution_ns
    return _like(table, resolution_ns, {name: values[keep] for name, values in columns.items()})


def _like(table: BarTable, resolution_ns: int, columns: dict[str, np.ndarray]) -> BarTable:
    names = ["open_ns", "volume"]
    for prefix in ("", *(f"{side}_" for side in SIDES)):
        names += [f"{prefix}{part}" for part in ("open", "high", "low", "close")]
    values = {name: columns.get(name, getattr(table, name)[:0]) for name in names}
    return BarTable(
        instrument=table.instrument,
        resolution_ns=resolution_ns,
        source=table.source,
        real_spread=table.real_spread,
        **values,
    )
