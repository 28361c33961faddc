"""`hydra vault` as a user types it: what comes back, what never does, and what a kill leaves."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import pytest
from pydantic import SecretStr

from apps.cli.main import run
from hydra.operations.private_files import Disk
from tests.support.shared_data import ROOT
from tests.support.vaults import (
    CANARY,
    OTHER_PASSWORD,
    PASSWORD,
    a_filled_vault,
    a_vault,
    values,
)

MASTER = PASSWORD.get_secret_value()
OTHER = OTHER_PASSWORD.get_secret_value()
NAME = "DEEPSEEK_API_KEY"
HYDRA = (sys.executable, "-m", "apps.cli.main", "vault")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a vault, and the master password in the environment."""
    for variable in (
        "HYDRA_VAULT",
        "TRADING_VAULT_PASSWORD_FILE",
        "TRADING_VAULT_NEW_PASSWORD",
        NAME,
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.setenv("TRADING_VAULT_PASSWORD", MASTER)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'libs'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(home: Path) -> Path:
    """The file of a vault that opens fast and has one secret."""
    path = home / "data" / "hydra" / "vault.json"
    a_filled_vault(path, DEEPSEEK_API_KEY=CANARY)
    return path


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let standard input have these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def everything_below(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())


# A user's day


def test_a_vault_from_its_making_to_its_new_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def typed(line: str, data: bytes = b"") -> str:
        nonlocal said
        give(monkeypatch, data)
        code = run(["vault", *line.split()])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        said += shown.err
        if not line.startswith("get"):
            said += shown.out
        return shown.out

    made = typed("init")
    path = home / "data" / "hydra" / "vault.json"
    assert str(path) in made
    assert typed("list") == ""
    path.unlink()
    a_filled_vault(path)  # one that opens fast
    assert "kept" in typed(f"set {NAME}", b"old\n")
    assert "replaced" in typed(f"set {NAME}", f"{CANARY}\n".encode())
    typed("set A_PEM", f"-----BEGIN\n{CANARY}\n-----END\n".encode())
    assert typed(f"get {NAME}") == CANARY
    assert typed("get A_PEM") == f"-----BEGIN\n{CANARY}\n-----END"
    table = typed("list")
    assert "A_PEM" in table and NAME in table
    rows = json.loads(typed("list --json"))
    assert [list(row) for row in rows] == [["name", "set_at"]] * 2
    (row,) = json.loads(typed("check --json"))
    assert row["secrets"] == 2
    typed("remove A_PEM")
    monkeypatch.setenv("TRADING_VAULT_NEW_PASSWORD", OTHER)
    typed("rotate")
    assert run(["vault", "list"]) == 2
    assert "does not open" in capsys.readouterr().err
    monkeypatch.setenv("TRADING_VAULT_PASSWORD", OTHER)
    assert typed(f"get {NAME}") == CANARY
    for secret in (CANARY, MASTER, OTHER):
        assert secret not in said
        assert secret.encode() not in everything_below(home)


def test_a_weaker_vault_is_said_to_be_so_until_it_is_rotated(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADING_VAULT_NEW_PASSWORD", OTHER)

    run(["vault", "check", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["strong"] is False
    assert run(["vault", "rotate"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("TRADING_VAULT_PASSWORD", OTHER)
    run(["vault", "check", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["strong"] is True


def test_a_variable_that_hides_a_secret_of_the_vault_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(NAME, CANARY)
    give(monkeypatch, b"another\n")

    assert run(["vault", "set", NAME]) == 0

    shown = capsys.readouterr()
    assert f"the environment has {NAME} too" in shown.err
    assert CANARY not in shown.err + shown.out


@pytest.mark.parametrize("text", ["\ud7ff€ß", "\x1b[31m\0\r", "no newline\n\n"])
def test_a_secret_is_printed_byte_by_byte_whatever_the_locale(file: Path, text: str) -> None:
    a_vault(file).put(PASSWORD, "STRANGE", SecretStr(text))

    done = subprocess.run(
        [*HYDRA, "get", "STRANGE"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )

    assert done.stdout == text.encode()
    assert done.stderr == b""


# What is refused

BAD = [
    (f"set {NAME} {CANARY}", "takes nothing more"),
    (f"set {CANARY} {NAME}", "takes nothing more"),
    (f"set {NAME} -- {CANARY}", "takes nothing more"),
    (f"set {NAME} --{CANARY}", "takes nothing more"),
    (f"set {NAME} -----BEGIN{CANARY}", "takes nothing more"),
    (f"set {NAME} --value={CANARY}", "takes nothing more"),
    (f"set {NAME}={CANARY}", "cannot name a secret"),
    (f"set {CANARY}", "cannot name a secret"),
    (f"get {CANARY}", "cannot name a secret"),
    (f"remove {CANARY}", "cannot name a secret"),
    (f"list --password {CANARY}", "takes nothing more"),
    (f"init {CANARY}", "takes nothing more"),
    (f"rotate {CANARY}", "takes nothing more"),
    (f"check --{CANARY}", "takes nothing more"),
    ("set", "NAME"),
    ("set TRADING_VAULT_PASSWORD", "cannot lie inside it"),
    (f"set {NAME}", "the secret is empty"),
    ("get NO_SUCH_KEY", "no secret NO_SUCH_KEY"),
    ("remove NO_SUCH_KEY", "no secret NO_SUCH_KEY"),
    ("init", "exists already"),
    ("rotate", "no terminal to ask for the new master password"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_bad_input_is_one_message_that_repeats_nothing_secret(
    line: str,
    said: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = file.read_bytes()
    give(monkeypatch, b"")
    monkeypatch.setattr("os.open", _without_terminal(os.open))

    assert run(["vault", *line.split()]) == 2

    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert said in shown.err
    assert CANARY not in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert file.read_bytes() == before
    assert not (file.parent / "logs").exists()


def _without_terminal(really_open: Callable[..., int]) -> Callable[..., int]:
    """`os.open` on a machine where nobody sits, as under cron."""

    def opening(path: str | Path, *rest: int, **more: int) -> int:
        if path == "/dev/tty":
            raise OSError("no terminal")
        return really_open(path, *rest, **more)

    return opening


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (CANARY.encode() + b"\xff", "not UTF-8"),
        (CANARY.encode() * 10_000, "more than the 65,536 bytes"),
        (b"x" * 65_536 + b"\r\n" + CANARY.encode(), "more than the 65,536 bytes"),
        (b"x" * 65_537 + b"\n", "65,537 bytes"),
        (b"\n", "the secret is empty"),
    ],
)
def test_bad_secrets_are_refused_and_not_shown(
    data: bytes,
    said: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = file.read_bytes()
    give(monkeypatch, data)

    assert run(["vault", "set", NAME]) == 2

    shown = capsys.readouterr()
    assert said in shown.err
    assert CANARY not in shown.err + shown.out
    assert file.read_bytes() == before


@pytest.mark.parametrize("line", [f"set {NAME}", f"get {NAME}", "list", f"remove {NAME}", "check"])
def test_each_command_says_what_is_wrong_with_the_vault(
    line: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        give(monkeypatch, b"new\n")
        assert run(["vault", *line.split()]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert CANARY not in shown.err
        return shown.err

    whole = file.read_bytes()
    file.chmod(0o644)
    assert "chmod 600" in said()
    file.chmod(0o600)
    file.write_bytes(whole[:-40])
    assert "is damaged" in said()
    file.write_bytes(whole)
    monkeypatch.setenv("TRADING_VAULT_PASSWORD", "not the password")
    assert "does not open" in said()
    monkeypatch.setenv("TRADING_VAULT_PASSWORD_FILE", str(file))
    monkeypatch.delenv("TRADING_VAULT_PASSWORD")
    assert "does not open" in said()
    file.rename(file.with_name("moved.json"))
    assert "hydra vault init" in said()


# What others could see


def test_neither_ps_nor_a_log_shows_a_secret(file: Path) -> None:
    process = subprocess.Popen(
        [*HYDRA, "set", NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    process.stdin.write(CANARY.encode())
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while _unread_bytes(process.stdin) and time.monotonic() < deadline:
        time.sleep(0.01)  # until it holds the secret, and waits for the rest
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    said, _ = process.communicate(b"-new\n")

    assert process.returncode == 0, said
    assert b"set\0DEEPSEEK_API_KEY\0" in command_line
    for secret in (CANARY.encode(), MASTER.encode()):
        assert secret not in command_line + said + everything_below(file.parent)
    assert values(a_vault(file)) == {NAME: f"{CANARY}-new"}


def _unread_bytes(pipe: IO[bytes]) -> int:
    unread: int
    (unread,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return unread


def test_a_fault_of_the_program_puts_no_secret_into_its_log(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("hydra.operations.vault.replace_private", broken)
    give(monkeypatch, CANARY.encode())

    assert run(["vault", "set", NAME]) == 70

    (log,) = (file.parent / "logs").glob("*.log")
    shown = capsys.readouterr()
    assert "RuntimeError: boom" in log.read_text()
    for secret in (CANARY, MASTER):
        assert secret not in log.read_text() + shown.out + shown.err


# A terminal


def at_a_terminal(line: str, answers: Sequence[str]) -> tuple[int, str]:
    """Type the line at a terminal of its own, and an answer to each question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.pop("TRADING_VAULT_PASSWORD", None)
        os.environ["NO_COLOR"] = "1"
        os.execv(HYDRA[0], [*HYDRA, *line.split()])
    shown, left = b"", list(answers)
    while True:
        try:
            part = os.read(terminal, 4_096)
        except OSError:  # what Linux says when the other side is gone
            break
        shown += part
        if left and shown.endswith(b"(not shown): "):
            os.write(terminal, left.pop(0).encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode().replace("\r\n", "\n")


def test_what_is_typed_at_a_terminal_is_not_echoed(home: Path) -> None:
    master, other = f"{MASTER}\n", f"{OTHER}\n"
    path = home / "data" / "hydra" / "vault.json"
    seen = ""

    def typed(line: str, answers: Sequence[str], code: int, says: str) -> str:
        nonlocal seen
        ended, said = at_a_terminal(line, answers)
        assert (ended, says in said) == (code, True), said
        seen += said
        return said

    typed("init", ["short\n"], 2, "at least 12")
    typed("init", [master, other], 2, "differ")
    typed("init", ["\x04"], 2, "nothing was typed")
    typed("init", [master, master], 0, f"made {path}")
    path.unlink()
    a_filled_vault(path)  # one that opens fast
    typed(f"set {NAME}", [master, f"-----BEGIN KEY\n{CANARY}\n"], 2, "< key.pem")
    typed(f"set {NAME}", [master, f"{CANARY}\n"], 0, "kept")
    typed("list", [other], 2, "does not open")
    typed("rotate", [master, other, other], 0, "its new master password")
    for secret in (CANARY, MASTER, OTHER):
        assert secret not in seen

    shown = typed(f"get {NAME}", [other], 0, CANARY)
    assert shown == f"master password (not shown): \n{CANARY}\n"


# Killed


class DeadlyDisk(Disk):
    """Kills its process, as `kill -9` does, before or after one of its calls, or midway."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def write(self, descriptor: int, data: bytes) -> None:
        self._pass("before write")
        super().write(descriptor, data[: len(data) // 2])
        self._pass("amid write")
        super().write(descriptor, data[len(data) // 2 :])
        self._pass("after write")

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._pass("after sync")

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self._pass("after replace")

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._pass("after sync_folder")

    def _pass(self, moment: str) -> None:
        if moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    child = get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moment", "is_new"),
    [
        ("before write", False),
        ("amid write", False),
        ("after write", False),
        ("after sync", False),
        ("after replace", True),
        ("after sync_folder", True),
    ],
)
def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one(
    moment: str, is_new: bool, file: Path
) -> None:
    deadly = a_vault(file, DeadlyDisk(moment))

    killed(lambda: deadly.put(PASSWORD, NAME, SecretStr("new")))
    assert values(a_vault(file)) == {NAME: "new" if is_new else CANARY}
    assert run(["vault", "list"]) == 0

    killed(lambda: deadly.rotate(PASSWORD, OTHER_PASSWORD))
    password, wrong = (OTHER_PASSWORD, PASSWORD) if is_new else (PASSWORD, OTHER_PASSWORD)
    assert values(a_vault(file), password) == {NAME: "new" if is_new else CANARY}

    for left in file.parent.iterdir():
        assert left.stat().st_mode & 0o077 == 0
        assert CANARY.encode() not in left.read_bytes()
    a_vault(file).put(password, "NEXT_KEY", SecretStr("written by the next"))
    assert sorted(one.name for one in file.parent.iterdir()) == [".vault.json.lock", "vault.json"]
    with pytest.raises(Exception, match="does not open"):
        a_vault(file).read(wrong)


@pytest.mark.parametrize("moment", ["amid write", "after sync", "after replace"])
def test_a_making_that_is_killed_leaves_no_vault_or_a_whole_one(moment: str, home: Path) -> None:
    path = home / "new" / "vault.json"
    killed(lambda: a_vault(path, DeadlyDisk(moment)).create(PASSWORD))

    if moment != "after replace":
        assert not path.exists()
        a_vault(path).create(PASSWORD)
    assert values(a_vault(path)) == {}


def test_a_copy_of_the_file_opens_elsewhere(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "elsewhere.json"
    shutil.copy2(file, copy)
    file.unlink()
    monkeypatch.setenv("HYDRA_VAULT", str(copy))

    assert run(["vault", "get", NAME]) == 0
    assert capsys.readouterr().out == CANARY
