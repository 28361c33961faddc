"""Only what is listed, old enough and Hydra's own is ever deleted."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.clock import NS_PER_DAY, to_ns
from hydra.operations.retention import Cleaned, clean, days_over, expired, expired_of
from hydra.settings import Settings

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
NOW_NS = to_ns(NOW)
TODAY = NOW.date()

day_names = st.dates(date(2025, 1, 1), date(2027, 1, 1)).map(date.isoformat)
odd_names = st.sampled_from(
    ["2026-02-30", "2026-1-5", "2026-01-01.old", "20260101", "2026-01-01 ", "x", "٢٠٢٦-٠١-٠١"]
)
file_names = st.sampled_from(
    [
        "fault-20260101T000000-12.log", "hydra.log", "hydra.log.1", "hydra.log.12", "hydra.log.0",
        "hydra.log.1.gz", "notes.txt", "trade_audit_log.jsonl", "fault-mine.log",
    ]
)  # fmt: skip
ages_days = st.floats(0, 200)


@given(st.lists(day_names | odd_names, max_size=20), st.integers(0, 500))
def test_days_over_are_days_and_older_than_what_is_kept(names: list[str], keep_days: int) -> None:
    found = days_over(names, TODAY, keep_days)

    assert set(found) <= set(names)
    for name in set(names) - set(found):
        try:
            is_day = date.fromisoformat(name).isoformat() == name
        except ValueError:
            is_day = False
        assert (
            not keep_days
            or not is_day
            or TODAY - date.fromisoformat(name) <= timedelta(days=keep_days)
        )
    for name in found:
        assert keep_days
        assert TODAY - date.fromisoformat(name) > timedelta(days=keep_days)


def test_the_last_days_that_are_kept() -> None:
    names = ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-31", "2026-04-02"]

    assert days_over(names, TODAY, 2) == ["2026-03-27", "2026-03-28"]


def put(path: Path, age_days: float = 0, text: str = "12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    at_ns = NOW_NS - round(age_days * NS_PER_DAY)
    os.utime(path, ns=(at_ns, at_ns))
    return path


def all_files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


@contextmanager
def a_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "data" / "hydra").mkdir(parents=True)
        yield root


@settings(max_examples=25, deadline=None)
@given(
    logs=st.dictionaries(file_names, ages_days, max_size=6),
    states=st.dictionaries(
        st.sampled_from("abcd"),
        st.tuples(st.sampled_from(["finished", "stopped", "playing", "failed"]), ages_days),
    ),
    days=st.sets(
        st.tuples(st.sampled_from(["", "live-1", "live-1/coinbase"]), day_names | odd_names),
        max_size=6,
    ),
    keep_logs=st.integers(0, 60),
    keep_days=st.integers(0, 200),
)
def test_what_is_younger_of_another_kind_or_elsewhere_is_never_deleted(
    logs: dict[str, float],
    states: dict[str, tuple[str, float]],
    days: set[tuple[str, str]],
    keep_logs: int,
    keep_days: int,
) -> None:
    with a_folder() as root:
        folder = root / "data" / "hydra"
        goes: set[Path] = set()
        for name, age in logs.items():
            for where in (folder / "logs", folder, folder / "reports", root / "logs"):
                path = put(where / name, age)
                is_ours = name in ("fault-20260101T000000-12.log", "hydra.log.1", "hydra.log.12")
                if where == folder / "logs" and is_ours and keep_logs and age > keep_logs:
                    goes.add(path)
        for name, (state, age) in states.items():
            told = {"season": name, "state": state, "updated_ns": NOW_NS - int(age * NS_PER_DAY)}
            path = put(folder / "run" / f"{name}.json", age, json.dumps(told))
            if state == "finished" and keep_logs and age > keep_logs:
                goes.add(path)
        for place, day in days:
            for where in (folder / "recordings", root / "recordings", folder / "reports"):
                path = put(where / place / day / "BTC-USD.parquet", 1_000)
                if where == folder / "recordings" and days_over([day], TODAY, keep_days):
                    goes.add(path)
        for name in ("hydra.db", "hydra.db-wal", "vault.json", "trade_audit_log-000001.jsonl"):
            put(folder / name, 1_000)
        before = all_files(root)

        found = expired(folder, NOW_NS, keep_logs_days=keep_logs, keep_recordings_days=keep_days)
        assert all_files(root) == before  # to look deletes nothing
        done = clean(found)

        assert before - all_files(root) == goes
        assert all_files(root) <= before
        assert done.faults == ()
        assert done.size_bytes == sum(one.size_bytes for one in found)


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "data" / "hydra", tmp_path / "elsewhere"
    treasure = put(elsewhere / "2020-01-01" / "treasure", 1_000)
    log = put(elsewhere / "x.log.1", 1_000)
    (folder / "recordings" / "2020-01-02").mkdir(parents=True)
    (folder / "recordings" / "2020-01-03").symlink_to(elsewhere / "2020-01-01")
    (folder / "recordings" / "2020-01-02" / "inside").symlink_to(elsewhere)
    (folder / "recordings" / "more").symlink_to(elsewhere)
    (folder / "run").symlink_to(elsewhere)
    (folder / "logs").mkdir()
    (folder / "logs" / "y.log.1").symlink_to(log)

    done = clean(expired(folder, NOW_NS, keep_logs_days=1, keep_recordings_days=1))

    assert [one.path.name for one in done.deleted] == ["2020-01-02"]
    assert done.faults == ()
    assert treasure.exists()
    assert log.exists()
    assert (folder / "recordings" / "2020-01-03").is_symlink()


def test_a_day_of_long_ago_that_was_recorded_just_now_stays(tmp_path: Path) -> None:
    """A replay records the days of its market."""
    days = tmp_path / "recordings" / "practice"
    put(days / "2024-01-01" / "bars" / "BTC-USD.parquet", 20)
    put(days / "2024-01-02" / "bars" / "BTC-USD.parquet", 2)
    put(days / "2024-01-02" / "bars" / "ETH-USD.parquet", 20)

    found = expired(tmp_path, NOW_NS, keep_logs_days=0, keep_recordings_days=10)

    assert [one.path for one in found] == [days / "2024-01-01"]


def test_recordings_may_lie_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "live-1" / "2024-01-01" / "x.parquet", 20)

    found = expired(
        tmp_path / "data" / "hydra", NOW_NS, keep_logs_days=0, keep_recordings_days=10,
        recordings=tmp_path / "disk",
    )  # fmt: skip

    assert [one.path.name for one in found] == ["2024-01-01"]


@pytest.mark.parametrize("name", ["logs", "recordings"])
def test_a_folder_that_is_a_link_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data" / "hydra"
    folder.mkdir(parents=True)
    kept = [put(tmp_path / "disk" / "x.log.1", 99), put(tmp_path / "disk" / "2020-01-01" / "f", 99)]
    (folder / name).symlink_to(tmp_path / "disk")

    assert expired(folder, NOW_NS, keep_logs_days=1, keep_recordings_days=1) == []
    assert all(path.exists() for path in kept)


def test_rotated_logs_of_this_process_count_where_they_lie_in_hydras_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "hydra"
    own, foreign = put(folder / "live.log.3", 40), put(tmp_path / "live.log.3", 40)
    put(folder / "other.log.3", 40)
    logs = [folder / "live.log", tmp_path / "live.log"]

    found = expired(folder, NOW_NS, keep_logs_days=30, keep_recordings_days=0, logs=logs)

    assert [one.path for one in found] == [own]
    assert foreign.exists()


def test_what_a_setting_names_stays_whatever_it_is_called(tmp_path: Path) -> None:
    logs = tmp_path / "data" / "hydra" / "logs"
    audit, gone = put(logs / "audit.1", 99), put(logs / "hydra.log.1", 99)
    settings = Settings.model_validate({"HYDRA_HOME": tmp_path, "HYDRA_AUDIT": audit})

    assert [one.path for one in expired_of(settings, NOW_NS)] == [gone]


def test_one_that_cannot_be_deleted_is_named_and_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "hydra"
    put(folder / "recordings" / "2020-01-01" / "f", 99)
    put(folder / "logs" / "x.log.1", 99)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refused)

    done = clean(expired(folder, NOW_NS, keep_logs_days=1, keep_recordings_days=1))

    assert [one.kind for one in done.deleted] == ["log"]
    assert done.faults == (
        f"{folder / 'recordings' / '2020-01-01'} cannot be deleted: Permission denied",
    )


def test_it_says_what_it_deleted_and_how_much(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "hydra"
    put(folder / "recordings" / "2020-01-01" / "f", 99, text="x" * 2_500_000)
    put(folder / "logs" / "x.log.1", 99)

    done = clean(expired(folder, NOW_NS, keep_logs_days=1, keep_recordings_days=1))

    assert str(done) == "1 logs, 1 recorded days deleted, 2.5 MB"
    assert str(Cleaned(deleted=(), faults=())) == "nothing deleted, 0.0 MB"
