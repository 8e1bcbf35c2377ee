"""Skeletons of handles, a bound for looking handles up, and requests to pay.

Expand only. A skeleton is what a handle looks like, and one wallet has it. Of wallets
that were opened before and look alike the oldest has it and the others keep null: nobody
loses a handle, and nobody gets a third one like them. The unique index is made while the
column is empty, which takes moments; the wallets that exist are filled in afterwards, a
thousand to a database transaction, so that nobody waits for a lock. All of it may be
repeated if it dies half-way, since what was committed before is not undone with the rest.
A wallet that the release before opens while this one is rolled out has null as well; new
handles are compared with such a wallet's own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018_requests"
down_revision = "0017_tiers"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

BATCH = 1000
"""Wallets that are filled in by one database transaction."""

# The oldest first: it gets the skeleton, within a batch and over all of them.
FILL = """
WITH batch AS (
    SELECT id, handle, created_at FROM wallets_wallet
    WHERE CAST(:after_at AS timestamptz) IS NULL
       OR (created_at, id) > (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid))
    ORDER BY created_at, id LIMIT :batch
), looks AS (
    SELECT id, replace(replace(translate(handle, '01i_', 'oll'), 'm', 'rn'), 'w', 'vv') AS skeleton,
           created_at
    FROM batch
), oldest AS (
    SELECT DISTINCT ON (skeleton) id, skeleton FROM looks ORDER BY skeleton, created_at, id
), filled AS (
    UPDATE wallets_wallet AS wallet SET skeleton = oldest.skeleton FROM oldest
    WHERE wallet.id = oldest.id AND wallet.skeleton IS NULL
      AND NOT EXISTS (SELECT FROM wallets_wallet AS other WHERE other.skeleton = oldest.skeleton)
)
SELECT created_at, id FROM batch ORDER BY created_at DESC, id DESC LIMIT 1
"""


def upgrade() -> None:
    op.execute("ALTER TABLE wallets_wallet ADD COLUMN IF NOT EXISTS skeleton text")
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS ix_wallets_wallet_skeleton ON wallets_wallet (skeleton)")
    with op.get_context().autocommit_block():
        _fill_skeletons()
    op.create_table(
        "wallets_handle_lookups",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), primary_key=True),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    _create_requests()


def _fill_skeletons() -> None:
    last: dict[str, object] = {"after_at": None, "after_id": None}
    while True:
        row = op.get_bind().execute(sa.text(FILL), {**last, "batch": BATCH}).one_or_none()
        if row is None:
            return
        last = {"after_at": row.created_at, "after_id": row.id}


def _create_requests() -> None:
    op.create_table(
        "wallets_payment_request",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payee_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("payer_id", sa.Uuid(), sa.ForeignKey("wallets_wallet.id"), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True, unique=True),
        sa.Column("closed_as", sa.Text(), nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sa.CheckConstraint("payer_id <> payee_id", name="two_wallets"),
        sa.CheckConstraint("created_at < expires_at", name="lifetime"),
        sa.CheckConstraint("closed_as IN ('declined', 'cancelled', 'expired')", name="closed_as_known"),
        sa.CheckConstraint("(closed_as IS NULL) = (closed_at IS NULL)", name="closed_whole"),
    )
    for party in ("payee_id", "payer_id"):
        op.create_index(
            f"ix_wallets_payment_request_{party}", "wallets_payment_request", [party, "created_at", "id"]
        )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
