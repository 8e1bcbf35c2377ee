"""Tables of bulk payments: a file that was checked, its lines, and a result for each.

The file's row and lines are an intent. What was paid stands in the ledger, under ids that
follow from the bulk payment's id and the line's number; a result says what the ledger
answered, and is written once.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class BulkPaymentRow(Base):
    """A file of payments; the id is the maker's device's."""

    __tablename__ = "wallets_bulk_payment"
    __table_args__ = (
        CheckConstraint("length(digest) = 32", name="digest_whole"),
        CheckConstraint("lines > 0 AND wrong BETWEEN 0 AND lines", name="lines_counted"),
        CheckConstraint("total >= 0 AND fees >= 0", name="sums_not_negative"),
        CheckConstraint("(released_by IS NULL) = (released_at IS NULL)", name="released_whole"),
        CheckConstraint("released_at IS NULL OR (wrong = 0 AND released_by <> made_by)", name="two_devices"),
        CheckConstraint("cancelled_at IS NULL OR released_at IS NULL", name="cancelled_or_released"),
        CheckConstraint("paid BETWEEN 0 AND done AND done <= lines", name="progress"),
        CheckConstraint("done = 0 OR released_at IS NOT NULL", name="released_first"),
        CheckConstraint("(finished_at IS NOT NULL) = (done = lines)", name="finished_whole"),
        Index("ix_wallets_bulk_payment_payer_id", "payer_id", "created_at", "id"),
        Index(
            "ix_wallets_bulk_payment_released_at",
            "released_at",
            "id",
            postgresql_where=text("released_at IS NOT NULL AND finished_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    payer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_wallet.id"))
    made_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_device.id"))
    """The device that brought the file; it can never release it."""
    asset: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the file's bytes."""
    lines: Mapped[int] = mapped_column(Integer)
    wrong: Mapped[int] = mapped_column(Integer)
    """Lines that cannot be paid; with one of them the file is never released."""
    total: Mapped[int] = mapped_column(BigInteger)
    """What the payees of all good lines get, in minor units."""
    fees: Mapped[int] = mapped_column(BigInteger)
    """What comes on top, in minor units."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    released_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("identity_device.id"))
    released_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    done: Mapped[int] = mapped_column(Integer, server_default="0")
    """Lines that have a result: written with the results, in one database transaction."""
    paid: Mapped[int] = mapped_column(Integer, server_default="0")
    """Lines that were paid."""
    paid_total: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """What their payees got, in minor units."""
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class BulkLineRow(Base):
    """A line of the file as it was checked; it never changes."""

    __tablename__ = "wallets_bulk_line"
    __table_args__ = (
        CheckConstraint(
            "fault IS NOT NULL OR (payee_id IS NOT NULL AND amount > 0 AND fee >= 0)", name="payable_or_wrong"
        ),
        Index("ix_wallets_bulk_line_wrong", "bulk_id", "number", postgresql_where=text("fault IS NOT NULL")),
    )

    bulk_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("wallets_bulk_payment.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """As a spreadsheet counts: the header is line 1."""
    payee: Mapped[str] = mapped_column(Text)
    """The handle, normalised where it is one; else the beginning of what stood there."""
    payee_id: Mapped[UUID | None] = mapped_column(Uuid)
    """The wallet that had the handle when the line was checked; a handle that moves changes nothing."""
    amount: Mapped[int | None] = mapped_column(BigInteger)
    """In minor units."""
    fee: Mapped[int | None] = mapped_column(BigInteger)
    """As the schedule was when the line was checked, and as the checker saw it: it is kept to."""
    reference: Mapped[str] = mapped_column(Text)
    """The payer's own text; nobody else sees it."""
    fault: Mapped[str | None] = mapped_column(Text)
    """Code of what is wrong with it; null for a good line."""


class BulkResultRow(Base):
    """What became of a line: ``paid``, or the code of its refusal. Written once."""

    __tablename__ = "wallets_bulk_result"

    bulk_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    result: Mapped[str] = mapped_column(Text)
