"""The journal's tables: append-only, and plain enough to read with any SQL client.

Unsigned numbers keep their bits in PostgreSQL's signed columns (a code above
32,767 reads as negative); 0 in an optional field is NULL. The views
``ledger_transfers`` and ``ledger_accounts`` show the contract's own numbers.
Columns stand widest first, so that no row is padded.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
)
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class JournalAccount(Base):
    """An account as created; balances are in the rows of its transfers."""

    __tablename__ = "ledger_account"

    slot: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Position in order of creation, from 0; how other rows name the account."""
    id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    timestamp: Mapped[int] = mapped_column(BigInteger, unique=True)
    ledger: Mapped[int] = mapped_column(Integer)
    code: Mapped[int] = mapped_column(SmallInteger)
    flags: Mapped[int] = mapped_column(SmallInteger)
    """Flags at creation."""
    user_data_128: Mapped[UUID | None] = mapped_column(Uuid)
    user_data_64: Mapped[int | None] = mapped_column(BigInteger)
    user_data_32: Mapped[int | None] = mapped_column(Integer)


class JournalTransfer(Base):
    """A transfer, with both accounts as they stood after it and where their history goes on.

    The table of all sealed segments, partitioned by time. The tables of segments
    (``ledger_transfer_1`` and so on) are made by the engine and have the same columns;
    once sealed, each has unique indexes on id, timestamp and pending_timestamp.
    """

    __tablename__ = "ledger_transfer_sealed"
    __table_args__ = (
        Index("ledger_transfer_sealed_timestamp", "timestamp", unique=True),
        {"postgresql_partition_by": "RANGE (timestamp)"},
    )

    timestamp: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    amount: Mapped[int] = mapped_column(BigInteger)
    debit_previous: Mapped[int] = mapped_column(BigInteger)
    """Timestamp of the debit account's previous transfer, 0 for none."""
    credit_previous: Mapped[int] = mapped_column(BigInteger)
    debit_debits_posted: Mapped[int] = mapped_column(BigInteger)
    """The debit account's posted debits after this transfer; the others likewise."""
    debit_credits_posted: Mapped[int] = mapped_column(BigInteger)
    credit_debits_posted: Mapped[int] = mapped_column(BigInteger)
    credit_credits_posted: Mapped[int] = mapped_column(BigInteger)
    debit_account: Mapped[int] = mapped_column(Integer)
    credit_account: Mapped[int] = mapped_column(Integer)
    ledger: Mapped[int] = mapped_column(Integer)
    code: Mapped[int] = mapped_column(SmallInteger)
    flags: Mapped[int] = mapped_column(SmallInteger)
    """The contract's flags; bits 12 and 13 say that the debit and the credit account is closed after."""
    id: Mapped[UUID] = mapped_column(Uuid)
    debit_debits_pending: Mapped[int | None] = mapped_column(BigInteger)
    debit_credits_pending: Mapped[int | None] = mapped_column(BigInteger)
    credit_debits_pending: Mapped[int | None] = mapped_column(BigInteger)
    credit_credits_pending: Mapped[int | None] = mapped_column(BigInteger)
    pending_timestamp: Mapped[int | None] = mapped_column(BigInteger)
    """Timestamp of the pending transfer that this one posts or voids."""
    pending_id: Mapped[UUID | None] = mapped_column(Uuid)
    user_data_128: Mapped[UUID | None] = mapped_column(Uuid)
    user_data_64: Mapped[int | None] = mapped_column(BigInteger)
    user_data_32: Mapped[int | None] = mapped_column(Integer)
    timeout: Mapped[int | None] = mapped_column(Integer)


