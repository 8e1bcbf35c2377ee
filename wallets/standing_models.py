"""Tables of standing orders: what is to be paid when, and what became of each day's payment.

An order's row is an intent, and says which payment is the next: its number, and the attempt
whose id may be on its way. A settled payment is written once; the money itself stands in
the ledger under an id that follows from order, number and attempt.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class StandingOrderRow(Base):
    """Somebody pays somebody on days to come; the id is the payer's device's."""

    __tablename__ = "wallets_standing_order"
    __table_args__ = (
        CheckConstraint("amount > 0 AND fee_max >= 0", name="amounts"),
        CheckConstraint("payer_id <> payee_id", name="two_wallets"),
        CheckConstraint("repeats IN ('once', 'daily', 'weekly', 'monthly')", name="repeats_known"),
        CheckConstraint("until IS NULL OR times IS NULL", name="one_end"),
        CheckConstraint("until >= first_on AND times > 0", name="end_after_beginning"),
        CheckConstraint("number >= 0 AND attempt > 0", name="counted"),
        Index("ix_wallets_standing_order_payer_id", "payer_id", "created_at", "id"),
        Index(
            "ix_wallets_standing_order_try_at",
            "try_at",
            "id",
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    payer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    payee_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    asset: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    """In minor units."""
    fee_max: Mapped[int | None] = mapped_column(BigInteger)
    """The fee that the payer agreed to, in minor units."""
    reference: Mapped[UUID | None] = mapped_column(Uuid)
    first_on: Mapped[date] = mapped_column(Date)
    """UTC, as all days here."""
    repeats: Mapped[str] = mapped_column(Text)
    """A member of ``Repeats``."""
    until: Mapped[date | None] = mapped_column(Date)
    """The last day on which it may be paid."""
    times: Mapped[int | None] = mapped_column(Integer)
    """How often it is paid at most."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    confirmed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When a device last said that it is wanted."""
    number: Mapped[int] = mapped_column(Integer, server_default="0")
    """Of the next payment, from 0."""
    attempt: Mapped[int] = mapped_column(Integer, server_default="1")
    """The ids of the attempts before are refused for ever; this one's may be on its way."""
    try_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When the worker looks at it next."""
    last_code: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt at this payment was refused."""
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When nothing of it could be paid any more."""


class StandingPaymentRow(Base):
    """What became of one of an order's payments; written once."""

    __tablename__ = "wallets_standing_payment"
    __table_args__ = (CheckConstraint("(payment_id IS NULL) <> (code IS NULL)", name="paid_or_missed"),)

    order_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_standing_order.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    on_day: Mapped[date] = mapped_column(Date)
    payment_id: Mapped[UUID | None] = mapped_column(Uuid)
    code: Mapped[str | None] = mapped_column(Text)
    """Why it was missed."""
    settled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
