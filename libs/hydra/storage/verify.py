"""Recomputes a season from its journal: the chain, every balance and every ticket's result."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec
from sqlalchemy import Connection, func, select

from hydra.clock import iso
from hydra.storage import tables
from hydra.storage.journal import Chain, read_chain
from hydra.storage.queries import find_season

# Told of a question to a model by both its row and the journal.
_CALL_FIELDS = ("prompt_sha256", "outcome", "input_tokens", "output_tokens", "cost_units")
# The house account of independent mode follows the others by weight; nothing is posted to it.
_DERIVED_ACCOUNT = "house"


class AccountCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One account: opening balance + postings = closing balance = opening + tickets' results."""

    engine: str
    opening_units: int
    postings_units: int  # sum of the journal's amount_units
    closing_units: int | None  # as the season says; None: it has not said so yet
    tickets_units: int | None  # net result of all tickets; None: some are still open
    faults: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What `hydra db verify` reports of one season."""

    season: str
    state: str  # playing or finished
    records: int  # good ones, from the start
    digest: str  # of the last good record
    accounts: tuple[AccountCheck, ...]
    faults: tuple[str, ...]  # of the chain and of all accounts

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify_season(connection: Connection, name: str | None = None) -> Verdict:
    """Verify a season (None: the current one). Reads all of its journal, writes nothing.

    Closing balances are those that a finished season recorded, in its journal and as its last
    equity points; tickets are compared with postings where none is open. Accounts are judged
    only on a sound chain, and questions to models by the hashes in it. Raises ConfigError when
    there is no such season.
    """
    row = find_season(connection, name)
    season_id: int = row.id
    chain = read_chain(connection, season_id, count=row.journal_count, digest=row.digest)
    accounts: tuple[AccountCheck, ...] = ()
    faults: tuple[str, ...] = (f"journal: {chain.fault}",) if chain.fault else ()
    if not chain.fault:
        finished = row.state == "finished"
        accounts = _accounts(connection, season_id, row.initial_units, chain, finished=finished)
        faults = tuple(f"{one.engine}: {text}" for one in accounts for text in one.faults)
        faults += tuple(_faults_of_calls(connection, season_id))
    return Verdict(
        season=row.name,
        state=row.state,
        records=chain.count,
        digest=chain.digest,
        accounts=accounts,
        faults=faults,
    )


def _accounts(
    connection: Connection, season_id: int, opening: int, chain: Chain, *, finished: bool
) -> tuple[AccountCheck, ...]:
    results, unfinished = _ticket_results(connection, season_id)
    points = _last_balances(connection, season_id)
    names = sorted(points.keys() | results.keys() | chain.postings_units.keys())
    return tuple(
        _account(
            name,
            opening,
            chain.postings_units.get(name, 0),
            recorded=chain.closing_units.get(name) if finished else None,
            sampled=points.get(name) if finished else None,
            tickets=None if name in unfinished else results.get(name, 0),
        )
        for name in names
        if name in chain.postings_units or name != _DERIVED_ACCOUNT
    )


def _account(
    name: str,
    opening: int,
    postings: int,
    *,
    recorded: int | None,
    sampled: int | None,
    tickets: int | None,
) -> AccountCheck:
    balance = opening + postings
    faults = [
        f"{what} is {value}, but opening balance {opening} and postings {postings} make {balance}"
        for what, value in (
            ("the closing balance in the journal", recorded),
            ("the balance of the last equity point", sampled),
        )
        if value is not None and value != balance
    ]
    if tickets is not None and tickets != postings:
        faults.append(f"its tickets made {tickets}, but {postings} were posted")
    return AccountCheck(
        engine=name,
        opening_units=opening,
        postings_units=postings,
        closing_units=sampled if recorded is None else recorded,
        tickets_units=tickets,
        faults=tuple(faults),
    )


class _Call(msgspec.Struct):
    """What the journal keeps of a question to a model."""

    asked_ns: int
    attempt: int
    prompt_sha256: str
    reply_sha256: str
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    cost_units: int | None


def _faults_of_calls(connection: Connection, season_id: int) -> Iterator[str]:
    """Rows of questions to models that are missing, or say another thing than the journal."""
    journal, calls, prompts = tables.journal.c, tables.model_calls.c, tables.prompts.c
    statement = select(journal.engine, journal.body).where(
        journal.season_id == season_id, journal.kind == "model"
    )
    told: dict[tuple[str, int, int], _Call] = {}
    for engine, body in connection.execute(statement):
        call = msgspec.json.decode(body, type=_Call)
        told[engine, call.asked_ns, call.attempt] = call
    # Page by page, and without the questions: they are long, and many.
    columns = ("engine", "at_ns", "attempt", "reply", *_CALL_FIELDS)
    rows = connection.execute(
        select(*(calls[name] for name in columns)).where(calls.season_id == season_id),
        execution_options={"yield_per": 500},
    )
    for row in rows:
        key = (row.engine, row.at_ns, row.attempt)
        where = f"{row.engine}: the model call at {iso(row.at_ns)}, attempt {row.attempt},"
        if key not in told:
            yield f"{where} is not in the journal"
            continue
        call = told.pop(key)
        if sha256(row.reply.encode()).hexdigest() != call.reply_sha256:
            yield f"{where} has another reply than the journal says"
        changed = [name for name in _CALL_FIELDS if getattr(row, name) != getattr(call, name)]
        if changed:
            yield f"{where} differs from the journal in {', '.join(changed)}"
    for engine, at_ns, attempt in told:
        yield f"{engine}: the model call at {iso(at_ns)}, attempt {attempt}, is missing"
    texts = connection.execute(
        select(prompts.sha256, prompts.version, prompts.text).where(prompts.season_id == season_id)
    )
    for digest, version, text in texts:
        if sha256(text.encode()).hexdigest() != digest:
            yield f"the text of the prompt {version} was altered"


def _ticket_results(connection: Connection, season_id: int) -> tuple[dict[str, int], set[str]]:
    """Sum of pnl_units by engine, and the engines that still have an open ticket."""
    tickets = tables.tickets.c
    results: dict[str, int] = {}
    unfinished: set[str] = set()
    statement = (
        select(tickets.engine, tickets.status, func.sum(tickets.pnl_units))
        .where(tickets.season_id == season_id)
        .group_by(tickets.engine, tickets.status)
    )
    for engine, status, units in connection.execute(statement):
        results[engine] = results.get(engine, 0) + int(units or 0)
        if status == "OPEN":
            unfinished.add(engine)
    return results, unfinished


def _last_balances(connection: Connection, season_id: int) -> dict[str, int]:
    points = tables.equity_points.c
    last = (
        select(points.engine, func.max(points.at_ns).label("at_ns"))
        .where(points.season_id == season_id)
        .group_by(points.engine)
        .subquery()
    )
    statement = (
        select(points.engine, points.balance_units)
        .join(last, (points.engine == last.c.engine) & (points.at_ns == last.c.at_ns))
        .where(points.season_id == season_id)
    )
    return {row.engine: row.balance_units for row in connection.execute(statement)}