class JournalExpiry(Base):
    """A pending transfer's time was over; both accounts as they stood after its release."""

    __tablename__ = "ledger_expiry"

    timestamp: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    pending_timestamp: Mapped[int] = mapped_column(BigInteger, unique=True)
    debit_debits_pending: Mapped[int] = mapped_column(BigInteger)
    debit_debits_posted: Mapped[int] = mapped_column(BigInteger)
    debit_credits_pending: Mapped[int] = mapped_column(BigInteger)
    debit_credits_posted: Mapped[int] = mapped_column(BigInteger)
    credit_debits_pending: Mapped[int] = mapped_column(BigInteger)
    credit_debits_posted: Mapped[int] = mapped_column(BigInteger)
    credit_credits_pending: Mapped[int] = mapped_column(BigInteger)
    credit_credits_posted: Mapped[int] = mapped_column(BigInteger)
    debit_account: Mapped[int] = mapped_column(Integer)
    credit_account: Mapped[int] = mapped_column(Integer)
    flags: Mapped[int] = mapped_column(SmallInteger)
    """Bits 12 and 13 as in a transfer."""


class JournalFailedID(Base):
    """An id that failed for a passing reason: it answers ``id_already_failed`` for ever."""

    __tablename__ = "ledger_failed_id"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    timestamp: Mapped[int] = mapped_column(BigInteger)


class JournalBatch(Base):
    """One commit: how many rows of each kind, and the hash that chains them to all before.

    Rows of a batch: accounts by slot, in sequence; transfers from
    ``transfer_first`` to ``transfer_last``; expiries and failed ids by timestamps
    above the previous batch's ``timestamp``, up to this one's. Expiries come
    before everything else of their batch.
    """

    __tablename__ = "ledger_batch"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    timestamp: Mapped[int] = mapped_column(BigInteger)
    """Highest timestamp given out."""
    transfer_first: Mapped[int | None] = mapped_column(BigInteger)
    transfer_last: Mapped[int | None] = mapped_column(BigInteger)
    account_count: Mapped[int] = mapped_column(Integer)
    transfer_count: Mapped[int] = mapped_column(Integer)
    expiry_count: Mapped[int] = mapped_column(Integer)
    failed_count: Mapped[int] = mapped_column(Integer)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 over the previous hash, this row's numbers, and the rows in their canonical bytes."""


class JournalSegment(Base):
    """A segment of the journal: its first batch, written in that batch's database transaction."""

    __tablename__ = "ledger_segment"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    first_sequence: Mapped[int] = mapped_column(BigInteger, unique=True)


class JournalSeal(Base):
    """What a sealed segment holds; there is none while it is open or full."""

    __tablename__ = "ledger_seal"

    number: Mapped[int] = mapped_column(ForeignKey("ledger_segment.number"), primary_key=True)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    first_timestamp: Mapped[int] = mapped_column(BigInteger)
    last_timestamp: Mapped[int] = mapped_column(BigInteger)
    transfer_count: Mapped[int] = mapped_column(BigInteger)


class IDFilterPiece(Base):
    """A piece of a sealed segment's id filter, as ``ledger.id_filter`` writes it."""

    __tablename__ = "ledger_id_filter"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    part: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class CheckpointPart(Base):
    """A part of a checkpoint, as ``ledger.checkpoints`` writes it."""

    __tablename__ = "ledger_checkpoint"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    part: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class HistoryMarks(Base):
    """Where histories are entered in a sealed segment, as ``ledger.history_marks`` writes it."""

    __tablename__ = "ledger_history_mark"

    part: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    slots: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    timestamps: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class ArchiveRecord(Base):
    """What became of an archived segment; the newest entry of a number says where its rows are."""

    __tablename__ = "ledger_archive"
    __table_args__ = (CheckConstraint("event IN ('detached', 'dropped', 'attached')", name="event"),)

    entry: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(ForeignKey("ledger_seal.number"))
    event: Mapped[str] = mapped_column(Text)
    """``detached``: in a table aside; ``dropped``: in its file only; ``attached``: in its place again."""
    transfer_count: Mapped[int] = mapped_column(BigInteger)
    file_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    rows_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    """Of the canonical bytes of its rows, end to end."""
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    """When, in nanoseconds since 1970."""
