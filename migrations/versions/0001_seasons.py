"""Seasons, their rows and journal, the guardian's switch, and the operators' views.

Revision: 0001. Base.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EXACT = sa.Text().with_variant(sa.Numeric(), "postgresql")
INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def _need(
    name: str, kind: sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]]
) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _season() -> sa.Column[int]:
    return sa.Column(
        "season_id", sa.Integer, sa.ForeignKey("seasons.id", ondelete="CASCADE"), nullable=False
    )


def _create_tables() -> None:
    op.create_table(
        "seasons",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        _need("is_current", sa.Integer),
        _need("state", sa.Text),
        _need("mode", sa.Text),
        _need("profile", sa.Text),
        _need("seed", sa.BigInteger),
        _need("initial_units", sa.BigInteger),
        _need("settings", sa.Text),
        _need("inputs", sa.Text),
        _need("created_ns", sa.BigInteger),
        sa.Column("finished_ns", sa.BigInteger),
        _need("cycle", sa.BigInteger),
        _need("at_ns", sa.BigInteger),
        _need("journal_count", sa.BigInteger),
        _need("digest", sa.Text),
        sa.CheckConstraint("is_current IN (0, 1)", name="seasons_is_current"),
        sa.CheckConstraint("state IN ('playing', 'finished')", name="seasons_state"),
    )
    op.create_index(
        "seasons_one_current",
        "seasons",
        ["is_current"],
        unique=True,
        sqlite_where=sa.text("is_current = 1"),
        postgresql_where=sa.text("is_current = 1"),
    )
    op.create_table(
        "engines",
        _season(),
        _need("engine", sa.Text),
        _need("title", sa.Text),
        _need("params", sa.Text),
        _need("is_reference", sa.Integer),
        _need("state", sa.Text),
        _need("reason", sa.Text),
        sa.Column("since_ns", sa.BigInteger),
        sa.PrimaryKeyConstraint("season_id", "engine"),
    )
    op.create_table(
        "tickets",
        _season(),
        _need("ticket", sa.BigInteger),
        _need("engine", sa.Text),
        _need("asset", sa.Text),
        _need("direction", sa.Text),
        _need("status", sa.Text),
        _need("decided_ns", sa.BigInteger),
        sa.Column("opened_ns", sa.BigInteger),
        sa.Column("closed_ns", sa.BigInteger),
        _need("lots", EXACT),
        sa.Column("entry_price", EXACT),
        sa.Column("exit_price", EXACT),
        sa.Column("stop_price", EXACT),
        sa.Column("target_price", EXACT),
        sa.Column("pnl_units", sa.BigInteger),
        sa.Column("pnl_frac", sa.Double),
        sa.Column("gross_units", sa.BigInteger),
        _need("commission_units", sa.BigInteger),
        _need("swap_units", sa.BigInteger),
        _need("spread_units", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("exit_reason", sa.Text),
        sa.Column("confidence", sa.Double),
        _need("thesis", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "ticket"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scores",
        _season(),
        _need("engine", sa.Text),
        _need("at_ns", sa.BigInteger),
        _need("scoring_cycle", sa.BigInteger),
        sa.Column("rank", sa.Integer),
        _need("total_points", sa.Double),
        _need("weight", sa.Double),
        _need("net_pnl_units", sa.BigInteger),
        _need("trades", sa.BigInteger),
        _need("wins", sa.BigInteger),
        sa.PrimaryKeyConstraint("season_id", "engine", "at_ns"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "equity_points",
        _season(),
        _need("engine", sa.Text),
        _need("at_ns", sa.BigInteger),
        _need("equity_units", sa.BigInteger),
        _need("balance_units", sa.BigInteger),
        _need("shadow_units", sa.BigInteger),
        _need("weight", sa.Double),
        sa.PrimaryKeyConstraint("season_id", "engine", "at_ns"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "guardian_days",
        _season(),
        _need("engine", sa.Text),
        _need("day", sa.Text),
        _need("start_balance_units", sa.BigInteger),
        sa.Column("daily_floor_units", sa.BigInteger),
        sa.Column("total_floor_units", sa.BigInteger),
        _need("worst_equity_units", sa.BigInteger),
        _need("end_balance_units", sa.BigInteger),
        _need("opened", sa.BigInteger),
        _need("refused", sa.BigInteger),
        _need("resized", sa.BigInteger),
        _need("breach", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "engine", "day"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "guardian_latches",
        _season(),
        _need("engine", sa.Text),
        _need("rule", sa.Text),
        _need("at_ns", sa.BigInteger),
        sa.Column("until_ns", sa.BigInteger),
        _need("limit_units", sa.BigInteger),
        _need("figure_units", sa.BigInteger),
        _need("text", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "engine", "rule", "at_ns"),
    )
    op.create_table(
        "standings",
        _season(),
        _need("engine", sa.Text),
        sa.Column("rank", sa.Integer),
        _need("metrics", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "engine"),
    )
    op.create_table(
        "journal",
        _season(),
        _need("seq", sa.BigInteger),
        _need("cycle", sa.BigInteger),
        _need("at_ns", sa.BigInteger),
        _need("engine", sa.Text),
        _need("kind", sa.Text),
        sa.Column("amount_units", sa.BigInteger),
        _need("body", sa.Text),
        _need("hash", sa.LargeBinary),
        sa.PrimaryKeyConstraint("season_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "guardian_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kill_switch", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("reason", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("changed_at", INSTANT),
        sa.CheckConstraint("id = 1", name="guardian_state_one_row"),
        sa.CheckConstraint("kill_switch IN (0, 1)", name="guardian_state_kill_switch"),
    )
    op.execute("INSERT INTO guardian_state (id, kill_switch, reason) VALUES (1, 0, '')")


class _Sqlite:
    """Instants as text that SQLite's own date functions read and sort with: UTC, RFC 3339."""

    @staticmethod
    def instant(ns: str) -> str:
        return (
            f"strftime('%Y-%m-%d %H:%M:%S', {ns} / 1000000000, 'unixepoch')"
            f" || CASE {ns} % 1000000000 WHEN 0 THEN ''"
            f" ELSE printf('.%06d', {ns} % 1000000000 / 1000) END || '+00:00'"
        )

    @staticmethod
    def number(expression: str) -> str:
        return f"CAST({expression} AS REAL)"


