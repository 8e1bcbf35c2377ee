"""Tables of what lies cold, and of how much lies hot.

As in :mod:`treasury.models`: a row is an intent or a note, whether money moved is read
from the chain and the ledger. Addresses are ``0x`` and lower case hex, ``units`` the
token's, ``amount`` the ledger's minor units.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base
from treasury.models import Word


class HotLevel(StrEnum):
    """How much of a token lies in the vault, against its bounds."""

    BELOW = "below"
    """Less than the lower bound: customers may have to wait."""
    WITHIN = "within"
    """Between the bounds, or the asset has none."""
    ABOVE = "above"
    """More than the upper bound: what is above the target belongs into the cold."""


class TreasuryColdAddress(Base):
    """An address that the vault named as its cold one, and that counts as custody for ever."""

    __tablename__ = "treasury_cold_address"
    __table_args__ = (CheckConstraint("address ~ '^0x[0-9a-f]{40}$'", name="address"),)

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    address: Mapped[str] = mapped_column(Text, primary_key=True)
    recorded_by: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryColdMove(Base):
    """Tokens to be moved from the vault to the cold address; its id is also the order's.

    The order is approved with the move, or later: until then the move is a proposal.
    """

    __tablename__ = "treasury_cold_move"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index(
            "uq_treasury_cold_move_open_automatic",
            "chain_id",
            "asset",
            unique=True,
            postgresql_where=text("is_automatic AND closed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    asset: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    cold_address: Mapped[str] = mapped_column(Text)
    """The vault's cold address when it was asked for; should it be another one later, nothing is sent."""
    is_automatic: Mapped[bool]
    """Whether the worker asked for it, because the vault holds more than it should."""
    asked_by: Mapped[str] = mapped_column(Text)
    approved_by: Mapped[str | None] = mapped_column(Text)
    """Null while it is a proposal."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When nothing could change it any more, whether it succeeded or not."""
    outcome: Mapped[str | None] = mapped_column(Text)
    """The final state of its order, or why it was never signed; set with ``closed_at``."""


class TreasuryHotLevel(Base):
    """What was last seen of a token in the vault; overwritten at each final block."""

    __tablename__ = "treasury_hot_level"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    asset: Mapped[str] = mapped_column(Text, primary_key=True)
    block_number: Mapped[int] = mapped_column(BigInteger)
    free_units: Mapped[Decimal] = mapped_column(Word)
    """What lies in the vault, less what is promised to customers; may be negative."""
    level: Mapped[str] = mapped_column(Text)
    """A member of ``HotLevel``."""
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When this level began."""
    looked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
