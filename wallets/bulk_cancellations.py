"""Cancelling a bulk payment that nobody has released: any device of the wallet takes it back for good.

The row is locked while it is looked at, as a release locks it, and the database holds a row
to being one or the other: of a release and a cancellation at once, one finds the other's. If
the process dies before the commit nothing has happened; after it no release is ever taken,
and the same request again gives the bulk payment as it stands. What was released is paid:
each line may be on its way, and nobody is told that it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from wallets.bulk_errors import BulkCode
from wallets.bulk_models import BulkPaymentRow
from wallets.bulk_payments import BulkPayment, bulk_payment_of, own_bulk_row
from wallets.wallets import Wallet


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer: the bulk payment as it stands, and whether it had been cancelled before."""

    bulk_payment: BulkPayment
    replayed: bool


async def cancel_bulk_payment(database: Database, clock: Clock, *, payer: Wallet, bulk_id: UUID) -> Cancelled:
    """Have a file never be paid; one with wrong lines can be cancelled too.

    Refused as ``bulk_not_found``, or as ``bulk_released`` once a device has released it.
    """
    row = await own_bulk_row(database, payer, bulk_id)
    async with database.session() as session:
        locked = await session.scalar(
            select(BulkPaymentRow).where(BulkPaymentRow.id == row.id).with_for_update()
        )
        assert locked is not None, "bulk payments are never deleted"
        if locked.released_at is not None:
            raise Refusal(BulkCode.BULK_RELEASED, "It was released: its lines are paid, or have been.")
        was_cancelled = locked.cancelled_at is not None
        if not was_cancelled:
            locked.cancelled_at = clock.now()
    return Cancelled(bulk_payment_of(locked, payer), replayed=was_cancelled)
