"""What follows a season while it plays: the audit trail and the log read what was committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection

from apps.cli.failures import warn
from hydra.clock import NS_PER_S, monotonic_ns
from hydra.errors import HydraError
from hydra.settings import Settings
from hydra.storage.database import reading

if TYPE_CHECKING:
    from hydra.operations.audit import AuditTrail

# Between two looks at what was committed: a replay commits many times a second.
PAUSE_NS = NS_PER_S // 2


# Reads a season's committed rows through a connection that has read nothing yet.
Follower = Callable[[Connection, str], object]


class Logger(Protocol):
    """What the command says itself."""

    def info(self, event: str, **values: object) -> object: ...

    def warning(self, event: str, **values: object) -> object: ...


class Followers:
    """Is told of every commit, and looks now and then."""

    def __init__(self, url: str, season: str, members: Sequence[Follower]) -> None:
        self._url = url
        self._season = season
        self._members = members
        self._next_ns = monotonic_ns() + PAUSE_NS if members else 2**63

    def update(self) -> None:
        """After a commit. Raises HydraError: a season whose trail cannot be kept stops."""
        if monotonic_ns() >= self._next_ns:
            self.look()
            self._next_ns = monotonic_ns() + PAUSE_NS

    def look(self) -> None:
        """Let all members read what is committed now."""
        for member in self._members:
            with reading(self._url) as connection:
                member(connection, self._season)


@contextmanager
def following(
    url: str,
    season: str,
    *,
    audit: Path | None,
    logs: bool = False,
    after_seq: int = 0,
    durable: bool = False,
) -> Iterator[Followers]:
    """Those who read along, as far as they were asked for; they look a last time at the end.

    `after_seq` is the season's last record when it was resumed, 0 of a new one. `durable`: each
    addition to the trail survives a loss of power; else it is left to the system, and only the
    end is sure.
    """
    # What reads along is imported only where it was asked for: it would slow every start.
    members: list[Follower] = []
    with ExitStack() as held:
        if audit is not None:
            from hydra.operations.audit import AuditTrail

            trail = held.enter_context(AuditTrail(audit, durable=durable))
            members.append(partial(_audit, trail))
        if logs:
            from hydra.operations.season_log import SeasonLog

            members.append(SeasonLog(after_seq).follow)
        followers = Followers(url, season, members)
        try:
            yield followers
        finally:
            followers.look()


def _audit(trail: AuditTrail, connection: Connection, season: str) -> None:
    done = trail.follow(connection, season)
    if done.completed:
        warn(f"audit trail: {done.completed} was torn, and is completed from the journal")


@contextmanager
def logged(settings: Settings, file: Path | None, name: str) -> Iterator[Logger | None]:
    """Logs of this command, to `file`, else LOG_FILE; None where neither is named.

    `name` is the logger's. An error that ends the command is logged as well. Raises ConfigError
    where the file cannot be written.
    """
    if file is None and settings.log_file is None:
        yield None
        return
    from hydra.operations.logs import configure, get_logger

    with configure(settings, file=file):
        log = get_logger(name)
        try:
            yield log
        except HydraError as error:
            log.error("command failed", reason=str(error))
            raise
        except Exception:
            log.exception("fault of Hydra itself")
            raise
