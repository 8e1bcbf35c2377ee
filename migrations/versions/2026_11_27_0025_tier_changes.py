"""Decisions on wallets' tiers.

Expand only: a new table, nothing existing is touched.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025_tier_changes"
down_revision = "0024_recovery"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "wallets_tier_change",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("wallet_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("after IN ('starter', 'standard', 'business')", name="after_known"),
        sa.CheckConstraint("decided_by LIKE '%, %'", name="decided_by_two"),
    )
    op.create_index("ix_wallets_tier_change_wallet_id", "wallets_tier_change", ["wallet_id", "decided_at"])


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
