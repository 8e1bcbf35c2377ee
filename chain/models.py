"""Tables of the chain: the mirror of what happened, and what we mean to send.

The mirror (``chain_cursor``, ``chain_block``, ``chain_transfer_log``) holds the
canonical chain as the follower last saw it; a reorg takes rows away and leaves a
trace in ``chain_orphaned_log``. What we send starts as an approved order, gets one
nonce for ever (``chain_lane``) and every signed attempt is stored before it
leaves the process (``chain_attempt``).

Text form, everywhere in these tables: addresses and hashes are ``0x`` and lower
case hex; the EIP-55 checksum is for people and is made at the edge. Values are
the token's own units, never the ledger's.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base

WORD_LIMIT = 2**256

Word = Numeric(78, 0)
"""An unsigned 256-bit integer of the EVM; read as ``Decimal``, exact, no fraction."""

ADDRESS_PATTERN = "^0x[0-9a-f]{40}$"
"""An address as the tables hold it."""
HASH_PATTERN = "^0x[0-9a-f]{64}$"
"""A hash or other 32-byte word as the tables hold it."""


class OrderKind(StrEnum):
    """What may be signed."""

    WITHDRAWAL = "withdrawal"
    """Pay ``amount`` units of ``token`` from the vault to ``to_address``."""
    SWEEP = "sweep"
    """Move all of ``token`` from the deposit address ``to_address`` to the vault."""
    PAYOUT_BATCH = "payout_batch"
    """Pay each of its members, which are withdrawals of one token, in one transaction."""
    SWEEP_BATCH = "sweep_batch"
    """Empty the deposit address of each of its members, which are sweeps of one token, in one transaction."""
    COLD_MOVE = "cold_move"
    """Move ``amount`` units of ``token`` from the vault to its cold address, which is ``to_address``."""


class ChainCursor(Base):
    """How far the mirror has got: one row a chain, moved with the rows it speaks of."""

    __tablename__ = "chain_cursor"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    genesis_hash: Mapped[str] = mapped_column(Text)
    """Hash of block 0; a node that answers another one is on another chain."""
    start_number: Mapped[int] = mapped_column(BigInteger)
    """First block mirrored."""
    head_number: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[str] = mapped_column(Text)
    finalized_number: Mapped[int] = mapped_column(BigInteger)
    """Last mirrored block known to be final; ``start_number - 1`` while there is none.
    Moves back only with a ``chain_finality_break``."""
    followed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finality_hold: Mapped[str | None] = mapped_column(Text)
    """Why no block becomes final now, where the second endpoint is the reason."""


class ChainFinalityBreak(Base):
    """The chain itself replaced blocks that were final; the mirror went back to their ancestor."""

    __tablename__ = "chain_finality_break"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    ancestor_number: Mapped[int] = mapped_column(BigInteger)
    """The last block that both chains have: what is above it was taken back."""
    finalized_number: Mapped[int] = mapped_column(BigInteger)
    """What was final until then."""
    lost_hash: Mapped[str] = mapped_column(Text)
    """The mirror's block at that height."""
    found_hash: Mapped[str] = mapped_column(Text)
    """The block that the chain has there now, final as well."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ChainWatchedToken(Base):
    """A token whose every Transfer log from ``start_number`` to the head is mirrored."""

    __tablename__ = "chain_watched_token"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(Text, primary_key=True)


class ChainBlock(Base):
    """A block of the canonical chain; its parent is the row before it."""

    __tablename__ = "chain_block"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(Text)
    parent_hash: Mapped[str] = mapped_column(Text)
    timestamp: Mapped[int] = mapped_column(BigInteger)
    """Seconds since 1970, as the block says."""


class ChainTransferLog(Base):
    """A Transfer event of a watched token in the canonical chain."""

    __tablename__ = "chain_transfer_log"
    __table_args__ = (
        # Who asks for a receiver asks for a few blocks of it, which the primary key finds.
        # For the rest Bloom filters of page ranges are enough: a B-tree of receivers would
        # be written at a random place for every row, most of which nobody ever asks for.
        Index(
            "ix_chain_transfer_log_to_address",
            "to_address",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
            postgresql_ops={"to_address": "text_bloom_ops(false_positive_rate=0.001)"},
        ),
    )

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    log_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Index of the log in its block; a re-mined tx may get another one."""
    block_hash: Mapped[str] = mapped_column(Text)
    tx_hash: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    value: Mapped[Decimal] = mapped_column(Word)


