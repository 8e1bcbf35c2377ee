"""Files of payments that were cancelled before anybody released them.

Expand only: a column that is empty in every row that there is.

Revision ID: 0030_cancelled_files
Revises: 0029_memos
"""

import sqlalchemy as sa
from alembic import op

revision = "0030_cancelled_files"
down_revision = "0029_memos"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wallets_bulk_payment", sa.Column("cancelled_at", sa.DateTime(timezone=True)))
    op.create_check_constraint(
        "cancelled_or_released", "wallets_bulk_payment", "cancelled_at IS NULL OR released_at IS NULL"
    )


# Forward only: taking a column back would take with it what people have decided since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
