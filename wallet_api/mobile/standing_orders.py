"""Standing orders: pay somebody on days to come, see what became of it, confirm, cancel."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from foundation.money import Money
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
    instant_text,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.recurrence import Recurrence, Repeats
from wallets.request_errors import AskingCode
from wallets.standing_errors import StandingCode
from wallets.standing_making import TIMES_MAX, StandingRequest, make_standing_order
from wallets.standing_orders import (
    PAGE_MAX,
    StandingOrder,
    StandingPayment,
    StandingState,
    cancel_standing_order,
    confirm_standing_order,
    list_standing_orders,
    list_standing_payments,
    standing_order_by_id,
)

router = APIRouter(tags=["payments"], prefix="/standing_orders")

LINE_BYTES: Final = 768
"""Longest line of the list of orders."""

PAYMENT_BYTES: Final = 256
"""Longest line of the list of an order's payments."""

_ORDER: Final[dict[str, Any]] = {
    "id": "019ab0c4-af62-7155-9b6f-7dae405f6b82",
    "state": "active",
    "payee": "@ko_ko",
    "asset": "USDT",
    "amount": "25.000000",
    "fee_max": None,
    "reference": None,
    "first_on": "2026-11-30",
    "repeats": "monthly",
    "until": None,
    "times": 12,
    "next_on": "2026-11-30",
    "last_code": None,
    "created_at": "2026-11-23T14:05:09.123456Z",
}
_PAYMENT: Final[dict[str, Any]] = {
    "number": 0,
    "on": "2026-11-30",
    "payment_id": "6a2e9d2b-3f6f-8c11-8d2e-4a0c4019ab0c",
    "code": None,
    "settled_at": "2026-11-30T00:00:02.123456Z",
}

OrderPath = Annotated[str, id_in_path("The standing order's id.")]

DayText = Annotated[
    str,
    Field(
        min_length=10,
        max_length=10,
        description="A day in UTC, as 2026-11-30.",
        examples=["2026-11-30"],
        json_schema_extra={"pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-([01][0-9]|2[0-8])$"},
    ),
]
"""A day."""

_SEEN = (OF_A_WALLET, FoundationCode.ID_MALFORMED, StandingCode.STANDING_ORDER_NOT_FOUND)


class StandingOrderRequest(Asked):
    """Pay somebody on days to come."""

    id: IdText
    payee: HandleText
    asset: AssetText
    amount: Annotated[AmountText, Field(description="What the payee gets each time; the fee comes on top.")]
    first_on: DayText
    repeats: Annotated[Repeats, Field(strict=False, description="How often from the first day on.")] = (
        Repeats.ONCE
    )
    until: Annotated[DayText | None, Field(description="The last day; not together with times.")] = None
    times: Annotated[int | None, Field(ge=1, le=TIMES_MAX, description="How often at most.")] = None
    fee_max: Annotated[AmountText | None, Field(description="A payment with a higher fee is not made.")] = (
        None
    )
    reference: Annotated[
        UUIDText | None, Field(description="Stands on every payment; both parties see it.")
    ] = None


class StandingOrderAnswer(Answer):
    """A standing order as it stands now."""

    model_config = shown(_ORDER)

    id: UUIDText
    state: StandingState
    payee: HandleText
    asset: AssetText
    amount: AmountAnswer
    fee_max: AmountAnswer | None
    reference: UUIDText | None
    first_on: DayText
    repeats: Repeats
    until: DayText | None
    times: int | None
    next_on: Annotated[DayText | None, Field(description="Null: nothing more is paid.")]
    last_code: Annotated[
        str | None, Field(description="Why the last attempt of today was refused; it is tried again.")
    ]
    created_at: TimeAnswer


