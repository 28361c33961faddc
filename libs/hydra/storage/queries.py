"""Reading seasons back, for the command line, the report and the web: typed rows, newest last.

Every function takes a connection from `hydra.storage.database.reading` and, where it reads a
season, its name (None: the current one). All raise ConfigError when there is no such season.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Row, Select, Table, func, select, update

from hydra.clock import Clock, SystemClock, iso, to_ns
from hydra.errors import ConfigError
from hydra.storage import rows, tables
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

S = TypeVar("S", bound=msgspec.Struct)
# SQLAlchemy knows the columns of these only when they run.
AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

DECISION_KINDS = (
    "approved", "refused", "held", "abstained", "invalidated", "failed", "benched",
    "eliminated", "spared", "latch", "breach", "target",
)  # fmt: skip
"""Journal records that tell why an engine did, or could not do, what it wanted."""


class SeasonSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A season, and how far it has come."""

    season: SeasonRow
    is_current: bool
    state: str  # playing or finished
    created_ns: int  # the machine's time
    finished_ns: int | None
    cycle: int  # the last one committed; -1: none
    at_ns: int  # the market's time at that cycle
    journal_count: int
    digest: str  # of the journal, hex


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A journal record, its body decoded."""

    seq: int
    cycle: int
    at_ns: int
    engine: str
    kind: str
    amount_units: int | None
    body: dict[str, object]


class RefusalCount(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    rule: str
    count: int


class GuardianState(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch. `changed_ns` None: it was never touched."""

    kill_switch: bool
    reason: str
    changed_ns: int | None


class _Refused(msgspec.Struct):
    rule: str = "unknown"


class _RefusalBody(msgspec.Struct):
    refused: _Refused = msgspec.field(default_factory=_Refused)


def find_season(connection: Connection, name: str | None) -> AnyRow:
    """The row of `seasons`. Raises ConfigError, naming those there are, when there is none."""
    table = tables.seasons
    which = table.c.is_current == 1 if name is None else table.c.name == name
    row = connection.execute(select(table).where(which)).first()
    if row is None:
        names = list(connection.execute(select(table.c.name).order_by(table.c.id)).scalars())
        if not names:
            raise ConfigError("the database holds no season yet: play one with hydra replay")
        raise ConfigError(f"there is no season {name}; there are: {', '.join(names)}")
    return row


def seasons(connection: Connection) -> list[SeasonSummary]:
    """All seasons, oldest first."""
    statement = select(tables.seasons).order_by(tables.seasons.c.id)
    return [_summary(row) for row in connection.execute(statement)]


def season(connection: Connection, name: str | None = None) -> SeasonSummary:
    return _summary(find_season(connection, name))


def engines(connection: Connection, season: str | None = None) -> list[EngineRow]:
    """By name."""
    found = connection.execute(
        _of(connection, tables.engines, season).order_by(tables.engines.c.engine)
    )
    return [
        EngineRow(
            engine=row.engine,
            title=row.title,
            params=_object(row.params),
            is_reference=bool(row.is_reference),
            state=row.state,
            reason=row.reason,
            since_ns=row.since_ns,
        )
        for row in found
    ]


def standings(connection: Connection, season: str | None = None) -> list[StandingRow]:
    """Of a finished season, by rank; who holds none comes last. Empty while it plays."""
    lines = [
        StandingRow(engine=row.engine, rank=row.rank, metrics=_object(row.metrics))
        for row in connection.execute(
            _of(connection, tables.standings, season).order_by(tables.standings.c.engine)
        )
    ]
    return sorted(lines, key=lambda line: (line.rank is None, line.rank or 0))


def scores(connection: Connection, season: str | None = None) -> list[ScoreRow]:
    """Each engine's newest line, most points first: the rows of `tournament_scores`."""
    newest: dict[str, ScoreRow] = {}
    for row in score_history(connection, season):
        newest[row.engine] = row
    return sorted(newest.values(), key=lambda row: (-row.total_points, row.engine))


def score_history(connection: Connection, season: str | None = None) -> list[ScoreRow]:
    """All lines, by time."""
    columns = tables.scores.c
    return _rows(connection, ScoreRow, tables.scores, season, columns.at_ns, columns.engine)


def trades(
    connection: Connection,
    season: str | None = None,
    *,
    engine: str | None = None,
    limit: int | None = None,
) -> list[TicketRow]:
    """The newest `limit` tickets, oldest first."""
    table = tables.tickets
    statement = _of(connection, table, season).order_by(table.c.ticket.desc())
    found = connection.execute(_narrowed(statement, table, engine, limit))
    return [_ticket(row) for row in found][::-1]


