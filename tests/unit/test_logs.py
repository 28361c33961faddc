"""Logs: one line an event whatever it holds, no secrets, one way for everybody, bounded files."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.clock import NS_PER_S, ManualClock
from hydra.errors import ConfigError
from hydra.operations.logs import OLDER_FILES, configure, correlated, get_logger
from hydra.operations.masking import Mask
from hydra.settings import Settings
from tests.support.shared_data import ROOT

CANARY = "canary-4711-x"
LOG = get_logger("hydra.test")


def said(
    log: Any,  # a function that logs
    *,
    form: str = "json",
    level: str = "debug",
    mask: Mask | None = None,
    clock: ManualClock | None = None,
) -> str:
    stream = io.StringIO()
    chosen = Settings.model_validate({"LOG_FORMAT": form, "LOG_LEVEL": level})
    with configure(chosen, stream=stream, mask=mask or Mask([CANARY]), clock=clock):
        log()
    return stream.getvalue()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# What a line holds


def test_a_line_of_json_has_time_level_logger_event_and_values() -> None:
    clock = ManualClock(1_704_067_200 * NS_PER_S + 5_000_000)

    (line,) = objects(said(lambda: LOG.warning("engine benched", reason="no key"), clock=clock))

    assert list(line.items()) == [
        ("time", "2024-01-01T00:00:00.005000Z"),
        ("level", "warning"),
        ("logger", "hydra.test"),
        ("event", "engine benched"),
        ("reason", "no key"),
    ]


def test_a_line_for_people() -> None:
    shown = said(
        lambda: LOG.info("season begins", season="s 1", seed=1, share=0.5),
        form="console",
        clock=ManualClock(0),
    )

    assert shown == (
        '1970-01-01T00:00:00Z info     season begins  logger=hydra.test season="s 1" seed=1'
        " share=0.5\n"
    )


def test_what_is_correlated_is_on_every_line_and_tasks_do_not_mix() -> None:
    async def play(engine: str) -> None:
        with correlated(engine=engine):
            await asyncio.sleep(0)
            LOG.info("decided")
            logging.getLogger("hydra.other").info("said through logging")

    async def both() -> None:
        with correlated(season="s1", cycle=7):
            await asyncio.gather(play("a"), play("b"))
            LOG.info("outside")

    lines = objects(said(lambda: asyncio.run(both()), level="info"))

    assert [line.get("engine") for line in lines] == ["a", "a", "b", "b", None]
    assert {(line["season"], line["cycle"]) for line in lines} == {("s1", 7)}


def test_levels_are_kept_and_libraries_are_heard_from_warnings_on() -> None:
    def log() -> None:
        for logger in (LOG, get_logger("hydra")):
            logger.debug("no")
            logger.info("yes")
        logging.getLogger("hydra.x").info("yes")
        logging.getLogger("httpx2").info("POST /x")
        logging.getLogger("httpx2").warning("yes")

    assert [line["event"] for line in objects(said(log, level="info"))] == ["yes"] * 4
    assert len(objects(said(log, level="debug"))) == 7
    assert objects(said(log, level="error")) == []


def test_libraries_and_python_s_warnings_go_the_same_way() -> None:
    def log() -> None:
        logging.getLogger("a.library").error("took %d s with %s", 3, CANARY)
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)

    first, second = objects(said(log))

    assert (first["logger"], first["event"]) == ("a.library", "took 3 s with ***")
    assert "soon gone" in second["event"]
    assert second["logger"] == "py.warnings"


def test_before_and_after_nothing_is_logged_and_logging_is_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    LOG.error("nobody hears")
    said(lambda: LOG.error("somebody does"))
    LOG.error("nobody hears")

    assert (root.level, root.handlers[:]) == before
    assert capsys.readouterr() == ("", "")


# What it must not hold


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_in_no_part_of_a_line(form: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return CANARY

    def log() -> None:
        LOG.info(f"event {CANARY}", value=CANARY, deep={"a": [CANARY]}, odd=Odd(), token="other")
        LOG.info("keyed", **{CANARY: 1, "api_key": "another-1", "x": b"canary-4711-x"})
        LOG.info("stack", stack_info=f"line {CANARY}")
        try:
            try:
                raise ValueError(f"inner {CANARY}")
            except ValueError as error:
                raise RuntimeError({"password": "another-2", "url": f"x://u:{CANARY}@h"}) from error
        except RuntimeError:
            LOG.exception("failed")
            logging.getLogger("a.library").exception("failed with %r", CANARY)
        with correlated(engine=CANARY):
            LOG.info("bound")

    shown = said(log, form=form)

    assert CANARY not in shown
    assert "another" not in shown
    assert "other" not in shown
    assert shown.count("RuntimeError") >= 2
    assert "ValueError: inner ***" in shown


HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\n\r\x1b\x00\x85\u2028\u2029\x0b\x0c\x1c\u202e\ud800\"'\\= {}"),
        st.characters(),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(HOSTILE, HOSTILE, HOSTILE, st.sampled_from(["json", "console"]))
def test_nothing_that_is_logged_can_forge_a_line(a: str, b: str, c: str, form: str) -> None:
    def log() -> None:
        LOG.info(a, value=b, deep=[{c: a}], **{f"k{b}": c})
        logging.getLogger(f"hydra.{c}").info("%s", b)

    shown = said(log, form=form)

    assert shown.count("\n") == 2
    assert len(shown.splitlines()) == 2
    assert "\x1b" not in shown
    assert shown.encode("utf-8")  # no half of a pair is left


def test_a_traceback_for_people_cannot_pass_for_an_event() -> None:
    def log() -> None:
        try:
            raise ValueError("x\n2024-01-01T00:00:00Z info     all is well")
        except ValueError:
            LOG.exception("failed")

    first, *rest = said(log, form="console").splitlines()

    assert "failed" in first
    assert all(line.startswith("    | ") for line in rest)


def test_numbers_that_json_lacks_are_written_as_text() -> None:
    (line,) = objects(said(lambda: LOG.info("x", a=float("nan"), b=[float("inf")], c=True, d=None)))

    assert (line["a"], line["b"], line["c"], line["d"]) == ("nan", ["inf"], True, None)


# Files


def test_files_are_private_bounded_in_size_and_number(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "hydra.log"
    before = os.umask(0)
    try:
        with configure(Settings(), file=path, mask=Mask(), most_bytes=2_000):
            for i in range(200):
                LOG.info("a line", n=i)
    finally:
        os.umask(before)

    files = sorted(path.parent.iterdir())
    assert [one.name for one in files] == [
        "hydra.log", *(f"hydra.log.{i}" for i in range(1, OLDER_FILES + 1)),
    ]  # fmt: skip
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert all(one.stat().st_size < 2_200 for one in files)
    kept = [json.loads(line)["n"] for one in files[::-1] for line in one.read_text().splitlines()]
    newest = files[0].read_text().splitlines()
    assert json.loads(newest[-1])["n"] == 199
    assert sorted(kept) == list(range(200 - len(kept), 200))


def test_the_setting_names_the_file_and_the_argument_goes_before_it(tmp_path: Path) -> None:
    chosen = Settings.model_validate({"LOG_FILE": str(tmp_path / "a.log")})
    with configure(chosen, mask=Mask()):
        LOG.info("to a")
    with configure(chosen, file=tmp_path / "b.log", mask=Mask()):
        LOG.info("to b")

    assert json.loads((tmp_path / "a.log").read_text())["event"] == "to a"
    assert json.loads((tmp_path / "b.log").read_text())["event"] == "to b"


def test_a_file_that_is_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch(mode=0o644)
    with configure(Settings(), file=tmp_path / "a.log", mask=Mask()):
        LOG.info("x")

    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [".", "link.log", "fifo", "file/x.log"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link.log").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(ConfigError, match="cannot be written"):
        configure(Settings(), file=tmp_path / name, mask=Mask())


def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with configure(Settings(), stream=Full(), mask=Mask()):
        for _ in range(3):
            LOG.info("a secret matter")
        logging.getLogger("a.library").error("%d", "no number")

    shown = capsys.readouterr().err
    assert shown == "warning: logs cannot be written: No space left on device\n"


def test_secrets_of_the_environment_are_hidden_without_being_told(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from hydra.settings import load_settings;"
        "from hydra.operations.logs import configure, get_logger\n"
        "with configure(load_settings()): get_logger('hydra').error('called with canary-4711-x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "libs"), "TELEGRAM_TOKEN": CANARY},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stderr)["event"] == "called with ***"
