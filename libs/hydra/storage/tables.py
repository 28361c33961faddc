"""The tables. Several seasons lie side by side; one of them is the current one.

The migrations create them and, over the current season, the views `hydra_trades` and
`tournament_scores` that operators read. Money is BIGINT `*_units` (1e-8 USD), instants are
BIGINT `*_ns` (UTC). Exact decimals are NUMERIC on PostgreSQL and text on SQLite, whose own
NUMERIC would round them to a float; JSON is text on both, as canonical as it was written.

The tables with a row for every record, sample or question have the time (or the journal's
number, which grows with it) in their primary key, so that they can become TimescaleDB
hypertables without a new key (`hypertables`).
"""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

T = TypeVar("T")

EXACT = Text().with_variant(Numeric(), "postgresql")
INSTANT = Text().with_variant(TIMESTAMP(timezone=True), "postgresql")  # for people to read
metadata = MetaData()
OHLC = ("open", "high", "low", "close")


def _season() -> Column[int]:
    return Column(
        "season_id", Integer, ForeignKey("seasons.id", ondelete="CASCADE"), primary_key=True
    )


def _key(name: str, kind: TypeEngine[T] | type[TypeEngine[T]]) -> Column[T]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _need(name: str, kind: TypeEngine[T] | type[TypeEngine[T]]) -> Column[T]:
    return Column(name, kind, nullable=False)


seasons = Table(
    "seasons",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _need("is_current", Integer),  # 1 for one season, 0 for the others
    _need("state", Text),  # playing or finished
    _need("mode", Text),
    _need("profile", Text),
    _need("seed", BigInteger),
    _need("initial_units", BigInteger),
    _need("settings", Text),  # JSON
    _need("inputs", Text),  # JSON: [[file name, SHA-256], ...]
    _need("created_ns", BigInteger),  # the machine's time; enters no hash
    Column("finished_ns", BigInteger),
    _need("cycle", BigInteger),  # the last one committed; -1: none
    _need("at_ns", BigInteger),  # the market's time at that cycle
    _need("journal_count", BigInteger),
    _need("digest", Text),  # hash of the last journal record, hex
    CheckConstraint("is_current IN (0, 1)", name="seasons_is_current"),
    CheckConstraint("state IN ('playing', 'finished')", name="seasons_state"),
    Index(
        "seasons_one_current",
        "is_current",
        unique=True,
        sqlite_where=text("is_current = 1"),
        postgresql_where=text("is_current = 1"),
    ),
)

engines = Table(
    "engines",
    metadata,
    _season(),
    _key("engine", Text),
    _need("title", Text),
    _need("params", Text),  # JSON
    _need("is_reference", Integer),
    _need("state", Text),
    _need("reason", Text),
    Column("since_ns", BigInteger),
)

tickets = Table(
    "tickets",
    metadata,
    _season(),
    _key("ticket", BigInteger),
    _need("engine", Text),
    _need("asset", Text),
    _need("direction", Text),
    _need("status", Text),
    _need("decided_ns", BigInteger),
    Column("opened_ns", BigInteger),
    Column("closed_ns", BigInteger),
    _need("lots", EXACT),
    Column("entry_price", EXACT),
    Column("exit_price", EXACT),
    Column("stop_price", EXACT),
    Column("target_price", EXACT),
    Column("pnl_units", BigInteger),
    Column("pnl_frac", Double),
    Column("gross_units", BigInteger),
    _need("commission_units", BigInteger),
    _need("swap_units", BigInteger),
    _need("spread_units", BigInteger),
    Column("outcome", Text),
    Column("exit_reason", Text),
    Column("confidence", Double),
    _need("thesis", Text),
    Column("target_first", Double),  # stated probability that the target comes before the stop
    Column("tag", Text, nullable=False, server_default=text("''")),
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    _season(),
    _key("engine", Text),
    _key("at_ns", BigInteger),
    _need("scoring_cycle", BigInteger),
    Column("rank", Integer),
    _need("total_points", Double),
    _need("weight", Double),
    _need("net_pnl_units", BigInteger),
    _need("trades", BigInteger),
    _need("wins", BigInteger),
    sqlite_with_rowid=False,
)

