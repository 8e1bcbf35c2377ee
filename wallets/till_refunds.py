"""Refunds at a till: what was paid there goes back to whoever paid, and nothing else does.

A payment was made at a till if it came to the business' wallet and its reference is the
till or one of its invoices. Whoever may refund at one till can so neither give back what
was paid at another one, nor what the business got as a wallet. Who ordered it is written
down first, since it is somebody else's money that leaves. All else is as of any refund:
``wallets.refunds``.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from foundation.errors import Refusal
from wallets.errors import WalletCode
from wallets.invoices import counts_from_ns
from wallets.merchant_models import InvoiceRow, TillRefundRow
from wallets.merchants import MerchantBooks
from wallets.payments import Payment, check_id, payment_by_id
from wallets.refunds import Refunded, RefundOrder, refund_payment
from wallets.till_rights import TillAccess, TillRight


async def refund_at_till(
    books: MerchantBooks, access: TillAccess, *, refund_id: UUID, payment_id: UUID, amount: str
) -> Refunded:
    """Give back a payment of the till once, all or in part.

    Refused as ``till_right_missing``, as ``payment_not_found`` when it was not made here, and as
    ``refund_payment`` says.
    """
    access.needs(TillRight.REFUND)
    merchant = access.till.merchant.wallet
    payment = await payment_by_id(books.ledger, books.directory, wallet=merchant, payment_id=payment_id)
    if payment.payee.id != merchant.id or not await _is_of_till(books, access.till.id, payment):
        raise Refusal(WalletCode.PAYMENT_NOT_FOUND, "No payment of this till has this id.")
    check_id(refund_id)
    async with books.database.session() as session:
        # The same order again, by whomever, stays the first one's. Dies after this: somebody
        # stands there for a refund that never was, and is shown with none.
        await session.execute(
            insert(TillRefundRow)
            .values(
                till_id=access.till.id,
                refund_id=refund_id,
                by_wallet=access.actor.wallet_id,
                by_key=access.actor.key_id,
                ordered_at=books.clock.now(),
            )
            .on_conflict_do_nothing()
        )
    order = RefundOrder(refund_id, merchant, payment_id, amount)
    return await refund_payment(books.ledger, books.directory, order)


async def _is_of_till(books: MerchantBooks, till_id: UUID, payment: Payment) -> bool:
    if payment.reference is None or payment.reference == till_id:
        return payment.reference is not None
    async with books.database.session() as session:
        invoice = await session.get(InvoiceRow, payment.reference)
    # Else whoever may charge could invent an invoice for what was paid long ago, and refund it.
    return (
        invoice is not None
        and invoice.till_id == till_id
        and payment.created_at_ns >= counts_from_ns(invoice)
    )
