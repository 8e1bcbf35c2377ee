"""Refunds at a till: by whoever has the right, of what was paid there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from foundation.ids import parse_id
from wallet_api.connections import connections_of
from wallet_api.merchant.access import BY_KEY, till_by_any
from wallet_api.merchant.tills import TillPath
from wallet_api.mobile.refunds import RefundAnswer, RefundRequest, refund_answer
from wallet_api.operations import AMOUNTS, OF_THE_LEDGER, WITH_BODY, asks, problems
from wallet_api.wire import answered, id_in_path, read
from wallets.errors import WalletCode
from wallets.refund_errors import RefundCode
from wallets.till_refunds import refund_at_till

router = APIRouter(tags=["merchants"], prefix="/merchant/tills/{till_id}")


@router.post(
    "/payments/{payment_id}/refunds",
    status_code=201,
    response_model=RefundAnswer,
    summary="Give back what was paid at a till",
    description="By a device or a key with the right to refund; a payment that was not made at this till "
    "is refused as one that does not exist. All else is as of any refund.",
    responses=problems(
        BY_KEY,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.PAYMENT_NOT_FOUND,
        WalletCode.AMOUNT_NOT_POSITIVE,
        WalletCode.PAYMENT_ID_TAKEN,
        WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
        RefundCode.REFUND_EXCEEDS_PAYMENT,
        WalletCode.PAYMENT_ALREADY_REFUSED,
        WalletCode.WALLET_CLOSED,
        WalletCode.PAYEE_BALANCE_FULL,
        WalletCode.INSUFFICIENT_FUNDS,
    ),
    openapi_extra=asks(
        RefundRequest,
        example={"id": "019ab0c4-8c40-7e33-9f4d-5b8c2e3d4f60", "amount": "5.00"},
        or_key=True,
    ),
)
async def give_back_at_till(
    request: Request, till_id: TillPath, payment_id: Annotated[str, id_in_path("The payment's id.")]
) -> Response:
    """Give back a payment of a till."""
    access = await till_by_any(request, till_id)
    asked = read(RefundRequest, await request.body())
    done = await refund_at_till(
        connections_of(request).merchant_books(),
        access,
        refund_id=parse_id(asked.id),
        payment_id=parse_id(payment_id),
        amount=asked.amount,
    )
    return answered(refund_answer(done.refund), status=201, replayed=done.replayed)
