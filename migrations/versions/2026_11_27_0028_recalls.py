"""Recalls, standing orders and splits.

Payers ask for payments back and officers decide; pay on days to come; and one amount is
asked of several. Expand only: new tables.

Revision ID: 0028_recalls
Revises: 0027_merchants
"""

import sqlalchemy as sa
from alembic import op

revision = "0028_recalls"
down_revision = "0027_merchants"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_recalls()
    _create_standing_orders()
    _create_splits()


def _create_recalls() -> None:
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


def _create_standing_orders() -> None:
    op.create_table(
        "wallets_standing_order",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payer_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("payee_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("fee_max", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Uuid(), nullable=True),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("repeats", sa.Text(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("try_at", TIME, nullable=False),
        sa.Column("last_code", sa.Text(), nullable=True),
        sa.Column("cancelled_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.CheckConstraint("amount > 0 AND fee_max >= 0", name="amounts"),
        sa.CheckConstraint("payer_id <> payee_id", name="two_wallets"),
        sa.CheckConstraint("repeats IN ('once', 'daily', 'weekly', 'monthly')", name="repeats_known"),
        sa.CheckConstraint("until IS NULL OR times IS NULL", name="one_end"),
        sa.CheckConstraint("until >= first_on AND times > 0", name="end_after_beginning"),
        sa.CheckConstraint("number >= 0 AND attempt > 0", name="counted"),
    )
    op.create_index(
        "ix_wallets_standing_order_payer_id", "wallets_standing_order", ["payer_id", "created_at", "id"]
    )
    op.create_index(
        "ix_wallets_standing_order_try_at",
        "wallets_standing_order",
        ["try_at", "id"],
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "wallets_standing_payment",
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("wallets_standing_order.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("settled_at", TIME, nullable=False),
        sa.CheckConstraint("(payment_id IS NULL) <> (code IS NULL)", name="paid_or_missed"),
    )


def _create_splits() -> None:
    op.create_table(
        "wallets_split",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payee_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("total > 0", name="total_positive"),
    )
    op.create_table(
        "wallets_split_share",
        sa.Column("split_id", sa.Uuid(), sa.ForeignKey("wallets_split.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column(
            "request_id", sa.Uuid(), sa.ForeignKey("wallets_payment_request.id"), nullable=False, unique=True
        ),
        sa.CheckConstraint("number >= 0", name="counted"),
    )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
