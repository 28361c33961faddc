"""Structured logs: one line an event, for programs (JSON) or people, without secrets.

    configure(settings, file=path)
    with correlated(season="season-1"):
        get_logger("hydra.mother").warning("engine benched", engine="ema_trend", reason="…")

Whatever a library says through `logging`, and Python's own warnings, go the same way. A line is
one line whatever its values hold: control characters, line and paragraph separators are written
as escapes. Time is the clock's, UTC.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from hydra.clock import Clock, SystemClock, iso
from hydra.errors import ConfigError
from hydra.operations.masking import Mask, known_secrets
from hydra.settings import Settings

MOST_BYTES = 10 * 1024 * 1024  # of a file; then it becomes FILE.1
OLDER_FILES = 5
MODE = 0o600
OWN = "hydra"  # loggers of this name, or below it, are Hydra's own
_FIRST = ("time", "level", "logger", "event", "season", "cycle", "engine")
_OF_STRUCTLOG = ("_record", "_from_structlog")
# C0, DEL, C1, line and paragraph separators, and what turns the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LEVELS = {"warn": "warning", "exception": "error"}


class Logs:
    """The logs of this process, from `configure` until `close`."""

    def __init__(self, handler: logging.Handler, mask: Mask, level: int) -> None:
        self.mask = mask  # tell it the secrets that are learnt later
        self._handler = handler
        root, own = logging.getLogger(), logging.getLogger(OWN)
        self._before = (root.level, root.handlers[:], own.level)
        root.handlers[:] = [handler]
        # What libraries tell of every request is wanted only by whoever looks for a fault.
        root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
        own.setLevel(level)
        logging.captureWarnings(True)

    def close(self) -> None:
        """Write what is left, and let logging be as it was before. Safe to repeat."""
        root = logging.getLogger()
        if self._handler in root.handlers:
            root.setLevel(self._before[0])
            root.handlers[:] = self._before[1]
            logging.getLogger(OWN).setLevel(self._before[2])
            logging.captureWarnings(False)
            _be_silent()
        self._handler.close()

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *of_the_error: object) -> None:
        self.close()


def configure(
    settings: Settings,
    *,
    file: Path | None = None,
    stream: TextIO | None = None,
    clock: Clock | None = None,
    mask: Mask | None = None,
    most_bytes: int = MOST_BYTES,
) -> Logs:
    """Send all logs of this process to `file`, else LOG_FILE, else `stream` or standard error.

    Level and form are LOG_LEVEL and LOG_FORMAT. Raises ConfigError where the file cannot be
    written.
    """
    mask = mask or Mask(known_secrets())
    path = file or settings.log_file
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    handler: logging.Handler
    if path is None:
        handler = _StreamHandler(stream or sys.stderr)
    else:
        handler = _open(path.expanduser().absolute(), most_bytes)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        _level_of,
        _TimeOf(clock or SystemClock()),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[_Plain(mask), _json if settings.log_format == "json" else _console],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return Logs(handler, mask, level)


def _be_silent() -> None:
    """Until `configure`, nothing is logged: structlog's own way would print on standard output."""
    structlog.configure(processors=[_drop])


def _drop(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    raise structlog.DropEvent


_be_silent()


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose methods take an event and values: log.info("season begins", seed=1)."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


@contextmanager
def correlated(**values: object) -> Iterator[None]:
    """All that this task logs inside carries these values: season, cycle, engine."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


# Processors


def _level_of(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    name = record.levelname.lower() if isinstance(record, logging.LogRecord) else method
    event["level"] = _LEVELS.get(name, name)
    return event


class _TimeOf:
    """Stamps the time of writing. What is replayed carries the market's time as `at`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["time"] = iso(self._clock.now_ns())
        return event


class _Plain:
    """Makes everything of JSON's kinds, hides secrets, escapes what could forge a line."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        record = event.get("_record")
        told = {key: value for key, value in event.items() if key not in _OF_STRUCTLOG}
        exception = told.pop("exc_info", None)
        if not exception and isinstance(record, logging.LogRecord):
            exception = record.exc_info
        stack = told.pop("stack_info", None)
        shown = {name: told.pop(name) for name in _FIRST if name in told} | told
        plain: dict[str, Any] = {
            escaped(self._mask.hide(key)): _escaped(self._mask.value(value, key))
            for key, value in shown.items()
        }
        if text := _traceback_of(exception):
            plain["exception"] = [escaped(line) for line in self._mask.hide(text).splitlines()]
        if isinstance(stack, str):
            plain["stack"] = [escaped(line) for line in self._mask.hide(stack).splitlines()]
        return plain


def escaped(text: str) -> str:
    r"""The text with control characters as Python writes them: \n, \x1b, \u2028."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(key): _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)  # JSON has no such numbers
    return value


def _traceback_of(exception: object) -> str:
    if exception is True:
        exception = sys.exc_info()
    if isinstance(exception, tuple):
        exception = exception[1]
    if not isinstance(exception, BaseException):
        return ""
    return "".join(traceback.format_exception(exception))


def _json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=True, allow_nan=False)


def _console(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """2024-01-31T08:00:00Z warning  engine benched  engine=ema_trend reason="no key"."""
    told = dict(event)
    lines = [*_as_lines(told.pop("exception", ())), *_as_lines(told.pop("stack", ()))]
    head = f"{told.pop('time')} {told.pop('level'):8} {told.pop('event', '')}"
    values = " ".join(f"{key}={_shown(value)}" for key, value in told.items())
    # A line of a traceback begins with a bar, so that it cannot pass for an event.
    return "\n".join([f"{head}  {values}".rstrip(), *(f"    | {line}" for line in lines)])


def _as_lines(value: object) -> list[str]:
    return [str(line) for line in value] if isinstance(value, list) else []


def _shown(value: object) -> str:
    if isinstance(value, str):
        is_word = re.fullmatch(r"[^\s\"'=]+", value)
        return value if is_word else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


# Where they go


def _complain(handler: logging.Handler) -> None:
    """Say once that logs cannot be written, and why; never what was to be written."""
    error = sys.exc_info()[1]
    if not getattr(handler, "has_complained", False):
        handler.has_complained = True  # type: ignore[attr-defined]
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        print(f"warning: logs cannot be written: {reason}", file=sys.stderr)


class _StreamHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        _complain(self)


class _FileHandler(logging.handlers.RotatingFileHandler):
    """FILE, FILE.1 … FILE.5, mode 600; the oldest is dropped."""

    def _open(self) -> TextIOWrapper:
        # Without O_NONBLOCK the open of a named pipe would wait for its reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, MODE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no regular file")
        os.fchmod(descriptor, MODE)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding="utf-8", write_through=True)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """Once it is full; logging's own way would write every line twice to know its length."""
        return self.stream is not None and self.stream.tell() >= self.maxBytes

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        _complain(self)


def _open(path: Path, most_bytes: int) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _FileHandler(path, maxBytes=most_bytes, backupCount=OLDER_FILES)
    except OSError as error:
        raise ConfigError(f"the log file {path} cannot be written: {error.strerror}") from error
