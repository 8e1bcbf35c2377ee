"""Tables of the chain: the mirror, and the orders, nonces and attempts of what we send.

The mirror has no foreign keys between blocks and logs: both are written and taken
away together by one process in one database transaction, and a check a row would
cost more than the row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_chain"
down_revision = "0004_wallets"
branch_labels = None
depends_on = None

WORD = sa.Numeric(78, 0)
ADDRESS_PATTERN = "^0x[0-9a-f]{40}$"
HASH_PATTERN = "^0x[0-9a-f]{64}$"


def upgrade() -> None:
    _create_mirror()
    _create_orders()


def _create_mirror() -> None:
    op.create_table(
        "chain_cursor",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("genesis_hash", sa.Text(), nullable=False),
        sa.Column("start_number", sa.BigInteger(), nullable=False),
        sa.Column("head_number", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.Text(), nullable=False),
        sa.Column("finalized_number", sa.BigInteger(), nullable=False),
        sa.Column("followed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "chain_watched_token",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text(), primary_key=True),
    )
    op.create_table(
        "chain_block",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("parent_hash", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "chain_transfer_log",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("log_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("value", WORD, nullable=False),
    )
    op.create_index(
        "ix_chain_transfer_log_to_address_block_number", "chain_transfer_log", ["to_address", "block_number"]
    )
    op.create_table(
        "chain_orphaned_log",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_hash", sa.Text(), primary_key=True),
        sa.Column("log_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("value", WORD, nullable=False),
        sa.Column("orphaned_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_chain_orphaned_log_to_address", "chain_orphaned_log", ["to_address"])


def _create_orders() -> None:
    op.create_table(
        "chain_order",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("amount", WORD, nullable=False),
        sa.Column("salt", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("kind IN ('withdrawal', 'sweep')", name="kind"),
        sa.CheckConstraint(f"token ~ '{ADDRESS_PATTERN}'", name="token"),
        sa.CheckConstraint(f"to_address ~ '{ADDRESS_PATTERN}'", name="to_address"),
        sa.CheckConstraint(f"salt ~ '{HASH_PATTERN}'", name="salt"),
        sa.CheckConstraint("(kind = 'withdrawal') = (amount > 0)", name="amount"),
        sa.CheckConstraint("(kind = 'sweep') = (salt IS NOT NULL)", name="sweep_has_salt"),
    )
    op.create_table(
        "chain_lane",
        sa.Column("from_address", sa.Text(), primary_key=True),
        sa.Column("nonce", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("chain_order.id"), nullable=False, unique=True),
    )
    op.create_table(
        "chain_attempt",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("chain_order.id"), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False, unique=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("max_fee_per_gas", WORD, nullable=False),
        sa.Column("max_priority_fee_per_gas", WORD, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("broadcast_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_chain_attempt_order_id", "chain_attempt", ["order_id"])
    op.create_index(
        "uq_chain_attempt_from_address_nonce_tx_hash",
        "chain_attempt",
        ["from_address", "nonce", "tx_hash"],
        unique=True,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
