"""Releasing a bulk payment: a second device's word for a file, by its digest and its sum.

The device that brought a file cannot release it, and the database holds a row to that. The
release names what it releases, so that whoever signs it has compared the file, or at least
its sum, and nobody can be shown one file and release another under the same id.

Balance and limits are looked at here, where somebody waits for the answer, so that a file
that cannot be paid is not begun. They are no promise: the worker's transfers decide.
Releasing writes one row. If the process dies before the commit nothing has happened; after
it the worker pays, whether or not anybody got the answer, and the same request again gives
the bulk payment as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.money import Money
from ledger.interface import Ledger
from wallets.bulk_errors import BulkCode
from wallets.bulk_models import BulkPaymentRow
from wallets.bulk_payments import BulkPayment, bulk_payment_of, own_bulk_row
from wallets.limits import Limits
from wallets.wallets import Wallet, wallet_account


@dataclass(frozen=True, slots=True)
class BulkRelease:
    """What the second device says."""

    bulk_id: UUID
    payer: Wallet
    released_by: UUID
    """The device."""
    digest: bytes
    """SHA-256 of the file that it means."""
    total: str
    """What the payees get together, as a decimal number of the asset."""


@dataclass(frozen=True, slots=True)
class Released:
    """The answer: the bulk payment as it stands, and whether it had been released before."""

    bulk_payment: BulkPayment
    replayed: bool


async def release_bulk_payment(
    database: Database, ledger: Ledger, clock: Clock, limits: Limits, release: BulkRelease
) -> Released:
    """Have a file's lines paid.

    Refused as ``bulk_not_found``, ``bulk_released_by_maker``, ``bulk_cancelled``, ``bulk_lines_wrong``, as
    ``bulk_released_differently`` or one of an amount's codes, as ``bulk_exceeds_balance``
    or ``bulk_exceeds_limit``.
    """
    row = await own_bulk_row(database, release.payer, release.bulk_id)
    _check(row, release)
    if row.released_at is not None:
        return Released(bulk_payment_of(row, release.payer), replayed=True)
    await _check_funds(ledger, release.payer, row)
    await _check_room(limits, release.payer, row)
    async with database.session() as session:
        locked = await session.scalar(
            select(BulkPaymentRow).where(BulkPaymentRow.id == row.id).with_for_update()
        )
        assert locked is not None, "bulk payments are never deleted"
        if locked.cancelled_at is not None:
            raise _was_cancelled()
        # Of two devices that release at once the second one finds it done.
        was_released = locked.released_at is not None
        if not was_released:
            locked.released_by, locked.released_at = release.released_by, clock.now()
    return Released(bulk_payment_of(locked, release.payer), replayed=was_released)


def _check(row: BulkPaymentRow, release: BulkRelease) -> None:
    if row.made_by == release.released_by:
        raise Refusal(
            BulkCode.BULK_RELEASED_BY_MAKER,
            "This device brought the file; another one of the wallet releases it.",
        )
    if row.cancelled_at is not None:
        raise _was_cancelled()
    if row.wrong:
        raise Refusal(
            BulkCode.BULK_LINES_WRONG, f"{row.wrong} of {row.lines} lines cannot be paid.", wrong=row.wrong
        )
    asset = asset_by_code(row.asset)
    for field, is_same in (
        ("digest", row.digest == release.digest),
        ("total", row.total == Money.parse(release.total, asset).minor),
    ):
        if not is_same:
            raise Refusal(BulkCode.BULK_RELEASED_DIFFERENTLY, f"The file has another {field}.", field=field)


def _was_cancelled() -> Refusal:
    return Refusal(BulkCode.BULK_CANCELLED, "It was cancelled. Bring the file again with a new id.")


async def _check_funds(ledger: Ledger, payer: Wallet, row: BulkPaymentRow) -> None:
    asset = asset_by_code(row.asset)
    found = await ledger.lookup_accounts([wallet_account(payer.id, asset)])
    available = sum(
        account.credits_posted - account.debits_posted - account.debits_pending for account in found
    )
    needed = Money(row.total, asset) + Money(row.fees, asset)
    if available < needed.minor:
        raise Refusal(
            BulkCode.BULK_EXCEEDS_BALANCE,
            f"All lines and their fees need {needed}.",
            retryable=Retryable.YES,
            needed=needed.format(),
            asset=asset.code,
        )


async def _check_room(limits: Limits, payer: Wallet, row: BulkPaymentRow) -> None:
    asset = asset_by_code(row.asset)
    total = Money(row.total, asset)
    for room in await limits.rooms(payer, asset):
        if room.left < total:
            raise Refusal(
                BulkCode.BULK_EXCEEDS_LIMIT,
                f"Of {room.limit} a {room.window} {room.left} is left, and the lines need {total}.",
                retryable=Retryable.YES,
                window=room.window.value,
                limit=room.limit.format(),
                left=room.left.format(),
                asset=asset.code,
            )
