"""How a command fails: one line on standard error, an exit code that means something."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

from hydra.errors import ConfigError, HydraError, StorageError

UNSOUND = 1  # a check found something, or an error of no other kind
USAGE = 2  # an argument, a setting or a price file is wrong
STORAGE = 3  # the database or its journal cannot be used
INTERNAL = 70  # a fault of the program itself (EX_SOFTWARE)
INTERRUPTED = 130  # 128 + SIGINT, as shells count
PIPE_CLOSED = 141  # 128 + SIGPIPE

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def code_of(error: HydraError) -> int:
    """The exit code of an error that Hydra raised on purpose."""
    if isinstance(error, ConfigError):
        return USAGE
    return STORAGE if isinstance(error, StorageError) else UNSOUND


def complain(message: str, *, hint: str = "", word: str = "error") -> None:
    """Say what is wrong on standard error, in red where that is a terminal."""
    _say(word, message, colour="1;31")
    if hint:
        print(f"  {plain(hint)}", file=sys.stderr)


def warn(message: str) -> None:
    """A warning on standard error, in yellow where that is a terminal."""
    _say("warning", message, colour="33")


def plain(text: str) -> str:
    """The text without control characters, which could drive a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _say(word: str, message: str, *, colour: str) -> None:
    colourful = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    start, end = (f"\x1b[{colour}m", "\x1b[0m") if colourful else ("", "")
    print(f"{start}{word}:{end} {plain(message)}", file=sys.stderr)


def keep_traceback(error: Exception) -> int:
    """Write an unexpected error's traceback to a log file and name it; returns INTERNAL.

    Secrets of the environment are in neither the file, which only its owner may read, nor the
    message.
    """
    told = type(error).__name__
    try:
        from hydra.operations.masking import Mask, known_secrets

        mask = Mask(known_secrets())
        told = mask.hide(f"{told}: {error}")
        text = mask.hide("".join(traceback.format_exception(error)))
        path = _log_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"hydra {mask.hide(' '.join(sys.argv[1:]))}\n{text}")
        where = f"the details are in {path}; please pass it on with what you did"
    except (OSError, HydraError) as log_error:
        where = f"its details could not be written to a log file: {log_error}"
    complain(f"a fault of Hydra itself ({told})", hint=where)
    return INTERNAL


def _log_file() -> Path:
    from hydra.clock import SystemClock, to_datetime
    from hydra.settings import load_settings

    stamp = to_datetime(SystemClock().now_ns()).strftime("%Y%m%dT%H%M%S")
    folder = load_settings().home.expanduser() / "data" / "hydra" / "logs"
    return folder / f"fault-{stamp}-{os.getpid()}.log"
