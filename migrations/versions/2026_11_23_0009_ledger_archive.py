"""The record of archived segments: which were detached, dropped and attached again, and with which file."""

from alembic import op

revision = "0009_ledger_archive"
down_revision = "0008_ledger_history_marks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ledger_archive (
            entry bigint NOT NULL, number integer NOT NULL, event text NOT NULL,
            transfer_count bigint NOT NULL, file_sha256 bytea NOT NULL, rows_sha256 bytea NOT NULL,
            recorded_at bigint NOT NULL,
            CONSTRAINT pk_ledger_archive PRIMARY KEY (entry),
            CONSTRAINT fk_ledger_archive_number_ledger_seal FOREIGN KEY (number) REFERENCES ledger_seal,
            CONSTRAINT ck_ledger_archive_event CHECK (event IN ('detached', 'dropped', 'attached'))
        );
        CREATE TRIGGER ledger_archive_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_archive
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
