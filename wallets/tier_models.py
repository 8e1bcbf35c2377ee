"""Table of tier changes: who gave which wallet which tier, when and why."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class TierChangeRow(Base):
    """A decision of two officers; rows are only ever added."""

    __tablename__ = "wallets_tier_change"
    __table_args__ = (
        CheckConstraint("after IN ('starter', 'standard', 'business')", name="after_known"),
        CheckConstraint("decided_by LIKE '%, %'", name="decided_by_two"),
        Index("ix_wallets_tier_change_wallet_id", "wallet_id", "decided_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    before: Mapped[str] = mapped_column(Text)
    after: Mapped[str] = mapped_column(Text)
    decided_by: Mapped[str] = mapped_column(Text)
    """The officers' names."""
    reason: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
