"""Businesses: profiles of wallets, tills, who may act there, keys of servers, invoices, webhooks.

Expand only: new tables. None of them has a balance; events are copies of the ledger's
transfers, made to be sent.

Revision ID: 0027_merchants
Revises: 0026_papers
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0027_merchants"
down_revision = "0026_papers"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
RIGHTS_KNOWN = "rights <@ ARRAY['see', 'charge', 'refund'] AND 'see' = ANY (rights)"


def upgrade() -> None:
    op.create_table(
        "wallets_merchant",
        sa.Column("wallet_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("events_until", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "wallets_till",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("merchant_id", sa.Uuid(), sa.ForeignKey("wallets_merchant.wallet_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_wallets_till_merchant_id", "wallets_till", ["merchant_id", "created_at", "id"])
    op.create_table(
        "wallets_till_staff",
        sa.Column("till_id", sa.Uuid(), sa.ForeignKey("wallets_till.id"), primary_key=True),
        sa.Column("wallet_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), primary_key=True),
        sa.Column("rights", ARRAY(sa.Text()), nullable=False),
        sa.Column("invited_at", TIME, nullable=False),
        sa.Column("accepted_at", TIME, nullable=True),
        sa.CheckConstraint(RIGHTS_KNOWN, name="rights_known"),
    )
    op.create_index("ix_wallets_till_staff_wallet_id", "wallets_till_staff", ["wallet_id"])
    op.create_table(
        "wallets_till_key",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("till_id", sa.Uuid(), sa.ForeignKey("wallets_till.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("rights", ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.CheckConstraint(RIGHTS_KNOWN, name="rights_known"),
        sa.CheckConstraint("length(digest) = 32", name="digest_whole"),
    )
    op.create_index("ix_wallets_till_key_till_id", "wallets_till_key", ["till_id", "created_at", "id"])
    op.create_table(
        "wallets_invoice",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("till_id", sa.Uuid(), sa.ForeignKey("wallets_till.id"), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sa.CheckConstraint("created_at < expires_at", name="lifetime"),
    )
    op.create_index("ix_wallets_invoice_till_id", "wallets_invoice", ["till_id", "created_at", "id"])
    op.create_table(
        "wallets_till_refund",
        sa.Column("till_id", sa.Uuid(), sa.ForeignKey("wallets_till.id"), primary_key=True),
        sa.Column("refund_id", sa.Uuid(), primary_key=True),
        sa.Column("by_wallet", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=True),
        sa.Column("by_key", sa.Uuid(), sa.ForeignKey("wallets_till_key.id"), nullable=True),
        sa.Column("ordered_at", TIME, nullable=False),
        sa.CheckConstraint("(by_wallet IS NULL) <> (by_key IS NULL)", name="one_actor"),
    )
    create_webhooks()


def create_webhooks() -> None:
    op.create_table(
        "wallets_webhook",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("merchant_id", sa.Uuid(), sa.ForeignKey("wallets_merchant.wallet_id"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", name="old_secret_whole"),
    )
    op.create_index("ix_wallets_webhook_merchant_id", "wallets_webhook", ["merchant_id", "created_at", "id"])
    op.create_table(
        "wallets_webhook_event",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("merchant_id", sa.Uuid(), sa.ForeignKey("wallets_merchant.wallet_id"), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("ix_wallets_webhook_event_merchant_id", "wallets_webhook_event", ["merchant_id", "at_ns"])
    op.create_table(
        "wallets_webhook_delivery",
        sa.Column("event_id", sa.Uuid(), sa.ForeignKey("wallets_webhook_event.id"), primary_key=True),
        sa.Column(
            "webhook_id",
            sa.Uuid(),
            sa.ForeignKey("wallets_webhook.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("last_failure", sa.Text(), nullable=True),
    )
    op.create_index(
        "ix_wallets_webhook_delivery_due_at",
        "wallets_webhook_delivery",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_wallets_webhook_delivery_webhook_id", "wallets_webhook_delivery", ["webhook_id"])


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
