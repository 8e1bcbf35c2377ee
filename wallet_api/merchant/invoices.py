"""Invoices of a till: make one, and see whether it was paid."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.ids import parse_id
from wallet_api.connections import connections_of
from wallet_api.hosts import base_url
from wallet_api.merchant.access import BY_KEY, till_by_any
from wallet_api.merchant.tills import TillPath
from wallet_api.operations import AMOUNTS, OF_THE_LEDGER, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    IdText,
    NoteText,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
    time_text,
)
from wallets.errors import WalletCode
from wallets.invoices import (
    OTHERS_MAX,
    PAGE_MAX,
    SECONDS_MAX,
    SECONDS_MIN,
    Invoice,
    InvoiceOrder,
    InvoiceState,
    TillPayment,
    invoice_by_id,
    invoice_code,
    list_invoices,
    make_invoice,
)
from wallets.merchant_errors import MerchantCode
from wallets.payment_codes import link, qr_text, uri

router = APIRouter(tags=["merchants"], prefix="/merchant/tills/{till_id}/invoices")

INVOICE_BYTES: Final = 4096
"""Longest invoice: a memo in any script, and ``OTHERS_MAX`` payments beside the one that paid it."""

_PAYMENT = {
    "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
    "amount": "25.000000",
    "created_at": "2026-11-23T14:09:11.000321Z",
}
_INVOICE = {
    "id": "019ab0c4-c1c1-7c11-9d2b-3f6f0c1d2e4a",
    "till_id": "019ab0c4-a1b2-7c11-9d2b-3f6f0c1d2e4a",
    "state": "paid",
    "asset": "USDT",
    "amount": "25.000000",
    "memo": "Table 4",
    "created_at": "2026-11-23T14:05:09.123456Z",
    "expires_at": "2026-11-24T14:05:09.000000Z",
    "payment": _PAYMENT,
    "other_payments": [],
    "qr_text": "NUGPAY:1FWVW6X3LN4AQDGVQYSULE7AR…",
    "uri": "nugpay:1FWVW6X3LN4AQDGVQYSULE7AR…",
    "link": "https://api.example.org/p/1FWVW6X3LN4AQDGVQYSULE7AR…",
}


class InvoiceRequest(Asked):
    """What is due."""

    id: IdText
    amount: Annotated[AmountText, Field(description="Of the till's asset; the payer's fee comes on top.")]
    expires_in_seconds: Annotated[
        int, Field(ge=SECONDS_MIN, le=SECONDS_MAX, description="A day if left out.")
    ] = 86_400
    memo: Annotated[NoteText, Field(description="The business' own note; payers do not see it.")] = ""


class InvoicesQuery(Asked):
    """Which invoices."""

    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False)] = 20


class TillPaymentAnswer(Answer):
    """A payment that names the invoice."""

    model_config = shown(_PAYMENT)

    id: UUIDText
    amount: AmountAnswer
    created_at: TimeAnswer


class InvoiceAnswer(Answer):
    """An invoice as it stands now; any state but open is final."""

    model_config = shown(_INVOICE)

    id: UUIDText
    till_id: UUIDText
    state: InvoiceState
    asset: AssetText
    amount: AmountAnswer
    memo: str
    created_at: TimeAnswer
    expires_at: TimeAnswer
    payment: Annotated[TillPaymentAnswer | None, Field(description="Once paid: the payment that did it.")]
    other_payments: Annotated[
        list[TillPaymentAnswer],
        Field(
            description="Of another amount, a second time, or up to 30 days late: the newest first, "
            f"{OTHERS_MAX} at most. Give them back, or not."
        ),
    ]
    qr_text: Annotated[str, Field(description="The code that pays it, for a QR code.")]
    uri: str
    link: str


class InvoicesAnswer(Answer):
    """A page of invoices, newest first."""

    model_config = shown({"invoices": [_INVOICE], "next_before": None})

    invoices: list[InvoiceAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Asks for the next page; null at the end.")]


@router.post(
    "",
    status_code=201,
    response_model=InvoiceAnswer,
    summary="Make an invoice",
    description="By a device or a key with the right to charge. Show its code; the first payment with the "
    "invoice's id as reference, of exactly the amount and in time, pays it. The same id with the same "
    "content gives the invoice as it stands, with the header Idempotency-Replayed.",
    responses=problems(
        BY_KEY,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.AMOUNT_NOT_POSITIVE,
        MerchantCode.MERCHANT_ID_TAKEN,
    ),
    openapi_extra=asks(
        InvoiceRequest,
        example={"id": _INVOICE["id"], "amount": "25.00", "memo": "Table 4"},
        or_key=True,
    ),
)
async def invoice(request: Request, till_id: TillPath) -> Response:
    """Make an invoice at a till."""
    access = await till_by_any(request, till_id)
    asked = read(InvoiceRequest, await request.body())
    order = InvoiceOrder(parse_id(asked.id), asked.amount, asked.expires_in_seconds, asked.memo)
    made = await make_invoice(connections_of(request).merchant_books(), access, order)
    return answered(_answer(request, made.invoice), status=201, replayed=made.replayed)


@router.get(
    "",
    response_model=InvoicesAnswer,
    summary="Invoices of a till",
    responses=problems(BY_KEY, OF_THE_LEDGER, MerchantCode.INVOICE_NOT_FOUND),
    openapi_extra=signed(or_key=True),
)
async def invoices(request: Request, till_id: TillPath, query: Annotated[InvoicesQuery, Query()]) -> Response:
    """A page of a till's invoices."""
    pad_list(request, lines_max=query.limit, line_bytes=INVOICE_BYTES)
    access = await till_by_any(request, till_id)
    page = await list_invoices(
        connections_of(request).merchant_books(),
        access,
        before=parse_id(query.before) if query.before is not None else None,
        limit=query.limit,
    )
    return answered(
        InvoicesAnswer(
            invoices=[_answer(request, each) for each in page.invoices],
            next_before=str(page.next_before) if page.next_before is not None else None,
        )
    )


