"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hydra.clock import to_ns
from hydra.errors import ConfigError

Season = Annotated[
    str | None,
    typer.Option("--season", metavar="NAME", help="Which season; default: the current one."),
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="Only this engine's rows.")
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, metavar="N", help="The newest N rows at most.")
]
Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="The database: sqlite:///file or postgresql://…; default: HYDRA_DB_URL,"
        " else data/hydra/hydra.db of the project.",
    ),
]
EliminateEvery = Annotated[
    int | None,
    typer.Option(
        "--eliminate-every",
        metavar="H",
        help="Hours of market time between two eliminations of the last; 0: never. Default:"
        " 24 in hydra run, 0 in hydra replay.",
    ),
]
Audit = Annotated[
    bool, typer.Option("--audit", help="Write what bears on trades to the audit trail as well.")
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Log what an operator would want to know; default: LOG_FILE, else nothing.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="A list of JSON objects instead of a table, nothing else.")
]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def season_name(given: str, option: str) -> str:
    """A name that a new season may have. Raises ConfigError."""
    if not _NAME.fullmatch(given):
        raise ConfigError(
            f"{option} {given!r}: a name has up to 64 letters, digits, '.', '_' or '-'"
            " and begins with a letter or digit"
        )
    return given


def database_url(given: str | None) -> str:
    """The database of a command: what `--db` says, else the settings."""
    if given is not None:
        if not given.strip():
            raise ConfigError("--db is empty; give a database URL such as sqlite:///hydra.db")
        return given
    from hydra.settings import load_settings

    return load_settings().db_url


def instant_ns(text: str | None, option: str) -> int | None:
    """An ISO date or time, UTC unless it names an offset, in ns. Raises ConfigError."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return to_ns(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{option} {text!r} is no date or time; write 2024-01-31, 2024-01-31T08:00"
            " or 2024-01-31T08:00+01:00"
        ) from error
