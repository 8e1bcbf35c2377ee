"""Decisions on requests to pay: accepted by the payer, declined by the payer, cancelled by the payee.

**Accepting** has two halves. The row is made to name the payment that the payer's device
made an id for, which is committed; then ``pay`` submits that payment, whose reference is
the request's id. If the process dies between the two, the request is open and the same
acceptance, sent again, completes it. A second acceptance with another payment's id, from
another device or after a refusal, first has the ledger refuse the one before for ever
(``payment_requests`` argues why that suffices); so of any number of acceptances at once
one pays, and the others are told to look again.

Money moves by ``pay`` only, as it does for any payment: with its fee, its limits and its
refusals. A payment that was refused leaves the request open.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.exc import IntegrityError

from foundation.assets import asset_by_code
from foundation.errors import InvariantViolation, Refusal
from foundation.money import Money
from wallets.errors import WalletCode
from wallets.models import PaymentRequestRow
from wallets.payment_requests import (
    ROUNDS_MAX,
    Books,
    Requested,
    RequestState,
    change,
    close,
    contested,
    give_up_payment,
    load_request,
    not_found,
    payments_of,
    settled,
)
from wallets.payments import Paid, PaymentOrder, check_id, pay
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet


async def accept_request(
    books: Books, *, payer: Wallet, request_id: UUID, payment_id: UUID, fee_max: Money | None = None
) -> Paid:
    """Pay a request once, with a payment whose id the payer's device made and keeps.

    The same acceptance again gives the same payment for ever. Refused as
    ``payment_request_not_found``, ``payment_request_not_open``, and as ``pay`` refuses.
    """
    check_id(payment_id)
    for _ in range(ROUNDS_MAX):
        row = await _own(books, request_id, payer_id=payer.id)
        if row.closed_as is not None:
            raise await _not_open(books, row)
        is_paid = bool(await payments_of(books.ledger, [row]))
        if is_paid and row.payment_id != payment_id:
            raise await _not_open(books, row)
        if not is_paid and row.expires_at <= books.clock.now():
            # Either it is closed by this, or an acceptance that was on its way has paid it.
            await close(books, row, RequestState.EXPIRED)
            continue
        if row.payment_id != payment_id and not await _intend(books, row, payment_id):
            continue
        # Dies here: the row names the payment, which has not happened; the request is open.
        return await _pay(books, payer, row, payment_id, fee_max)
    raise contested()


async def decline_request(books: Books, *, payer: Wallet, request_id: UUID) -> Requested:
    """Say no; again is the same no. Refused as ``payment_request_not_found`` or ``…_not_open``."""
    row = await _own(books, request_id, payer_id=payer.id)
    return await _closed(books, row, RequestState.DECLINED)


async def cancel_request(books: Books, *, payee: Wallet, request_id: UUID) -> Requested:
    """Take a request back; again is the same. Refused as ``decline_request`` refuses."""
    row = await _own(books, request_id, payee_id=payee.id)
    return await _closed(books, row, RequestState.CANCELLED)


async def _own(
    books: Books, request_id: UUID, *, payer_id: UUID | None = None, payee_id: UUID | None = None
) -> PaymentRequestRow:
    row = await load_request(books.database, request_id)
    # One answer for a request that is not there, is somebody else's, or is the other side's to decide.
    if row is None or (payer_id or row.payer_id, payee_id or row.payee_id) != (row.payer_id, row.payee_id):
        raise not_found()
    return row


async def _intend(books: Books, row: PaymentRequestRow, payment_id: UUID) -> bool:
    """Have the row name this payment and no other; False when somebody else was faster."""
    if row.payment_id is not None and not await give_up_payment(books.ledger, row):
        return False
    # Dies here: the payment before is given up, the row still names it, the next attempt goes on.
    try:
        return await change(books.database, row, payment_id=payment_id) is not None
    except IntegrityError:
        raise Refusal(
            WalletCode.PAYMENT_ID_TAKEN, "This id answers another request; make a new one."
        ) from None


async def _pay(
    books: Books, payer: Wallet, row: PaymentRequestRow, payment_id: UUID, fee_max: Money | None
) -> Paid:
    payee = (await books.directory.by_ids([row.payee_id])).get(row.payee_id)
    if payee is None:
        raise InvariantViolation(f"request {row.id}: its payee is gone")
    order = PaymentOrder(
        id=payment_id,
        payer=payer,
        payee_handle=payee.handle,
        # By its id: whoever asked stays payable, under whatever handle, listed or not.
        payee=payee,
        amount=Money(row.amount, asset_by_code(row.asset)),
        fee_max=fee_max,
        reference=row.id,
    )
    try:
        return await pay(books.ledger, books.directory, books.limits, order)
    except Refusal as refusal:
        if refusal.code is not WalletCode.PAYMENT_ALREADY_REFUSED:
            raise
        # It may have been given up a moment ago, because somebody closed or paid the request.
        now = await _own(books, row.id, payer_id=payer.id)
        if now.closed_as is not None or await payments_of(books.ledger, [now]):
            raise await _not_open(books, now) from None
        raise


async def _closed(books: Books, row: PaymentRequestRow, state: RequestState) -> Requested:
    was_closed = row.closed_as is not None
    is_over = row.expires_at <= books.clock.now()
    row = await close(books, row, RequestState.EXPIRED if is_over else state)
    if row.closed_as != state.value:
        raise await _not_open(books, row)
    return Requested((await settled(books, [row]))[0], replayed=was_closed)


async def _not_open(books: Books, row: PaymentRequestRow) -> Refusal:
    (request,) = await settled(books, [row])
    return Refusal(
        AskingCode.PAYMENT_REQUEST_NOT_OPEN,
        f"The request is {request.state.value} already.",
        state=request.state.value,
        payment_id=str(request.payment_id) if request.payment_id is not None else None,
    )
