"""Webhooks: where the own business' server is told what happens at its tills."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
    time_text,
)
from wallets.merchant_errors import MerchantCode
from wallets.merchants import Merchant, merchant_of
from wallets.webhook_events import EventType
from wallets.webhook_targets import URL_LENGTH_MAX
from wallets.webhooks import (
    EVENTS_PAGE_MAX,
    WEBHOOKS_MAX,
    Delivery,
    NewSecret,
    Webhook,
    WebhookEvent,
    end_webhook,
    events_of,
    register_webhook,
    replace_secret,
    resend_event,
    webhooks_of,
)

router = APIRouter(tags=["merchants"], prefix="/merchant")

OF_A_MERCHANT = (*OF_A_WALLET, MerchantCode.MERCHANT_NOT_FOUND)

_WEBHOOK: dict[str, Any] = {
    "id": "019ab0c4-d0d0-7c11-9d2b-3f6f0c1d2e4a",
    "url": "https://shop.example.com/nugpay",
    "created_at": "2026-11-23T14:05:09.123456Z",
    "failing_since": None,
    "disabled_at": None,
}
_EVENT: dict[str, Any] = {
    "id": "8f3c1d2e-4a5b-8c6d-9e7f-a0b1c2d3e4f5",
    "type": "invoice.paid",
    "created_at": "2026-11-23T14:09:11.000321Z",
    "content": {
        "type": "invoice.paid",
        "timestamp": "2026-11-23T14:09:11.000321Z",
        "data": {
            "till_id": "019ab0c4-a1b2-7c11-9d2b-3f6f0c1d2e4a",
            "invoice_id": "019ab0c4-c1c1-7c11-9d2b-3f6f0c1d2e4a",
            "payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
            "refund_id": None,
            "asset": "USDT",
            "amount": "25.000000",
        },
    },
    "deliveries": [
        {
            "webhook_id": "019ab0c4-d0d0-7c11-9d2b-3f6f0c1d2e4a",
            "attempts": 1,
            "next_attempt_at": None,
            "delivered_at": "2026-11-23T14:09:12.123456Z",
            "last_failure": None,
        }
    ],
}

WebhookPath = Annotated[str, id_in_path("The webhook's id.")]


class WebhookRequest(Asked):
    """Where events are sent."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=URL_LENGTH_MAX,
            description="https, a host with public addresses only, no credentials.",
            examples=["https://shop.example.com/nugpay"],
        ),
    ]


class EventsQuery(Asked):
    """Which events."""

    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=EVENTS_PAGE_MAX, strict=False)] = 50


class WebhookAnswer(Answer):
    """An address to which events are sent."""

    model_config = shown(_WEBHOOK)

    id: UUIDText
    url: str
    created_at: TimeAnswer
    failing_since: Annotated[
        TimeAnswer | None, Field(description="Of the first failure after the last success.")
    ]
    disabled_at: Annotated[
        TimeAnswer | None,
        Field(description="It failed for five days, or said 410: nothing is sent until it has a new secret."),
    ]


class NewSecretAnswer(WebhookAnswer):
    """A webhook and its new secret."""

    model_config = shown({**_WEBHOOK, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})

    secret: Annotated[str, Field(description="Signs what is sent. It is shown this once.")]


class WebhooksAnswer(Answer):
    """A business' webhooks."""

    model_config = shown({"webhooks": [_WEBHOOK]})

    webhooks: list[WebhookAnswer]


class DeliveryAnswer(Answer):
    """How far an event is with one webhook."""

    model_config = shown(_EVENT["deliveries"][0])

    webhook_id: UUIDText
    attempts: int
    next_attempt_at: Annotated[TimeAnswer | None, Field(description="Null: delivered, or given up.")]
    delivered_at: TimeAnswer | None
    last_failure: str | None


class EventData(Answer):
    """What happened."""

    model_config = shown(_EVENT["content"]["data"])

    till_id: UUIDText
    invoice_id: Annotated[UUIDText | None, Field(description="Null: paid by the till's own code.")]
    payment_id: UUIDText
    refund_id: UUIDText | None
    asset: str
    amount: str


class EventContent(Answer):
    """An event as it is sent."""

    model_config = shown(_EVENT["content"])

    type: EventType
    timestamp: TimeAnswer
    data: EventData


class EventAnswer(Answer):
    """Something that happened at a till."""

    model_config = shown(_EVENT)

    id: Annotated[UUIDText, Field(description="Sent as webhook-id, the same each time.")]
    type: EventType
    created_at: TimeAnswer
    content: EventContent
    deliveries: list[DeliveryAnswer]


