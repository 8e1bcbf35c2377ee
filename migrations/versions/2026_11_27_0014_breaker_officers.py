"""Officers' signatures under the release of a trip of the breaker.

Expand only: one new table. The trips stay where they are; a signer with a database role
of its own needs SELECT on ``treasury_breaker`` and ``chain_release`` from now on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_breaker_officers"
down_revision = "0013_cold"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "chain_release",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("trip_id", sa.Uuid(), sa.ForeignKey("treasury_breaker.id"), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signed_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("trip_id", "key_id", "expires_at"),
        sa.CheckConstraint("octet_length(signature) = 64", name="signature"),
        sa.CheckConstraint("signed_at < expires_at", name="lifetime"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
