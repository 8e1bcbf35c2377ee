"""Tables of the treasury: deposits, departures, withdrawals, sweeps, reconciliations, the breaker.

The partial indexes are the lists of work: deposits not booked yet, withdrawals not
closed, one open sweep an address and token, one breaker tripped a chain.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006_treasury"
down_revision = "0005_chain"
branch_labels = None
depends_on = None

WORD = sa.Numeric(78, 0)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_deposits()
    _create_payouts()
    _create_checks()


def _create_deposits() -> None:
    op.create_table(
        "treasury_deposit_address",
        sa.Column("address", sa.Text(), primary_key=True),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("wallet_id", "epoch"),
    )
    op.create_table(
        "treasury_booking_cursor",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text(), primary_key=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("booked_number", sa.BigInteger(), nullable=False),
        sa.Column("dust_units", WORD, nullable=False),
    )
    op.create_table(
        "treasury_deposit",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("units", WORD, nullable=False),
        sa.Column("wallet_id", sa.Uuid()),
        sa.Column("amount", WORD, nullable=False),
        sa.Column("dust_amount", sa.BigInteger(), nullable=False),
        sa.Column("case_kind", sa.Text()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("booked_at", TIME),
        sa.UniqueConstraint("chain_id", "tx_hash", "log_index"),
    )
    op.create_index(
        "ix_treasury_deposit_wallet_id_block_number", "treasury_deposit", ["wallet_id", "block_number"]
    )
    op.create_index(
        "ix_treasury_deposit_unbooked",
        "treasury_deposit",
        ["chain_id", "block_number", "log_index"],
        postgresql_where=sa.text("booked_at IS NULL"),
    )
    op.create_index("ix_treasury_deposit_block_number", "treasury_deposit", ["chain_id", "block_number"])


def _create_payouts() -> None:
    op.create_table(
        "treasury_departure",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("tx_hash", sa.Text(), primary_key=True),
        sa.Column("log_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("units", WORD, nullable=False),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("chain_order.id")),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_treasury_departure_block_number", "treasury_departure", ["chain_id", "block_number"])
    op.create_index("ix_treasury_departure_order_id", "treasury_departure", ["order_id"])
    op.create_table(
        "treasury_withdrawal",
        sa.Column("id", sa.Uuid(), sa.ForeignKey("chain_order.id"), primary_key=True),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("refusal_code", sa.Text()),
        sa.CheckConstraint("amount > 0", name="amount"),
        sa.CheckConstraint("fee >= 0", name="fee"),
    )
    op.create_index(
        "ix_treasury_withdrawal_open",
        "treasury_withdrawal",
        ["created_at"],
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "ix_treasury_withdrawal_wallet_id_created_at", "treasury_withdrawal", ["wallet_id", "created_at"]
    )
    op.create_table(
        "treasury_unswept",
        sa.Column("address", sa.Text(), sa.ForeignKey("treasury_deposit_address.address"), primary_key=True),
        sa.Column("token", sa.Text(), primary_key=True),
    )
    op.create_table(
        "treasury_sweep",
        sa.Column("id", sa.Uuid(), sa.ForeignKey("chain_order.id"), primary_key=True),
        sa.Column("address", sa.Text(), sa.ForeignKey("treasury_deposit_address.address"), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("outcome", sa.Text()),
    )
    op.create_index(
        "uq_treasury_sweep_open",
        "treasury_sweep",
        ["address", "token"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def _create_checks() -> None:
    op.create_table(
        "treasury_reconciliation",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block_number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("asset", sa.Text(), primary_key=True),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("chain_units", WORD, nullable=False),
        sa.Column("ledger_amount", sa.BigInteger(), nullable=False),
        sa.Column("ledger_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("dust_units", WORD, nullable=False),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("unexplained_units", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_treasury_reconciliation_created_at", "treasury_reconciliation", ["created_at"])
    op.create_table(
        "treasury_breaker",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tripped_at", TIME, nullable=False),
        sa.Column("released_at", TIME),
        sa.Column("released_by", sa.Text()),
    )
    op.create_index(
        "uq_treasury_breaker_tripped",
        "treasury_breaker",
        ["chain_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
