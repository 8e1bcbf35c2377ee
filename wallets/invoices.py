"""Invoices: an amount that is due at a till, as a payment code, and whether it was paid.

An invoice's row is an intent and never changes. A payer pays its code as any other; the
payment's reference is the invoice's id, and that is how the ledger tells what became of it:

    open ──▶ paid       the first payment to the business with that reference, of exactly that
                        amount, before its time was over
    open ──▶ expired    there is none, and a minute has passed since

Every other payment with that reference (of another amount, a second one, one that is late)
is listed as such, so that the business can give it back. Nothing can stop a payer from
making one. The minute is for payments that got their time from the ledger a moment before:
so a state other than open is final. Payments from more than a minute before an invoice was
made are none of it: nobody can make older money the till's by inventing an invoice for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert

from foundation.clock import SECOND_NS
from foundation.errors import Refusal
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.contract import Transfer
from ledger.interface import Ledger
from ledger.queries.questions import TransferCriteria, TransferSearch
from wallets.errors import WalletCode
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import InvoiceRow, TillRow
from wallets.merchants import MerchantBooks, Till, id_taken
from wallets.payment_codes import PaymentCode
from wallets.payments import check_id
from wallets.till_rights import TillAccess, TillRight
from wallets.wallets import wallet_account

SECONDS_MIN: Final = 60
"""Shortest time that an invoice is open."""

SECONDS_MAX: Final = 90 * 86_400
"""Longest time that an invoice is open."""

MEMO_LENGTH_MAX: Final = 200
"""Longest note of the business."""

PAGE_MAX: Final = 50
"""Most invoices on a page."""

OTHERS_MAX: Final = 20
"""Most payments that are listed beside the one that paid an invoice: the newest."""

LATE_LISTED: Final = timedelta(days=30)
"""How long after an invoice's time payments are still listed with it.

The ledger looks through the wallet's history from the invoice to there, and no further.
"""

GRACE: Final = timedelta(seconds=60)
"""How far the clocks of this process and of the ledger may be apart."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class InvoiceState(StrEnum):
    """What has become of an invoice."""

    OPEN = "open"
    """It can be paid."""
    PAID = "paid"
    """Somebody paid exactly what was due, in time."""
    EXPIRED = "expired"
    """Nobody did in time."""


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """What is due."""

    id: UUID
    """Made by whoever invoices, and kept there before it is sent."""
    amount: str
    """A decimal number of the till's asset."""
    seconds: int
    """How long the invoice is open, ``SECONDS_MIN`` to ``SECONDS_MAX``."""
    memo: str = ""
    """The business' own note."""


@dataclass(frozen=True, slots=True)
class TillPayment:
    """A payment that was made at a till."""

    id: UUID
    amount: Money
    at_ns: int
    """The ledger's time, nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as it stands now."""

    id: UUID
    till: Till
    amount: Money
    memo: str
    created_at: datetime
    expires_at: datetime
    state: InvoiceState
    payment: TillPayment | None
    """The payment that paid it."""
    others: Sequence[TillPayment]
    """Other payments with its reference, the newest first, ``OTHERS_MAX`` at most."""


@dataclass(frozen=True, slots=True)
class Invoiced:
    """The answer to an order: the invoice, and whether an earlier request made it."""

    invoice: Invoice
    replayed: bool


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """Invoices, newest first, and the id after which the next page begins, None at the end."""

    invoices: Sequence[Invoice]
    next_before: UUID | None


async def make_invoice(books: MerchantBooks, access: TillAccess, order: InvoiceOrder) -> Invoiced:
    """Make an invoice once; the same order again gives it as it stands.

    Refused as ``payment_id_malformed``, ``till_right_missing``, one of an amount's codes or
    ``merchant_id_taken``.
    """
    check_id(order.id)
    access.needs(TillRight.CHARGE)
    assert SECONDS_MIN <= order.seconds <= SECONDS_MAX
    amount = Money.parse(order.amount, access.till.asset)
    if amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    now = books.clock.now()
    # Whole seconds, as a payment code says them.
    ends = now.replace(microsecond=0) + timedelta(seconds=order.seconds)
    wanted = {"till_id": access.till.id, "amount": amount.minor, "memo": order.memo}
    async with books.database.session() as session:
        # Whoever charges at one till could else make another till's payments its own, and refund them.
        if await session.get(TillRow, order.id) is not None:
            raise id_taken()
        row = await session.scalar(
            insert(InvoiceRow)
            .values(id=order.id, created_at=now, expires_at=ends, **wanted)
            .on_conflict_do_nothing(index_elements=[InvoiceRow.id])
            .returning(InvoiceRow)
        )
        is_new = row is not None
        row = row or await session.get(InvoiceRow, order.id)
    assert row is not None, "an invoice is never deleted"
    same_time = row.expires_at - row.created_at.replace(microsecond=0) == timedelta(seconds=order.seconds)
    if not same_time or any(getattr(row, name) != value for name, value in wanted.items()):
        raise id_taken()
    return Invoiced((await _views(books, access.till, [row]))[0], replayed=not is_new)


async def invoice_by_id(books: MerchantBooks, access: TillAccess, *, invoice_id: UUID) -> Invoice:
    """An invoice of a till; refused as ``till_right_missing`` or ``invoice_not_found``."""
    access.needs(TillRight.SEE)
    async with books.database.session() as session:
        row = await session.get(InvoiceRow, invoice_id)
    if row is None or row.till_id != access.till.id:
        raise _not_found()
    return (await _views(books, access.till, [row]))[0]


