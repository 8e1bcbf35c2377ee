"""The table of changes: which of a wallet's objects changed last in which database transaction."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class WalletChangeRow(Base):
    """An object of a wallet, and when it last changed; triggers write it (migration 0024)."""

    __tablename__ = "wallets_change"
    __table_args__ = (
        CheckConstraint("kind IN ('request', 'withdrawal', 'deposit')", name="kind_known"),
        Index("ix_wallets_change_place", "wallet_id", "transaction", "number"),
    )

    wallet_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    object_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    transaction: Mapped[int] = mapped_column(BigInteger)
    """PostgreSQL's number of the transaction, given when it began to write."""
    number: Mapped[int] = mapped_column(BigInteger)
    """Of the change; orders those of one transaction."""
