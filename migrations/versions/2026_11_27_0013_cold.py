"""The cold address: what counts as custody there, moves to it, and the hot balance's level.

Expand only: new tables, columns that may be null, and a check that admits one more kind
of order. The checks are replaced by wider ones, which no row that is there can fail; they
are added NOT VALID and validated afterwards, so that orders are not locked meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_cold"
down_revision = "0012_batches"
branch_labels = None
depends_on = None

WORD = sa.Numeric(78, 0)
TIME = sa.DateTime(timezone=True)
ADDRESS = "address ~ '^0x[0-9a-f]{40}$'"


def upgrade() -> None:
    _admit_cold_moves()
    op.create_table(
        "treasury_cold_address",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text(), primary_key=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.CheckConstraint(ADDRESS, name="address"),
    )
    _create_moves()
    op.create_table(
        "treasury_hot_level",
        sa.Column("chain_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("asset", sa.Text(), primary_key=True),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("free_units", WORD, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("looked_at", TIME, nullable=False),
    )
    for name in ("hot_units", "deposit_units", "cold_units"):
        op.add_column("treasury_reconciliation", sa.Column(name, WORD))


def _admit_cold_moves() -> None:
    wider = {
        "kind": "kind IN ('withdrawal', 'sweep', 'payout_batch', 'sweep_batch', 'cold_move')",
        "amount": "(kind IN ('withdrawal', 'payout_batch', 'cold_move')) = (amount > 0)",
    }
    for name, rule in wider.items():
        full = f"ck_chain_order_{name}"
        op.execute(f"ALTER TABLE chain_order DROP CONSTRAINT {full}")
        op.execute(f"ALTER TABLE chain_order ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID")
        op.execute(f"ALTER TABLE chain_order VALIDATE CONSTRAINT {full}")


def _create_moves() -> None:
    op.create_table(
        "treasury_cold_move",
        sa.Column("id", sa.Uuid(), sa.ForeignKey("chain_order.id"), primary_key=True),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cold_address", sa.Text(), nullable=False),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("outcome", sa.Text()),
        sa.CheckConstraint("amount > 0", name="amount"),
    )
    op.create_index(
        "uq_treasury_cold_move_open_automatic",
        "treasury_cold_move",
        ["chain_id", "asset"],
        unique=True,
        postgresql_where=sa.text("is_automatic AND closed_at IS NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
