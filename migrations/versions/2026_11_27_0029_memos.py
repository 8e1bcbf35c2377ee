"""Memos that only payer and payee can read, and the keys that they are encrypted to.

Expand only: new tables. A payment without a memo has a row in neither.

Revision ID: 0029_memos
Revises: 0028_recalls
"""

import sqlalchemy as sa
from alembic import op

revision = "0029_memos"
down_revision = "0028_recalls"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "wallets_memo",
        sa.Column("payment_id", sa.Uuid(), primary_key=True),
        sa.Column("payer_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("sha256 = sha256(ciphertext)", name="sha256_of_ciphertext"),
        sa.CheckConstraint("length(ciphertext) IN (384, 768, 1152)", name="size_known"),
    )
    op.create_table(
        "wallets_memo_key",
        sa.Column("wallet_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), primary_key=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.CheckConstraint("length(public_key) = 32", name="key_whole"),
    )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
