"""Table of handles that wallets had before: rows are only ever added.

A handle that was somebody's is nobody else's, for ever.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class FormerHandleRow(Base):
    """A handle that a wallet gave up; it may have taken it again since, and given it up again."""

    __tablename__ = "wallets_former_handle"
    __table_args__ = (
        CheckConstraint("handle ~ '^[a-z][a-z0-9_]{2,29}$'", name="handle_normalised"),
        CheckConstraint("given_up_at < pays_until", name="pays_for_a_time"),
        Index("ix_wallets_former_handle_handle", "handle"),
        Index("ix_wallets_former_handle_skeleton", "skeleton"),
    )

    wallet_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """From 1, in the order in which the wallet's handles were given up."""
    handle: Mapped[str] = mapped_column(Text)
    """Normalised, without @."""
    skeleton: Mapped[str] = mapped_column(Text)
    """What it looks like."""
    given_up_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    pays_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Until then whoever names it means this wallet; afterwards nobody."""
