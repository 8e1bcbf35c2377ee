"""Officers' approvals, who asked for an order, fee quotes, and receivers that are never paid.

Expand only: new tables, and columns that may be null, so that what runs now goes on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011_treasury_approvals"
down_revision = "0010_finality"
branch_labels = None
depends_on = None

WORD = sa.Numeric(78, 0)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("chain_order", sa.Column("fee", WORD))
    op.add_column("chain_order", sa.Column("requester", sa.Uuid()))
    op.create_table(
        "chain_approval",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("chain_order.id"), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("approved_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("order_id", "key_id", "expires_at"),
        sa.CheckConstraint("octet_length(signature) = 64", name="signature"),
        sa.CheckConstraint("approved_at < expires_at", name="lifetime"),
    )
    _create_officers()
    _create_quotes()
    _create_blocked()


def _create_officers() -> None:
    op.create_table(
        "identity_officer",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("appointed_at", TIME, nullable=False),
        sa.Column("dismissed_at", TIME),
    )
    op.add_column("treasury_withdrawal", sa.Column("awaits_officers_since", TIME))
    op.create_index(
        "ix_treasury_withdrawal_awaits_officers",
        "treasury_withdrawal",
        ["awaits_officers_since"],
        postgresql_where=sa.text("awaits_officers_since IS NOT NULL AND closed_at IS NULL"),
    )


def _create_quotes() -> None:
    op.create_table(
        "treasury_withdrawal_quote",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("amount > 0", name="amount"),
        sa.CheckConstraint("fee >= 0", name="fee"),
    )
    op.create_index("ix_treasury_withdrawal_quote_expires_at", "treasury_withdrawal_quote", ["expires_at"])
    op.add_column("treasury_withdrawal", sa.Column("quote_id", sa.Uuid()))


def _create_blocked() -> None:
    op.create_table(
        "treasury_blocked_receiver",
        sa.Column("address", sa.Text(), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("blocked_by", sa.Text(), nullable=False),
        sa.Column("blocked_at", TIME, nullable=False),
        sa.CheckConstraint("address ~ '^0x[0-9a-f]{40}$'", name="address"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
