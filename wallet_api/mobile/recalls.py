"""Recalls: ask for a payment back, see who asks, give it back or say no, take the question back."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
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
from wallets.recall_decisions import agree_to_recall, decline_recall, withdraw_recall
from wallets.recall_errors import RecallCode
from wallets.recall_orders import RecallOrder, recall_payment
from wallets.recalls import PAGE_MAX, Recall, RecallRole, RecallState, list_recalls, recall_by_id

router = APIRouter(tags=["payments"])

LINE_BYTES: Final = 640
"""Longest line of the list."""

RECALL_SHOWN: Final[dict[str, Any]] = {
    "id": "019ab0c4-9d51-7f44-8a5e-6c9d3f4e5a71",
    "payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
    "state": "open",
    "payer": "@aye_aye",
    "payee": "@ko_ko",
    "asset": "USDT",
    "amount": "20.000000",
    "created_at": "2026-11-23T15:05:09.123456Z",
    "answer_until": "2026-11-26T15:05:09.123456Z",
    "expires_at": "2026-12-07T15:05:09.123456Z",
    "declined_at": None,
    "closed_at": None,
}
"""The example of a recall."""

PaymentPath = Annotated[str, id_in_path("The payment's id.")]
RecallPath = Annotated[str, id_in_path("The recall's id.")]

_SEEN = (OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, RecallCode.RECALL_NOT_FOUND)
_DECIDED = (*_SEEN, RecallCode.RECALL_NOT_OPEN)


class RecallRequest(Asked):
    """Ask for a payment back."""

    id: IdText


class RecallAnswer(Answer):
    """A recall as it stands now; money is held while it is open or disputed, any other state is final."""

    model_config = shown(RECALL_SHOWN)

    id: UUIDText
    payment_id: UUIDText
    state: RecallState
    payer: Annotated[HandleText, Field(description="Who has paid, and asks.")]
    payee: Annotated[HandleText, Field(description="Who was paid, and is asked.")]
    asset: AssetText
    amount: Annotated[
        AmountAnswer,
        Field(description="What was held: as much of the payment as was neither given back nor spent."),
    ]
    created_at: TimeAnswer
    answer_until: Annotated[
        TimeAnswer, Field(description="From then on officers may decide, whether or not the payee answers.")
    ]
    expires_at: Annotated[TimeAnswer, Field(description="From then on nothing is held.")]
    declined_at: Annotated[TimeAnswer | None, Field(description="When the payee said no.")]
    closed_at: Annotated[TimeAnswer | None, Field(description="When it was decided, or its time was over.")]


class RecallsQuery(Asked):
    """Which recalls."""

    role: Annotated[RecallRole, Field(strict=False, description="On which side the caller is.")]
    state: Annotated[RecallState | None, Field(strict=False, description="All if left out.")] = None
    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class RecallsAnswer(Answer):
    """A page of recalls, newest first; it may be shorter than was asked though another one follows."""

    model_config = shown({"recalls": [RECALL_SHOWN], "next_before": None})

    recalls: list[RecallAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Null: this was the last page.")]


@router.post(
    "/payments/{payment_id}/recall",
    status_code=201,
    response_model=RecallAnswer,
    summary="Ask for a payment back",
    description="By the payer, once for a payment, for a day after it. What the payee has of it is held at "
    "once, as an amount that is not available to them; it moves only when they agree, or two officers say "
    "so. The same id for the same payment gives the recall as it stands, and Idempotency-Replayed.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.PAYMENT_NOT_FOUND,
        RecallCode.RECALL_NOT_BY_PAYER,
        RecallCode.RECALL_ID_TAKEN,
        RecallCode.PAYMENT_ALREADY_RECALLED,
        RecallCode.RECALL_TOO_LATE,
        RecallCode.TOO_MANY_OPEN_RECALLS,
        RecallCode.NOTHING_TO_RECALL,
        RecallCode.RECALL_CONTESTED,
        WalletCode.WALLET_CLOSED,
        WalletCode.PAYEE_BALANCE_FULL,
    ),
    openapi_extra=asks(RecallRequest, example={"id": RECALL_SHOWN["id"]}),
)
async def recall(request: Request, payment_id: PaymentPath) -> Response:
    """Ask for a payment of the caller back."""
    payer = await wallet_of(request)
    asked = read(RecallRequest, await request.body())
    order = RecallOrder(parse_id(asked.id), payer, parse_id(payment_id))
    done = await recall_payment(connections_of(request).recall_books(), order)
    return answered(recall_answer(done.recall), status=201, replayed=done.replayed)


@router.get(
    "/recalls",
    response_model=RecallsAnswer,
    summary="Recalls",
    description="Payments that the caller asks back, or that the caller is asked to give back.",
    responses=problems(*_SEEN),
    openapi_extra=signed(),
)
async def own_recalls(request: Request, query: Annotated[RecallsQuery, Query()]) -> Response:
    """The caller's recalls."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    page = await list_recalls(
        connections_of(request).recall_books(),
        wallet=wallet,
        role=query.role,
        state=query.state,
        before=parse_id(query.before) if query.before is not None else None,
        limit=query.limit,
    )
    return answered(
        RecallsAnswer(
            recalls=[recall_answer(each) for each in page.recalls],
            next_before=str(page.next_before) if page.next_before is not None else None,
        )
    )


