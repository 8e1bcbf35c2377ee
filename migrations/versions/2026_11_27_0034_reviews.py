"""Withdrawals that officers look at after they were let through.

Expand only: a new table, nothing existing is touched. Withdrawals of before are not in it.

Revision ID: 0034_reviews
Revises: 0033_personal
"""

import sqlalchemy as sa
from alembic import op

revision = "0034_reviews"
down_revision = "0033_personal"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "treasury_review",
        sa.Column("withdrawal_id", sa.Uuid(), sa.ForeignKey("treasury_withdrawal.id"), primary_key=True),
        sa.Column("passing", sa.BigInteger(), nullable=False),
        sa.Column("passed_in_week", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("closed_by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint("passing > 0 AND passed_in_week >= passing", name="passing"),
        sa.CheckConstraint("num_nonnulls(closed_at, closed_by, reason) IN (0, 3)", name="closed_whole"),
    )
    op.create_index(
        "ix_treasury_review_open",
        "treasury_review",
        ["opened_at"],
        postgresql_where=sa.text("closed_at IS NULL"),
    )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
