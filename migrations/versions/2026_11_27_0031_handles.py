"""Handles that change: those that wallets had before, and wallets that are not listed.

Expand only: a new table, and a column that is null for every wallet of before, which is
listed. Processes of the release before know no former handles: until the last of them has
ended, a former handle may be unknown to one, and no more than that. That none of them opens
somebody else's wallet under a former handle, a trigger sees to.

Revision ID: 0031_handles
Revises: 0030_cancelled_files
"""

import sqlalchemy as sa
from alembic import op

revision = "0031_handles"
down_revision = "0030_cancelled_files"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("wallets_wallet", sa.Column("unlisted_at", TIME, nullable=True))
    op.create_table(
        "wallets_former_handle",
        sa.Column("wallet_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("skeleton", sa.Text(), nullable=False),
        sa.Column("given_up_at", TIME, nullable=False),
        sa.Column("pays_until", TIME, nullable=False),
        sa.CheckConstraint("handle ~ '^[a-z][a-z0-9_]{2,29}$'", name="handle_normalised"),
        sa.CheckConstraint("given_up_at < pays_until", name="pays_for_a_time"),
    )
    op.create_index("ix_wallets_former_handle_handle", "wallets_former_handle", ["handle"])
    op.create_index("ix_wallets_former_handle_skeleton", "wallets_former_handle", ["skeleton"])
    # What the application promises, the database holds as well, whichever release asks: no wallet
    # gets a handle that was another one's, or that looks like it. AFTER the row is written its
    # skeleton is claimed in the unique index, so whoever had it before has committed, and is seen.
    op.execute(
        """
        CREATE FUNCTION nugpay_refuse_former_handle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM wallets_former_handle AS former
                WHERE former.wallet_id <> NEW.id
                  AND (former.handle = NEW.handle OR former.skeleton = NEW.skeleton)
            ) THEN
                RAISE unique_violation USING MESSAGE = 'the handle was another wallet''s';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER refuse_former_handle AFTER INSERT OR UPDATE OF handle ON wallets_wallet
        FOR EACH ROW EXECUTE FUNCTION nugpay_refuse_former_handle()
        """
    )


# Forward only: taking the table back would set free what others were paid by.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
