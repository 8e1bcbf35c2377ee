"""Bulk payments: a file of payments, its lines, and what became of each.

Expand only: three new tables. A result refers to its line by number and has no foreign key,
since ten thousand look-ups would cost more than the results themselves; the one statement
that writes results counts them on the bulk payment's own row in the same database transaction.

Revision ID: 0022_bulk
Revises: 0020_words
"""

import sqlalchemy as sa
from alembic import op

revision = "0022_bulk"
down_revision = "0021_pins"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "wallets_bulk_payment",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payer_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("made_by", sa.Uuid(), sa.ForeignKey("identity_device.id"), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("fees", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("released_by", sa.Uuid(), sa.ForeignKey("identity_device.id"), nullable=True),
        sa.Column("released_at", TIME, nullable=True),
        sa.Column("done", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("paid", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("paid_total", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint("length(digest) = 32", name="digest_whole"),
        sa.CheckConstraint("lines > 0 AND wrong BETWEEN 0 AND lines", name="lines_counted"),
        sa.CheckConstraint("total >= 0 AND fees >= 0", name="sums_not_negative"),
        sa.CheckConstraint("(released_by IS NULL) = (released_at IS NULL)", name="released_whole"),
        sa.CheckConstraint(
            "released_at IS NULL OR (wrong = 0 AND released_by <> made_by)", name="two_devices"
        ),
        sa.CheckConstraint("paid BETWEEN 0 AND done AND done <= lines", name="progress"),
        sa.CheckConstraint("done = 0 OR released_at IS NOT NULL", name="released_first"),
        sa.CheckConstraint("(finished_at IS NOT NULL) = (done = lines)", name="finished_whole"),
    )
    op.create_index(
        "ix_wallets_bulk_payment_payer_id", "wallets_bulk_payment", ["payer_id", "created_at", "id"]
    )
    op.create_index(
        "ix_wallets_bulk_payment_released_at",
        "wallets_bulk_payment",
        ["released_at", "id"],
        postgresql_where=sa.text("released_at IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_table(
        "wallets_bulk_line",
        sa.Column("bulk_id", sa.Uuid(), sa.ForeignKey("wallets_bulk_payment.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("payee", sa.Text(), nullable=False),
        sa.Column("payee_id", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("fee", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "fault IS NOT NULL OR (payee_id IS NOT NULL AND amount > 0 AND fee >= 0)", name="payable_or_wrong"
        ),
    )
    op.create_index(
        "ix_wallets_bulk_line_wrong",
        "wallets_bulk_line",
        ["bulk_id", "number"],
        postgresql_where=sa.text("fault IS NOT NULL"),
    )
    op.create_table(
        "wallets_bulk_result",
        sa.Column("bulk_id", sa.Uuid(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("result", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
