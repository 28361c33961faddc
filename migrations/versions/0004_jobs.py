"""When the daemon's jobs of a season last ran, and how far they came.

Revision: 0004. After: 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column(
            "season_id", sa.Integer, sa.ForeignKey("seasons.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("ran_ns", sa.BigInteger, nullable=False),
        sa.Column("mark", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("season_id", "job"),
    )


def downgrade() -> None:
    op.drop_table("jobs")
