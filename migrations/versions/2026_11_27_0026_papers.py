"""What changed in a wallet, so that one question brings it all: a place for each object.

Expand only: a new table, filled by triggers on requests to pay, deposits and withdrawals; what was
there before gets its place here. An object has one row, which says in which database transaction it
last changed. Transactions are numbered when they begin and become visible when they end, so whoever
reads takes only those before the oldest that is still under way (wallets.syncs).
"""

import sqlalchemy as sa
from alembic import op

revision = "0026_papers"
down_revision = "0025_tier_changes"
branch_labels = None
depends_on = None

_NOTE = """
    CREATE FUNCTION nugpay_note_change(wallet uuid, kind text, object uuid) RETURNS void
    LANGUAGE sql AS $$
        INSERT INTO wallets_change (wallet_id, kind, object_id, transaction, number)
        VALUES (wallet, kind, object, pg_current_xact_id()::text::bigint, nextval('wallets_change_number'))
        ON CONFLICT (wallet_id, kind, object_id)
        DO UPDATE SET transaction = excluded.transaction, number = excluded.number
    $$
"""

_TRIGGERS = {
    "wallets_payment_request": """
        PERFORM nugpay_note_change(NEW.payee_id, 'request', NEW.id);
        PERFORM nugpay_note_change(NEW.payer_id, 'request', NEW.id);
    """,
    "treasury_withdrawal": "PERFORM nugpay_note_change(NEW.wallet_id, 'withdrawal', NEW.id);",
    "treasury_deposit": """
        IF NEW.wallet_id IS NOT NULL THEN
            PERFORM nugpay_note_change(NEW.wallet_id, 'deposit', NEW.id);
        END IF;
    """,
    "treasury_reversed_deposit": """
        IF NEW.wallet_id IS NOT NULL THEN
            PERFORM nugpay_note_change(NEW.wallet_id, 'deposit', NEW.id);
        END IF;
    """,
}

_BEFORE = """
    SELECT nugpay_note_change(wallet_id, kind, id) FROM (
        SELECT payee_id AS wallet_id, 'request' AS kind, id FROM wallets_payment_request
        UNION SELECT payer_id, 'request', id FROM wallets_payment_request
        UNION SELECT wallet_id, 'withdrawal', id FROM treasury_withdrawal
        UNION SELECT wallet_id, 'deposit', id FROM treasury_deposit WHERE wallet_id IS NOT NULL
        UNION SELECT wallet_id, 'deposit', id FROM treasury_reversed_deposit WHERE wallet_id IS NOT NULL
    ) AS before
"""


def upgrade() -> None:
    op.create_table(
        "wallets_change",
        sa.Column("wallet_id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("object_id", sa.Uuid(), primary_key=True),
        sa.Column("transaction", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('request', 'withdrawal', 'deposit')", name="kind_known"),
    )
    op.create_index("ix_wallets_change_place", "wallets_change", ["wallet_id", "transaction", "number"])
    op.execute("CREATE SEQUENCE wallets_change_number")
    op.execute(_NOTE)
    for table, statements in _TRIGGERS.items():
        op.execute(
            f"CREATE FUNCTION nugpay_note_{table}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN {statements} RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION nugpay_note_{table}()"
        )
    # After the triggers: what is written meanwhile is noted by them, or seen here.
    op.execute(_BEFORE)


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
