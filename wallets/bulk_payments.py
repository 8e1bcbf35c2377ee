"""Bulk payments: a file of payments that one device brings and another one releases.

    checked ──▶ released ──▶ finished
    wrong                       at least one line cannot be paid: it stays so
       └──────▶ cancelled       either of them, while it was not released

Bringing a file (``bulk_uploads``) checks every line and moves nothing. Releasing it
(``bulk_releases``) is a second device's word for the file's digest and sum; until then any
device cancels it (``bulk_cancellations``). Then the worker
pays line by line (``bulk_execution``): each line is a payment as any other, with an id that
follows from the bulk payment's and the line's number, and ends with a result.

This module reads them. A bulk payment is seen by its payer alone; payees see their payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_

from foundation.assets import Asset, asset_by_code
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import derive_id
from foundation.money import Money
from wallets.bulk_errors import BulkCode
from wallets.bulk_models import BulkLineRow, BulkPaymentRow, BulkResultRow
from wallets.wallets import Wallet

PAGE_MAX: Final = 50
"""Most bulk payments on a page."""

LINES_PAGE_MAX: Final = 500
"""Most lines on a page."""

PAID: Final = "paid"
"""Result of a line that was paid; every other result is a refusal's code."""


class BulkState(StrEnum):
    """How far a bulk payment is."""

    WRONG = "wrong"
    """A line cannot be paid: correct the file and bring it under another id."""
    CHECKED = "checked"
    """Every line can be paid; it waits for a second device's release."""
    RELEASED = "released"
    """Lines are being paid; ``done`` of them have a result."""
    FINISHED = "finished"
    """Every line has a result."""
    CANCELLED = "cancelled"
    """It was taken back before it was released, and is never paid."""


class LineState(StrEnum):
    """What has become of a line."""

    WRONG = "wrong"
    """It cannot be paid; its result says why."""
    WAITING = "waiting"
    """Nothing has happened yet."""
    PAID = "paid"
    """It is a payment."""
    REFUSED = "refused"
    """It was not paid and never will be; its result says why."""


@dataclass(frozen=True, slots=True)
class BulkPayment:
    """A bulk payment as it stands now."""

    id: UUID
    payer: Wallet
    asset: Asset
    state: BulkState
    digest: bytes
    """SHA-256 of the file's bytes."""
    lines: int
    wrong: int
    total: Money
    """What the payees of all good lines get."""
    fees: Money
    """What comes on top."""
    done: int
    """Lines that have a result."""
    paid: int
    paid_total: Money
    """What the payees of paid lines got."""
    created_at: datetime
    released_at: datetime | None
    finished_at: datetime | None
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class LineResult:
    """A line as it stands now."""

    number: int
    """As a spreadsheet counts: the header is line 1."""
    state: LineState
    payee: str
    """The handle; of a wrong line, the beginning of what stood there."""
    amount: Money | None
    fee: Money | None
    reference: str
    code: str | None
    """Why it is wrong or was refused."""
    payment_id: UUID | None
    """The payment, if it was paid."""


@dataclass(frozen=True, slots=True)
class BulkPage:
    """Bulk payments, newest first, and the id after which the next page begins, None at the end."""

    bulk_payments: Sequence[BulkPayment]
    next_before: UUID | None


@dataclass(frozen=True, slots=True)
class LinePage:
    """Lines in the file's order, and the number after which the next page begins, None at the end."""

    lines: Sequence[LineResult]
    next_after: int | None


def line_payment_id(bulk_id: UUID, number: int) -> UUID:
    """Id of the payment that a line becomes; version 8, so that no client can have taken it."""
    return derive_id("bulk-payment", bulk_id, number)


async def bulk_payment_by_id(database: Database, *, wallet: Wallet, bulk_id: UUID) -> BulkPayment:
    """A bulk payment of which ``wallet`` is the payer; otherwise ``bulk_not_found``."""
    return bulk_payment_of(await own_bulk_row(database, wallet, bulk_id), wallet)


