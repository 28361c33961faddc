"""Seasons in memory: the twin of the database for tests and benchmarks."""

from __future__ import annotations

import msgspec

from hydra.errors import ConfigError, JournalFault, StorageError
from hydra.storage.buffer import Batch, BufferedSeasonStore, JournalRow
from hydra.storage.journal import HASH_BYTES, Chain
from hydra.tournament.season import (
    EngineRow,
    EquityRow,
    GuardianDayRow,
    LatchRow,
    LessonRow,
    ModelCallRow,
    PromptRow,
    ScoreRow,
    SeasonRow,
    StandingRow,
    TicketRow,
)


class MemorySeason(msgspec.Struct, kw_only=True):
    """What has been committed of one season, by primary key."""

    row: SeasonRow
    season_id: int
    is_finished: bool = False
    cycle: int = -1
    at_ns: int = 0
    digest: str = ""
    journal: list[JournalRow] = msgspec.field(default_factory=list)
    engines: dict[str, EngineRow] = msgspec.field(default_factory=dict)
    tickets: dict[int, TicketRow] = msgspec.field(default_factory=dict)
    equity: dict[tuple[str, int], EquityRow] = msgspec.field(default_factory=dict)
    scores: dict[tuple[str, int], ScoreRow] = msgspec.field(default_factory=dict)
    days: dict[tuple[str, str], GuardianDayRow] = msgspec.field(default_factory=dict)
    latches: dict[tuple[str, str, int], LatchRow] = msgspec.field(default_factory=dict)
    standings: dict[str, StandingRow] = msgspec.field(default_factory=dict)
    prompts: dict[str, PromptRow] = msgspec.field(default_factory=dict)
    model_calls: dict[tuple[str, int, int], ModelCallRow] = msgspec.field(default_factory=dict)
    lessons: dict[tuple[str, int, int], LessonRow] = msgspec.field(default_factory=dict)


class MemoryDatabase:
    """Several seasons side by side, and the switch that they share."""

    def __init__(self) -> None:
        self.seasons: dict[str, MemorySeason] = {}
        self.current: str | None = None
        self.kill_switch = False
        self._playing: set[str] = set()

    def open_season(self, row: SeasonRow, *, resume: bool) -> MemorySeasonStore:
        """As `hydra.storage.store.open_season`, with the same errors."""
        season = self.seasons.get(row.name)
        if row.name in self._playing:
            raise StorageError(f"season {row.name} is being played by this process")
        if not resume:
            if season is not None:
                raise ConfigError(f"there already is a season {row.name}: resume it or rename")
            season = MemorySeason(row=row, season_id=len(self.seasons) + 1)
            self.seasons[row.name] = season
        elif season is None:
            raise ConfigError(f"there is no season {row.name} to resume")
        elif season.row != row:
            raise ConfigError(f"season {row.name} was set up differently")
        self.current = row.name
        self._playing.add(row.name)
        return MemorySeasonStore(self, season, resume=resume)

    def leave(self, name: str) -> None:
        self._playing.discard(name)


class MemorySeasonStore(BufferedSeasonStore):
    """The `SeasonStore` of one season of a `MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase, season: MemorySeason, *, resume: bool) -> None:
        super().__init__(
            name=season.row.name,
            season_id=season.season_id,
            stored=_chain(season) if resume else None,
            committed_cycle=season.cycle,
        )
        self.season = season
        self._database = database

    def kill_switch(self) -> bool:
        return self._database.kill_switch

    def close(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...]) -> str:
        digest = super().close(cycle, at_ns, standings)
        self.release()
        return digest

    def release(self) -> None:
        """Free the season for another store. Safe to repeat."""
        self._database.leave(self.name)

    def _write(self, batch: Batch) -> None:
        season = self.season
        season.journal += batch.journal
        season.engines |= {row.engine: row for row in batch.engines}
        season.tickets |= {row.ticket: row for row in batch.tickets}
        season.equity |= {(row.engine, row.at_ns): row for row in batch.equity}
        season.scores |= {(row.engine, row.at_ns): row for row in batch.scores}
        season.days |= {(row.engine, row.day): row for row in batch.days}
        season.latches |= {(row.engine, row.rule, row.at_ns): row for row in batch.latches}
        season.prompts |= {row.sha256: row for row in batch.prompts}
        season.model_calls |= {
            (row.engine, row.at_ns, row.attempt): row for row in batch.model_calls
        }
        season.lessons |= {(row.engine, row.at_ns, row.ticket): row for row in batch.lessons}
        season.cycle, season.at_ns, season.digest = batch.cycle, batch.at_ns, batch.digest
        if batch.standings is not None:
            season.standings |= {row.engine: row for row in batch.standings}
            season.is_finished = True

    def _stored_fields(self, seq: int) -> dict[str, int | str | None]:
        _, _, cycle, at_ns, engine, kind, amount_units, body, _ = self.season.journal[seq - 1]
        return {
            "cycle": cycle,
            "at_ns": at_ns,
            "engine": engine,
            "kind": kind,
            "amount_units": amount_units,
            "body": body,
        }


def _chain(season: MemorySeason) -> Chain:
    hashes = b"".join(row[-1] for row in season.journal)
    if len(hashes) != HASH_BYTES * len(season.journal):
        raise JournalFault(f"season {season.row.name}: a record has no whole hash")
    return Chain(
        hashes=hashes,
        postings_units={},
        closing_units={},
        external=tuple(
            (row[2], row[5], row[7].encode())
            for row in season.journal
            if row[5].startswith("external.")
        ),
        fault="",
    )
