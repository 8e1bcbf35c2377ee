"""Tables of memos: what only payer and payee can read, and the keys that it is encrypted to."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, LargeBinary, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class MemoRow(Base):
    """A payer means to pay with this memo; only a payment that carries its mark has it."""

    __tablename__ = "wallets_memo"
    __table_args__ = (
        CheckConstraint("sha256 = sha256(ciphertext)", name="sha256_of_ciphertext"),
        CheckConstraint("length(ciphertext) IN (384, 768, 1152)", name="size_known"),
    )

    payment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    """The payment that it would belong to; the ledger knows whether it happened."""
    payer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class MemoKeyRow(Base):
    """The public key that memos to a wallet are encrypted to; the last one that it published."""

    __tablename__ = "wallets_memo_key"
    __table_args__ = (CheckConstraint("length(public_key) = 32", name="key_whole"),)

    wallet_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"), primary_key=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """X25519 (RFC 7748)."""
    published_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
