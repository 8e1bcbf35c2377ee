"""Payments of what a broken finality left owed, and lost payments that were given back.

Expand only: one new table, and a column that may be null. A decision is written before its
money moves, so that it is carried out once however often it is asked for. The release
before this one knows neither and leaves both alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015_debts"
down_revision = "0014_breaker_officers"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "treasury_debt_payment",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("deposit_id", sa.Uuid(), sa.ForeignKey("treasury_reversed_deposit.id"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("refusal_code", sa.Text()),
        sa.CheckConstraint("kind IN ('settlement', 'write_off')", name="kind"),
        sa.CheckConstraint("amount > 0", name="amount"),
    )
    op.add_column("treasury_lost_departure", sa.Column("returned_at", TIME))
    op.create_index("ix_treasury_debt_payment_deposit_id", "treasury_debt_payment", ["deposit_id"])


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
