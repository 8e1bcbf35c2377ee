"""Whom people trust to let them in again, as marks; the keys that were vouched for.

Expand only: new tables, nothing existing is touched.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024_recovery"
down_revision = "0023_live_sessions"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "identity_trust",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), primary_key=True),
        sa.Column("marks", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("needed", sa.SmallInteger(), nullable=False),
        sa.Column("set_at", TIME, nullable=False),
        sa.CheckConstraint("needed >= 2", name="several_needed"),
    )
    op.create_table(
        "identity_recovery",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), primary_key=True),
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("enough_at", TIME, nullable=True),
        sa.Column("refused_at", TIME, nullable=True),
        sa.Column("completed_at", TIME, nullable=True),
        sa.Column("device_id", sa.Uuid(), sa.ForeignKey("identity_device.id"), nullable=True),
    )
    op.create_index("ix_identity_recovery_key_id", "identity_recovery", ["key_id"])
    op.create_table(
        "identity_vouch",
        sa.Column("person_id", sa.Uuid(), primary_key=True),
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("mark", sa.LargeBinary(), primary_key=True),
        sa.Column("vouched_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id", "key_id"], ["identity_recovery.person_id", "identity_recovery.key_id"]
        ),
    )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
