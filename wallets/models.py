"""Tables of wallets: whose each is, how it is found, and what it asks others to pay.

A request to pay is an intent: its row names the payment that would answer it and
keeps what people decided. Whether it was paid is read from the ledger.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Integer, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base
from wallets.tiers import Tier


class WalletRow(Base):
    """A person's wallet; its balances are accounts of the ledger, derived from its id."""

    __tablename__ = "wallets_wallet"
    __table_args__ = (
        CheckConstraint("handle ~ '^[a-z][a-z0-9_]{2,29}$'", name="handle_normalised"),
        CheckConstraint("tier IN ('starter', 'standard', 'business')", name="tier_known"),
        Index("ix_wallets_wallet_skeleton", "skeleton", unique=True),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), unique=True)
    handle: Mapped[str] = mapped_column(Text, unique=True)
    """Normalised, without the @ that people write before it."""
    tier: Mapped[str] = mapped_column(Text, server_default=Tier.STANDARD.value)
    """A member of ``Tier``."""
    skeleton: Mapped[str | None] = mapped_column(Text)
    """What the handle looks like. Null for a wallet that was opened before skeletons were, beside
    an older one that looks the same."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    unlisted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when the wallet is found by its handle only together with a pass; null: by the handle."""


class HandleLookupsRow(Base):
    """How many handles a person looked up in the last minute in which there was one."""

    __tablename__ = "wallets_handle_lookups"

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    minute: Mapped[int] = mapped_column(BigInteger)
    """Minutes since 1970."""
    count: Mapped[int] = mapped_column(Integer)


class PaymentRequestRow(Base):
    """Somebody asks somebody for money; the id is the payee's device's."""

    __tablename__ = "wallets_payment_request"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("payer_id <> payee_id", name="two_wallets"),
        CheckConstraint("created_at < expires_at", name="lifetime"),
        CheckConstraint("closed_as IN ('declined', 'cancelled', 'expired')", name="closed_as_known"),
        CheckConstraint("(closed_as IS NULL) = (closed_at IS NULL)", name="closed_whole"),
        Index("ix_wallets_payment_request_payee_id", "payee_id", "created_at", "id"),
        Index("ix_wallets_payment_request_payer_id", "payer_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    payee_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    payer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    asset: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    """In minor units."""
    reference: Mapped[UUID | None] = mapped_column(Uuid)
    """The payee's own number for what is asked."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    payment_id: Mapped[UUID | None] = mapped_column(Uuid, unique=True)
    """The payment that the payer last meant to answer with; the ledger knows whether it happened."""
    closed_as: Mapped[str | None] = mapped_column(Text)
    """How it ended without a payment: written once, after ``payment_id`` can never be paid."""
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
