"""Receivers of mirrored transfers are found by a BRIN index of Bloom filters.

A B-tree of receivers is written at a random place for every row, which cost the
follower three fifths of what PostgreSQL needed for it. Hardly anybody looks for one receiver in
the whole mirror; who looks in a few blocks takes the primary key. Both forms of the index
serve the release before and this one.

Revision ID: 0019_receivers
Revises: 0018_requests
"""

from alembic import op

revision = "0019_receivers"
down_revision = "0018_requests"
branch_labels = None
depends_on = None

BTREE = "ix_chain_transfer_log_to_address_block_number"
BLOOM = "ix_chain_transfer_log_to_address"


def upgrade() -> None:
    op.drop_index(BTREE, "chain_transfer_log")
    op.create_index(
        BLOOM,
        "chain_transfer_log",
        ["to_address"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
        postgresql_ops={"to_address": "text_bloom_ops(false_positive_rate=0.001)"},
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
