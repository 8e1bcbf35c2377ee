"""The table of what officers look at after it was let through."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class TreasuryReview(Base):
    """A withdrawal by which more passed through in a week than is paid without being looked at."""

    __tablename__ = "treasury_review"
    __table_args__ = (
        CheckConstraint("passing > 0 AND passed_in_week >= passing", name="passing"),
        CheckConstraint("num_nonnulls(closed_at, closed_by, reason) IN (0, 3)", name="closed_whole"),
        Index("ix_treasury_review_open", "opened_at", postgresql_where=text("closed_at IS NULL")),
    )

    withdrawal_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("treasury_withdrawal.id"), primary_key=True)
    passing: Mapped[int] = mapped_column(BigInteger)
    """Minor units of the withdrawal that were deposited as what leaves, within 30 days."""
    passed_in_week: Mapped[int] = mapped_column(BigInteger)
    """The same of all the wallet's withdrawals in the 7 days up to it, itself included."""
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_by: Mapped[str | None] = mapped_column(Text)
    """The officer's name."""
    reason: Mapped[str | None] = mapped_column(Text)
    """What they found, for those who look later."""
