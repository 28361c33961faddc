"""The audit trail: what is in it, who may write it, and what crashes and faults leave of it."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hydra.clock import iso
from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.operations import audit, audit_files
from hydra.operations.audit import AuditTrail, season_lines
from hydra.operations.audit_lines import KINDS, SeasonKey
from hydra.storage.database import reading
from hydra.storage.journal import stored_records
from hydra.storage.queries import find_season, season
from hydra.storage.store import open_season
from tests.support.seasons import START_NS, a_season, play
from tests.support.trails import (
    follow,
    lines_of,
    play_audited,
    trail_of,
    url_of,
    verify,
)


def forked(work: Callable[[], None]) -> int:
    """Run in a process of its own; its id. It ends without any clean-up of the parent's."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# What is in it


def test_a_line_says_season_record_engine_time_and_what(tmp_path: Path) -> None:
    play_audited(tmp_path)

    lines = [msgspec.json.decode(line) for line in lines_of(tmp_path)]
    with reading(url_of(tmp_path)) as connection:
        row = find_season(connection, None)
        records = list(stored_records(connection, row.id))
    audited = [one for one in records if one[4] in KINDS]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [
        (one["seq"], one["cycle"], one["at"], one["engine"], one["what"], one["amount_units"])
        for one in lines
    ] == [(seq, cycle, iso(ns), engine, kind, u) for seq, cycle, ns, engine, kind, u, *_ in audited]
    assert [one["body"] for one in lines] == [msgspec.json.decode(one[6]) for one in audited]
    assert [one["journal"] for one in lines] == [one[7].hex() for one in audited]
    assert {one["season"] for one in lines} == {"season-1"}
    assert {one["started"] for one in lines} == {iso(row.created_ns)}
    assert {one["what"] for one in lines} == {
        "approved", "opened", "closed", "refused", "external.kill",
    }  # fmt: skip


def test_it_holds_what_each_commit_made_durable(tmp_path: Path) -> None:
    seen = []
    play_audited(
        tmp_path, cycles=6, commit_every=2, after=lambda cycle: seen.append(len(lines_of(tmp_path)))
    )

    assert seen == [17, 33, 49]


