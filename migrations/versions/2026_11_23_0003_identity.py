"""People, devices, enrolment codes and nonces.

Expand only: new tables, nothing existing is touched. Nonces have no foreign key,
since the statement that writes one joins its device itself and a check per row
would double its cost.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_identity"
down_revision = "0002_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_person",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "identity_enrolment_code",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("selector", sa.Text(), nullable=False, unique=True),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wrong_tries", sa.SmallInteger(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("wrong_tries >= 0", name="wrong_tries_not_negative"),
    )
    op.create_table(
        "identity_device",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False, unique=True),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column(
            "enrolment_code_id",
            sa.Uuid(),
            sa.ForeignKey("identity_enrolment_code.id"),
            nullable=False,
            unique=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("algorithm IN ('ed25519', 'ecdsa-p256-sha256')", name="algorithm_known"),
    )
    op.create_index("ix_identity_device_person_id", "identity_device", ["person_id"])
    op.create_table(
        "identity_nonce",
        sa.Column("device_id", sa.Uuid(), primary_key=True),
        sa.Column("nonce", sa.Text(), primary_key=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_identity_nonce_expires_at", "identity_nonce", ["expires_at"])


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
