"""Recalls: payers who ask for payments back, and officers who decide.

Expand only: two new tables.

Revision ID: 0025_recalls
Revises: 0022_bulk
"""

import sqlalchemy as sa
from alembic import op

revision = "0025_recalls"
down_revision = "0022_bulk"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "wallets_recall",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("payer_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("payee_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("declined_at", TIME, nullable=True),
        sa.CheckConstraint("payer_id <> payee_id", name="two_wallets"),
    )
    op.create_index("ix_wallets_recall_payer_id", "wallets_recall", ["payer_id", "created_at", "id"])
    op.create_index("ix_wallets_recall_payee_id", "wallets_recall", ["payee_id", "created_at", "id"])
    op.create_index("ix_wallets_recall_created_at", "wallets_recall", ["created_at", "id"])
    op.create_table(
        "wallets_recall_vote",
        sa.Column("recall_id", sa.Uuid(), sa.ForeignKey("wallets_recall.id"), primary_key=True),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_officer.person_id"), primary_key=True),
        sa.Column("device_id", sa.Uuid(), sa.ForeignKey("identity_device.id"), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.Column("voted_at", TIME, nullable=False),
        sa.CheckConstraint("says IN ('return', 'keep')", name="says_known"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