async def list_bulk_payments(
    database: Database, *, wallet: Wallet, before: UUID | None = None, limit: int = 20
) -> BulkPage:
    """A page of a wallet's bulk payments; ``before`` is the ``next_before`` of the page before.

    Refused as ``bulk_not_found`` when ``before`` is none of this wallet's; ``limit`` is 1 to ``PAGE_MAX``.
    """
    assert 1 <= limit <= PAGE_MAX
    wanted = [BulkPaymentRow.payer_id == wallet.id]
    if before is not None:
        last = await own_bulk_row(database, wallet, before)
        place = tuple_(BulkPaymentRow.created_at, BulkPaymentRow.id)
        wanted.append(place < tuple_(last.created_at, last.id))
    async with database.session() as session:
        rows = (
            await session.scalars(
                select(BulkPaymentRow)
                .where(*wanted)
                .order_by(BulkPaymentRow.created_at.desc(), BulkPaymentRow.id.desc())
                # One more than the page tells whether another page follows.
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    return BulkPage(
        [bulk_payment_of(row, wallet) for row in page], page[-1].id if len(rows) > limit else None
    )


async def list_bulk_lines(
    database: Database,
    *,
    wallet: Wallet,
    bulk_id: UUID,
    state: LineState | None = None,
    after: int = 0,
    limit: int = 100,
) -> LinePage:
    """A page of lines in the file's order, in one state or in all, of lines after number ``after``.

    Refused as ``bulk_not_found``; ``limit`` is 1 to ``LINES_PAGE_MAX``.
    """
    assert 1 <= limit <= LINES_PAGE_MAX
    bulk = await own_bulk_row(database, wallet, bulk_id)
    line, result = BulkLineRow, BulkResultRow
    async with database.connection() as connection:
        rows = (
            await connection.execute(
                select(
                    line.number, line.payee, line.amount, line.fee, line.reference, line.fault, result.result
                )
                .outerjoin(result, (result.bulk_id == line.bulk_id) & (result.number == line.number))
                .where(line.bulk_id == bulk.id, line.number > after, *_in_state(state))
                .order_by(line.number)
                .limit(limit + 1)
            )
        ).all()
    asset = asset_by_code(bulk.asset)
    lines = [_line_of(row, bulk.id, asset) for row in rows[:limit]]
    return LinePage(lines, lines[-1].number if len(rows) > limit else None)


async def own_bulk_row(database: Database, wallet: Wallet, bulk_id: UUID) -> BulkPaymentRow:
    """The row of a wallet's bulk payment; refused as ``bulk_not_found`` if it is not the wallet's."""
    async with database.session() as session:
        row = await session.get(BulkPaymentRow, bulk_id)
    if row is None or row.payer_id != wallet.id:
        raise Refusal(BulkCode.BULK_NOT_FOUND, "This wallet has no bulk payment with this id.")
    return row


def bulk_payment_of(row: BulkPaymentRow, payer: Wallet) -> BulkPayment:
    """What a row says."""
    asset = asset_by_code(row.asset)
    return BulkPayment(
        id=row.id,
        payer=payer,
        asset=asset,
        state=_state_of(row),
        digest=row.digest,
        lines=row.lines,
        wrong=row.wrong,
        total=Money(row.total, asset),
        fees=Money(row.fees, asset),
        done=row.done,
        paid=row.paid,
        paid_total=Money(row.paid_total, asset),
        created_at=row.created_at,
        released_at=row.released_at,
        finished_at=row.finished_at,
        cancelled_at=row.cancelled_at,
    )


def _state_of(row: BulkPaymentRow) -> BulkState:
    if row.cancelled_at is not None:
        return BulkState.CANCELLED
    if row.wrong:
        return BulkState.WRONG
    if row.finished_at is not None:
        return BulkState.FINISHED
    return BulkState.RELEASED if row.released_at is not None else BulkState.CHECKED


def _in_state(state: LineState | None) -> tuple[ColumnElement[bool], ...]:
    match state:
        case None:
            return ()
        case LineState.WRONG:
            return (BulkLineRow.fault.is_not(None),)
        case LineState.WAITING:
            return (BulkLineRow.fault.is_(None), BulkResultRow.result.is_(None))
        case LineState.PAID:
            return (BulkResultRow.result == PAID,)
        case LineState.REFUSED:
            return (BulkResultRow.result != PAID,)


def _line_of(row: Any, bulk_id: UUID, asset: Asset) -> LineResult:
    if row.fault is not None:
        state = LineState.WRONG
    elif row.result is None:
        state = LineState.WAITING
    else:
        state = LineState.PAID if row.result == PAID else LineState.REFUSED
    is_paid = state is LineState.PAID
    return LineResult(
        number=row.number,
        state=state,
        payee=row.payee,
        amount=Money(row.amount, asset) if row.amount is not None else None,
        fee=Money(row.fee, asset) if row.fee is not None else None,
        reference=row.reference,
        code=row.fault if row.fault is not None else None if is_paid else row.result,
        payment_id=line_payment_id(bulk_id, row.number) if is_paid else None,
    )
