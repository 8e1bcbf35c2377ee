"""${message}

Say here WHY, in sentences. The law of migrations:

- Forward only. A mistake is mended by the next migration; downgrade raises.
- Expand, backfill, contract: three changes, in three releases. First add what
  the new code needs (nullable, or with a constant default), then fill it in
  small batches, and only when no running process reads the old form, take it
  away. Old and new processes run beside each other during a release.
- No long lock: lock_timeout is 4 s. Indexes on tables that are written to are
  built concurrently; constraints are added NOT VALID and validated afterwards.
- Ledger rows are never updated or deleted, here as little as anywhere.
- The models are changed in the same commit; "alembic check" compares them.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


# Forward only: taking a table back would take with it what people have written since. What is
# wrong is mended by a further migration, and a test holds every file to it.
def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; write a new one")
