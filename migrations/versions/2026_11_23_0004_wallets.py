"""Wallets and their handles.

Expand only. The check on the handle keeps the database from holding a second
spelling of one handle, whatever the application does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004_wallets"
down_revision = "0003_identity"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "wallets_wallet",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), nullable=False, unique=True),
        sa.Column("handle", sa.Text(), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("handle ~ '^[a-z][a-z0-9_]{2,29}$'", name="handle_normalised"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
