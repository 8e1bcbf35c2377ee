"""What customers tell of themselves, sealed under keys of their own, and who has looked at it.

Expand only: new tables. Who gives nothing has a row in none of them.

Revision ID: 0033_personal
Revises: 0032_roles
"""

import sqlalchemy as sa
from alembic import op

revision = "0033_personal"
down_revision = "0032_roles"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def _person() -> sa.ForeignKey:
    return sa.ForeignKey("identity_person.id")


def upgrade() -> None:
    op.create_table(
        "identity_wrapping_key",
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("first_used_at", TIME, nullable=False),
        sa.Column("retired_at", TIME),
    )
    op.create_table(
        "identity_personal_key",
        sa.Column("person_id", sa.Uuid(), _person(), primary_key=True),
        sa.Column("key_id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column(
            "wrapping_key_id", sa.Text(), sa.ForeignKey("identity_wrapping_key.key_id"), nullable=False
        ),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("given_at", TIME, nullable=False),
        sa.CheckConstraint("version > 0", name="version_positive"),
        sa.CheckConstraint("length(wrapped) = 72", name="wrapped_whole"),
    )
    op.create_index(
        "ix_identity_personal_key_wrapping_key_id", "identity_personal_key", ["wrapping_key_id", "person_id"]
    )
    op.create_table(
        "identity_personal_text",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_personal_key.person_id"), primary_key=True),
        sa.Column("field", sa.Text(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "field IN ('display_name', 'contact', 'legal_name', 'registration_number')", name="field_known"
        ),
        sa.CheckConstraint("length(sealed) = 1064", name="sealed_whole"),
    )
    op.create_table(
        "identity_personal_erasure",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("person_id", sa.Uuid(), _person(), nullable=False),
        sa.Column("erased_at", TIME, nullable=False),
    )
    op.create_table(
        "identity_personal_access",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("person_id", sa.Uuid(), _person(), nullable=False),
        sa.Column("officer_id", sa.Uuid(), _person(), nullable=False),
        sa.Column("officer_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("accessed_at", TIME, nullable=False),
    )
    for table, column in (
        ("identity_personal_erasure", "erased_at"),
        ("identity_personal_access", "accessed_at"),
    ):
        op.create_index(f"ix_{table}_person_id", table, ["person_id", column])
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION identity_refuse_change()"
        )


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
