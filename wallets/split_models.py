"""Tables of splits: an amount that was asked of several, each by a request to pay of their own."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Integer, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class SplitRow(Base):
    """A bill; the id is the payee's device's, and is the reference of each request."""

    __tablename__ = "wallets_split"
    __table_args__ = (CheckConstraint("total > 0", name="total_positive"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    payee_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    asset: Mapped[str] = mapped_column(Text)
    total: Mapped[int] = mapped_column(BigInteger)
    """What all shares make up, in minor units."""
    seconds: Mapped[int] = mapped_column(Integer)
    """How long its requests are open."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class SplitShareRow(Base):
    """Whose share is asked by which request."""

    __tablename__ = "wallets_split_share"
    __table_args__ = (CheckConstraint("number >= 0", name="counted"),)

    split_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_split.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """In the order in which they were named, from 0."""
    request_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_payment_request.id"), unique=True)
