"""One line of the audit trail: a JSON object sealed by the hash of all lines before it.

    {"n":7,"season":…,"started":…,"seq":…,…,"journal":"<hex>","hash":"<hex>"}

    hash_0 = SHA-256("hydra audit 1")
    hash_n = SHA-256(hash_(n-1) || the line up to ,"hash")

A line is a function of its number, its season and the journal's record, and of nothing else, so
that it can be written again from the journal, letter by letter.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

import msgspec

from hydra.clock import iso
from hydra.errors import JournalFault
from hydra.storage.journal import StoredRecord

GENESIS = sha256(b"hydra audit 1").digest()
KINDS = (
    "approved", "refused", "opened", "closed", "cancelled", "invalidated", "shed", "target",
    "breach", "latch", "benched", "breached", "eliminated", "external.kill", "external.release",
)  # fmt: skip
"""The journal's records that bear on trades; the others stay in the journal alone."""

_SEAL = b',"hash":"'
_SEAL_END = b'"}\n'
_SEAL_BYTES = len(_SEAL) + 64 + len(_SEAL_END)
_NUMBER = re.compile(rb'\{"n":([1-9][0-9]{0,17}),')


class SeasonKey(msgspec.Struct, frozen=True):
    """A season across databases: its name, and when it was made, ISO 8601 UTC."""

    name: str
    started: str


class Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a line says, in the order of its members."""

    n: int  # number of the line in the whole trail, from 1
    season: str
    started: str
    seq: int  # of the journal's record
    cycle: int
    at: str  # the market's time, ISO 8601 UTC
    engine: str  # "": of all
    what: str  # one of KINDS
    amount_units: int | None  # posted to the account, 1e-8 USD
    body: msgspec.Raw  # the journal's, as it is
    journal: str  # hash of the journal's record, hex

    @property
    def key(self) -> SeasonKey:
        return SeasonKey(self.season, self.started)


class BadLine(Exception):
    """A line is not what the trail would say there. Its text says why."""


_iso = lru_cache(maxsize=1024)(iso)  # half the price of a line; most cycles have several
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def payload(n: int, season: SeasonKey, record: StoredRecord) -> bytes:
    """The line of a record up to its seal.

    Raises JournalFault where the record cannot be one that a journal wrote.
    """
    seq, cycle, at_ns, engine, kind, amount_units, body, digest = record
    try:
        line = Line(
            n=n,
            season=season.name,
            started=season.started,
            seq=seq,
            cycle=cycle,
            at=_iso(at_ns),
            engine=engine,
            what=kind,
            amount_units=amount_units,
            body=msgspec.Raw(body),
            journal=digest.hex(),
        )
        text = _encode(line)[:-1]
    except (TypeError, AttributeError, OverflowError) as error:
        raise JournalFault(
            f"record {seq} of season {season.name} was altered: {error}; run: hydra db verify"
        ) from error
    if b"\n" in text:
        # Canonical JSON has none; one would let a record pass for two lines.
        raise JournalFault(
            f"record {seq} of season {season.name} was altered: its body is broken into lines"
        )
    return text


def sealed(previous: bytes, text: bytes) -> tuple[bytes, bytes]:
    """The whole line, newline included, and its hash."""
    digest = sha256(previous + text).digest()
    return b"".join((text, _SEAL, digest.hex().encode(), _SEAL_END)), digest


def opened(raw: bytes, previous: bytes, n: int) -> tuple[Line, bytes, bytes]:
    """The line, its text up to the seal, and its hash, when it is line `n` after `previous`.

    Raises BadLine.
    """
    found = _NUMBER.match(raw)
    if found is None or raw[-_SEAL_BYTES:-_SEAL_BYTES + len(_SEAL)] != _SEAL:  # fmt: skip
        raise BadLine("it was altered: it has not the form of a line")
    number = int(found[1])
    text = raw[:-_SEAL_BYTES]
    whole, digest = sealed(previous, text)
    if whole != raw:
        if number == n:
            raise BadLine("it was altered: its hash does not follow from the line before")
        raise BadLine(
            f"line {n} should be here, this is line {number}: lines were taken out, repeated or"
            " moved"
        )
    try:
        line = _decode(text + b"}")
    except msgspec.MsgspecError as error:
        raise BadLine(f"it was altered: {error}") from error
    if line.n != n:
        raise BadLine(f"it was altered: it says that it is line {line.n}")
    return line, text, digest