class StandingOrdersQuery(Asked):
    """Which page."""

    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class StandingOrdersAnswer(Answer):
    """A page of standing orders, newest first."""

    model_config = shown({"orders": [_ORDER], "next_before": None})

    orders: list[StandingOrderAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Null: this was the last page.")]


class StandingPaymentAnswer(Answer):
    """What became of one day's payment: it was paid, or missed."""

    model_config = shown(_PAYMENT)

    number: Annotated[int, Field(description="Counted from 0.")]
    on: DayText
    payment_id: Annotated[UUIDText | None, Field(description="The payment; null: it was missed.")]
    code: Annotated[str | None, Field(description="Why it was missed: the code of the last refusal.")]
    settled_at: TimeAnswer


class StandingPaymentsQuery(Asked):
    """Which page."""

    before: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, strict=False, description="next_before of the page before.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class StandingPaymentsAnswer(Answer):
    """A page of an order's payments that are settled, newest first."""

    model_config = shown({"payments": [_PAYMENT], "next_before": None})

    payments: list[StandingPaymentAnswer]
    next_before: Annotated[int | None, Field(description="Null: this was the last page.")]


@router.post(
    "",
    status_code=201,
    response_model=StandingOrderAnswer,
    summary="Pay somebody on days to come",
    description="Nothing moves now. On each day, in UTC, the bank pays once, as the caller would; what is "
    "refused is tried again each hour of that day and then missed. The same id with the same content gives "
    "the order as it stands, with the header Idempotency-Replayed; with other content the field is named.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.AMOUNT_NOT_POSITIVE,
        WalletCode.HANDLE_MALFORMED,
        StandingCode.STANDING_ORDER_DAYS_WRONG,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.PAYEE_UNKNOWN,
        WalletCode.PAYEE_IS_PAYER,
        StandingCode.STANDING_ORDER_ID_TAKEN,
        StandingCode.STANDING_ORDER_ID_USED_DIFFERENTLY,
        StandingCode.TOO_MANY_STANDING_ORDERS,
    ),
    openapi_extra=asks(
        StandingOrderRequest,
        example={
            "id": _ORDER["id"],
            "payee": "@ko_ko",
            "asset": "USDT",
            "amount": "25.00",
            "first_on": "2026-11-30",
            "repeats": "monthly",
            "times": 12,
        },
    ),
)
async def order_standing(request: Request) -> Response:
    """Pay somebody on days to come from the caller's wallet."""
    connections = connections_of(request)
    payer = await wallet_of(request)
    asked = read(StandingOrderRequest, await request.body())
    asset = asset_by_code(asked.asset)
    made = await make_standing_order(
        connections.standing_books(),
        connections.lookups,
        StandingRequest(
            id=parse_id(asked.id),
            payer=payer,
            payee_handle=asked.payee,
            amount=Money.parse(asked.amount, asset),
            days=Recurrence(
                _day("first_on", asked.first_on),
                asked.repeats,
                _day("until", asked.until) if asked.until is not None else None,
                asked.times,
            ),
            fee_max=Money.parse(asked.fee_max, asset) if asked.fee_max is not None else None,
            reference=parse_id(asked.reference) if asked.reference is not None else None,
        ),
    )
    return answered(_answer(made.order), status=201, replayed=made.replayed)


