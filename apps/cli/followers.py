"""What follows a season while it plays: the audit trail and the log read what was committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from apps.cli.failures import warn
from hydra.clock import NS_PER_S, monotonic_ns
from hydra.operations.audit import AuditTrail
from hydra.storage.database import reading

# Between two looks at what was committed: a replay commits many times a second.
PAUSE_NS = NS_PER_S // 2


class Follower(Protocol):
    """Reads a season's committed rows through a connection that has read nothing yet."""

    def follow(self, connection: Connection, season: str) -> object: ...


class AuditFollower:
    """Brings the audit trail up to the journal."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def follow(self, connection: Connection, season: str) -> None:
        done = self._trail.follow(connection, season)
        if done.completed:
            warn(f"audit trail: {done.completed} was torn, and is completed from the journal")


class Followers:
    """Is told of every commit, and looks now and then."""

    def __init__(self, url: str, season: str, members: Sequence[Follower]) -> None:
        self._url = url
        self._season = season
        self._members = members
        self._next_ns = monotonic_ns() if members else 2**63

    def update(self) -> None:
        """After a commit. Raises HydraError: a season whose trail cannot be kept stops."""
        if monotonic_ns() >= self._next_ns:
            self.look()
            self._next_ns = monotonic_ns() + PAUSE_NS

    def look(self) -> None:
        """Let all members read what is committed now."""
        for member in self._members:
            with reading(self._url) as connection:
                member.follow(connection, self._season)
