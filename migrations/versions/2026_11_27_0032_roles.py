"""Officers have roles, and what is decided of officers is written down in a chain.

A column with a default and a new table. A process of before goes on appointing, and whom
it appoints may do nothing until roles are given: the safe side. Officers of now get the
roles that let them do what they could do; none of them could appoint officers, so none
becomes an operator, and the first two operators are made by the command on the machine.

Revision ID: 0032_roles
Revises: 0031_handles
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0032_roles"
down_revision = "0031_handles"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "identity_officer", sa.Column("roles", ARRAY(sa.Text()), nullable=False, server_default="{}")
    )
    op.execute("UPDATE identity_officer SET roles = ARRAY['compliance', 'support', 'treasury']")
    op.create_check_constraint(
        "roles_known",
        "identity_officer",
        "roles <@ ARRAY['operator', 'support', 'compliance', 'treasury', 'auditor']::text[]",
    )
    op.create_table(
        "identity_officer_decision",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("identity_person.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("roles", ARRAY(sa.Text()), nullable=False),
        sa.Column("decided_by", ARRAY(sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('appointed', 'roles_changed', 'dismissed')", name="kind_known"),
        sa.CheckConstraint("number > 0", name="number_positive"),
        sa.CheckConstraint("length(hash) = 32", name="hash_whole"),
    )
    op.execute(
        """
        CREATE FUNCTION identity_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'what was decided stays written: % on % is refused', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON identity_officer_decision "
        "FOR EACH STATEMENT EXECUTE FUNCTION identity_refuse_change()"
    )


# Forward only: taking a column back would take with it who may do what. What is wrong is
# mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
