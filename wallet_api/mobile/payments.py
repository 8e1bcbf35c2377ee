"""Payments: pay a handle, ask what a payment came to, and what one would cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from foundation.money import Money
from wallet_api.callers import wallet_of, wallet_read
from wallet_api.connections import connections_of
from wallet_api.gate import body_of
from wallet_api.operations import (
    AMOUNTS,
    OF_A_PAYMENT,
    OF_A_WALLET,
    OF_THE_LEDGER,
    WITH_BODY,
    asks,
    problems,
    signed,
)
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    HandleText,
    IdText,
    MemoAnswer,
    MemoText,
    PassText,
    TimeAnswer,
    UUIDText,
    answered,
    handle_text,
    id_in_path,
    read,
    shown,
    time_text,
)
from wallets.errors import WalletCode
from wallets.memo_errors import MemoCode
from wallets.memos import Memo, parse_memo
from wallets.payee_passes import parse_pass
from wallets.payments import Payment, PaymentOrder, pay, payment_by_id
from wallets.request_errors import AskingCode

router = APIRouter(tags=["payments"])


class PaymentRequest(Asked):
    """Pay somebody."""

    id: IdText
    payee: HandleText
    asset: AssetText
    amount: Annotated[AmountText, Field(description="What the payee gets; the fee comes on top.")]
    fee_max: Annotated[
        AmountText | None, Field(description="The fee agreed to; a higher one is refused.")
    ] = None
    reference: Annotated[
        UUIDText | None,
        Field(description="The payer's own number for what is paid; both parties see it."),
    ] = None
    memo: MemoText | None = None
    payee_pass: PassText | None = None


class PaymentAnswer(Answer):
    """A payment that has happened; it never changes."""

    model_config = shown(
        {
            "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
            "payer": "@aye_aye",
            "payee": "@ko_ko",
            "asset": "USDT",
            "amount": "25.000000",
            "fee": "0.025000",
            "total": "25.025000",
            "reference": None,
            "created_at": "2026-11-23T14:05:09.123456Z",
        }
    )

    id: UUIDText
    payer: HandleText
    payee: HandleText
    asset: AssetText
    amount: Annotated[AmountAnswer, Field(description="What the payee got.")]
    fee: Annotated[AmountAnswer, Field(description="What the payer paid on top.")]
    total: Annotated[AmountAnswer, Field(description="What left the payer's wallet.")]
    reference: UUIDText | None
    created_at: TimeAnswer
    memo: MemoAnswer = None


@router.post(
    "/payments",
    status_code=201,
    response_model=PaymentAnswer,
    summary="Pay",
    description="The same id with the same content gives the first answer, byte for byte, with "
    "the header Idempotency-Replayed; with other content the field that differs is named.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        MemoCode.MEMO_MALFORMED,
        MemoCode.MEMO_FOR_FORMER_HANDLE,
        WalletCode.AMOUNT_NOT_POSITIVE,
        WalletCode.HANDLE_MALFORMED,
        WalletCode.PAYEE_UNKNOWN,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.PAYEE_IS_PAYER,
        OF_A_PAYMENT,
    ),
    openapi_extra=asks(
        PaymentRequest,
        example={
            "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
            "payee": "@ko_ko",
            "asset": "USDT",
            "amount": "25.00",
            "fee_max": "0.03",
        },
    ),
)
async def make_payment(request: Request) -> Response:
    """Pay somebody from the caller's wallet."""
    connections = connections_of(request)
    payer = await wallet_of(request, carries_id=True)
    asked = read(PaymentRequest, body_of(request.scope))
    asset = asset_by_code(asked.asset)
    order = PaymentOrder(
        id=parse_id(asked.id),
        payer=payer,
        payee_handle=asked.payee,
        amount=Money.parse(asked.amount, asset),
        fee_max=Money.parse(asked.fee_max, asset) if asked.fee_max is not None else None,
        reference=parse_id(asked.reference) if asked.reference is not None else None,
        memo=parse_memo(asked.memo) if asked.memo is not None else None,
        payee_pass=parse_pass(asked.payee_pass) if asked.payee_pass is not None else None,
    )
    # Handles are not to be guessed by paying them: only those that nobody has are counted.
    connections.lookups.check(payer.person_id)
    try:
        paid = await pay(
            connections.ledger, connections.wallets, connections.limits, order, connections.memos
        )
    except Refusal as refusal:
        if refusal.code is WalletCode.PAYEE_UNKNOWN:
            await connections.lookups.count(payer.person_id)
        raise
    return answered(payment_answer(paid.payment, order.memo), status=201, replayed=paid.replayed)


@router.get(
    "/payments/{payment_id}",
    response_model=PaymentAnswer,
    summary="A payment",
    description="Settles every doubt: found means that it happened, payment_not_found that it did not. "
    "Only payer and payee see a payment.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, WalletCode.PAYMENT_NOT_FOUND),
    openapi_extra=signed(or_token=True),
)
async def own_payment(
    request: Request,
    payment_id: Annotated[str, id_in_path("The payment's id.")],
) -> Response:
    """A payment of the caller."""
    connections = connections_of(request)
    wallet = await wallet_read(request)
    found = await payment_by_id(
        connections.ledger, connections.wallets, wallet=wallet, payment_id=parse_id(payment_id)
    )
    memos = await connections.memos.of({found.id: found.memo_mark})
    return answered(payment_answer(found, memos.get(found.id)))


def payment_answer(payment: Payment, memo: Memo | None = None) -> PaymentAnswer:
    """A payment as it is answered, to one of its parties."""
    return PaymentAnswer(
        id=str(payment.id),
        payer=handle_text(payment.payer.handle_at(payment.created_at_ns)),
        payee=handle_text(payment.payee.handle_at(payment.created_at_ns)),
        asset=payment.amount.asset.code,
        amount=payment.amount.format(),
        fee=payment.fee.format(),
        total=(payment.amount + payment.fee).format(),
        reference=str(payment.reference) if payment.reference is not None else None,
        created_at=time_text(payment.created_at_ns),
        memo=memo.text if memo is not None else None,
    )
