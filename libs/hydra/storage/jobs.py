"""When the daemon's jobs of a season last ran, so that missed runs are made up for, once."""

from __future__ import annotations

import msgspec
from sqlalchemy import insert, select, update

from hydra.storage import tables
from hydra.storage.database import reading, writing


class JobRun(msgspec.Struct, frozen=True):
    """The last time that a job ended well."""

    ran_ns: int  # by the machine's clock
    mark: str = ""  # how far it came, in its own words


class SeasonJobs:
    """Of one season. Each call is a transaction of its own; all raise StorageError."""

    def __init__(self, url: str, season_id: int) -> None:
        self._url = url
        self._season_id = season_id

    def last(self, job: str) -> JobRun | None:
        """None: it never ended well."""
        columns = tables.jobs.c
        statement = select(columns.ran_ns, columns.mark).where(
            columns.season_id == self._season_id, columns.job == job
        )
        with reading(self._url) as connection:
            row = connection.execute(statement).first()
        return None if row is None else JobRun(row.ran_ns, row.mark)

    def keep(self, job: str, run: JobRun) -> None:
        """Durably, in the place of what was kept of the job before."""
        table = tables.jobs
        values = {"ran_ns": run.ran_ns, "mark": run.mark}
        where = (table.c.season_id == self._season_id, table.c.job == job)
        with writing(self._url) as connection:
            if connection.execute(update(table).where(*where).values(values)).rowcount == 0:
                key = {"season_id": self._season_id, "job": job}
                connection.execute(insert(table).values(key | values))
