"""Whether two seasons have the same journal: record by record, up to the first that differs."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from hydra.storage.journal import StoredRecord, stored_records
from hydra.storage.queries import find_season

_PARTS = ("seq", "cycle", "at_ns", "engine", "kind", "amount_units", "body")
_MOST = 160  # characters of a value


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Equal where `equal` is `records` and `difference` is empty."""

    records: int  # of the first season that were to be compared
    equal: int  # before the first that differs
    difference: str  # in words; "": none


def compare(
    connection: Connection, first: str, second: str, *, until_cycle: int | None = None
) -> Comparison:
    """Compare a season's journal with that of another, by their hashes.

    `until_cycle`: only what the first recorded up to this cycle; the second may go on. None: both
    are to be whole and equal. Raises StorageError where one of them is absent.
    """
    of_first = stored_records(connection, find_season(connection, first).id)
    of_second = stored_records(connection, find_season(connection, second).id)
    equal = records = 0
    difference = ""
    for record in of_first:
        if until_cycle is not None and record[1] > until_cycle:
            break
        records += 1
        if difference:
            continue
        other = next(of_second, None)
        if other is not None and record[-1] == other[-1]:
            equal += 1
        else:
            difference = _difference(record, other)
    if until_cycle is None and not difference and (more := next(of_second, None)) is not None:
        difference = f"record {more[0]} ({more[4]} of {more[3]}, cycle {more[1]}) is one too many"
    return Comparison(records=records, equal=equal, difference=difference)


def _difference(record: StoredRecord, other: StoredRecord | None) -> str:
    named = f"record {record[0]} ({record[4]} of {record[3] or 'the season'}, cycle {record[1]})"
    if other is None:
        return f"{named} is missing"
    parts = [
        f"{name} was {_short(before)}, now {_short(now)}"
        for name, before, now in zip(_PARTS, record, other, strict=False)
        if before != now
    ]
    return f"{named} differs: {'; '.join(parts)}"


def _short(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."
