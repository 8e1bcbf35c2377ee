"""Businesses: profiles of wallets, tills, who may act there, keys of servers, and invoices.

Expand only: five new tables, none of which says what was paid.

Revision ID: 0023_merchants
Revises: 0022_bulk
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0023_merchants"
down_revision = "0022_bulk"
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


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
