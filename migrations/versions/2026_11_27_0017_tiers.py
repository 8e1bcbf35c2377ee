"""The tier of each wallet, and a trigger that tells of changes to wallets.

Expand only: a column with a default, which every wallet of before gets at once, and a
trigger as devices have it. Processes of before read neither.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017_tiers"
down_revision = "0016_changes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wallets_wallet", sa.Column("tier", sa.Text(), nullable=False, server_default="standard"))
    # Every row has the default, so that there is nothing to look at twice.
    op.create_check_constraint("tier_known", "wallets_wallet", "tier IN ('starter', 'standard', 'business')")
    op.execute(
        """
        CREATE FUNCTION nugpay_tell_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('nugpay_change', 'wallet ' || OLD.id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER tell_change AFTER UPDATE OR DELETE ON wallets_wallet
        FOR EACH ROW EXECUTE FUNCTION nugpay_tell_wallet()
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
