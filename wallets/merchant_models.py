"""Tables of businesses: a wallet's profile, its tills, who may act there, and what is invoiced.

All of them are intents and rights. What was paid at a till is read from the ledger, by the
payments' references; no row here has a balance or says that something was paid.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base

_RIGHTS_KNOWN = "rights <@ ARRAY['see', 'charge', 'refund'] AND 'see' = ANY (rights)"


class MerchantRow(Base):
    """What a business is called; there is one for a wallet at most."""

    __tablename__ = "wallets_merchant"

    wallet_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    events_until: Mapped[int | None] = mapped_column(BigInteger)
    """Up to which of the ledger's times events are written; null until there is a webhook."""


class TillRow(Base):
    """A place where a business is paid, in one asset; the id is its owner's device's."""

    __tablename__ = "wallets_till"
    __table_args__ = (Index("ix_wallets_till_merchant_id", "merchant_id", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    merchant_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_merchant.wallet_id"))
    name: Mapped[str] = mapped_column(Text)
    asset: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TillStaffRow(Base):
    """Somebody who was asked to work at a till; rights count from the acceptance to the end."""

    __tablename__ = "wallets_till_staff"
    __table_args__ = (
        CheckConstraint(_RIGHTS_KNOWN, name="rights_known"),
        Index("ix_wallets_till_staff_wallet_id", "wallet_id"),
    )

    till_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_till.id"), primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"), primary_key=True)
    rights: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Members of ``TillRight``."""
    invited_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class TillKeyRow(Base):
    """A key by which a shop's server acts at one till. Of the key itself only a hash is kept."""

    __tablename__ = "wallets_till_key"
    __table_args__ = (
        CheckConstraint(_RIGHTS_KNOWN, name="rights_known"),
        CheckConstraint("length(digest) = 32", name="digest_whole"),
        Index("ix_wallets_till_key_till_id", "till_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    till_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_till.id"))
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """SHA-256 of the key, which has 256 random bits: no salt makes that harder to guess."""
    last_four: Mapped[str] = mapped_column(Text)
    rights: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Members of ``TillRight``."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class InvoiceRow(Base):
    """An amount that is due at a till; the id is made by whoever invoices."""

    __tablename__ = "wallets_invoice"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("created_at < expires_at", name="lifetime"),
        Index("ix_wallets_invoice_till_id", "till_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    till_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_till.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    """In minor units of the till's asset."""
    memo: Mapped[str] = mapped_column(Text)
    """The business' own note; payers do not see it."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TillRefundRow(Base):
    """Who ordered a refund at a till, written before it is made; whether it happened the ledger knows."""

    __tablename__ = "wallets_till_refund"
    __table_args__ = (CheckConstraint("(by_wallet IS NULL) <> (by_key IS NULL)", name="one_actor"),)

    till_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_till.id"), primary_key=True)
    refund_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    by_wallet: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    by_key: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("wallets_till_key.id"))
    ordered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
