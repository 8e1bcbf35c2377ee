"""Tables of the treasury: what we mean to book, pay and check.

A row is an intent: it says which transfers of the ledger and which order of the
chain belong to it. Whether money moved is read from the ledger and the chain by
those ids. ``booked_at`` and ``closed_at`` only shorten the list of work: each is
set after the ledger has answered what can never change any more, and losing it
would cost a repeated question, not money.

Addresses and hashes are ``0x`` and lower case hex; ``units`` are the token's,
``amount`` and ``fee`` the ledger's minor units.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base

Word = Numeric(78, 0)
"""An unsigned 256-bit integer of the EVM; read as ``Decimal``, exact, no fraction."""


class CaseKind(StrEnum):
    """Why a person must look at money that arrived."""

    NO_OWNER = "no_owner"
    """It was sent to the vault or a hot address, not to a customer's; it is in suspense."""
    WALLET_UNUSABLE = "wallet_unusable"
    """The customer's account is closed or missing; it is in suspense."""
    BEYOND_LEDGER = "beyond_ledger"
    """More than the ledger can hold in one column; it is on chain only."""


class TreasuryDepositAddress(Base):
    """A customer's own address: a clone whose only way out is the vault."""

    __tablename__ = "treasury_deposit_address"
    __table_args__ = (UniqueConstraint("wallet_id", "epoch"),)

    address: Mapped[str] = mapped_column(Text, primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(Uuid)
    epoch: Mapped[int] = mapped_column(BigInteger)
    """Counts a wallet's addresses from 0; old ones stay valid for ever."""
    salt: Mapped[str] = mapped_column(Text)
    """The CREATE2 salt that the address is computed from."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryBookingCursor(Base):
    """How far a token's arrivals are written down as deposits."""

    __tablename__ = "treasury_booking_cursor"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(Text, primary_key=True)
    asset: Mapped[str] = mapped_column(Text)
    booked_number: Mapped[int] = mapped_column(BigInteger)
    """Last block whose arrivals are all in ``treasury_deposit``."""
    dust_units: Mapped[Decimal] = mapped_column(Word)
    """Token units held that do not make a minor unit yet; always less than one."""


class TreasuryDeposit(Base):
    """Tokens that came into custody in a final block, and where they are to be booked."""

    __tablename__ = "treasury_deposit"
    __table_args__ = (
        UniqueConstraint("chain_id", "tx_hash", "log_index"),
        Index("ix_treasury_deposit_wallet_id_block_number", "wallet_id", "block_number"),
        Index(
            "ix_treasury_deposit_unbooked",
            "chain_id",
            "block_number",
            "log_index",
            postgresql_where=text("booked_at IS NULL"),
        ),
        Index("ix_treasury_deposit_block_number", "chain_id", "block_number"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    """Derived from (chain id, tx hash, log index); the id of the transfer that credits it."""
    chain_id: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(Text)
    log_index: Mapped[int] = mapped_column(BigInteger)
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    asset: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    units: Mapped[Decimal] = mapped_column(Word)
    wallet_id: Mapped[UUID | None] = mapped_column(Uuid)
    """Whose deposit address it came to; null where it has no owner."""
    amount: Mapped[Decimal] = mapped_column(Word)
    """Whole minor units; may be 0, and may be beyond the ledger."""
    dust_amount: Mapped[int] = mapped_column(BigInteger)
    """Whole minor units that the dust so far and this deposit's dust make together."""
    case_kind: Mapped[str | None] = mapped_column(Text)
    """A member of ``CaseKind``, if a person must look."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    booked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    again_of: Mapped[UUID | None] = mapped_column(Uuid)
    """The reversed deposit that this is once more: the same transfer, mined again."""


class TreasuryHandledBreak(Base):
    """A broken finality whose deposits and departures have been taken out of their tables."""

    __tablename__ = "treasury_handled_break"

    break_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_finality_break.id"), primary_key=True)
    handled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryReversedDeposit(Base):
    """A deposit whose final block the chain took back, as it stood in ``treasury_deposit``."""

    __tablename__ = "treasury_reversed_deposit"
    __table_args__ = (
        Index(
            "ix_treasury_reversed_deposit_uncorrected",
            "chain_id",
            "block_number",
            postgresql_where=text("corrected_at IS NULL"),
        ),
        Index("ix_treasury_reversed_deposit_tx_hash", "tx_hash"),
        Index("ix_treasury_reversed_deposit_wallet_id", "wallet_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    break_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_finality_break.id"))
    chain_id: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(Text)
    log_index: Mapped[int] = mapped_column(BigInteger)
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    asset: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    units: Mapped[Decimal] = mapped_column(Word)
    wallet_id: Mapped[UUID | None] = mapped_column(Uuid)
    amount: Mapped[Decimal] = mapped_column(Word)
    dust_amount: Mapped[int] = mapped_column(BigInteger)
    case_kind: Mapped[str | None] = mapped_column(Text)
    again_of: Mapped[UUID | None] = mapped_column(Uuid)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    reversed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    corrected_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the ledger had all that undoes it."""
    again_id: Mapped[UUID | None] = mapped_column(Uuid)
    """The deposit that the same transfer became when it was mined again."""


class TreasuryLostDeparture(Base):
    """A departure whose final block the chain took back; its tx may be mined again."""

    __tablename__ = "treasury_lost_departure"

    break_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_finality_break.id"), primary_key=True)
    tx_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    log_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    block_number: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[str] = mapped_column(Text)
    asset: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    units: Mapped[Decimal] = mapped_column(Word)
    order_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("chain_order.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    returned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the ledger had given the payment back, since it can never be mined again."""


class TreasuryDeparture(Base):
    """Tokens that left custody in a final block, and the order that sent them."""

    __tablename__ = "treasury_departure"
    __table_args__ = (
        Index("ix_treasury_departure_block_number", "chain_id", "block_number"),
        Index("ix_treasury_departure_order_id", "order_id"),
    )

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tx_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    log_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[str] = mapped_column(Text)
    asset: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    units: Mapped[Decimal] = mapped_column(Word)
    order_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("chain_order.id"))
    """The order it fulfils to the letter; null is money that left without our will."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryWithdrawal(Base):
    """A customer's wish to be paid on chain; its id is also that of its order and hold."""

    __tablename__ = "treasury_withdrawal"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("fee >= 0", name="fee"),
        Index("ix_treasury_withdrawal_open", "created_at", postgresql_where=text("closed_at IS NULL")),
        Index(
            "ix_treasury_withdrawal_awaits_officers",
            "awaits_officers_since",
            postgresql_where=text("awaits_officers_since IS NOT NULL AND closed_at IS NULL"),
        ),
        Index("ix_treasury_withdrawal_wallet_id_created_at", "wallet_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(Uuid)
    asset: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    fee: Mapped[int] = mapped_column(BigInteger)
    to_address: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the ledger's last word on it was known: paid, returned or refused."""
    refusal_code: Mapped[str | None] = mapped_column(Text)
    """The refusal that the ledger's answer meant, so that a replay gets the same."""
    quote_id: Mapped[UUID | None] = mapped_column(Uuid)
    """The quote whose fee it has; quotes are forgotten, so it refers to nothing."""
    awaits_officers_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the signer first said that officers must approve it; for their list of work."""


class TreasuryWithdrawalQuote(Base):
    """A promise of a withdrawal's fee to one wallet, for one amount, until it expires."""

    __tablename__ = "treasury_withdrawal_quote"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("fee >= 0", name="fee"),
        Index("ix_treasury_withdrawal_quote_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(Uuid)
    asset: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    fee: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryBlockedReceiver(Base):
    """An address that is never paid: sanctioned, or known for theft."""

    __tablename__ = "treasury_blocked_receiver"
    __table_args__ = (CheckConstraint("address ~ '^0x[0-9a-f]{40}$'", name="address"),)

    address: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    blocked_by: Mapped[str] = mapped_column(Text)
    blocked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreasuryUnswept(Base):
    """A deposit address to look at for sweeping, because a token came to it."""

    __tablename__ = "treasury_unswept"

    address: Mapped[str] = mapped_column(
        Text, ForeignKey("treasury_deposit_address.address"), primary_key=True
    )
    token: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When something first came to it since it was last empty; null where that is not known: long ago."""


class TreasurySweep(Base):
    """An order to empty a deposit address into the vault; its id is the order's."""

    __tablename__ = "treasury_sweep"
    __table_args__ = (
        Index(
            "uq_treasury_sweep_open",
            "address",
            "token",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), primary_key=True)
    address: Mapped[str] = mapped_column(Text, ForeignKey("treasury_deposit_address.address"))
    token: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When nothing could change it any more, whether it succeeded or not."""
    outcome: Mapped[str | None] = mapped_column(Text)
    """The final state of its order, or the signer's refusal; set with ``closed_at``."""


class TreasuryReconciliation(Base):
    """Custody on chain against the ledger, for one token at one final block."""

    __tablename__ = "treasury_reconciliation"
    __table_args__ = (Index("ix_treasury_reconciliation_created_at", "created_at"),)

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    asset: Mapped[str] = mapped_column(Text, primary_key=True)
    block_hash: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    chain_units: Mapped[Decimal] = mapped_column(Word)
    """Sum of the token's balances of all custody addresses at the block."""
    hot_units: Mapped[Decimal | None] = mapped_column(Word)
    """Of these in the vault and at hot addresses; null in rows older than the column, as the next two."""
    deposit_units: Mapped[Decimal | None] = mapped_column(Word)
    """Of these at deposit addresses."""
    cold_units: Mapped[Decimal | None] = mapped_column(Word)
    """Of these at cold addresses."""
    ledger_amount: Mapped[int] = mapped_column(BigInteger)
    """Debit balance of the custody account, in minor units."""
    ledger_timestamp: Mapped[int] = mapped_column(BigInteger)
    """The ledger's last posting to custody that the balance includes; 0 before any."""
    dust_units: Mapped[Decimal] = mapped_column(Word)
    """Held on chain, not yet a minor unit."""
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """What explains the difference: kind, id and units (signed) of each."""
    unexplained_units: Mapped[Decimal] = mapped_column(Word)
    """Chain minus what the ledger and the items say; 0 when the books agree."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