async def list_invoices(
    books: MerchantBooks, access: TillAccess, *, before: UUID | None = None, limit: int = 20
) -> InvoicePage:
    """A page of a till's invoices; ``before`` is the ``next_before`` of the page before.

    Refused as ``till_right_missing``, or as ``invoice_not_found`` when ``before`` is no invoice of the till.
    """
    assert 1 <= limit <= PAGE_MAX
    access.needs(TillRight.SEE)
    wanted = [InvoiceRow.till_id == access.till.id]
    async with books.database.session() as session:
        if before is not None:
            last = await session.get(InvoiceRow, before)
            if last is None or last.till_id != access.till.id:
                raise _not_found()
            place = tuple_(InvoiceRow.created_at, InvoiceRow.id)
            wanted.append(place < tuple_(last.created_at, last.id))
        rows = (
            await session.scalars(
                select(InvoiceRow)
                .where(*wanted)
                .order_by(InvoiceRow.created_at.desc(), InvoiceRow.id.desc())
                # One more than the page tells whether another page follows.
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    return InvoicePage(await _views(books, access.till, page), page[-1].id if len(rows) > limit else None)


def till_code(books: MerchantBooks, till: Till) -> PaymentCode:
    """The code that hangs at a till: the payer chooses the amount, and it is good for ever."""
    wallet = till.merchant.wallet
    return PaymentCode(
        wallet.handle, till.asset, reference=till.id, payee_pass=books.directory.pass_of(wallet)
    )


def invoice_code(books: MerchantBooks, invoice: Invoice) -> PaymentCode:
    """The code that pays an invoice."""
    return PaymentCode(
        invoice.till.merchant.wallet.handle,
        invoice.till.asset,
        amount=invoice.amount,
        expires_at_ns=_ns(invoice.expires_at),
        reference=invoice.id,
        payee_pass=books.directory.pass_of(invoice.till.merchant.wallet),
    )


async def _views(books: MerchantBooks, till: Till, rows: Sequence[InvoiceRow]) -> list[Invoice]:
    payments = await asyncio.gather(*(payments_of_invoice(books.ledger, till, row) for row in rows))
    now = books.clock.now()
    found = []
    for row, (payment, others) in zip(rows, payments, strict=True):
        state = InvoiceState.OPEN
        if payment is not None:
            state = InvoiceState.PAID
        elif now >= row.expires_at + GRACE:
            state = InvoiceState.EXPIRED
        amount = Money(row.amount, till.asset)
        found.append(
            Invoice(row.id, till, amount, row.memo, row.created_at, row.expires_at, state, payment, others)
        )
    return found


async def payments_of_invoice(
    ledger: Ledger, till: Till, row: InvoiceRow
) -> tuple[TillPayment | None, list[TillPayment]]:
    """The payment that paid an invoice, and the others that name it."""
    named = TransferCriteria(
        codes=(int(TransferCode.PAYMENT),),
        credit_account_ids=(wallet_account(till.merchant.wallet.id, till.asset),),
        user_data_128=(row.id.int,),
    )
    begins = counts_from_ns(row)
    newest = await _search(
        ledger,
        named,
        newest_first=True,
        limit=OTHERS_MAX + 1,
        timestamp_min=begins,
        timestamp_max=_ns(row.expires_at + LATE_LISTED),
    )
    if not newest:
        return None, []
    # Anybody may name an invoice in as many payments of a cent as they like: the one that
    # pays it is asked for by its amount and time, and is not looked for among the newest.
    exact = TransferCriteria(
        codes=named.codes,
        credit_account_ids=named.credit_account_ids,
        user_data_128=named.user_data_128,
        amount_min=row.amount,
        amount_max=row.amount,
    )
    first = await _search(ledger, exact, limit=1, timestamp_min=begins, timestamp_max=_ns(row.expires_at) - 1)
    payment = first[0] if first else None
    others = [each for each in newest if payment is None or each.id != payment.id]
    return (
        _payment(till, payment) if payment is not None else None,
        [_payment(till, each) for each in others[:OTHERS_MAX]],
    )


async def _search(
    ledger: Ledger,
    criteria: TransferCriteria,
    *,
    limit: int,
    timestamp_min: int,
    timestamp_max: int,
    newest_first: bool = False,
) -> list[Transfer]:
    found: list[Transfer] = []
    cursor: str | None = None
    while True:
        page = await ledger.search_transfers(
            TransferSearch(
                any_of=(criteria,),
                timestamp_min=timestamp_min,
                timestamp_max=timestamp_max,
                newest_first=newest_first,
                limit=limit - len(found),
                cursor=cursor,
            )
        )
        found += page.transfers
        cursor = page.cursor
        # A page may be short because its time was over; then nothing may be said to be missing.
        if page.complete or len(found) >= limit or cursor is None:
            return found


def _payment(till: Till, transfer: Transfer) -> TillPayment:
    return TillPayment(UUID(int=transfer.id), Money(transfer.amount, till.asset), transfer.timestamp)


def counts_from_ns(row: InvoiceRow) -> int:
    """From when on payments with an invoice's id as reference are of it, nanoseconds since 1970."""
    return _ns(row.created_at - GRACE)


def _ns(at: datetime) -> int:
    """A time's whole second in nanoseconds since 1970."""
    return (at - _EPOCH) // timedelta(seconds=1) * SECOND_NS


def _not_found() -> Refusal:
    return Refusal(MerchantCode.INVOICE_NOT_FOUND, "This till has no invoice with this id.")
