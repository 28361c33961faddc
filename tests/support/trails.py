"""Seasons with an audit trail beside them, small enough to be damaged in every way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from hydra.operations.audit import AuditTrail, Followed, TrailCheck, check
from hydra.operations.audit_lines import GENESIS, sealed
from hydra.storage.database import reading
from hydra.storage.store import open_season
from tests.support.seasons import a_season, play

SEAL_BYTES = len(b',"hash":"') + 64 + len(b'"}\n')


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/hydra.db"


def trail_of(folder: Path) -> Path:
    return folder / "trade_audit_log.jsonl"


def follow(folder: Path, trail: AuditTrail, season: str | None = None) -> Followed:
    with reading(url_of(folder)) as connection:
        return trail.follow(connection, season)


def verify(folder: Path, season: str | None = None, path: Path | None = None) -> TrailCheck:
    with reading(url_of(folder)) as connection:
        return check(path or trail_of(folder), connection, season)


def play_audited(
    folder: Path,
    name: str = "season-1",
    *,
    cycles: int = 6,
    commit_every: int = 2,
    resume: bool = False,
    close: bool = True,
    most_bytes: int = 1 << 20,
    write: Callable[[int, memoryview], int] = os.write,
    after: Callable[[int], None] = lambda cycle: None,
) -> None:
    """Play a season whose trail is followed after each commit."""
    with (
        AuditTrail(trail_of(folder), most_bytes=most_bytes, write=write) as trail,
        open_season(url_of(folder), a_season(name), resume=resume) as store,
    ):

        def on_commit(cycle: int) -> None:
            follow(folder, trail, name)
            after(cycle)

        play(store, cycles=cycles, commit_every=commit_every, on_commit=on_commit, close=close)
        if not close:
            store.commit(cycles, 2**60)
        follow(folder, trail, name)


def lines_of(folder: Path) -> list[bytes]:
    return trail_of(folder).read_bytes().splitlines(keepends=True)


def resealed(lines: list[bytes]) -> bytes:
    """The lines with numbers and hashes made anew, as somebody who knows the format would."""
    previous, out = GENESIS, []
    for n, line in enumerate(lines, start=1):
        told = msgspec.json.decode(line[:-SEAL_BYTES] + b"}")
        whole, previous = sealed(previous, msgspec.json.encode(told | {"n": n})[:-1])
        out.append(whole)
    return b"".join(out)
