"""PINs, the tries of each device, and sessions; a trigger that tells of a first PIN.

Expand only: new tables, nothing existing is touched. Processes of before know no PIN, and
ask nobody for a session: PINs can be set from when the last of them has ended.

Revision ID: 0021_pins
Revises: 0020_words
"""

import sqlalchemy as sa
from alembic import op

revision = "0021_pins"
down_revision = "0020_words"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "identity_pin",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), primary_key=True),
        sa.Column("real_hash", sa.Text(), nullable=False),
        sa.Column("duress_hash", sa.Text(), nullable=False),
        sa.Column("alarm_mark", sa.LargeBinary(), nullable=False),
        sa.Column("set_at", TIME, nullable=False),
    )
    op.create_table(
        "identity_pin_tries",
        sa.Column("device_id", sa.Uuid(), sa.ForeignKey("identity_device.id"), primary_key=True),
        sa.Column("wrong", sa.SmallInteger(), nullable=False),
        sa.Column("last_wrong_at", TIME, nullable=True),
        sa.CheckConstraint("wrong >= 0", name="wrong_not_negative"),
    )
    op.create_table(
        "identity_session",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("device_id", sa.Uuid(), sa.ForeignKey("identity_device.id"), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("view_mark", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
    )
    op.create_index("ix_identity_session_device_id", "identity_session", ["device_id", "created_at"])
    op.execute(
        """
        CREATE FUNCTION nugpay_tell_pin() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('nugpay_change', 'pin ' || NEW.person_id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER tell_change AFTER INSERT ON identity_pin
        FOR EACH ROW EXECUTE FUNCTION nugpay_tell_pin()
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