class _Postgres:
    """Instants as timestamptz, to the microsecond; numbers as NUMERIC, which ROUND(x, 2) needs."""

    @staticmethod
    def instant(ns: str) -> str:
        return f"to_timestamp(0) + ({ns} / 1000) * interval '1 microsecond'"

    @staticmethod
    def number(expression: str) -> str:
        return f"CAST({expression} AS NUMERIC)"


def _create_views(dialect: type[_Sqlite] | type[_Postgres]) -> None:
    instant, number = dialect.instant, dialect.number

    def usd(units: str) -> str:
        return number(units) + " / 100000000"

    op.execute(f"""
        CREATE VIEW hydra_trades AS SELECT
            t.ticket AS trade_id,
            {instant("coalesce(t.opened_ns, t.decided_ns)")} AS timestamp,
            t.engine, t.asset, t.direction, t.status, t.outcome,
            {number("t.pnl_frac * 100")} AS pnl_percent,
            {usd("t.pnl_units")} AS pnl,
            {number("t.entry_price")} AS entry_price,
            {number("t.exit_price")} AS exit_price,
            {number("t.lots")} AS lots,
            {number("t.stop_price")} AS stop_price,
            {number("t.target_price")} AS target_price,
            {usd("t.gross_units")} AS gross_pnl,
            {usd("t.commission_units")} AS commission,
            {usd("t.swap_units")} AS swap,
            {usd("t.spread_units")} AS spread_cost,
            {instant("t.decided_ns")} AS decided_at,
            {instant("t.opened_ns")} AS opened_at,
            {instant("t.closed_ns")} AS closed_at,
            t.exit_reason, t.confidence, t.thesis,
            s.name AS season
        FROM tickets t JOIN seasons s ON s.id = t.season_id
        WHERE s.is_current = 1""")  # noqa: S608
    op.execute(f"""
        CREATE VIEW tournament_scores AS SELECT
            c.engine, c.rank, c.total_points, c.weight,
            {usd("c.net_pnl_units")} AS net_pnl,
            c.trades, c.wins,
            {instant("c.at_ns")} AS updated_at,
            c.scoring_cycle,
            s.name AS season
        FROM seasons s
        JOIN (SELECT season_id, engine, max(at_ns) AS at_ns FROM scores GROUP BY season_id, engine)
            newest ON newest.season_id = s.id
        JOIN scores c ON c.season_id = newest.season_id AND c.engine = newest.engine
            AND c.at_ns = newest.at_ns
        WHERE s.is_current = 1""")  # noqa: S608


# Who sets the switch by plain SQL names neither time nor reason: the trigger fills them in.
_SQLITE_TRIGGER = """
    CREATE TRIGGER guardian_state_changed AFTER UPDATE OF kill_switch ON guardian_state
    WHEN NEW.kill_switch <> OLD.kill_switch AND NEW.changed_at IS OLD.changed_at
    BEGIN
        UPDATE guardian_state SET
            changed_at = strftime('%Y-%m-%d %H:%M:%S', 'now') || '+00:00',
            reason = CASE WHEN NEW.reason = OLD.reason THEN 'set by SQL' ELSE NEW.reason END
        WHERE id = NEW.id;
    END"""
_POSTGRES_FUNCTION = """
    CREATE FUNCTION guardian_state_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.kill_switch <> OLD.kill_switch
           AND NEW.changed_at IS NOT DISTINCT FROM OLD.changed_at THEN
            NEW.changed_at := clock_timestamp();
            IF NEW.reason = OLD.reason THEN NEW.reason := 'set by SQL'; END IF;
        END IF;
        RETURN NEW;
    END $$"""
_POSTGRES_TRIGGER = """
    CREATE TRIGGER guardian_state_changed BEFORE UPDATE ON guardian_state
    FOR EACH ROW EXECUTE FUNCTION guardian_state_changed()"""


def upgrade() -> None:
    _create_tables()
    if op.get_context().dialect.name == "sqlite":
        _create_views(_Sqlite)
        op.execute(_SQLITE_TRIGGER)
    else:
        _create_views(_Postgres)
        op.execute(_POSTGRES_FUNCTION)
        op.execute(_POSTGRES_TRIGGER)


def downgrade() -> None:
    op.execute("DROP VIEW tournament_scores")
    op.execute("DROP VIEW hydra_trades")
    for table in (
        "guardian_state",
        "journal",
        "standings",
        "guardian_latches",
        "guardian_days",
        "equity_points",
        "scores",
        "tickets",
        "engines",
        "seasons",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION guardian_state_changed()")
