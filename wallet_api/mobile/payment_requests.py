"""Requests to pay: ask somebody, see who asks, accept, decline or take back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from foundation.money import Money
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.mobile.payments import PaymentAnswer, payment_answer
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
    instant_text,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.payment_request_decisions import accept_request, cancel_request, decline_request
from wallets.payment_request_orders import SECONDS_MAX, SECONDS_MIN, RequestOrder, ask_for_payment
from wallets.payment_requests import (
    PAGE_MAX,
    PaymentRequest,
    RequestRole,
    RequestState,
    list_payment_requests,
    payment_request_by_id,
)
from wallets.request_errors import AskingCode

router = APIRouter(tags=["payments"], prefix="/payment_requests")

LINE_BYTES: Final = 640
"""Longest line of the list."""

RequestPath = Annotated[str, id_in_path("The request's id.")]

REQUEST_SHOWN = {
    "id": "019ab0c4-7b3f-7d22-8e3c-4a7b1d2c3e5f",
    "state": "open",
    "payee": "@ko_ko",
    "payer": "@aye_aye",
    "asset": "USDT",
    "amount": "25.000000",
    "reference": None,
    "payment_id": None,
    "created_at": "2026-11-23T14:05:09.123456Z",
    "expires_at": "2026-11-30T14:05:09.123456Z",
    "closed_at": None,
}
"""The example of a request."""

_DECIDED = (
    OF_A_WALLET,
    OF_THE_LEDGER,
    FoundationCode.ID_MALFORMED,
    AskingCode.PAYMENT_REQUEST_NOT_FOUND,
    AskingCode.PAYMENT_REQUEST_NOT_OPEN,
    AskingCode.PAYMENT_REQUEST_CONTESTED,
)


class RequestToPay(Asked):
    """Ask somebody to pay the caller."""

    id: IdText
    payer: HandleText
    asset: AssetText
    amount: Annotated[AmountText, Field(description="What the caller gets; the payer's fee comes on top.")]
    expires_in_seconds: Annotated[
        int,
        Field(ge=SECONDS_MIN, le=SECONDS_MAX, description="A week if left out."),
    ] = 7 * 86_400
    reference: Annotated[
        UUIDText | None, Field(description="The caller's own number for what is asked; both parties see it.")
    ] = None


class AcceptanceRequest(Asked):
    """Pay a request."""

    payment_id: Annotated[IdText, Field(description="Of the payment: made by the payer's device, and kept.")]
    fee_max: Annotated[
        AmountText | None, Field(description="The fee agreed to; a higher one is refused.")
    ] = None


class RequestAnswer(Answer):
    """A request to pay as it stands now; any state but open is final."""

    model_config = shown(REQUEST_SHOWN)

    id: UUIDText
    state: RequestState
    payee: HandleText
    payer: HandleText
    asset: AssetText
    amount: AmountAnswer
    reference: UUIDText | None
    payment_id: Annotated[
        UUIDText | None, Field(description="Once accepted: the payment, whose reference is the request's id.")
    ]
    created_at: TimeAnswer
    expires_at: TimeAnswer
    closed_at: Annotated[
        TimeAnswer | None, Field(description="When it was declined, cancelled or seen to have expired.")
    ]


class RequestsQuery(Asked):
    """Which requests."""

    role: Annotated[RequestRole, Field(strict=False, description="On which side the caller is.")]
    state: Annotated[RequestState | None, Field(strict=False, description="All if left out.")] = None
    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class RequestsAnswer(Answer):
    """A page of requests, newest first; it may be shorter than was asked though another one follows."""

    model_config = shown({"requests": [REQUEST_SHOWN], "next_before": None})

    requests: list[RequestAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Null: this was the last page.")]


@router.post(
    "",
    status_code=201,
    response_model=RequestAnswer,
    summary="Ask somebody to pay",
    description="Nothing moves until the payer accepts. The same id with the same content gives the request "
    "as it stands, with the header Idempotency-Replayed; with other content the field that differs is named.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.AMOUNT_NOT_POSITIVE,
        AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE,
        WalletCode.HANDLE_MALFORMED,
        AskingCode.TOO_MANY_LOOKUPS,
        AskingCode.PAYER_UNKNOWN,
        AskingCode.PAYER_IS_PAYEE,
        AskingCode.PAYMENT_REQUEST_ID_TAKEN,
        AskingCode.PAYMENT_REQUEST_ID_USED_DIFFERENTLY,
        AskingCode.TOO_MANY_OPEN_REQUESTS,
        AskingCode.TOO_MANY_REQUESTS_TODAY,
    ),
    openapi_extra=asks(
        RequestToPay,
        example={"id": REQUEST_SHOWN["id"], "payer": "@aye_aye", "asset": "USDT", "amount": "25.00"},
    ),
)
async def ask_to_pay(request: Request) -> Response:
    """Ask somebody to pay the caller."""
    connections = connections_of(request)
    payee = await wallet_of(request)
    asked = read(RequestToPay, await request.body())
    order = RequestOrder(
        id=parse_id(asked.id),
        payee=payee,
        payer_handle=asked.payer,
        amount=Money.parse(asked.amount, asset_by_code(asked.asset)),
        seconds=asked.expires_in_seconds,
        reference=parse_id(asked.reference) if asked.reference is not None else None,
    )
    made = await ask_for_payment(connections.request_books(), connections.lookups, order)
    return answered(request_answer(made.request), status=201, replayed=made.replayed)


@router.get(
    "",
    response_model=RequestsAnswer,
    summary="Requests to pay",
    description="Those that ask the caller to pay, or those that the caller made.",
    responses=problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        AskingCode.PAYMENT_REQUEST_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def own_requests(request: Request, query: Annotated[RequestsQuery, Query()]) -> Response:
    """The caller's requests."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    page = await list_payment_requests(
        connections_of(request).request_books(),
        wallet=wallet,
        role=query.role,
        state=query.state,
        before=parse_id(query.before) if query.before is not None else None,
        limit=query.limit,
    )
    return answered(
        RequestsAnswer(
            requests=[request_answer(each) for each in page.requests],
            next_before=str(page.next_before) if page.next_before is not None else None,
        )
    )


