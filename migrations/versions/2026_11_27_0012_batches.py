"""Orders that go together in one transaction, and since when an address waits to be swept.

Expand only: new kinds of orders, a new table, and a column that may be null (an address
of before has waited long). What runs now writes none of the new kinds; it must be stopped
before the new worker writes them, for it does not know them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012_batches"
down_revision = "0011_treasury_approvals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _replace_check("kind", "kind IN ('withdrawal', 'sweep', 'payout_batch', 'sweep_batch')")
    _replace_check("amount", "(kind IN ('withdrawal', 'payout_batch')) = (amount > 0)")
    op.create_table(
        "chain_batch_member",
        sa.Column("batch_id", sa.Uuid(), sa.ForeignKey("chain_order.id"), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("member_id", sa.Uuid(), sa.ForeignKey("chain_order.id"), nullable=False, unique=True),
        sa.CheckConstraint("position >= 0", name="position"),
    )
    op.add_column("treasury_unswept", sa.Column("since", sa.DateTime(timezone=True)))


def _replace_check(name: str, condition: str) -> None:
    # The new condition holds for every row that the old one let in.
    op.drop_constraint(name, "chain_order", type_="check")
    op.create_check_constraint(name, "chain_order", condition)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