def decisions(
    connection: Connection,
    season: str | None = None,
    *,
    engine: str | None = None,
    limit: int | None = None,
    kinds: Sequence[str] = DECISION_KINDS,
) -> list[Decision]:
    """The newest `limit` records of these kinds, oldest first."""
    table = tables.journal
    statement = _of(connection, table, season).where(table.c.kind.in_(kinds))
    statement = _narrowed(statement.order_by(table.c.seq.desc()), table, engine, limit)
    found = [
        Decision(
            seq=row.seq,
            cycle=row.cycle,
            at_ns=row.at_ns,
            engine=row.engine,
            kind=row.kind,
            amount_units=row.amount_units,
            body=_object(row.body),
        )
        for row in connection.execute(statement)
    ]
    return found[::-1]


def equity(
    connection: Connection, season: str | None = None, *, engine: str | None = None
) -> list[EquityRow]:
    """Equity points by engine, then time."""
    columns = tables.equity_points.c
    return _rows(
        connection,
        EquityRow,
        tables.equity_points,
        season,
        columns.engine,
        columns.at_ns,
        engine=engine,
    )


def guardian_days(
    connection: Connection, season: str | None = None, *, engine: str | None = None
) -> list[GuardianDayRow]:
    """By engine, then day."""
    columns = tables.guardian_days.c
    return _rows(
        connection,
        GuardianDayRow,
        tables.guardian_days,
        season,
        columns.engine,
        columns.day,
        engine=engine,
    )


def model_calls(
    connection: Connection,
    season: str | None = None,
    *,
    engine: str | None = None,
    limit: int | None = None,
) -> list[ModelCallRow]:
    """The newest `limit` questions to models, oldest first."""
    table = tables.model_calls
    statement = _of(connection, table, season).order_by(
        table.c.at_ns.desc(), table.c.engine.desc(), table.c.attempt.desc()
    )
    found = connection.execute(_narrowed(statement, table, engine, limit))
    return [_call(row) for row in found][::-1]


def question_until(
    connection: Connection, season: str | None, engine: str, until_ns: int
) -> ModelCallRow | None:
    """The newest question that an engine had put by an instant of the market, no repairs."""
    table = tables.model_calls
    statement = (
        _of(connection, table, season)
        .where(table.c.engine == engine, table.c.attempt == 1, table.c.at_ns <= until_ns)
        .order_by(table.c.at_ns.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else _call(row)


def prompts(connection: Connection, season: str | None = None) -> list[PromptRow]:
    """The system prompts of a season, by version."""
    columns = tables.prompts.c
    return _rows(connection, PromptRow, tables.prompts, season, columns.version, columns.sha256)


def newest_with_calls(connection: Connection) -> str | None:
    """The name of the newest season in which models were asked."""
    seasons, calls = tables.seasons.c, tables.model_calls.c
    statement = (
        select(seasons.name)
        .where(seasons.id.in_(select(calls.season_id).distinct()))
        .order_by(seasons.id.desc())
    )
    name: str | None = connection.execute(statement).scalar()
    return name


def spent_units(connection: Connection, since_ns: int) -> dict[str, int]:
    """What the calls of all seasons have cost since an instant of the machine's clock, by engine.

    In 1e-8 USD. Calls whose cost is unknown are not in it; one whose reply other seasons heard
    again, and keep as theirs, is counted once.
    """
    calls = tables.model_calls.c
    once = (
        select(calls.engine, calls.at_ns, calls.attempt, calls.called_ns, calls.cost_units)
        .where(calls.called_ns >= since_ns, calls.cost_units.is_not(None))
        .distinct()
        .subquery()
    )
    statement = select(once.c.engine, func.sum(once.c.cost_units)).group_by(once.c.engine)
    return {engine: int(units) for engine, units in connection.execute(statement)}


def lessons(
    connection: Connection, season: str | None = None, *, engine: str | None = None
) -> list[LessonRow]:
    """By engine, then time."""
    columns = tables.lessons.c
    return _rows(
        connection,
        LessonRow,
        tables.lessons,
        season,
        columns.engine,
        columns.at_ns,
        columns.ticket,
        engine=engine,
    )


def latches(
    connection: Connection, season: str | None = None, *, engine: str | None = None
) -> list[LatchRow]:
    """By time, then engine."""
    columns = tables.guardian_latches.c
    return _rows(
        connection,
        LatchRow,
        tables.guardian_latches,
        season,
        columns.at_ns,
        columns.engine,
        columns.rule,
        engine=engine,
    )


def refusals_by_rule(connection: Connection, season: str | None = None) -> list[RefusalCount]:
    """How often the guardian refused each engine, by engine, most frequent rule first.

    The rule is `refused.rule` in the body of the journal's records of kind "refused".
    """
    table = tables.journal
    season_id = _season_id(connection, season)
    statement = select(table.c.engine, table.c.body).where(
        table.c.season_id == season_id, table.c.kind == "refused"
    )
    decode = msgspec.json.Decoder(_RefusalBody).decode
    counts: dict[tuple[str, str], int] = {}
    for engine, body in connection.execute(statement):
        key = (engine, decode(body).refused.rule)
        counts[key] = counts.get(key, 0) + 1
    return [
        RefusalCount(engine=engine, rule=rule, count=count)
        for (engine, rule), count in sorted(
            counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1])
        )
    ]