@router.get(
    "/{invoice_id}",
    response_model=InvoiceAnswer,
    summary="An invoice",
    description="Whether it was paid is read from the ledger each time.",
    responses=problems(BY_KEY, OF_THE_LEDGER, MerchantCode.INVOICE_NOT_FOUND),
    openapi_extra=signed(or_key=True),
)
async def one_invoice(
    request: Request, till_id: TillPath, invoice_id: Annotated[str, id_in_path("The invoice's id.")]
) -> Response:
    """An invoice of a till."""
    pad_list(request, lines_max=1, line_bytes=INVOICE_BYTES)
    access = await till_by_any(request, till_id)
    books = connections_of(request).merchant_books()
    return answered(_answer(request, await invoice_by_id(books, access, invoice_id=parse_id(invoice_id))))


def _answer(request: Request, invoice: Invoice) -> InvoiceAnswer:
    code = invoice_code(connections_of(request).merchant_books(), invoice)
    return InvoiceAnswer(
        id=str(invoice.id),
        till_id=str(invoice.till.id),
        state=invoice.state,
        asset=invoice.amount.asset.code,
        amount=invoice.amount.format(),
        memo=invoice.memo,
        created_at=instant_text(invoice.created_at),
        expires_at=instant_text(invoice.expires_at),
        payment=_payment(invoice.payment) if invoice.payment is not None else None,
        other_payments=[_payment(each) for each in invoice.others],
        qr_text=qr_text(code),
        uri=uri(code),
        link=link(code, base_url(request.scope, connections_of(request).settings)),
    )


def _payment(payment: TillPayment) -> TillPaymentAnswer:
    return TillPaymentAnswer(
        id=str(payment.id), amount=payment.amount.format(), created_at=time_text(payment.at_ns)
    )
