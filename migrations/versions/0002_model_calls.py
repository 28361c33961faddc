"""Questions to language models, their prompts and lessons; tags and stated odds of tickets.

Revision: 0002. After: 0001.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


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
        "model_calls",
        _season(),
        _need("engine", sa.Text),
        _need("at_ns", sa.BigInteger),
        _need("attempt", sa.Integer),
        _need("provider", sa.Text),
        _need("model", sa.Text),
        _need("model_said", sa.Text),
        _need("prompt_version", sa.Text),
        _need("prompt_sha256", sa.Text),
        _need("system_sha256", sa.Text),
        _need("prompt", sa.Text),
        _need("params", sa.Text),
        _need("outcome", sa.Text),
        _need("error", sa.Text),
        _need("reply", sa.Text),
        _need("finish", sa.Text),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("cost_units", sa.BigInteger),
        _need("latency_ns", sa.BigInteger),
        _need("tries", sa.Integer),
        _need("called_ns", sa.BigInteger),
        sa.PrimaryKeyConstraint("season_id", "engine", "at_ns", "attempt"),
    )
    op.create_index("model_calls_by_time", "model_calls", ["called_ns"])
    op.create_table(
        "prompts",
        _season(),
        _need("sha256", sa.Text),
        _need("version", sa.Text),
        _need("text", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "sha256"),
    )
    op.create_table(
        "lessons",
        _season(),
        _need("engine", sa.Text),
        _need("at_ns", sa.BigInteger),
        _need("ticket", sa.BigInteger),
        _need("text", sa.Text),
        _need("words", sa.Text),
        sa.PrimaryKeyConstraint("season_id", "engine", "at_ns", "ticket"),
    )


def _instant(ns: str) -> str:
    if op.get_context().dialect.name == "sqlite":
        return (
            f"strftime('%Y-%m-%d %H:%M:%S', {ns} / 1000000000, 'unixepoch')"
            f" || CASE {ns} % 1000000000 WHEN 0 THEN ''"
            f" ELSE printf('.%06d', {ns} % 1000000000 / 1000) END || '+00:00'"
        )
    return f"to_timestamp(0) + ({ns} / 1000) * interval '1 microsecond'"


def _number(expression: str) -> str:
    kind = "REAL" if op.get_context().dialect.name == "sqlite" else "NUMERIC"
    return f"CAST({expression} AS {kind})"


def _create_trades_view(*more: str) -> None:
    """`hydra_trades` as it was made by 0001, with `more` columns before the season's name."""
    added = "".join(f"{column}, " for column in more)
    op.execute(f"""
        CREATE VIEW hydra_trades AS SELECT
            t.ticket AS trade_id,
            {_instant("coalesce(t.opened_ns, t.decided_ns)")} AS timestamp,
            t.engine, t.asset, t.direction, t.status, t.outcome,
            {_number("t.pnl_frac * 100")} AS pnl_percent,
            {_number("t.pnl_units")} / 100000000 AS pnl,
            {_number("t.entry_price")} AS entry_price,
            {_number("t.exit_price")} AS exit_price,
            {_number("t.lots")} AS lots,
            {_number("t.stop_price")} AS stop_price,
            {_number("t.target_price")} AS target_price,
            {_number("t.gross_units")} / 100000000 AS gross_pnl,
            {_number("t.commission_units")} / 100000000 AS commission,
            {_number("t.swap_units")} / 100000000 AS swap,
            {_number("t.spread_units")} / 100000000 AS spread_cost,
            {_instant("t.decided_ns")} AS decided_at,
            {_instant("t.opened_ns")} AS opened_at,
            {_instant("t.closed_ns")} AS closed_at,
            t.exit_reason, t.confidence, t.thesis,
            {added}s.name AS season
        FROM tickets t JOIN seasons s ON s.id = t.season_id
        WHERE s.is_current = 1""")  # noqa: S608


def _create_calls_view() -> None:
    op.execute(f"""
        CREATE VIEW hydra_model_calls AS SELECT
            {_instant("c.at_ns")} AS timestamp,
            c.engine, c.attempt, c.provider, c.model, c.model_said, c.prompt_version,
            c.outcome, c.error, c.input_tokens, c.output_tokens,
            {_number("c.cost_units")} / 100000000 AS cost_usd,
            {_number("c.latency_ns")} / 1000000000 AS latency_s,
            c.tries, c.reply, c.prompt, c.prompt_sha256,
            {_instant("c.called_ns")} AS called_at,
            s.name AS season
        FROM model_calls c JOIN seasons s ON s.id = c.season_id
        WHERE s.is_current = 1""")  # noqa: S608


def upgrade() -> None:
    _create_tables()
    op.execute("DROP VIEW hydra_trades")
    op.add_column("tickets", sa.Column("target_first", sa.Double))
    op.add_column(
        "tickets", sa.Column("tag", sa.Text, nullable=False, server_default=sa.text("''"))
    )
    _create_trades_view("t.target_first", "t.tag")
    _create_calls_view()


def downgrade() -> None:
    op.execute("DROP VIEW hydra_model_calls")
    op.execute("DROP VIEW hydra_trades")
    op.drop_column("tickets", "tag")
    op.drop_column("tickets", "target_first")
    _create_trades_view()
    for table in ("lessons", "prompts", "model_calls"):
        op.drop_table(table)