@router.get(
    "",
    response_model=StandingOrdersAnswer,
    summary="Standing orders",
    description="The caller's own, those that are over as well.",
    responses=problems(*_SEEN),
    openapi_extra=signed(),
)
async def own_standing_orders(request: Request, query: Annotated[StandingOrdersQuery, Query()]) -> Response:
    """The caller's standing orders."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    orders, following = await list_standing_orders(
        connections_of(request).standing_books(),
        wallet=wallet,
        before=parse_id(query.before) if query.before is not None else None,
        limit=query.limit,
    )
    return answered(
        StandingOrdersAnswer(
            orders=[_answer(each) for each in orders],
            next_before=str(following) if following is not None else None,
        )
    )


@router.get(
    "/{order_id}",
    response_model=StandingOrderAnswer,
    summary="A standing order",
    description="Only who pays sees it.",
    responses=problems(*_SEEN),
    openapi_extra=signed(),
)
async def own_standing_order(request: Request, order_id: OrderPath) -> Response:
    """A standing order of the caller."""
    wallet = await wallet_of(request)
    books = connections_of(request).standing_books()
    return answered(_answer(await standing_order_by_id(books, wallet=wallet, order_id=parse_id(order_id))))


@router.get(
    "/{order_id}/payments",
    response_model=StandingPaymentsAnswer,
    summary="What became of a standing order's payments",
    description="Those that are settled: paid, or missed with the code of the last refusal.",
    responses=problems(*_SEEN),
    openapi_extra=signed(),
)
async def standing_payments(
    request: Request, order_id: OrderPath, query: Annotated[StandingPaymentsQuery, Query()]
) -> Response:
    """What became of an order's payments."""
    pad_list(request, lines_max=query.limit, line_bytes=PAYMENT_BYTES)
    wallet = await wallet_of(request)
    found, following = await list_standing_payments(
        connections_of(request).standing_books(),
        wallet=wallet,
        order_id=parse_id(order_id),
        before=query.before,
        limit=query.limit,
    )
    return answered(
        StandingPaymentsAnswer(payments=[_payment(each) for each in found], next_before=following)
    )


@router.post(
    "/{order_id}/cancel",
    response_model=StandingOrderAnswer,
    summary="Cancel a standing order",
    description="For good; without a body. Nothing of it is paid after the answer.",
    responses=problems(*_SEEN, OF_THE_LEDGER, StandingCode.STANDING_ORDER_OVER),
    openapi_extra=signed(),
)
async def cancel_standing(request: Request, order_id: OrderPath) -> Response:
    """Pay nothing more of it."""
    wallet = await wallet_of(request)
    books = connections_of(request).standing_books()
    done = await cancel_standing_order(books, wallet=wallet, order_id=parse_id(order_id))
    return answered(_answer(done.order), replayed=done.replayed)


@router.post(
    "/{order_id}/confirm",
    response_model=StandingOrderAnswer,
    summary="Confirm a standing order",
    description="Without a body. Revoking a device pauses all orders of its person until each is confirmed.",
    responses=problems(*_SEEN, StandingCode.STANDING_ORDER_OVER),
    openapi_extra=signed(),
)
async def confirm_standing(request: Request, order_id: OrderPath) -> Response:
    """Say that it is wanted."""
    wallet = await wallet_of(request)
    books = connections_of(request).standing_books()
    done = await confirm_standing_order(books, wallet=wallet, order_id=parse_id(order_id))
    return answered(_answer(done.order))


def _day(field: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # ISO 8601 has other ways to write a day, and this API has one.
    if day is None or day.isoformat() != text:
        raise Refusal(
            StandingCode.STANDING_ORDER_DAYS_WRONG, f"{field} is no day as 2026-11-30.", field=field
        )
    return day


def _answer(order: StandingOrder) -> StandingOrderAnswer:
    days = order.days
    return StandingOrderAnswer(
        id=str(order.id),
        state=order.state,
        payee=handle_text(order.payee.handle),
        asset=order.amount.asset.code,
        amount=order.amount.format(),
        fee_max=order.fee_max.format() if order.fee_max is not None else None,
        reference=str(order.reference) if order.reference is not None else None,
        first_on=days.first_on.isoformat(),
        repeats=days.repeats,
        until=days.until.isoformat() if days.until is not None else None,
        times=days.times,
        next_on=order.next_on.isoformat() if order.next_on is not None else None,
        last_code=order.last_code,
        created_at=instant_text(order.created_at),
    )


def _payment(made: StandingPayment) -> StandingPaymentAnswer:
    return StandingPaymentAnswer(
        number=made.number,
        on=made.on_day.isoformat(),
        payment_id=str(made.payment_id) if made.payment_id is not None else None,
        code=made.code,
        settled_at=instant_text(made.settled_at),
    )
