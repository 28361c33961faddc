"""What must hold of a season whatever happened to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select

from hydra.clock import to_datetime
from hydra.storage import tables
from hydra.storage.database import reading
from hydra.storage.queries import find_season
from hydra.storage.verify import verify_season

PRAGUE = ZoneInfo("Europe/Prague")


def check(url: str, name: str) -> None:
    """Raises AssertionError, in words, on whatever does not hold:

    the journal's chain is whole and money is conserved; no ticket is lost or doubled; no risk
    is taken after a latch; the guardian's days are those of Prague, one after the other.
    """
    with reading(url) as connection:
        verdict = verify_season(connection, name)
        assert verdict.is_sound, verdict.faults
        season = find_season(connection, name)
        journal = tables.journal
        records = connection.execute(
            select(journal).where(journal.c.season_id == season.id).order_by(journal.c.seq)
        ).all()
        rows = connection.execute(
            select(tables.tickets).where(tables.tickets.c.season_id == season.id)
        ).all()
    _check_tickets(records, {row.ticket: row for row in rows})
    check_latches(records)
    _check_days(records)
    _check_equity(url, name)


def _check_tickets(records: Any, rows: Mapping[int, Any]) -> None:
    approved: dict[int, tuple[str, Decimal]] = {}
    opened: Counter[int] = Counter()
    closed: defaultdict[int, Decimal] = defaultdict(Decimal)
    ended: Counter[int] = Counter()
    posted: Counter[int] = Counter()
    for record in records:
        body = msgspec.json.decode(record.body)
        ticket = body.get("ticket") if isinstance(body, dict) else None
        if ticket is None:
            assert not record.amount_units, f"record {record.seq} posts to no ticket"
            continue
        if record.kind == "approved":
            assert ticket not in approved, f"ticket {ticket} was approved twice"
            approved[ticket] = (record.engine, Decimal(body["lots"]))
        assert ticket in approved, f"record {record.seq}: nobody approved ticket {ticket}"
        assert record.engine == approved[ticket][0], f"ticket {ticket} changed hands"
        posted[ticket] += record.amount_units or 0
        if record.kind == "opened":
            opened[ticket] += 1
            assert not ended[ticket], f"ticket {ticket} opened after its end"
        elif record.kind == "closed":
            assert opened[ticket], f"ticket {ticket} closed before it opened"
            closed[ticket] += Decimal(body["lots"])
        elif record.kind == "cancelled":
            ended[ticket] += 1
    assert set(approved) == set(rows), f"tickets in one place only: {set(approved) ^ set(rows)}"
    assert sorted(approved) == list(range(1, len(approved) + 1)), "a number of a ticket is missing"
    for ticket, (engine, lots) in approved.items():
        row = rows[ticket]
        assert row.engine == engine, f"ticket {ticket} is of {row.engine}, not of {engine}"
        assert opened[ticket] + ended[ticket] <= 1, f"ticket {ticket} opened and ended twice"
        assert closed[ticket] <= lots, f"of ticket {ticket} more was closed than was open"
        is_over = closed[ticket] == lots
        expected = (
            "CANCELLED" if ended[ticket]
            else "PENDING" if not opened[ticket]
            else "CLOSED" if is_over
            else "OPEN"
        )  # fmt: skip
        assert row.status == expected, f"ticket {ticket} is {row.status}, not {expected}"
        if is_over:
            assert row.pnl_units == posted[ticket], f"ticket {ticket}: its money is another"


def check_latches(records: Any) -> None:
    """Raises AssertionError where an account takes risk while a latch of it holds."""
    until: dict[str, int] = {}  # by engine: no risk before that instant
    for record in records:
        body = msgspec.json.decode(record.body)
        if record.kind == "latch":
            never = 2**63
            ends = body["until_ns"] if body["until_ns"] is not None else never
            until[record.engine] = max(until.get(record.engine, 0), ends)
        if record.kind in ("opened", "approved") and record.at_ns < until.get(record.engine, 0):
            is_risk = record.kind == "opened" or "ticket" in body
            assert not is_risk, f"record {record.seq}: {record.engine} took risk after a latch"


def _check_days(records: Any) -> None:
    days: defaultdict[str, list[tuple[date, int]]] = defaultdict(list)
    for record in records:
        if record.kind == "day":
            day = date.fromisoformat(msgspec.json.decode(record.body)["day"])
            days[record.engine].append((day, record.at_ns))
    for engine, ended in days.items():
        for (day, at_ns), (following, _) in pairwise(ended):
            assert following == day + timedelta(days=1), f"{engine}: after {day} came {following}"
            assert to_datetime(at_ns).astimezone(PRAGUE).date() == following, f"{engine}: {day}"


def _check_equity(url: str, name: str) -> None:
    """Each sample's balance is what was posted until then, and equity is there for everyone."""
    with reading(url) as connection:
        season = find_season(connection, name)
        points = connection.execute(
            select(tables.equity_points).where(tables.equity_points.c.season_id == season.id)
        ).all()
        journal = tables.journal.c
        posted = connection.execute(
            select(journal.engine, journal.at_ns, journal.amount_units).where(
                journal.season_id == season.id, journal.amount_units.is_not(None)
            )
        ).all()
    for point in points:
        if point.engine == "house":
            continue
        due = season.initial_units + sum(
            one.amount_units
            for one in posted
            if one.engine == point.engine and one.at_ns <= point.at_ns
        )
        assert point.balance_units == due, f"{point.engine}: a balance that nobody posted"


def journal_of(url: str, name: str, engine: str) -> list[tuple[Any, ...]]:
    """An engine's records as they are kept, byte for byte, but for their place in the chain."""
    journal = tables.journal.c
    with reading(url) as connection:
        season = find_season(connection, name)
        statement = (
            select(journal.cycle, journal.at_ns, journal.kind, journal.amount_units, journal.body)
            .where(journal.season_id == season.id, journal.engine == engine)
            .order_by(journal.seq)
        )
        return [tuple(row) for row in connection.execute(statement)]