def guardian_state(connection: Connection) -> GuardianState:
    """A missing row reads as a switch that is on: the guardian fails closed."""
    row = connection.execute(select(tables.guardian_state)).first()
    if row is None:
        return GuardianState(kill_switch=True, reason="its row is missing", changed_ns=None)
    return GuardianState(
        kill_switch=row.kill_switch != 0,
        reason=row.reason,
        changed_ns=_instant(row.changed_at),
    )


def set_kill_switch(
    connection: Connection, on: bool, reason: str, clock: Clock | None = None
) -> None:
    """Set or release the switch for all seasons. `connection` comes from `writing`."""
    now = iso((clock or SystemClock()).now_ns())
    text = now.replace("T", " ").replace("Z", "+00:00")  # as the views and the trigger write it
    table = tables.guardian_state
    values: dict[str, object] = {"kill_switch": int(on), "reason": reason, "changed_at": text}
    if connection.execute(update(table).values(values)).rowcount == 0:
        connection.execute(table.insert().values(id=1, **values))


def _season_id(connection: Connection, name: str | None) -> int:
    season_id: int = find_season(connection, name).id
    return season_id


def _of(connection: Connection, table: Table, season: str | None) -> AnySelect:
    return select(table).where(table.c.season_id == _season_id(connection, season))


def _narrowed(
    statement: AnySelect, table: Table, engine: str | None, limit: int | None
) -> AnySelect:
    if engine is not None:
        statement = statement.where(table.c.engine == engine)
    return statement if limit is None else statement.limit(limit)


def _rows(
    connection: Connection,
    kind: type[S],
    table: Table,
    season: str | None,
    *order: Column[Any],
    engine: str | None = None,
) -> list[S]:
    """Rows of a table whose columns are the struct's fields."""
    fields = [field.name for field in msgspec.structs.fields(kind)]
    statement = select(*(table.c[name] for name in fields))
    statement = statement.where(table.c.season_id == _season_id(connection, season))
    found = connection.execute(_narrowed(statement.order_by(*order), table, engine, None))
    return [kind(**dict(zip(fields, row, strict=True))) for row in found]


def _summary(row: AnyRow) -> SeasonSummary:
    return SeasonSummary(
        season=rows.season_row(row),
        is_current=row.is_current == 1,
        state=row.state,
        created_ns=row.created_ns,
        finished_ns=row.finished_ns,
        cycle=row.cycle,
        at_ns=row.at_ns,
        journal_count=row.journal_count,
        digest=row.digest,
    )


def _object(text: str) -> dict[str, object]:
    return msgspec.json.decode(text, type=dict[str, object])


def _instant(value: str | datetime | None) -> int | None:
    """SQLite keeps instants for people as text, PostgreSQL as timestamptz."""
    if value is None:
        return None
    return to_ns(datetime.fromisoformat(value) if isinstance(value, str) else value)


def _exact(value: str | Decimal | None) -> Decimal | None:
    return Decimal(value) if isinstance(value, str) else value


def _call(row: AnyRow) -> ModelCallRow:
    values = dict(row._mapping) | {"params": _object(row.params)}
    del values["season_id"]
    return ModelCallRow(**values)


def _ticket(row: AnyRow) -> TicketRow:
    values = dict(row._mapping)
    del values["season_id"]
    for name in ("lots", "entry_price", "exit_price", "stop_price", "target_price"):
        values[name] = _exact(values[name])
    return TicketRow(**values)
