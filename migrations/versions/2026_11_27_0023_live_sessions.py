"""Triggers that tell of the end of a session.

Expand only: a session's revocation is told on the channel ``nugpay_change``
(foundation.changes) when it commits. Processes of before do not listen, and ask.
"""

from alembic import op

revision = "0023_live_sessions"
down_revision = "0022_bulk"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION nugpay_tell_session() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('nugpay_change', 'session ' || OLD.id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER tell_change AFTER UPDATE OR DELETE ON identity_session
        FOR EACH ROW EXECUTE FUNCTION nugpay_tell_session()
        """
    )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