class ChainOrphanedLog(Base):
    """A Transfer event that a reorg took away; it may have been mined again since."""

    __tablename__ = "chain_orphaned_log"
    __table_args__ = (Index("ix_chain_orphaned_log_to_address", "to_address"),)

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    log_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    from_address: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    value: Mapped[Decimal] = mapped_column(Word)
    orphaned_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ChainOrder(Base):
    """What may be signed, written by ``treasury``; the signer reads it by id itself.

    It may be signed while ``approved_at`` is set and ``revoked_at`` is not.
    """

    __tablename__ = "chain_order"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('withdrawal', 'sweep', 'payout_batch', 'sweep_batch', 'cold_move')", name="kind"
        ),
        CheckConstraint(f"token ~ '{ADDRESS_PATTERN}'", name="token"),
        CheckConstraint(f"to_address ~ '{ADDRESS_PATTERN}'", name="to_address"),
        CheckConstraint(f"salt ~ '{HASH_PATTERN}'", name="salt"),
        CheckConstraint(
            "(kind IN ('withdrawal', 'payout_batch', 'cold_move')) = (amount > 0)", name="amount"
        ),
        CheckConstraint("(kind = 'sweep') = (salt IS NOT NULL)", name="sweep_has_salt"),
        # PostgreSQL counts NaN and infinity among its numbers, above all others.
        CheckConstraint(f"amount >= 0 AND amount < {WORD_LIMIT}", name="amount_is_word"),
        CheckConstraint(f"fee >= 0 AND fee < {WORD_LIMIT}", name="fee_is_word"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    """A member of ``OrderKind``."""
    token: Mapped[str] = mapped_column(Text)
    to_address: Mapped[str] = mapped_column(Text)
    """Withdrawal: who is paid. Sweep: the deposit address that is emptied. Batch: the vault.
    Cold move: the cold address.
    """
    amount: Mapped[Decimal] = mapped_column(Word)
    """Units of the token; 0 in a sweep means all. Payout batch: the sum of its members'."""
    salt: Mapped[str | None] = mapped_column(Text)
    """Sweep only: the CREATE2 salt of ``to_address``, to be checked against it."""
    fee: Mapped[Decimal | None] = mapped_column(Word)
    """Withdrawal: units of the token that the customer pays on top; officers approve it too."""
    requester: Mapped[UUID | None] = mapped_column(Uuid)
    """Withdrawal: who asked for it, and so may not approve it."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    approved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Set when it must never be signed (again); it stays set."""


class ChainBatchMember(Base):
    """An order that goes with others in one transaction, whose nonce and attempts are the batch's.

    It is written once and stays: an order that was in a batch is never in another. While
    the batch is not revoked its members go with it and never alone.
    """

    __tablename__ = "chain_batch_member"
    __table_args__ = (CheckConstraint("position >= 0", name="position"),)

    batch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Where in the batch it stands, from 0."""
    member_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), unique=True)


class ChainApproval(Base):
    """An officer's signature under one order's content; the signer verifies it by itself.

    A row proves nothing to anybody but by its signature: whoever can write here can
    write nonsense, and nobody who reads believes more than the key says.
    """

    __tablename__ = "chain_approval"
    __table_args__ = (
        UniqueConstraint("order_id", "key_id", "expires_at"),
        CheckConstraint("octet_length(signature) = 64", name="signature"),
        CheckConstraint("approved_at < expires_at", name="lifetime"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    order_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"))
    key_id: Mapped[str] = mapped_column(Text)
    """RFC 7638 thumbprint of the officer's device key."""
    approved_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Whole seconds, as signed."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Whole seconds, as signed; from then on it counts for nothing."""
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    """64 bytes over ``chain.approvals.statement``."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ChainTrip(Base):
    """A trip of the breaker: while one is not released, nothing that pays out is signed.

    The table has the name of the room that it began in. ``treasury`` writes it, and says
    in ``released_at`` when it goes on itself; the signer believes the trip, and of its
    release only the officers' signatures.
    """

    __tablename__ = "treasury_breaker"
    __table_args__ = (
        Index(
            "uq_treasury_breaker_tripped",
            "chain_id",
            unique=True,
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    tripped_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    released_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    released_by: Mapped[str | None] = mapped_column(Text)


class ChainRelease(Base):
    """An officer's signature under the release of one trip; a row proves nothing but by it."""

    __tablename__ = "chain_release"
    __table_args__ = (
        UniqueConstraint("trip_id", "key_id", "expires_at"),
        CheckConstraint("octet_length(signature) = 64", name="signature"),
        CheckConstraint("signed_at < expires_at", name="lifetime"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    trip_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("treasury_breaker.id"))
    key_id: Mapped[str] = mapped_column(Text)
    """RFC 7638 thumbprint of the officer's device key."""
    signed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Whole seconds, as signed."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Whole seconds, as signed; from then on it releases nothing."""
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    """64 bytes over ``chain.breaker.release_statement``."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ChainLane(Base):
    """The nonce given to an order: once, without gaps, for ever."""

    __tablename__ = "chain_lane"

    from_address: Mapped[str] = mapped_column(Text, primary_key=True)
    nonce: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    order_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"), unique=True)


class ChainAttempt(Base):
    """A signed tx of an order, stored before it was broadcast."""

    __tablename__ = "chain_attempt"
    __table_args__ = (
        Index("ix_chain_attempt_order_id", "order_id"),
        Index("uq_chain_attempt_from_address_nonce_tx_hash", "from_address", "nonce", "tx_hash", unique=True),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    order_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("chain_order.id"))
    from_address: Mapped[str] = mapped_column(Text)
    nonce: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(Text, unique=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    """The signed bytes; a rebroadcast sends exactly these."""
    max_fee_per_gas: Mapped[Decimal] = mapped_column(Word)
    max_priority_fee_per_gas: Mapped[Decimal] = mapped_column(Word)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    broadcast_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a node first took it; null after a crash means: look it up, send the same bytes."""
