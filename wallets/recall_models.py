"""Tables of recalls: who asked for which payment back, and what people said to it.

Whether money is held, and how that ended, stands in the ledger and nowhere here: a row
without a hold is an attempt that came to nothing, and is shown to nobody.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class RecallRow(Base):
    """A payer asks for a payment back; the id is the payer's device's."""

    __tablename__ = "wallets_recall"
    __table_args__ = (
        CheckConstraint("payer_id <> payee_id", name="two_wallets"),
        Index("ix_wallets_recall_payer_id", "payer_id", "created_at", "id"),
        Index("ix_wallets_recall_payee_id", "payee_id", "created_at", "id"),
        Index("ix_wallets_recall_created_at", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(Uuid)
    """Of several recalls of a payment the ledger has made one."""
    payer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    payee_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    asset: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    declined_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the payee said no, for the first time."""


class RecallVoteRow(Base):
    """What an officer says to a recall; written once."""

    __tablename__ = "wallets_recall_vote"
    __table_args__ = (CheckConstraint("says IN ('return', 'keep')", name="says_known"),)

    recall_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_recall.id"), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_officer.person_id"), primary_key=True)
    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_device.id"))
    """The device that signed the request."""
    says: Mapped[str] = mapped_column(Text)
    """A member of ``Verdict``."""
    voted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
