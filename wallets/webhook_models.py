"""Tables of webhooks: where a business' server listens, what it is told, and how far that is.

An event is a copy of a transfer of the ledger, made to be sent; nothing is decided by it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class WebhookRow(Base):
    """An address to which a business' events are sent, and the secret that signs them."""

    __tablename__ = "wallets_webhook"
    __table_args__ = (
        CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", name="old_secret_whole"),
        Index("ix_wallets_webhook_merchant_id", "merchant_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    merchant_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_merchant.wallet_id"))
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Kept as it is: it signs. Who reads it can lie to the business' server, and move nothing here."""
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The one before, which signs as well until ``old_until``."""
    old_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Of the first failure after the last success."""
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookEventRow(Base):
    """Something that happened at a till; the id follows from the transfer's, so that it is one event."""

    __tablename__ = "wallets_webhook_event"
    __table_args__ = (Index("ix_wallets_webhook_event_merchant_id", "merchant_id", "at_ns"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    merchant_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_merchant.wallet_id"))
    at_ns: Mapped[int] = mapped_column(BigInteger)
    """The ledger's time, nanoseconds since 1970; unique."""
    type: Mapped[str] = mapped_column(Text)
    """A member of ``EventType``."""
    body: Mapped[str] = mapped_column(Text)
    """As it is sent: the same bytes each time."""


class WebhookDeliveryRow(Base):
    """An event on its way to one webhook."""

    __tablename__ = "wallets_webhook_delivery"
    __table_args__ = (
        Index("ix_wallets_webhook_delivery_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_wallets_webhook_delivery_webhook_id", "webhook_id"),
    )

    event_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_webhook_event.id"), primary_key=True)
    webhook_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("wallets_webhook.id", ondelete="CASCADE"), primary_key=True
    )
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When it is sent next; null when it was delivered, or given up."""
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_failure: Mapped[str | None] = mapped_column(Text)
