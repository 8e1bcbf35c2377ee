"""Finality that is held, or broken: why it stands still, what was taken back, and what came of it.

Only new tables and nullable columns: the processes of before write rows without them
and read none of them. ``chain_cursor.finality_hold`` says why no block becomes final
where a second endpoint is the reason. ``chain_finality_break`` records each time that
the chain itself replaced blocks that were final. What the treasury had written down
from such blocks moves to ``treasury_reversed_deposit`` and ``treasury_lost_departure``,
so that the tables of deposits and departures hold what is on chain and nothing else,
and their unique keys are free for the same tx mined again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_finality"
down_revision = "0009_ledger_archive"
branch_labels = None
depends_on = None

WORD = sa.Numeric(78, 0)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("chain_cursor", sa.Column("finality_hold", sa.Text()))
    op.add_column("treasury_deposit", sa.Column("again_of", sa.Uuid()))
    op.create_table(
        "chain_finality_break",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("ancestor_number", sa.BigInteger(), nullable=False),
        sa.Column("finalized_number", sa.BigInteger(), nullable=False),
        sa.Column("lost_hash", sa.Text(), nullable=False),
        sa.Column("found_hash", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "treasury_handled_break",
        sa.Column("break_id", sa.Uuid(), sa.ForeignKey("chain_finality_break.id"), primary_key=True),
        sa.Column("handled_at", TIME, nullable=False),
    )
    _create_reversals()


def _create_reversals() -> None:
    op.create_table(
        "treasury_reversed_deposit",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("break_id", sa.Uuid(), sa.ForeignKey("chain_finality_break.id"), nullable=False),
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
        sa.Column("again_of", sa.Uuid()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("reversed_at", TIME, nullable=False),
        sa.Column("corrected_at", TIME),
        sa.Column("again_id", sa.Uuid()),
    )
    op.create_index(
        "ix_treasury_reversed_deposit_uncorrected",
        "treasury_reversed_deposit",
        ["chain_id", "block_number"],
        postgresql_where=sa.text("corrected_at IS NULL"),
    )
    op.create_index("ix_treasury_reversed_deposit_tx_hash", "treasury_reversed_deposit", ["tx_hash"])
    op.create_index("ix_treasury_reversed_deposit_wallet_id", "treasury_reversed_deposit", ["wallet_id"])
    op.create_table(
        "treasury_lost_departure",
        sa.Column("break_id", sa.Uuid(), sa.ForeignKey("chain_finality_break.id"), primary_key=True),
        sa.Column("tx_hash", sa.Text(), primary_key=True),
        sa.Column("log_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("units", WORD, nullable=False),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("chain_order.id")),
        sa.Column("created_at", TIME, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
