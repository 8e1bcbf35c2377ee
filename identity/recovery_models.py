"""Tables of recovery: how many are trusted, by marks alone, and for which keys they vouched.

Who trusts whom would betray both: a person who is trusted stands nowhere, but as a MAC
under the pepper, which is not in the database.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class TrustRow(Base):
    """Whom a person trusts to let them in again; without a row, nobody."""

    __tablename__ = "identity_trust"
    __table_args__ = (CheckConstraint("needed >= 2", name="several_needed"),)

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    marks: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary))
    """A MAC over both people for each who is trusted, sorted, so that the order says nothing."""
    needed: Mapped[int] = mapped_column(SmallInteger)
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RecoveryRow(Base):
    """A new key that somebody vouched for; what became of it never changes again."""

    __tablename__ = "identity_recovery"
    __table_args__ = (Index("ix_identity_recovery_key_id", "key_id"),)

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    """RFC 7638 thumbprint of the new device's key."""
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    enough_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the last one that was needed vouched; null while some are missing."""
    refused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    completed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    device_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("identity_device.id"))


class VouchRow(Base):
    """Somebody who is trusted says that a key is the person's."""

    __tablename__ = "identity_vouch"
    __table_args__ = (
        ForeignKeyConstraint(
            ["person_id", "key_id"], ["identity_recovery.person_id", "identity_recovery.key_id"]
        ),
    )

    person_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    mark: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    vouched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