equity_points = Table(
    "equity_points",
    metadata,
    _season(),
    _key("engine", Text),
    _key("at_ns", BigInteger),
    _need("equity_units", BigInteger),
    _need("balance_units", BigInteger),
    _need("shadow_units", BigInteger),
    _need("weight", Double),
    sqlite_with_rowid=False,
)

guardian_days = Table(
    "guardian_days",
    metadata,
    _season(),
    _key("engine", Text),
    _key("day", Text),
    _need("start_balance_units", BigInteger),
    Column("daily_floor_units", BigInteger),
    Column("total_floor_units", BigInteger),
    _need("worst_equity_units", BigInteger),
    _need("end_balance_units", BigInteger),
    _need("opened", BigInteger),
    _need("refused", BigInteger),
    _need("resized", BigInteger),
    _need("breach", Text),
    sqlite_with_rowid=False,
)

guardian_latches = Table(
    "guardian_latches",
    metadata,
    _season(),
    _key("engine", Text),
    _key("rule", Text),
    _key("at_ns", BigInteger),
    Column("until_ns", BigInteger),
    _need("limit_units", BigInteger),
    _need("figure_units", BigInteger),
    _need("text", Text),
)

standings = Table(
    "standings",
    metadata,
    _season(),
    _key("engine", Text),
    Column("rank", Integer),
    _need("metrics", Text),  # JSON
)

model_calls = Table(
    "model_calls",
    metadata,
    _season(),
    _key("engine", Text),
    _key("at_ns", BigInteger),  # the market's time
    _key("attempt", Integer),
    _need("provider", Text),
    _need("model", Text),
    _need("model_said", Text),
    _need("prompt_version", Text),
    _need("prompt_sha256", Text),
    _need("system_sha256", Text),  # of a row of `prompts`
    _need("prompt", Text),  # JSON: [[role, text], ...]
    _need("params", Text),  # JSON
    _need("outcome", Text),
    _need("error", Text),
    _need("reply", Text),
    _need("finish", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cost_units", BigInteger),  # NULL: unknown
    _need("latency_ns", BigInteger),
    _need("tries", Integer),
    _need("called_ns", BigInteger),  # the machine's time; enters no hash
    Index("model_calls_by_time", "called_ns"),
)

prompts = Table(
    "prompts",
    metadata,
    _season(),
    _key("sha256", Text),
    _need("version", Text),
    _need("text", Text),
)

lessons = Table(
    "lessons",
    metadata,
    _season(),
    _key("engine", Text),
    _key("at_ns", BigInteger),
    _key("ticket", BigInteger),
    _need("text", Text),
    _need("words", Text),
)

season_bars = Table(
    "season_bars",
    metadata,
    _season(),
    _key("symbol", Text),
    _key("resolution_ns", BigInteger),
    _key("open_ns", BigInteger),
    _need("source", Text),
    _need("real_spread", Integer),
    *(_need(f"{side}_{part}", BigInteger) for side in ("bid", "ask") for part in OHLC),  # ticks
    *(_need(part, Double) for part in OHLC),
    Column("volume", Double),  # NULL: unknown
    Column("depth", Text),  # JSON: [bids, asks], each [[ticks from the best, lot steps], ...]
    _need("unfit", Text),  # why no new risk was to be taken on it; "" where it was
    sqlite_with_rowid=False,
)

jobs = Table(
    "jobs",
    metadata,
    _season(),
    _key("job", Text),
    _need("ran_ns", BigInteger),  # when it last ended well, by the machine's clock
    _need("mark", Text),  # how far it came, in its own words
)

journal = Table(
    "journal",
    metadata,
    _season(),
    _key("seq", BigInteger),  # 1, 2, 3, ... without a gap
    _need("cycle", BigInteger),
    _need("at_ns", BigInteger),
    _need("engine", Text),
    _need("kind", Text),
    Column("amount_units", BigInteger),
    _need("body", Text),  # canonical JSON
    _need("hash", LargeBinary),  # SHA-256, 32 bytes
    sqlite_with_rowid=False,
)

guardian_state = Table(
    "guardian_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kill_switch", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("changed_at", INSTANT),  # None: never
    CheckConstraint("id = 1", name="guardian_state_one_row"),
    CheckConstraint("kill_switch IN (0, 1)", name="guardian_state_kill_switch"),
)
