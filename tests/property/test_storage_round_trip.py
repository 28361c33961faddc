"""Whatever rows a season hands over come back as they were, and the chain holds."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.storage import queries
from hydra.storage.database import reading
from hydra.storage.journal import GENESIS, record_hash
from hydra.storage.store import open_season
from hydra.storage.verify import verify_season
from hydra.tournament.season import EquityRow, TicketRow
from tests.support.seasons import a_season

int64 = st.integers(-(2**63), 2**63 - 1)
money = st.integers(-(10**16), 10**16)
# PostgreSQL's text holds no NUL, and nothing that UTF-8 cannot say.
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
prices = st.decimals(
    min_value=Decimal("0.00000001"), max_value=Decimal(10**9), allow_nan=False, places=8
)
fracs = st.floats(-10, 10)
json_values = st.recursive(
    st.none() | st.booleans() | int64 | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
records = st.tuples(
    int64, names, names, st.none() | money, st.dictionaries(names, json_values, max_size=3)
)
tickets = st.builds(
    TicketRow,
    ticket=st.integers(1, 6),
    engine=names,
    asset=names,
    direction=st.sampled_from(["LONG", "SHORT"]),
    status=st.sampled_from(["PENDING", "OPEN", "CLOSED", "CANCELLED"]),
    decided_ns=int64,
    opened_ns=st.none() | int64,
    closed_ns=st.none() | int64,
    lots=prices,
    entry_price=st.none() | prices,
    exit_price=st.none() | prices,
    stop_price=st.none() | prices,
    target_price=st.none() | prices,
    pnl_units=st.none() | money,
    pnl_frac=st.none() | fracs,
    gross_units=st.none() | money,
    commission_units=money,
    swap_units=money,
    spread_units=money,
    outcome=st.none() | st.sampled_from(["win", "loss", "breakeven"]),
    exit_reason=st.none() | names,
    confidence=st.none() | fracs,
    thesis=names,
)
points = st.builds(
    EquityRow,
    at_ns=st.integers(0, 5),
    engine=st.sampled_from(["a", "b"]),
    equity_units=money,
    balance_units=money,
    shadow_units=money,
    weight=fracs,
)
commits = st.lists(
    st.tuples(
        st.lists(records, max_size=4), st.lists(tickets, max_size=4), st.lists(points, max_size=4)
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(commits)
def test_any_rows_come_back(
    batches: list[
        tuple[
            list[tuple[int, str, str, int | None, dict[str, object]]],
            list[TicketRow],
            list[EquityRow],
        ]
    ],
) -> None:
    encode = msgspec.json.Encoder(order="deterministic").encode
    last_tickets: dict[int, TicketRow] = {}
    last_points: dict[tuple[str, int], EquityRow] = {}
    written: list[queries.Decision] = []
    expected = GENESIS
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/hydra.db"
        with open_season(url, a_season(), resume=False) as store:
            for cycle, (journal, rows, samples) in enumerate(batches, start=1):
                for at_ns, engine, kind, amount_units, body in journal:
                    text = encode(body)
                    store.journal(cycle, at_ns, engine, kind, amount_units, text)
                    seq = len(written) + 1
                    expected = record_hash(
                        expected, seq, cycle, at_ns, engine, kind, amount_units, text
                    )
                    written.append(
                        queries.Decision(
                            seq=seq,
                            cycle=cycle,
                            at_ns=at_ns,
                            engine=engine,
                            kind=kind,
                            amount_units=amount_units,
                            body=body,
                        )
                    )
                for row in rows:
                    store.ticket(row)
                    last_tickets[row.ticket] = row
                for point in samples:
                    store.equity(point)
                    last_points[point.engine, point.at_ns] = point
                store.commit(cycle, cycle)
        with reading(url) as connection:
            kinds = {decision.kind for decision in written}
            assert queries.decisions(connection, kinds=tuple(kinds)) == written
            assert {row.ticket: row for row in queries.trades(connection)} == last_tickets
            assert {
                (row.engine, row.at_ns): row for row in queries.equity(connection)
            } == last_points
            verdict = verify_season(connection)
    assert verdict.records == len(written)
    assert verdict.digest == expected.hex()
    assert not any(fault.startswith("journal") for fault in verdict.faults)
