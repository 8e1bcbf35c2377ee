"""Amounts and fees of orders are words of the EVM: no NaN, no infinity, nothing below zero.

Refuses to begin while an order holds such a thing, which no release has written.

Revision ID: 0020_words
Revises: 0019_receivers
"""

from alembic import op

revision = "0020_words"
down_revision = "0019_receivers"
branch_labels = None
depends_on = None

LIMIT = 2**256


def upgrade() -> None:
    for column in ("amount", "fee"):
        op.create_check_constraint(
            f"{column}_is_word", "chain_order", f"{column} >= 0 AND {column} < {LIMIT}"
        )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