@router.get(
    "/recalls/{recall_id}",
    response_model=RecallAnswer,
    summary="A recall",
    description="Only who has paid and who was paid see it.",
    responses=problems(*_SEEN),
    openapi_extra=signed(),
)
async def own_recall(request: Request, recall_id: RecallPath) -> Response:
    """A recall of the caller."""
    wallet = await wallet_of(request)
    books = connections_of(request).recall_books()
    return answered(recall_answer(await recall_by_id(books, wallet=wallet, recall_id=parse_id(recall_id))))


@router.post(
    "/recalls/{recall_id}/agree",
    response_model=RecallAnswer,
    summary="Give back what is asked back",
    description="By the payee, also after declining; without a body. What is held goes to the payer, free of "
    "charge and outside the payee's limits.",
    responses=problems(*_DECIDED, WalletCode.WALLET_CLOSED),
    openapi_extra=signed(),
)
async def agree(request: Request, recall_id: RecallPath) -> Response:
    """Give back what is held."""
    payee = await wallet_of(request)
    books = connections_of(request).recall_books()
    done = await agree_to_recall(books, payee=payee, recall_id=parse_id(recall_id))
    return answered(recall_answer(done.recall), replayed=done.replayed)


@router.post(
    "/recalls/{recall_id}/decline",
    response_model=RecallAnswer,
    summary="Say no to a recall",
    description="By the payee; without a body. The amount stays held, and two officers decide; if they do "
    "not, the payee has it again when it expires.",
    responses=problems(*_DECIDED),
    openapi_extra=signed(),
)
async def say_no(request: Request, recall_id: RecallPath) -> Response:
    """Say no."""
    payee = await wallet_of(request)
    books = connections_of(request).recall_books()
    done = await decline_recall(books, payee=payee, recall_id=parse_id(recall_id))
    return answered(recall_answer(done.recall), replayed=done.replayed)


@router.post(
    "/recalls/{recall_id}/withdraw",
    response_model=RecallAnswer,
    summary="Take a recall back",
    description="By the payer, for good; without a body. The payee has the amount again at once.",
    responses=problems(*_DECIDED, WalletCode.WALLET_CLOSED),
    openapi_extra=signed(),
)
async def take_back(request: Request, recall_id: RecallPath) -> Response:
    """Leave it to the payee."""
    payer = await wallet_of(request)
    books = connections_of(request).recall_books()
    done = await withdraw_recall(books, payer=payer, recall_id=parse_id(recall_id))
    return answered(recall_answer(done.recall), replayed=done.replayed)


def recall_answer(made: Recall) -> RecallAnswer:
    """A recall as it is written in answers."""
    return RecallAnswer(
        id=str(made.id),
        payment_id=str(made.payment_id),
        state=made.state,
        payer=handle_text(made.payer.handle),
        payee=handle_text(made.payee.handle),
        asset=made.amount.asset.code,
        amount=made.amount.format(),
        created_at=instant_text(made.created_at),
        answer_until=instant_text(made.answer_until),
        expires_at=instant_text(made.expires_at),
        declined_at=instant_text(made.declined_at) if made.declined_at is not None else None,
        closed_at=instant_text(made.closed_at) if made.closed_at is not None else None,
    )
