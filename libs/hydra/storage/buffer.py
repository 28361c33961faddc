"""What every store of a season shares: it buffers a commit's rows and carries the hash chain."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from hydra.errors import JournalFault
from hydra.storage.journal import GENESIS, HASH_BYTES, Chain, record_hash
from hydra.tournament.season import (
    EngineRow,
    EquityRow,
    GuardianDayRow,
    LatchRow,
    LessonRow,
    ModelCallRow,
    PromptRow,
    ScoreRow,
    StandingRow,
    TicketRow,
)

JournalRow = tuple[int, int, int, int, str, str, int | None, str, bytes]
"""season_id, seq, cycle, at_ns, engine, kind, amount_units, body, hash."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one commit; of a row written twice, its last state."""

    cycle: int
    at_ns: int
    journal: list[JournalRow]
    journal_count: int  # of the season, this batch included
    digest: str
    engines: list[EngineRow]
    tickets: list[TicketRow]
    equity: list[EquityRow]
    scores: list[ScoreRow]
    days: list[GuardianDayRow]
    latches: list[LatchRow]
    prompts: list[PromptRow]
    model_calls: list[ModelCallRow]
    lessons: list[LessonRow]
    standings: tuple[StandingRow, ...] | None  # None: the season plays on


class BufferedSeasonStore(ABC):
    """A `SeasonStore` but for where a batch goes.

    On a resumed season Mother plays from the start. Its records are compared with the stored
    ones by hash, and rows up to the last committed cycle are dropped, since the database
    already holds them, perhaps in a later state; what follows is written.
    """

    def __init__(
        self, *, name: str, season_id: int, stored: Chain | None, committed_cycle: int
    ) -> None:
        """`stored` is the verified chain of a resumed season, None for a new one."""
        self.name = name
        self.season_id = season_id
        self._stored_cycle = self._heard_cycle = max(committed_cycle, 0)
        self._committed_cycle = committed_cycle  # -1: none
        self._stored = stored.hashes if stored else b""
        self._external = stored.external if stored else ()
        self._unmatched = stored.count if stored else 0
        self._seq = 0
        self._previous = GENESIS
        self._records: list[tuple[int, int, str, str, int | None, bytes]] = []
        self._engines: dict[str, EngineRow] = {}
        self._tickets: dict[int, TicketRow] = {}
        self._equity: list[EquityRow] = []
        self._scores: dict[tuple[str, int], ScoreRow] = {}
        self._days: dict[tuple[str, str], GuardianDayRow] = {}
        self._latches: dict[tuple[str, str, int], LatchRow] = {}
        self._prompts: dict[str, PromptRow] = {}
        self._model_calls: dict[tuple[str, int, int], ModelCallRow] = {}
        self._lessons: dict[tuple[str, int, int], LessonRow] = {}

    def journal(
        self,
        cycle: int,
        at_ns: int,
        engine: str,
        kind: str,
        amount_units: int | None,
        body: bytes,
    ) -> None:
        if self._unmatched:
            self._match(cycle, at_ns, engine, kind, amount_units, body)
        else:
            self._records.append((cycle, at_ns, engine, kind, amount_units, body))

    def ticket(self, row: TicketRow) -> None:
        self._tickets[row.ticket] = row

    def equity(self, row: EquityRow) -> None:
        self._equity.append(row)

    def score(self, row: ScoreRow) -> None:
        self._scores[row.engine, row.at_ns] = row

    def guardian_day(self, row: GuardianDayRow) -> None:
        self._days[row.engine, row.day] = row

    def latch(self, row: LatchRow) -> None:
        self._latches[row.engine, row.rule, row.at_ns] = row

    def prompt(self, row: PromptRow) -> None:
        self._prompts[row.sha256] = row

    def model_call(self, row: ModelCallRow) -> None:
        self._model_calls[row.engine, row.at_ns, row.attempt] = row

    def lesson(self, row: LessonRow) -> None:
        self._lessons[row.engine, row.at_ns, row.ticket] = row

    def engine(self, row: EngineRow) -> None:
        self._engines[row.engine] = row

    def hear(self, external: tuple[tuple[int, str, bytes], ...], until_cycle: int) -> None:
        """Let a new season hear again what reached an earlier one from outside, and nothing else
        up to the cycle `until_cycle`. To be called before Mother looks."""
        self._external = external
        self._heard_cycle = until_cycle

    @property
    def stored_cycle(self) -> int:
        return self._stored_cycle

    @property
    def heard_cycle(self) -> int:
        return self._heard_cycle

    def external_inputs(self) -> tuple[tuple[int, str, bytes], ...]:
        return self._external

    def commit(self, cycle: int, at_ns: int) -> None:
        """Raises StorageError when the database refuses; the rows are then kept for another try,
        and JournalFault when a resumed season left out records that are stored."""
        self._commit(cycle, at_ns, None)

    def close(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...]) -> str:
        self._commit(cycle, at_ns, standings)
        return self._previous.hex()

    def _commit(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...] | None) -> None:
        behind = self._unmatched > 0 or cycle < self._committed_cycle
        if behind:
            if self._unmatched and (cycle > self._committed_cycle or standings is not None):
                raise JournalFault(
                    f"season {self.name}: the resumed season ended cycle {cycle} without record "
                    f"{self._seq + 1}, which is stored: it does not repeat what was played. "
                    "Were its inputs, settings or the program changed?"
                )
            if self._records:
                cycle_, _, engine, kind, _, _ = self._records[0]
                raise JournalFault(
                    f"season {self.name}: the resumed season made record {self._seq + 1} ({kind} "
                    f"of {engine}, cycle {cycle_}), but only {self._seq} are stored up to cycle "
                    f"{self._committed_cycle}: it does not repeat what was played"
                )
            self._clear()
            return
        batch, previous = self._batch(cycle, at_ns, standings)
        self._write(batch)
        self._seq = batch.journal_count
        self._previous = previous
        self._committed_cycle = cycle
        self._clear()

    def _batch(
        self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...] | None
    ) -> tuple[Batch, bytes]:
        season_id, seq, previous = self.season_id, self._seq, self._previous
        rows: list[JournalRow] = []
        for at_cycle, record_ns, engine, kind, amount_units, body in self._records:
            seq += 1
            previous = record_hash(
                previous, seq, at_cycle, record_ns, engine, kind, amount_units, body
            )
            rows.append(
                (
                    season_id,
                    seq,
                    at_cycle,
                    record_ns,
                    engine,
                    kind,
                    amount_units,
                    body.decode(),
                    previous,
                )
            )
        batch = Batch(
            cycle=cycle,
            at_ns=at_ns,
            journal=rows,
            journal_count=seq,
            digest=previous.hex(),
            engines=list(self._engines.values()),
            tickets=list(self._tickets.values()),
            equity=self._equity,
            scores=list(self._scores.values()),
            days=list(self._days.values()),
            latches=list(self._latches.values()),
            prompts=list(self._prompts.values()),
            model_calls=list(self._model_calls.values()),
            lessons=list(self._lessons.values()),
            standings=standings,
        )
        return batch, previous

    def _match(
        self,
        cycle: int,
        at_ns: int,
        engine: str,
        kind: str,
        amount_units: int | None,
        body: bytes,
    ) -> None:
        seq = self._seq + 1
        digest = record_hash(self._previous, seq, cycle, at_ns, engine, kind, amount_units, body)
        if digest != self._stored[self._seq * HASH_BYTES : seq * HASH_BYTES]:
            differences = self._differences(
                seq,
                {
                    "cycle": cycle,
                    "at_ns": at_ns,
                    "engine": engine,
                    "kind": kind,
                    "amount_units": amount_units,
                    "body": body.decode(errors="replace"),
                },
            )
            raise JournalFault(
                f"season {self.name}: record {seq} ({kind} of {engine}, cycle {cycle}) of the "
                f"resumed season differs from the stored one: {differences}. "
                "Were its inputs, settings or the program changed?"
            )
        self._seq = seq
        self._previous = digest
        self._unmatched -= 1

    def _differences(self, seq: int, new: dict[str, int | str | None]) -> str:
        stored = self._stored_fields(seq)
        return "; ".join(
            f"{name} was {_short(stored.get(name))}, now {_short(value)}"
            for name, value in new.items()
            if stored.get(name) != value
        )

    def _clear(self) -> None:
        self._records = []
        self._engines = {}
        self._tickets = {}
        self._equity = []
        self._scores = {}
        self._days = {}
        self._latches = {}
        self._prompts = {}
        self._model_calls = {}
        self._lessons = {}

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Make the batch durable, whole or not at all. Raises StorageError."""

    @abstractmethod
    def _stored_fields(self, seq: int) -> dict[str, int | str | None]:
        """cycle, at_ns, engine, kind, amount_units and body of a stored record."""

    @abstractmethod
    def kill_switch(self) -> bool: ...


def _short(value: int | str | None) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
