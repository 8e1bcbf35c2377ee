"""Table of wallets: whose each is and by which handle it is found."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base
from wallets.tiers import Tier


class WalletRow(Base):
    """A person's wallet; its balances are accounts of the ledger, derived from its id."""

    __tablename__ = "wallets_wallet"
    __table_args__ = (
        CheckConstraint("handle ~ '^[a-z][a-z0-9_]{2,29}$'", name="handle_normalised"),
        CheckConstraint("tier IN ('starter', 'standard', 'business')", name="tier_known"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), unique=True)
    handle: Mapped[str] = mapped_column(Text, unique=True)
    """Normalised, without the @ that people write before it."""
    tier: Mapped[str] = mapped_column(Text, server_default=Tier.STANDARD.value)
    """A member of ``Tier``."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
