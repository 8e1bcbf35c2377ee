"""Tables of personal data: people's wrapped keys, what they seal, and who looked."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class WrappingKeyRow(Base):
    """A key over personal data by its name alone: which ones there were, and which are destroyed."""

    __tablename__ = "identity_wrapping_key"

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    first_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when nothing may be wrapped under it, and nothing is."""


class PersonalKeyRow(Base):
    """A person's own key, wrapped. Without this row what it sealed is noise for ever."""

    __tablename__ = "identity_personal_key"
    __table_args__ = (
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("length(wrapped) = 72", name="wrapped_whole"),
        Index("ix_identity_personal_key_wrapping_key_id", "wrapping_key_id", "person_id"),
    )

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    key_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    version: Mapped[int] = mapped_column(BigInteger)
    """1 for what was given first, 2 for what replaced it, and so on."""
    wrapping_key_id: Mapped[str] = mapped_column(Text, ForeignKey("identity_wrapping_key.key_id"))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    given_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PersonalTextRow(Base):
    """One sealed text. A person who has given anything has one in every field, given or not."""

    __tablename__ = "identity_personal_text"
    __table_args__ = (
        CheckConstraint(
            "field IN ('display_name', 'contact', 'legal_name', 'registration_number')", name="field_known"
        ),
        CheckConstraint("length(sealed) = 1064", name="sealed_whole"),
    )

    person_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("identity_personal_key.person_id"), primary_key=True
    )
    field: Mapped[str] = mapped_column(Text, primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class PersonalErasureRow(Base):
    """Somebody's personal data was erased: when, and nothing of what it was. It stays."""

    __tablename__ = "identity_personal_erasure"
    __table_args__ = (Index("ix_identity_personal_erasure_person_id", "person_id", "erased_at"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    erased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PersonalAccessRow(Base):
    """An officer asked to see somebody's personal data: committed before it is read. It stays."""

    __tablename__ = "identity_personal_access"
    __table_args__ = (Index("ix_identity_personal_access_person_id", "person_id", "accessed_at"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    officer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    officer_name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    """The one that allowed it."""
    reason: Mapped[str] = mapped_column(Text)
    accessed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
