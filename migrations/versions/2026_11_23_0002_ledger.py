"""The ledger's journal: accounts, transfers, expiries, failed ids and batches.

Append-only: a trigger refuses UPDATE, DELETE and TRUNCATE on every journal
table, whoever asks. A correction is a new transfer.
"""

from alembic import op

revision = "0002_ledger"
down_revision = "0001_foundation"
branch_labels = None
depends_on = None

TABLES = ("ledger_account", "ledger_transfer", "ledger_expiry", "ledger_failed_id", "ledger_batch")


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ledger_account (
            slot integer NOT NULL, id uuid NOT NULL, timestamp bigint NOT NULL,
            ledger integer NOT NULL, code smallint NOT NULL, flags smallint NOT NULL,
            user_data_128 uuid, user_data_64 bigint, user_data_32 integer,
            CONSTRAINT pk_ledger_account PRIMARY KEY (slot),
            CONSTRAINT uq_ledger_account_id UNIQUE (id),
            CONSTRAINT uq_ledger_account_timestamp UNIQUE (timestamp)
        );
        CREATE TABLE ledger_transfer (
            timestamp bigint NOT NULL, amount bigint NOT NULL,
            debit_previous bigint NOT NULL, credit_previous bigint NOT NULL,
            debit_debits_posted bigint NOT NULL, debit_credits_posted bigint NOT NULL,
            credit_debits_posted bigint NOT NULL, credit_credits_posted bigint NOT NULL,
            debit_account integer NOT NULL, credit_account integer NOT NULL,
            ledger integer NOT NULL, code smallint NOT NULL, flags smallint NOT NULL,
            id uuid NOT NULL,
            debit_debits_pending bigint, debit_credits_pending bigint,
            credit_debits_pending bigint, credit_credits_pending bigint,
            pending_timestamp bigint, pending_id uuid,
            user_data_128 uuid, user_data_64 bigint, user_data_32 integer, timeout integer,
            CONSTRAINT pk_ledger_transfer PRIMARY KEY (timestamp),
            CONSTRAINT uq_ledger_transfer_id UNIQUE (id)
        );
        CREATE UNIQUE INDEX uq_ledger_transfer_pending_timestamp
            ON ledger_transfer (pending_timestamp) WHERE pending_timestamp IS NOT NULL;
        CREATE TABLE ledger_expiry (
            timestamp bigint NOT NULL, pending_timestamp bigint NOT NULL,
            debit_debits_pending bigint NOT NULL, debit_debits_posted bigint NOT NULL,
            debit_credits_pending bigint NOT NULL, debit_credits_posted bigint NOT NULL,
            credit_debits_pending bigint NOT NULL, credit_debits_posted bigint NOT NULL,
            credit_credits_pending bigint NOT NULL, credit_credits_posted bigint NOT NULL,
            debit_account integer NOT NULL, credit_account integer NOT NULL, flags smallint NOT NULL,
            CONSTRAINT pk_ledger_expiry PRIMARY KEY (timestamp),
            CONSTRAINT uq_ledger_expiry_pending_timestamp UNIQUE (pending_timestamp)
        );
        CREATE TABLE ledger_failed_id (
            id uuid NOT NULL, timestamp bigint NOT NULL,
            CONSTRAINT pk_ledger_failed_id PRIMARY KEY (id)
        );
        CREATE TABLE ledger_batch (
            sequence bigint NOT NULL, timestamp bigint NOT NULL,
            transfer_first bigint, transfer_last bigint,
            account_count integer NOT NULL, transfer_count integer NOT NULL,
            expiry_count integer NOT NULL, failed_count integer NOT NULL,
            hash bytea NOT NULL,
            CONSTRAINT pk_ledger_batch PRIMARY KEY (sequence)
        );
        """
    )
    op.execute(
        """
        CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the journal is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
        )
    op.execute(
        """
        CREATE VIEW ledger_accounts AS
        SELECT a.id, a.ledger::bigint & 4294967295 AS ledger, a.code::integer & 65535 AS code,
               a.flags, a.timestamp, a.slot,
               coalesce(a.user_data_128, '00000000-0000-0000-0000-000000000000') AS user_data_128,
               coalesce(a.user_data_64::numeric + CASE WHEN a.user_data_64 < 0
                        THEN 18446744073709551616 ELSE 0 END, 0) AS user_data_64,
               coalesce(a.user_data_32::bigint & 4294967295, 0) AS user_data_32
        FROM ledger_account a;
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


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
