"""Whatever is done to the audit trail is found, at the first line where it was done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from hydra.errors import JournalFault
from hydra.operations.audit import AuditTrail, TrailCheck, check
from hydra.storage.database import open_engine
from tests.support.trails import follow, lines_of, play_audited, resealed, trail_of, url_of


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    play_audited(folder, "season-1", cycles=3)
    play_audited(folder, "season-2", cycles=3)
    return folder


@pytest.fixture(scope="module")
def connection(played: Path) -> Iterator[Connection]:
    with open_engine(url_of(played)).connect() as connection:
        yield connection


def first_bad(found: TrailCheck) -> int:
    """The number of the first line that the check calls bad."""
    assert not found.is_sound
    match = re.search(r"line (\d+)", found.faults[0])
    assert match, found.faults
    return int(match[1])


def checked(played: Path, connection: Connection, data: bytes) -> TrailCheck:
    damaged = played / "damaged.jsonl"
    damaged.write_bytes(data)
    return check(damaged, connection)


def line_at(data: bytes, position: int) -> int:
    return data[:position].count(b"\n") + 1


def test_the_undamaged_trail_is_sound(played: Path, connection: Connection) -> None:
    found = checked(played, connection, trail_of(played).read_bytes())

    assert found.is_sound
    assert found.lines == len(lines_of(played)) == 2 * (3 * 8 + 1)


@given(st.data())
@settings(max_examples=300)
def test_any_flipped_byte(played: Path, connection: Connection, data: st.DataObject) -> None:
    whole = bytearray(trail_of(played).read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))

    found = checked(played, connection, bytes(whole))

    assert first_bad(found) == line_at(trail_of(played).read_bytes(), position)


@given(st.data(), st.booleans())
def test_any_line_taken_out(
    played: Path, connection: Connection, data: st.DataObject, knows_the_format: bool
) -> None:
    lines = lines_of(played)
    gone = data.draw(st.integers(0, len(lines) - 1))
    del lines[gone]

    found = checked(played, connection, resealed(lines) if knows_the_format else b"".join(lines))

    assert not found.is_sound
    # Without the last line of a season nothing in the trail is wrong; the journal has more.
    assert found.lines >= gone


@given(st.data(), st.booleans())
def test_any_line_moved_or_repeated(
    played: Path, connection: Connection, data: st.DataObject, knows_the_format: bool
) -> None:
    lines = lines_of(played)
    half = len(lines) // 2  # of one season: seasons may be interleaved in any order
    taken = data.draw(st.integers(0, half - 1))
    there = data.draw(st.integers(0, half - 1).filter(lambda i: i != taken))
    line = lines.pop(taken) if data.draw(st.booleans()) else lines[taken]
    lines.insert(there, line)

    changed = b"".join(lines)
    if changed == trail_of(played).read_bytes():
        return
    found = checked(played, connection, resealed(lines) if knows_the_format else changed)

    assert first_bad(found) <= max(taken, there) + 2


@given(st.data())
def test_any_word_changed_by_somebody_who_knows_the_format(
    played: Path, connection: Connection, data: st.DataObject
) -> None:
    lines = lines_of(played)
    n = data.draw(st.integers(0, len(lines) - 1))
    before, after = data.draw(
        st.sampled_from(
            [
                (b'"ticket":', b'"ticket":9'),
                (b'"cycle":', b'"cycle":1'),
                (b'"what":"', b'"what":"x'),
            ]
        )
    )
    if before not in lines[n]:
        return
    lines[n] = lines[n].replace(before, after)

    assert first_bad(checked(played, connection, resealed(lines))) == n + 1


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_tail_torn_anywhere_is_written_again_from_the_journal(
    played: Path, connection: Connection, data: st.DataObject
) -> None:
    whole = trail_of(played).read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    zeros = data.draw(st.sampled_from([0, 0, 1, 512]))
    season = data.draw(st.sampled_from(["season-1", "season-2"]))
    torn = played / "torn.jsonl"
    torn.write_bytes(whole[:kept] + bytes(zeros))
    torn.chmod(0o600)

    with AuditTrail(torn) as trail:
        done = follow(played, trail, season)
        follow(played, trail, "season-1")
        follow(played, trail, "season-2")

    is_torn = bool(zeros) or (kept > 0 and whole[kept - 1 : kept] != b"\n")
    assert bool(done.completed) == is_torn
    # All that was left of the old trail is still there, and what is missing was added.
    assert torn.read_bytes()[:kept] == whole[:kept]
    assert checked(played, connection, torn.read_bytes()).lines == len(lines_of(played))
    connection.rollback()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_torn_tail_that_the_journal_does_not_know_is_left_alone(
    played: Path, data: st.DataObject
) -> None:
    whole = bytearray(trail_of(played).read_bytes())
    length = data.draw(st.integers(20, 300))
    last = len(whole) - len(lines_of(played)[-1])
    whole[last + data.draw(st.integers(0, length - 1))] ^= data.draw(st.integers(1, 127))
    fragment = bytes(whole[last : last + length])
    if b"\n" in fragment or fragment.endswith(b"\0"):
        return
    torn = played / "unknown.jsonl"
    torn.write_bytes(bytes(whole[:last]) + fragment)
    torn.chmod(0o600)
    before = torn.read_bytes()

    with pytest.raises(JournalFault, match="it is torn"), AuditTrail(torn) as trail:
        follow(played, trail, "season-2")

    assert torn.read_bytes() == before
