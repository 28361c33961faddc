"""The bars of live seasons, kept so that they can be played again.

Revision: 0003. After: 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OHLC = ("open", "high", "low", "close")


def upgrade() -> None:
    op.create_table(
        "season_bars",
        sa.Column(
            "season_id", sa.Integer, sa.ForeignKey("seasons.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("resolution_ns", sa.BigInteger, nullable=False),
        sa.Column("open_ns", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("real_spread", sa.Integer, nullable=False),
        *(
            sa.Column(f"{side}_{part}", sa.BigInteger, nullable=False)
            for side in ("bid", "ask")
            for part in OHLC
        ),
        *(sa.Column(part, sa.Double, nullable=False) for part in OHLC),
        sa.Column("volume", sa.Double),
        sa.Column("depth", sa.Text),
        sa.Column("unfit", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("season_id", "symbol", "resolution_ns", "open_ns"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("season_bars")
