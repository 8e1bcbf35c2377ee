"""Marks in sealed segments, where an account's history can be entered.

The segments that are sealed already get theirs here; from now on the sealing
writes them. See ledger/history_marks.py for what they are.
"""

from alembic import op

revision = "0008_ledger_history_marks"
down_revision = "0007_ledger_segments"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ledger_history_mark (
            part integer NOT NULL, number integer NOT NULL,
            slots integer[] NOT NULL, timestamps bigint[] NOT NULL,
            CONSTRAINT pk_ledger_history_mark PRIMARY KEY (part, number)
        );
        ALTER TABLE ledger_history_mark ALTER COLUMN slots SET STORAGE EXTERNAL;
        ALTER TABLE ledger_history_mark ALTER COLUMN timestamps SET STORAGE EXTERNAL;
        """
    )
    # Numbers as in ledger/history_marks.py when this was written: parts of 1,024
    # accounts, and every 64th posting counted back from the newest.
    op.execute(
        """
        INSERT INTO ledger_history_mark (part, number, slots, timestamps)
        SELECT slot / 1024, number, array_agg(slot ORDER BY slot, timestamp DESC),
               array_agg(timestamp ORDER BY slot, timestamp DESC)
        FROM (
            SELECT s.number, p.slot, p.timestamp,
                   row_number() OVER (PARTITION BY s.number, p.slot ORDER BY p.timestamp DESC) - 1 AS after
            FROM ledger_seal s
            JOIN (
                SELECT debit_account AS slot, timestamp FROM ledger_transfer_sealed
                UNION ALL SELECT credit_account, timestamp FROM ledger_transfer_sealed
            ) p ON p.timestamp BETWEEN s.first_timestamp AND s.last_timestamp
        ) postings
        WHERE after % 64 = 0
        GROUP BY slot / 1024, number
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
