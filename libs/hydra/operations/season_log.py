"""What an operator would want to know of a season, logged as it becomes durable.

Reads the journal after commits, as the audit trail does: nothing of it is in the way of a season.
"""

from __future__ import annotations

import logging

import msgspec
from sqlalchemy import Connection

from hydra.clock import iso
from hydra.operations.logs import correlated, get_logger
from hydra.storage.journal import StoredRecord, stored_records
from hydra.storage.queries import find_season, standings

SAID = {
    "season": (logging.INFO, "season begins"),
    "benched": (logging.WARNING, "engine benched"),
    "breached": (logging.ERROR, "account lost for the season"),
    "eliminated": (logging.WARNING, "engine eliminated"),
    "spared": (logging.INFO, "nobody eliminated"),
    "breach": (logging.WARNING, "limit breached"),
    "latch": (logging.WARNING, "guardian latched"),
    "target": (logging.INFO, "profit target reached"),
    "shed": (logging.WARNING, "risk shed"),
    "failed": (logging.WARNING, "decision failed"),
    "external.timeout": (logging.WARNING, "decision overdue"),
    "external.answer": (logging.WARNING, "answer overdue"),
    "external.lost": (logging.WARNING, "answer lost"),
    "external.kill": (logging.ERROR, "kill switch thrown"),
    "external.release": (logging.WARNING, "kill switch released"),
}
"""Level and words for a journal record; of other kinds nothing is said."""


# Names that a line has for itself.
_TAKEN = {"event", "level", "time", "logger", "exc_info", "stack_info", "season"}


class SeasonLog:
    """Logs what a season's journal gains."""

    def __init__(self, after_seq: int = 0) -> None:
        """`after_seq`: the last record that was committed before, of a season that is resumed."""
        self._log = get_logger("hydra.season")
        self._last_seq = after_seq
        self._was_resumed = after_seq > 0
        self._is_over = False

    def follow(self, connection: Connection, season: str) -> None:
        """Log what was committed since the last call. Raises ConfigError without such a season."""
        row = find_season(connection, season)
        with correlated(season=row.name):
            if self._was_resumed:
                self._was_resumed = False
                self._log.info("season resumes", after_seq=self._last_seq)
            for record in stored_records(
                connection, row.id, after_seq=self._last_seq, kinds=tuple(SAID)
            ):
                self._say(record)
                self._last_seq = record[0]
            if row.state == "finished" and not self._is_over:
                self._is_over = True
                leader = next((one.engine for one in standings(connection, row.name)), "")
                self._log.info(
                    "season ends", cycle=row.cycle, at=iso(row.at_ns), leads=leader,
                    records=row.journal_count, digest=row.digest,
                )  # fmt: skip

    def _say(self, record: StoredRecord) -> None:
        seq, cycle, at_ns, engine, kind, _, body, _ = record
        level, words = SAID[kind]
        told: dict[str, object] = {}
        if kind != "season":  # its body is the whole set-up
            told = msgspec.json.decode(body, type=dict[str, object])
        told = {f"body_{name}" if name in _TAKEN else name: one for name, one in told.items()}
        told |= {"cycle": cycle, "at": iso(at_ns), "seq": seq}
        if engine:
            told["engine"] = engine
        self._log.log(level, words, **told)
