"""Triggers that tell of changes to what processes remember.

Expand only: a device's revocation is told on the channel ``nugpay_change``
(foundation.changes) when it commits. Processes of before do not listen, and ask.
"""

from alembic import op

revision = "0016_changes"
down_revision = "0015_debts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION nugpay_tell_device() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('nugpay_change', 'device ' || OLD.id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER tell_change AFTER UPDATE OR DELETE ON identity_device
        FOR EACH ROW EXECUTE FUNCTION nugpay_tell_device()
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
