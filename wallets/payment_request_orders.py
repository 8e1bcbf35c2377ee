"""Orders for requests to pay: a payee asks a payer once, and nobody can be flooded.

The payee's device makes the id, which is the idempotency for ever, as of a payment: the
same order again gives the request as it stands, other content under its id is refused by
the name of the field that differs. An order that is refused leaves nothing behind.

One payer has few open requests of one payee, and a payee asks so often in a day and no
more. A new request counts as a look-up of its payer's handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import Refusal, Retryable
from foundation.money import Money
from wallets.errors import WalletCode
from wallets.handle_lookups import HandleLookups
from wallets.handles import parse_handle
from wallets.models import PaymentRequestRow, WalletRow
from wallets.payment_requests import Books, Requested, load_request, payments_of, settled
from wallets.payments import check_id
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet

SECONDS_MIN: Final = 60
"""Shortest time that a request is open."""

SECONDS_MAX: Final = 30 * 86_400
"""Longest time that a request is open."""

OPEN_MAX: Final = 5
"""Open requests that one payer may have of one payee."""

DAILY_MAX: Final = 100
"""Requests that one payee may make in 24 hours."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RequestOrder:
    """What a payee asks for."""

    id: UUID
    """Made by the payee's device, and kept there before it is sent."""
    payee: Wallet
    payer_handle: str
    amount: Money
    seconds: int
    """How long the request is open."""
    reference: UUID | None = None
    """The payee's own number for what is asked; both parties see it."""


async def ask_for_payment(books: Books, lookups: HandleLookups, order: RequestOrder) -> Requested:
    """Make a request once; the same order again gives it as it stands.

    Refused by a ``WalletCode`` or an ``AskingCode``. A request that was refused is not
    there, and the same id may be sent again.
    """
    check_id(order.id)
    if order.amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    check_seconds(order.seconds)
    # The same order many times at once: whoever comes later finds what the first one made.
    async with lookups.turns.of((order.payee.id, order.id)):
        return await _ask_once(books, lookups, order, parse_handle(order.payer_handle))


def check_seconds(seconds: int) -> None:
    """Refuse, as ``payment_request_expiry_out_of_range``, a time that no request is open for."""
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise Refusal(
            AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE,
            f"A request is open for {SECONDS_MIN} to {SECONDS_MAX} seconds.",
        )


async def payer_of(books: Books, lookups: HandleLookups, payee: Wallet, handle: str) -> Wallet:
    """Whom ``payee`` asks; refused as ``too_many_lookups``, ``payer_unknown`` or ``payer_is_payee``."""
    # Asking tells whether a handle exists, as looking it up does.
    await lookups.count(payee.person_id)
    payer = await books.directory.payee(parse_handle(handle), asker=payee)
    if payer is None:
        raise Refusal(AskingCode.PAYER_UNKNOWN, f"No wallet has the handle @{handle}.")
    if payer.id == payee.id:
        raise Refusal(AskingCode.PAYER_IS_PAYEE, "A wallet does not ask itself to pay.")
    return payer


async def _ask_once(books: Books, lookups: HandleLookups, order: RequestOrder, handle: str) -> Requested:
    known = await load_request(books.database, order.id)
    if known is not None:
        return await _replayed(books, known, order, handle)
    payer = await payer_of(books, lookups, order.payee, handle)
    paid = await paid_among_open(books, order.payee, payer)
    try:
        async with books.database.session() as session:
            row = await insert_request(session, books.clock, order, payer, paid)
    except IntegrityError:
        # The same id was faster by a moment; what it committed can be read now.
        known = await load_request(books.database, order.id)
        if known is None:
            raise
        return await _replayed(books, known, order, handle)
    return Requested((await settled(books, [row]))[0], replayed=False)


async def insert_request(
    session: AsyncSession, clock: Clock, order: RequestOrder, payer: Wallet, paid: set[UUID]
) -> PaymentRequestRow:
    """Write a request within the bounds of its payee and payer; ``paid`` from ``paid_among_open``."""
    # Requests of one payee are made one after the other, or two at once would both be the last
    # that is allowed. Nothing that moves money waits for this lock.
    await session.execute(
        select(WalletRow.id).where(WalletRow.id == order.payee.id).with_for_update(key_share=True)
    )
    now = clock.now()
    open_now = await session.scalars(
        select(PaymentRequestRow.payment_id).where(*_open_between(order.payee, payer, now))
    )
    if sum(payment_id not in paid for payment_id in open_now) >= OPEN_MAX:
        raise Refusal(
            AskingCode.TOO_MANY_OPEN_REQUESTS,
            f"@{payer.handle} has {OPEN_MAX} open requests of this wallet; wait, or cancel one.",
            retryable=Retryable.YES,
        )
    today = await session.scalar(
        select(func.count()).where(
            PaymentRequestRow.payee_id == order.payee.id, PaymentRequestRow.created_at > now - _DAY
        )
    )
    if (today or 0) >= DAILY_MAX:
        raise Refusal(
            AskingCode.TOO_MANY_REQUESTS_TODAY,
            f"A wallet makes {DAILY_MAX} requests in 24 hours at most.",
            retryable=Retryable.YES,
        )
    row = PaymentRequestRow(
        id=order.id,
        payee_id=order.payee.id,
        payer_id=payer.id,
        asset=order.amount.asset.code,
        amount=order.amount.minor,
        reference=order.reference,
        created_at=now,
        expires_at=now + timedelta(seconds=order.seconds),
    )
    session.add(row)
    return row


async def paid_among_open(books: Books, payee: Wallet, payer: Wallet) -> set[UUID]:
    """Payments that answered requests which look open; they stay answered, so this may be old."""
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(PaymentRequestRow).where(
                    *_open_between(payee, payer, books.clock.now()), PaymentRequestRow.payment_id.is_not(None)
                )
            )
        ).all()
    paid = await payments_of(books.ledger, rows)
    return {row.payment_id for row in rows if row.id in paid and row.payment_id is not None}


def _open_between(payee: Wallet, payer: Wallet, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        PaymentRequestRow.payee_id == payee.id,
        PaymentRequestRow.payer_id == payer.id,
        PaymentRequestRow.closed_as.is_(None),
        PaymentRequestRow.expires_at > now,
    )


async def _replayed(books: Books, row: PaymentRequestRow, order: RequestOrder, handle: str) -> Requested:
    if row.payee_id != order.payee.id:
        raise Refusal(AskingCode.PAYMENT_REQUEST_ID_TAKEN, "This id is in use; make a new one.")
    # Also one that is unlisted by now: the same order again is the same request.
    payer = await books.directory.by_handle(handle)
    for field, was, now in (
        ("payer", row.payer_id, payer.id if payer is not None else None),
        ("asset", row.asset, order.amount.asset.code),
        ("amount", row.amount, order.amount.minor),
        ("expires_in_seconds", row.expires_at - row.created_at, timedelta(seconds=order.seconds)),
        ("reference", row.reference, order.reference),
    ):
        if was != now:
            raise Refusal(
                AskingCode.PAYMENT_REQUEST_ID_USED_DIFFERENTLY,
                f"A request with this id was made with another {field}.",
                field=field,
            )
    return Requested((await settled(books, [row]))[0], replayed=True)