@router.get(
    "/{request_id}",
    response_model=RequestAnswer,
    summary="A request to pay",
    description="Only payer and payee see it.",
    responses=problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        AskingCode.PAYMENT_REQUEST_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def own_request(request: Request, request_id: RequestPath) -> Response:
    """A request of the caller."""
    wallet = await wallet_of(request)
    found = await payment_request_by_id(
        connections_of(request).request_books(), wallet=wallet, request_id=parse_id(request_id)
    )
    return answered(request_answer(found))


@router.post(
    "/{request_id}/accept",
    status_code=201,
    response_model=PaymentAnswer,
    summary="Pay a request",
    description="By the payer. The answer is the payment, which GET /v1/payments/{id} finds as well: after a "
    "lost answer ask there, or send the same again. However often and with whatever ids it is accepted, a "
    "request is paid once; after a refusal with new_id_needed a new payment_id tries again.",
    responses=problems(
        *_DECIDED,
        WITH_BODY,
        AMOUNTS,
        WalletCode.PAYMENT_ID_MALFORMED,
        OF_A_PAYMENT,
    ),
    openapi_extra=asks(
        AcceptanceRequest, example={"payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a", "fee_max": "0.03"}
    ),
)
async def accept(request: Request, request_id: RequestPath) -> Response:
    """Pay a request from the caller's wallet."""
    books = connections_of(request).request_books()
    payer = await wallet_of(request)
    asked = read(AcceptanceRequest, await request.body())
    wanted = await payment_request_by_id(books, wallet=payer, request_id=parse_id(request_id))
    asset = wanted.amount.asset
    paid = await accept_request(
        books,
        payer=payer,
        request_id=wanted.id,
        payment_id=parse_id(asked.payment_id),
        fee_max=Money.parse(asked.fee_max, asset) if asked.fee_max is not None else None,
    )
    return answered(payment_answer(paid.payment), status=201, replayed=paid.replayed)


@router.post(
    "/{request_id}/decline",
    response_model=RequestAnswer,
    summary="Decline a request",
    description="By the payer, for good; without a body.",
    responses=problems(*_DECIDED),
    openapi_extra=signed(),
)
async def decline(request: Request, request_id: RequestPath) -> Response:
    """Say no to a request."""
    payer = await wallet_of(request)
    books = connections_of(request).request_books()
    closed = await decline_request(books, payer=payer, request_id=parse_id(request_id))
    return answered(request_answer(closed.request), replayed=closed.replayed)


@router.post(
    "/{request_id}/cancel",
    response_model=RequestAnswer,
    summary="Take a request back",
    description="By the payee, for good; without a body.",
    responses=problems(*_DECIDED),
    openapi_extra=signed(),
)
async def cancel(request: Request, request_id: RequestPath) -> Response:
    """Take a request back."""
    payee = await wallet_of(request)
    books = connections_of(request).request_books()
    closed = await cancel_request(books, payee=payee, request_id=parse_id(request_id))
    return answered(request_answer(closed.request), replayed=closed.replayed)


def request_answer(made: PaymentRequest) -> RequestAnswer:
    """A request as it is written in answers."""
    return RequestAnswer(
        id=str(made.id),
        state=made.state,
        payee=handle_text(made.payee.handle),
        payer=handle_text(made.payer.handle),
        asset=made.amount.asset.code,
        amount=made.amount.format(),
        reference=str(made.reference) if made.reference is not None else None,
        payment_id=str(made.payment_id) if made.payment_id is not None else None,
        created_at=instant_text(made.created_at),
        expires_at=instant_text(made.expires_at),
        closed_at=instant_text(made.closed_at) if made.closed_at is not None else None,
    )
