"""What happened on the guardian's days of a season, for the daily report.

A day is cut out of the journal where the guardian himself cut it, at his records of kind "day":
what he counted and what is counted here are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from hydra.storage import tables
from hydra.storage.queries import find_season
from hydra.tournament.season import LatchRow


class _Day(msgspec.Struct):
    day: str


class _Ticket(msgspec.Struct):
    ticket: int


class _Rule(msgspec.Struct):
    rule: str = "unknown"


class _Refusal(msgspec.Struct):
    refused: _Rule = msgspec.field(default_factory=_Rule)


class _Mark(msgspec.Struct, frozen=True):
    """Until where a day reaches: in the journal of each account, and in that of nobody's."""

    accounts: dict[str, int]

    def of(self, engine: str) -> int:
        return self.accounts.get(engine, self.last)

    @property
    def last(self) -> int:
        return max(self.accounts.values(), default=0)


class Cut(msgspec.Struct, frozen=True):
    """Where a day lies in the journal: after one mark, up to another."""

    after: _Mark
    until: _Mark


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal has of one day."""

    opened: frozenset[int]  # tickets
    closed: frozenset[int]  # tickets, also those closed in part
    refusals: dict[tuple[str, str], int]  # by engine and rule
    kinds: dict[tuple[str, str], int]  # records, by engine and kind
    latches: tuple[LatchRow, ...]


class DayCalls(msgspec.Struct, kw_only=True):
    """What an engine's questions of one day cost."""

    calls: int = 0  # that went out
    input_tokens: int = 0
    output_tokens: int = 0
    cost_units: int = 0  # 1e-8 USD, of the calls whose cost is known
    unknown_costs: int = 0


class DayBars(msgspec.Struct, kw_only=True):
    """The bars of one symbol on one day, all of its lengths."""

    bars: int = 0
    sources: Counter[str] = msgspec.field(default_factory=Counter)
    unfit: Counter[str] = msgspec.field(default_factory=Counter)  # by reason


def cuts(connection: Connection, season: str | None = None) -> dict[str, Cut]:
    """By day that is over, oldest first, where it lies. Raises ConfigError: no such season."""
    table = tables.journal.c
    statement = (
        select(table.seq, table.engine, table.body)
        .where(table.season_id == find_season(connection, season).id, table.kind == "day")
        .order_by(table.seq)
    )
    decode = msgspec.json.Decoder(_Day).decode
    marks: dict[str, _Mark] = {}
    for seq, engine, body in connection.execute(statement):
        marks.setdefault(decode(body).day, _Mark({})).accounts[engine] = seq
    return {
        day: Cut(before, mark)
        for (day, mark), before in zip(marks.items(), [_Mark({}), *marks.values()], strict=False)
    }


def happened(connection: Connection, season: str | None, cut: Cut) -> Happened:
    """The records of a day."""
    table = tables.journal.c
    first = min(cut.after.accounts.values(), default=0)
    statement = select(table.seq, table.engine, table.kind, table.body).where(
        table.season_id == find_season(connection, season).id,
        table.seq > first,
        table.seq <= cut.until.last,
        table.kind != "day",
    )
    ticket_of = msgspec.json.Decoder(_Ticket).decode
    refusal_of = msgspec.json.Decoder(_Refusal).decode
    latch_of = msgspec.json.Decoder(LatchRow).decode
    tickets: dict[str, set[int]] = {"opened": set(), "closed": set()}
    refusals: Counter[tuple[str, str]] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    latches = []
    for seq, engine, kind, body in connection.execute(statement.order_by(table.seq)):
        if not cut.after.of(engine) < seq <= cut.until.of(engine):
            continue
        kinds[engine, kind] += 1
        if kind in tickets:
            tickets[kind].add(ticket_of(body).ticket)
        elif kind == "refused":
            refusals[engine, refusal_of(body).refused.rule] += 1
        elif kind == "latch":
            latches.append(latch_of(body))
    return Happened(
        opened=frozenset(tickets["opened"]),
        closed=frozenset(tickets["closed"]),
        refusals=dict(sorted(refusals.items())),
        kinds=dict(sorted(kinds.items())),
        latches=tuple(latches),
    )


def calls_of(
    connection: Connection, season: str | None, start_ns: int, end_ns: int
) -> Mapping[str, DayCalls]:
    """By engine: questions put at or after `start_ns` and before `end_ns`, market time."""
    c = tables.model_calls.c
    statement = select(c.engine, c.tries, c.input_tokens, c.output_tokens, c.cost_units).where(
        c.season_id == find_season(connection, season).id, c.at_ns >= start_ns, c.at_ns < end_ns
    )
    found: dict[str, DayCalls] = {}
    for row in connection.execute(statement.order_by(c.engine)):
        one = found.setdefault(row.engine, DayCalls())
        one.calls += row.tries > 0
        one.input_tokens += row.input_tokens or 0
        one.output_tokens += row.output_tokens or 0
        one.cost_units += row.cost_units or 0
        one.unknown_costs += row.tries > 0 and row.cost_units is None
    return found


def bars_of(
    connection: Connection, season: str | None, start_ns: int, end_ns: int
) -> Mapping[str, DayBars]:
    """By symbol: bars that closed after `start_ns` and by `end_ns`; none of a replay's."""
    c = tables.season_bars.c
    close_ns: Any = c.open_ns + c.resolution_ns
    statement = select(c.symbol, c.source, c.unfit).where(
        c.season_id == find_season(connection, season).id, close_ns > start_ns, close_ns <= end_ns
    )
    found: dict[str, DayBars] = {}
    for symbol, source, unfit in connection.execute(statement.order_by(c.symbol)):
        one = found.setdefault(symbol, DayBars())
        one.bars += 1
        one.sources[source] += 1
        if unfit:
            one.unfit[unfit] += 1
    return found