class EventsAnswer(Answer):
    """A page of events, newest first."""

    model_config = shown({"events": [_EVENT], "next_before": None})

    events: list[EventAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Asks for the next page; null at the end.")]


class ResentAnswer(Answer):
    """An event is on its way again."""

    model_config = shown({"id": _EVENT["id"]})

    id: UUIDText


@router.post(
    "/webhooks",
    status_code=201,
    response_model=NewSecretAnswer,
    summary="Have events sent",
    description="To a server of the business: what happens at its tills from now on, at least once each, "
    "signed by the Standard Webhooks specification. The secret is shown this once.",
    responses=problems(
        OF_A_MERCHANT, WITH_BODY, MerchantCode.WEBHOOK_URL_REFUSED, MerchantCode.MERCHANT_LIST_FULL
    ),
    openapi_extra=asks(WebhookRequest, example={"url": _WEBHOOK["url"]}),
)
async def have_events_sent(request: Request) -> Response:
    """Register a webhook of the caller's business."""
    merchant = await _merchant(request)
    asked = read(WebhookRequest, await request.body())
    connections = connections_of(request)
    made = await register_webhook(connections.merchant_books(), connections.targets, merchant, url=asked.url)
    return answered(_secret(made), status=201)


@router.get(
    "/webhooks",
    response_model=WebhooksAnswer,
    summary="Where events are sent",
    responses=problems(OF_A_MERCHANT),
    openapi_extra=signed(),
)
async def own_webhooks(request: Request) -> Response:
    """The webhooks of the caller's business."""
    pad_list(request, lines_max=WEBHOOKS_MAX, line_bytes=800)
    merchant = await _merchant(request)
    found = await webhooks_of(connections_of(request).merchant_books(), merchant)
    return answered(WebhooksAnswer(webhooks=[WebhookAnswer(**_fields(each)) for each in found]))


@router.post(
    "/webhooks/{webhook_id}/secret",
    response_model=NewSecretAnswer,
    summary="Replace a webhook's secret",
    description="For a day the old one signs as well: there are two signatures. Enables a webhook that was "
    "disabled. The secret is shown this once.",
    responses=problems(OF_A_MERCHANT, FoundationCode.ID_MALFORMED, MerchantCode.WEBHOOK_NOT_FOUND),
    openapi_extra=signed(),
)
async def another_secret(request: Request, webhook_id: WebhookPath) -> Response:
    """Give a webhook of the caller's business another secret."""
    merchant = await _merchant(request)
    books = connections_of(request).merchant_books()
    return answered(_secret(await replace_secret(books, merchant, webhook_id=parse_id(webhook_id))))


@router.delete(
    "/webhooks/{webhook_id}",
    response_model=WebhookAnswer,
    summary="Send nothing there any more",
    responses=problems(OF_A_MERCHANT, FoundationCode.ID_MALFORMED, MerchantCode.WEBHOOK_NOT_FOUND),
    openapi_extra=signed(),
)
async def no_more_events(request: Request, webhook_id: WebhookPath) -> Response:
    """End a webhook of the caller's business."""
    merchant = await _merchant(request)
    books = connections_of(request).merchant_books()
    ended = await end_webhook(books, merchant, webhook_id=parse_id(webhook_id))
    return answered(WebhookAnswer(**_fields(ended)))


@router.get(
    "/events",
    response_model=EventsAnswer,
    summary="Events",
    description="What happened at the business' tills since it has a webhook, and how far each event is.",
    responses=problems(OF_A_MERCHANT, FoundationCode.ID_MALFORMED, MerchantCode.WEBHOOK_EVENT_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
    """A page of the events of the caller's business."""
    pad_list(request, lines_max=query.limit, line_bytes=1600)
    merchant = await _merchant(request)
    page = await events_of(
        connections_of(request).merchant_books(),
        merchant,
        before=parse_id(query.before) if query.before is not None else None,
        limit=query.limit,
    )
    return answered(
        EventsAnswer(
            events=[_event(each) for each in page.events],
            next_before=str(page.next_before) if page.next_before is not None else None,
        )
    )


@router.post(
    "/events/{event_id}/resend",
    response_model=ResentAnswer,
    summary="Send an event again",
    description="To every webhook of the business, also to those that have it.",
    responses=problems(OF_A_MERCHANT, FoundationCode.ID_MALFORMED, MerchantCode.WEBHOOK_EVENT_NOT_FOUND),
    openapi_extra=signed(),
)
async def resend(request: Request, event_id: Annotated[str, id_in_path("The event's id.")]) -> Response:
    """Send an event of the caller's business again."""
    merchant = await _merchant(request)
    await resend_event(connections_of(request).merchant_books(), merchant, event_id=parse_id(event_id))
    return answered(ResentAnswer(id=event_id))


async def _merchant(request: Request) -> Merchant:
    wallet = await wallet_of(request)
    return await merchant_of(connections_of(request).merchant_books(), wallet=wallet)


def _fields(webhook: Webhook) -> dict[str, Any]:
    failing, disabled = webhook.failing_since, webhook.disabled_at
    return {
        "id": str(webhook.id),
        "url": webhook.url,
        "created_at": instant_text(webhook.created_at),
        "failing_since": instant_text(failing) if failing is not None else None,
        "disabled_at": instant_text(disabled) if disabled is not None else None,
    }


def _secret(made: NewSecret) -> NewSecretAnswer:
    return NewSecretAnswer(**_fields(made.webhook), secret=made.secret)


def _event(event: WebhookEvent) -> EventAnswer:
    return EventAnswer(
        id=str(event.id),
        type=EventType(event.type),
        created_at=time_text(event.at_ns),
        content=EventContent(**json.loads(event.body)),
        deliveries=[_delivery(each) for each in event.deliveries],
    )


def _delivery(each: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        webhook_id=str(each.webhook_id),
        attempts=each.attempts,
        next_attempt_at=instant_text(each.due_at) if each.due_at is not None else None,
        delivered_at=instant_text(each.delivered_at) if each.delivered_at is not None else None,
        last_failure=each.last_failure,
    )
