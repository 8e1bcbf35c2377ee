"""The table of what was decided of officers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class OfficerDecisionRow(Base):
    """A decision about one officer. The database refuses to change or delete it."""

    __tablename__ = "identity_officer_decision"
    __table_args__ = (
        CheckConstraint("kind IN ('appointed', 'roles_changed', 'dismissed')", name="kind_known"),
        CheckConstraint("number > 0", name="number_positive"),
        CheckConstraint("length(hash) = 32", name="hash_whole"),
    )

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3 and so on, without gaps."""
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    name: Mapped[str] = mapped_column(Text)
    """The officer's."""
    kind: Mapped[str] = mapped_column(Text)
    """A ``DecisionKind``."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """What they have from then on, in order; none of a dismissal."""
    decided_by: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """The operators, in order; none where the bank's machine decided, having no two of them."""
    reason: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the hash before and of all else in this row."""
