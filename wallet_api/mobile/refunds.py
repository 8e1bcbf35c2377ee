"""Refunds: give a payment back, all or in part, and see what was given back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import AMOUNTS, OF_A_WALLET, OF_THE_LEDGER, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    HandleText,
    IdText,
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
from wallets.refund_errors import RefundCode
from wallets.refunds import (
    LISTED_MAX,
    Refund,
    RefundOrder,
    refund_by_id,
    refund_payment,
    refunds_of_payment,
)

router = APIRouter(tags=["payments"])

LINE_BYTES: Final = 320
"""Longest refund of the list."""

_REFUND = {
    "id": "019ab0c4-8c40-7e33-9f4d-5b8c2e3d4f60",
    "payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
    "by": "@ko_ko",
    "to": "@aye_aye",
    "asset": "USDT",
    "amount": "5.000000",
    "created_at": "2026-11-23T15:05:09.123456Z",
}

PaymentPath = Annotated[str, id_in_path("The payment's id.")]


class RefundRequest(Asked):
    """Give back."""

    id: IdText
    amount: Annotated[AmountText, Field(description="All refunds together are at most what was paid.")]


class RefundAnswer(Answer):
    """A refund that has happened; it never changes."""

    model_config = shown(_REFUND)

    id: UUIDText
    payment_id: UUIDText
    by: Annotated[HandleText, Field(description="Who was paid, and gives back.")]
    to: Annotated[HandleText, Field(description="Who had paid.")]
    asset: AssetText
    amount: AmountAnswer
    created_at: TimeAnswer


class RefundsAnswer(Answer):
    """What was given back of a payment."""

    model_config = shown({"asset": "USDT", "refunded": "5.000000", "refunds": [_REFUND]})

    asset: AssetText
    refunded: Annotated[AmountAnswer, Field(description="In all.")]
    refunds: Annotated[list[RefundAnswer], Field(description="The newest first, a hundred at most.")]


@router.post(
    "/payments/{payment_id}/refunds",
    status_code=201,
    response_model=RefundAnswer,
    summary="Give a payment back",
    description="By the payee, all or in part, as often as something is left; free of charge, and the "
    "payment's fee is not given back. The same id with the same content gives the first answer, with the "
    "header Idempotency-Replayed; with other content the field that differs is named.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.PAYMENT_NOT_FOUND,
        RefundCode.REFUND_NOT_BY_PAYEE,
        WalletCode.AMOUNT_NOT_POSITIVE,
        WalletCode.PAYMENT_ID_TAKEN,
        WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
        RefundCode.REFUND_EXCEEDS_PAYMENT,
        WalletCode.PAYMENT_ALREADY_REFUSED,
        WalletCode.WALLET_CLOSED,
        WalletCode.PAYEE_BALANCE_FULL,
        WalletCode.INSUFFICIENT_FUNDS,
    ),
    openapi_extra=asks(RefundRequest, example={"id": _REFUND["id"], "amount": "5.00"}),
)
async def give_back(request: Request, payment_id: PaymentPath) -> Response:
    """Give a payment back from the caller's wallet."""
    connections = connections_of(request)
    payee = await wallet_of(request)
    asked = read(RefundRequest, await request.body())
    order = RefundOrder(parse_id(asked.id), payee, parse_id(payment_id), asked.amount)
    done = await refund_payment(connections.ledger, connections.wallets, order)
    return answered(refund_answer(done.refund), status=201, replayed=done.replayed)


@router.get(
    "/payments/{payment_id}/refunds",
    response_model=RefundsAnswer,
    summary="What was given back of a payment",
    description="Only payer and payee see it.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, WalletCode.PAYMENT_NOT_FOUND),
    openapi_extra=signed(),
)
async def refunds_of(request: Request, payment_id: PaymentPath) -> Response:
    """What was given back of a payment of the caller."""
    pad_list(request, lines_max=LISTED_MAX, line_bytes=LINE_BYTES)
    connections = connections_of(request)
    wallet = await wallet_of(request)
    found = await refunds_of_payment(
        connections.ledger, connections.wallets, wallet=wallet, payment_id=parse_id(payment_id)
    )
    return answered(
        RefundsAnswer(
            asset=found.refunded.asset.code,
            refunded=found.refunded.format(),
            refunds=[refund_answer(each) for each in found.refunds],
        )
    )


@router.get(
    "/refunds/{refund_id}",
    response_model=RefundAnswer,
    summary="A refund",
    description="Settles every doubt: found means that it happened, refund_not_found that it did not.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, RefundCode.REFUND_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_refund(request: Request, refund_id: Annotated[str, id_in_path("The refund's id.")]) -> Response:
    """A refund that the caller gave or got."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    found = await refund_by_id(
        connections.ledger, connections.wallets, wallet=wallet, refund_id=parse_id(refund_id)
    )
    return answered(refund_answer(found))


def refund_answer(refund: Refund) -> RefundAnswer:
    """A refund as an answer shows it."""
    payment = refund.payment
    return RefundAnswer(
        id=str(refund.id),
        payment_id=str(payment.id),
        by=handle_text(payment.payee.handle_at(refund.created_at_ns)),
        to=handle_text(payment.payer.handle_at(refund.created_at_ns)),
        asset=refund.amount.asset.code,
        amount=refund.amount.format(),
        created_at=time_text(refund.created_at_ns),
    )
