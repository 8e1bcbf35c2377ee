"""The table of payments of debts: what was decided about what a broken finality left owed.

As in :mod:`treasury.models`: a row is an intent, written before its money moves; whether
it has moved is read from the ledger, by ids derived from the row's.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class DebtPaymentKind(StrEnum):
    """Who pays on a debt."""

    SETTLEMENT = "settlement"
    """The debtor, out of the wallet that the deposit was credited to."""
    WRITE_OFF = "write_off"
    """The bank, out of the fees it has earned."""


class TreasuryDebtPayment(Base):
    """A decision to pay a part of what a reversed deposit left owed."""

    __tablename__ = "treasury_debt_payment"
    __table_args__ = (
        CheckConstraint("kind IN ('settlement', 'write_off')", name="kind"),
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_treasury_debt_payment_deposit_id", "deposit_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    deposit_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("treasury_reversed_deposit.id"))
    kind: Mapped[str] = mapped_column(Text)
    """A member of ``DebtPaymentKind``."""
    amount: Mapped[int] = mapped_column(BigInteger)
    decided_by: Mapped[str] = mapped_column(Text)
    """Names, in order; may be empty for a settlement."""
    reason: Mapped[str] = mapped_column(Text)
    """Why, for those who look later; may be empty for a settlement."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the ledger's last word on it was known; null is a decision to be carried out by asking again."""
    refusal_code: Mapped[str | None] = mapped_column(Text)
    """The refusal that the ledger's answer meant, so that a repeat gets the same."""