def test_seasons_share_one_chain(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    play_audited(tmp_path, "season-2")

    found = verify(tmp_path)
    assert found.is_sound
    assert [one.season for one in found.seasons] == ["season-1", "season-2"]
    assert verify(tmp_path, "season-2").seasons[0].lines == 49


def test_following_again_adds_nothing(tmp_path: Path) -> None:
    play_audited(tmp_path)
    before = trail_of(tmp_path).read_bytes()

    with AuditTrail(trail_of(tmp_path)) as trail:
        assert follow(tmp_path, trail).added == 0
        assert follow(tmp_path, trail).added == 0
    assert trail_of(tmp_path).read_bytes() == before


def test_records_can_be_appended_without_a_database(tmp_path: Path) -> None:
    play_audited(tmp_path)
    with reading(url_of(tmp_path)) as connection:
        row = find_season(connection, None)
        records = list(stored_records(connection, row.id))
    other = tmp_path / "other.jsonl"

    with AuditTrail(other) as trail:
        key = SeasonKey(row.name, iso(row.created_ns))
        assert trail.append(key, records[:20]) == 19  # all but the season's own
        assert trail.append(key, records) == 49 - 19
        assert trail.append(key, records) == 0

    assert other.read_bytes() == trail_of(tmp_path).read_bytes()


def test_a_season_s_lines_can_be_taken_out_as_they_stand(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    play_audited(tmp_path, "season-2")

    with reading(url_of(tmp_path)) as connection:
        assert (
            list(season_lines(trail_of(tmp_path), connection, "season-2"))
            == lines_of(tmp_path)[49:]
        )
        with pytest.raises(ConfigError, match="no season season-3"):
            list(season_lines(trail_of(tmp_path), connection, "season-3"))


# Files


def test_only_the_owner_may_read_it_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        play_audited(tmp_path, most_bytes=4_000)
    finally:
        os.umask(before)

    files = [*audit_files.rotated(trail_of(tmp_path)), trail_of(tmp_path)]
    assert len(files) > 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
def test_a_trail_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    play_audited(tmp_path)
    trail_of(tmp_path).chmod(mode)

    with pytest.raises(StorageError, match="chmod 600"), AuditTrail(trail_of(tmp_path)) as trail:
        follow(tmp_path, trail)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    play_audited(tmp_path)
    (tmp_path / "link.jsonl").symlink_to(trail_of(tmp_path))

    with pytest.raises(StorageError), AuditTrail(tmp_path / "link.jsonl") as trail:
        follow(tmp_path, trail)


def test_a_full_file_gives_way_to_the_next_and_the_chain_goes_on(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1", most_bytes=4_000)
    play_audited(tmp_path, "season-2", most_bytes=4_000)

    older = audit_files.rotated(trail_of(tmp_path))
    assert [path.name for path in older][:2] == [
        "trade_audit_log-000001.jsonl", "trade_audit_log-000002.jsonl",
    ]  # fmt: skip
    found = verify(tmp_path)
    assert found.is_sound
    assert found.lines == 98
    assert found.files == len(older) + 1

    first = older[0].read_bytes()
    older[0].write_bytes(first.replace(b'"seq":5,', b'"seq":6,'))
    assert str(older[0]) in verify(tmp_path).faults[0]
    older[0].unlink()
    assert "line 1 should be here" in verify(tmp_path).faults[0]


def test_a_process_that_dies_between_two_files_loses_nothing(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    trail_of(tmp_path).rename(audit_files.next_rotated(trail_of(tmp_path)))

    play_audited(tmp_path, "season-2")

    assert verify(tmp_path).lines == 98


def test_a_full_disk_leaves_whole_lines_and_is_caught_up_later(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    before = trail_of(tmp_path).read_bytes()

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[: len(data) // 2])

    with pytest.raises(StorageError, match="No space left"):
        play_audited(tmp_path, "season-2", close=False, write=full)
    assert trail_of(tmp_path).read_bytes() == before

    with AuditTrail(trail_of(tmp_path)) as trail:
        assert follow(tmp_path, trail, "season-2").added == 17
    assert verify(tmp_path).is_sound


# Faults


def test_a_finished_season_whose_last_lines_are_gone(tmp_path: Path) -> None:
    play_audited(tmp_path)
    trail_of(tmp_path).write_bytes(b"".join(lines_of(tmp_path)[:-3]))

    found = verify(tmp_path)

    assert "3 events in its journal that are not in the trail" in found.faults[0]
    assert found.seasons[0].missing == 3


def test_a_season_that_plays_may_be_ahead_of_its_trail(tmp_path: Path) -> None:
    play_audited(tmp_path, close=False)
    trail_of(tmp_path).write_bytes(b"".join(lines_of(tmp_path)[:-3]))

    found = verify(tmp_path)

    assert found.is_sound
    assert found.seasons[0].missing == 3


def test_a_season_that_was_never_audited_has_none_of_its_lines(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    trail_of(tmp_path).unlink()
    play_audited(tmp_path, "season-2")

    assert verify(tmp_path).is_sound
    assert "played without --audit" in verify(tmp_path, "season-1").faults[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE journal SET body = '{\"ticket\":77}' WHERE seq = 9", "line 8"),
        ("UPDATE journal SET engine = 'x' WHERE seq = 9", "line 8"),
        ("UPDATE journal SET amount_units = 1 WHERE seq = 10", "line 9"),
        ("UPDATE journal SET hash = x'00' WHERE seq = 9", "line 8"),
        ("UPDATE journal SET at_ns = 'soon' WHERE seq = 9", "record 9"),
        ("UPDATE journal SET body = '{' || char(10) || '}' WHERE seq = 9", "record 9"),
        ("UPDATE journal SET kind = 'swap' WHERE seq = 9", "no such event"),
        ("DELETE FROM journal WHERE seq = 9", "no such event"),
        ("INSERT INTO journal SELECT season_id, 90, 3, 9, '', 'latch', NULL, '{}', x'00'"
         " FROM journal WHERE seq = 1", "1 events in its journal"),
    ],
)  # fmt: skip
def test_a_line_that_differs_from_the_journal_is_named(
    tmp_path: Path, change: str, said: str
) -> None:
    play_audited(tmp_path)
    with sqlite3.connect(tmp_path / "hydra.db") as database:
        database.execute(change)
    database.close()

    assert said in verify(tmp_path).faults[0]
    if "INSERT" not in change:
        with pytest.raises(JournalFault), AuditTrail(trail_of(tmp_path)) as trail:
            follow(tmp_path, trail)


def test_a_season_of_another_database_is_checked_by_its_chain_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    play_audited(tmp_path / "one")
    trail_of(tmp_path / "one").rename(trail_of(tmp_path / "two"))
    play_audited(tmp_path / "two")

    found = verify(tmp_path / "two")

    assert found.is_sound
    assert [(one.season, one.state) for one in found.seasons] == [
        ("season-1", "elsewhere"), ("season-1", "finished"),
    ]  # fmt: skip
    # One is whole again, once it is given what is missing.
    assert "49 events" in verify(tmp_path / "one", "season-1").faults[0]


def test_a_trail_that_says_more_than_the_journal_is_a_fault(tmp_path: Path) -> None:
    play_audited(tmp_path, close=False)
    with sqlite3.connect(tmp_path / "hydra.db") as database:
        database.execute("DELETE FROM journal WHERE cycle = 6")
    database.close()

    assert "no such event" in verify(tmp_path).faults[0]


def test_a_trail_that_becomes_shorter_while_it_is_followed(tmp_path: Path) -> None:
    play_audited(tmp_path)
    with AuditTrail(trail_of(tmp_path)) as trail:
        follow(tmp_path, trail)
        os.truncate(trail_of(tmp_path), 100)
        with pytest.raises(JournalFault, match="became shorter"):
            follow(tmp_path, trail)


def test_a_torn_line_is_no_place_to_append(tmp_path: Path) -> None:
    play_audited(tmp_path)
    os.truncate(trail_of(tmp_path), trail_of(tmp_path).stat().st_size - 9)

    with (
        AuditTrail(trail_of(tmp_path)) as trail,
        pytest.raises(JournalFault, match=r"line 49 .*torn"),
    ):
        trail.append(SeasonKey("season-9", "2024-01-01T00:00:00Z"), [])


# Crashes, and several writers


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_process_killed_inside_a_write_is_made_good(tmp_path: Path, share: float) -> None:
    play_audited(tmp_path, "season-1")

    def dies(descriptor: int, data: memoryview) -> int:
        os.write(descriptor, data[: int(len(data) * share)])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    child = forked(lambda: play_audited(tmp_path, "season-2", write=dies))
    assert status_of(child) == -signal.SIGKILL

    before = trail_of(tmp_path).read_bytes()
    with AuditTrail(trail_of(tmp_path)) as trail:
        done = follow(tmp_path, trail, "season-1")
    assert bool(done.completed) == (share > 0)
    play_audited(tmp_path, "season-2", resume=True)

    assert trail_of(tmp_path).read_bytes().startswith(before)
    found = verify(tmp_path)
    assert found.is_sound
    assert [one.lines for one in found.seasons] == [49, 49]


def test_a_season_killed_at_any_time_has_in_the_end_the_lines_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    cycles = 80
    lines = 0
    for attempt in range(8):
        resume = attempt > 0 and "season-1" in _names(tmp_path)
        child = forked(
            lambda resume=resume: play_audited(  # type: ignore[misc]
                tmp_path, cycles=cycles, commit_every=1, resume=resume
            )
        )
        time.sleep(0.03 + 0.05 * attempt)
        os.kill(child, signal.SIGKILL)
        if status_of(child) == 0:
            break
        if trail_of(tmp_path).exists():
            kept = trail_of(tmp_path).read_bytes().count(b"\n")
            assert kept >= lines  # nothing that was there is ever gone
            lines = kept
    else:
        play_audited(tmp_path, cycles=cycles, commit_every=1, resume=True)

    with AuditTrail(trail_of(tmp_path)) as trail:
        follow(tmp_path, trail)
    found = verify(tmp_path, "season-1")
    assert found.is_sound
    assert found.lines == 8 * cycles + 1
    with reading(url_of(tmp_path)) as connection:
        assert season(connection).state == "finished"


def _names(folder: Path) -> list[str]:
    if not (folder / "hydra.db").exists():
        return []
    with sqlite3.connect(folder / "hydra.db") as database:
        try:
            names = [name for (name,) in database.execute("SELECT name FROM seasons")]
        except sqlite3.OperationalError:
            names = []
    database.close()
    return names


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    shared = tmp_path / "shared.jsonl"
    for folder in folders:
        folder.mkdir()

    def work(folder: Path) -> None:
        with (
            AuditTrail(shared, most_bytes=20_000) as trail,
            open_season(url_of(folder), a_season(), resume=False) as store,
        ):
            play(store, cycles=25, on_commit=lambda cycle: _follow(folder, trail))
            follow(folder, trail)

    children = [forked(lambda folder=folder: work(folder)) for folder in folders]  # type: ignore[misc]
    assert [status_of(child) for child in children] == [0, 0, 0]

    for folder in folders:
        found = verify(folder, path=shared)
        assert found.is_sound, found.faults
        assert found.lines == 3 * (8 * 25 + 1)
        assert sorted(one.state for one in found.seasons) == ["elsewhere", "elsewhere", "finished"]
    assert len(audit_files.rotated(shared)) > 3


def _follow(folder: Path, trail: AuditTrail) -> None:
    follow(folder, trail)


def test_a_held_lock_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_audited(tmp_path)
    monkeypatch.setattr(audit, "LOCK_WAIT_S", 0.05)

    with (
        audit_files.locked(trail_of(tmp_path), wait_s=1),
        pytest.raises(StorageError, match="fuser"),
    ):
        verify(tmp_path)
    assert verify(tmp_path).is_sound


def test_times_of_the_market_are_kept_not_the_machine_s(tmp_path: Path) -> None:
    play_audited(tmp_path, cycles=1, commit_every=1)

    assert iso(START_NS)[:10].encode() in lines_of(tmp_path)[0]


def test_a_fault_is_found_again_by_every_further_call(tmp_path: Path) -> None:
    play_audited(tmp_path, "season-1")
    with sqlite3.connect(tmp_path / "hydra.db") as database:
        database.execute("UPDATE journal SET amount_units = 5 WHERE seq = 20")
    database.close()
    before = trail_of(tmp_path).read_bytes()

    with AuditTrail(trail_of(tmp_path)) as trail:
        for _ in range(3):
            with pytest.raises(JournalFault, match="line 19 "):
                follow(tmp_path, trail)
    assert trail_of(tmp_path).read_bytes() == before


def test_a_file_that_takes_its_new_name_while_it_is_read_is_still_read(tmp_path: Path) -> None:
    play_audited(tmp_path)
    (part,) = audit_files.parts(trail_of(tmp_path))
    whole = lines_of(tmp_path)
    trail_of(tmp_path).rename(audit_files.next_rotated(trail_of(tmp_path)))
    trail_of(tmp_path).write_bytes(b"another\n")

    assert [raw.data for raw in audit_files.lines(part)] == whole
    audit_files.rotated(trail_of(tmp_path))[0].unlink()
    with pytest.raises(StorageError, match="was replaced"):
        list(audit_files.lines(part))
