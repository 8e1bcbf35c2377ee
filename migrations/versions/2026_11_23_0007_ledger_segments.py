"""The journal of transfers in segments; checkpoints.

What there was becomes the first segment, without its indexes: it is the open one.
``ledger_transfer`` is a view over all segments from here on.
"""

from alembic import op

revision = "0007_ledger_segments"
down_revision = "0006_treasury"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_transfer_sealed", "ledger_segment", "ledger_seal")


def upgrade() -> None:
    op.execute(
        """
        DROP VIEW ledger_transfers;
        ALTER TABLE ledger_transfer RENAME TO ledger_transfer_1;
        ALTER TABLE ledger_transfer_1 DROP CONSTRAINT pk_ledger_transfer;
        ALTER TABLE ledger_transfer_1 DROP CONSTRAINT uq_ledger_transfer_id;
        DROP INDEX uq_ledger_transfer_pending_timestamp;
        ALTER TABLE ledger_transfer_1 SET (autovacuum_enabled = off);
        ALTER TRIGGER ledger_transfer_append_only ON ledger_transfer_1
            RENAME TO ledger_transfer_1_append_only;

        CREATE TABLE ledger_transfer_sealed (LIKE ledger_transfer_1) PARTITION BY RANGE (timestamp);
        CREATE UNIQUE INDEX ledger_transfer_sealed_timestamp ON ledger_transfer_sealed (timestamp);

        CREATE TABLE ledger_segment (
            number integer NOT NULL, first_sequence bigint NOT NULL,
            CONSTRAINT pk_ledger_segment PRIMARY KEY (number),
            CONSTRAINT uq_ledger_segment_first_sequence UNIQUE (first_sequence)
        );
        INSERT INTO ledger_segment (number, first_sequence) VALUES (1, 1);
        CREATE TABLE ledger_seal (
            number integer NOT NULL, last_sequence bigint NOT NULL,
            first_timestamp bigint NOT NULL, last_timestamp bigint NOT NULL, transfer_count bigint NOT NULL,
            CONSTRAINT pk_ledger_seal PRIMARY KEY (number),
            CONSTRAINT fk_ledger_seal_number_ledger_segment FOREIGN KEY (number) REFERENCES ledger_segment
        );
        CREATE TABLE ledger_id_filter (
            number integer NOT NULL, part integer NOT NULL, data bytea NOT NULL,
            CONSTRAINT pk_ledger_id_filter PRIMARY KEY (number, part)
        );
        ALTER TABLE ledger_id_filter ALTER COLUMN data SET STORAGE EXTERNAL;
        CREATE TABLE ledger_checkpoint (
            sequence bigint NOT NULL, part integer NOT NULL, data bytea NOT NULL,
            CONSTRAINT pk_ledger_checkpoint PRIMARY KEY (sequence, part)
        );
        ALTER TABLE ledger_checkpoint ALTER COLUMN data SET STORAGE EXTERNAL;

        CREATE VIEW ledger_transfer AS
            SELECT * FROM ledger_transfer_sealed UNION ALL SELECT * FROM ledger_transfer_1;
        CREATE VIEW ledger_transfers AS
        SELECT t.id, d.id AS debit_account_id, c.id AS credit_account_id, t.amount, t.pending_id,
               coalesce(t.user_data_128, '00000000-0000-0000-0000-000000000000') AS user_data_128,
               coalesce(t.user_data_64::numeric + CASE WHEN t.user_data_64 < 0
                        THEN 18446744073709551616 ELSE 0 END, 0) AS user_data_64,
               coalesce(t.user_data_32::bigint & 4294967295, 0) AS user_data_32,
               coalesce(t.timeout::bigint & 4294967295, 0) AS timeout,
               t.ledger::bigint & 4294967295 AS ledger, t.code::integer & 65535 AS code,
               t.flags::integer & 4095 AS flags, t.timestamp
        FROM ledger_transfer t
        JOIN ledger_account d ON d.slot = t.debit_account
        JOIN ledger_account c ON c.slot = t.credit_account;
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
        )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
