"""The journal's hash chain: every record carries the SHA-256 of all that came before it.

    hash_0 = SHA-256("hydra journal 1")
    hash_n = SHA-256(hash_(n-1) || head_n || body_n)
    head_n = "<seq>,<cycle>,<at_ns>,<length>:<engine>,<length>:<kind>,<amount_units or nothing>,"

The lengths (in characters) make the encoding unambiguous, whatever a name contains. Neither the
season's name, the database nor the machine's time enters: equal seasons have equal digests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec
from sqlalchemy import Connection

GENESIS = sha256(b"hydra journal 1").digest()
HASH_BYTES = 32
_PAGE_ROWS = 8192

StoredRecord = tuple[int, int, int, str, str, int | None, bytes, bytes]
"""seq, cycle, at_ns, engine, kind, amount_units, body, hash."""


def record_hash(
    previous: bytes,
    seq: int,
    cycle: int,
    at_ns: int,
    engine: str,
    kind: str,
    amount_units: int | None,
    body: bytes,
) -> bytes:
    """The hash of one record, 32 bytes."""
    amount = "" if amount_units is None else amount_units
    head = f"{seq},{cycle},{at_ns},{len(engine)}:{engine},{len(kind)}:{kind},{amount},"
    return sha256(b"".join((previous, head.encode(), body))).digest()


class Chain(msgspec.Struct, kw_only=True):
    """A stored chain as it was read and recomputed, up to its first fault."""

    hashes: bytes  # HASH_BYTES for each good record
    postings_units: dict[str, int]  # sum of amount_units by engine
    closing_units: dict[str, int]  # what an engine's last "balance" record says
    external: tuple[tuple[int, str, bytes], ...]  # (cycle, kind, body) of what came from outside
    fault: str  # "" where there is none

    @property
    def count(self) -> int:
        return len(self.hashes) // HASH_BYTES

    @property
    def digest(self) -> str:
        return (self.hashes[-HASH_BYTES:] or GENESIS).hex()


class _BalanceBody(msgspec.Struct):
    balance_units: int | None = None


def read_chain(connection: Connection, season_id: int, *, count: int, digest: str) -> Chain:
    """Recompute a season's chain, which was committed with `count` records and `digest`.

    Never raises for what the rows hold: the first record that is missing, altered or too many
    is named in `fault`.
    """
    hashes = bytearray()  # of a long season, lists would be thrice as large
    postings: dict[str, int] = {}
    closing: dict[str, int] = {}
    external: list[tuple[int, str, bytes]] = []
    previous = GENESIS
    expected = 0
    fault = ""
    try:
        for seq, cycle, at_ns, engine, kind, amount_units, body, stored in stored_records(
            connection, season_id
        ):
            expected += 1
            if seq != expected:
                fault = f"record {expected} is missing (the next one stored is {seq})"
                break
            if seq > count:
                fault = f"record {seq} ({kind} of {engine}) is beyond the {count} committed"
                break
            previous = record_hash(previous, seq, cycle, at_ns, engine, kind, amount_units, body)
            if previous != stored:
                fault = f"record {seq} ({kind} of {engine}, cycle {cycle}) was altered"
                break
            hashes += stored
            if amount_units is not None:
                postings[engine] = postings.get(engine, 0) + amount_units
            if kind == "balance":
                balance = _balance(body)
                if balance is not None:
                    closing[engine] = balance
            elif kind.startswith("external."):
                external.append((cycle, kind, body))
    except TypeError:
        fault = f"record {expected} was altered: a column holds another type than a journal writes"
    except (sqlite3.Error, UnicodeError) as error:
        fault = f"a record after number {expected} was altered: {error}"
    good = len(hashes) // HASH_BYTES
    if not fault and good < count:
        fault = f"record {good + 1} is missing ({count} were committed)"
    chain = Chain(
        hashes=bytes(hashes),
        postings_units=postings,
        closing_units=closing,
        external=tuple(external),
        fault=fault,
    )
    if not fault and chain.digest != digest:
        chain.fault = f"the last record ({count}) does not lead to the season's digest {digest}"
    return chain


def _balance(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_BalanceBody).balance_units
    except msgspec.MsgspecError:
        return None


def stored_records(
    connection: Connection, season_id: int, *, after_seq: int = 0, kinds: Sequence[str] = ()
) -> Iterator[StoredRecord]:
    """A season's records in order, read page by page so that memory stays flat.

    `kinds`: only records of these; none: of all.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    mark = "?" if is_sqlite else "%s"
    body_column = "CAST(body AS BLOB)" if is_sqlite else "convert_to(body, 'UTF8')"
    among = f"AND kind IN ({', '.join([mark] * len(kinds))}) " if kinds else ""
    statement = (
        f"SELECT seq, cycle, at_ns, engine, kind, amount_units, {body_column}, hash "  # noqa: S608
        f"FROM journal WHERE season_id = {mark} AND seq > {mark} {among}"
        f"ORDER BY seq LIMIT {_PAGE_ROWS}"
    )
    last_seq = after_seq
    while True:
        result = connection.exec_driver_sql(statement, (season_id, last_seq, *kinds))
        # The driver's own cursor: plain tuples, at half the price of SQLAlchemy's rows.
        rows = result.cursor.fetchall() if result.cursor is not None else []
        result.close()
        yield from rows
        if len(rows) < _PAGE_ROWS:
            return
        last_seq = rows[-1][0]
