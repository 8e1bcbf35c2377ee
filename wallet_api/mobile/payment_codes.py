"""Payment codes: make one for the own wallet, as text or picture; read one before paying it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from foundation.money import Money
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.hosts import base_url
from wallet_api.operations import AMOUNTS, OF_A_WALLET, WITH_BODY, asks, problems
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    HandleText,
    PassText,
    TimeAnswer,
    UUIDText,
    answered,
    handle_text,
    read,
    shown,
    time_text,
)
from wallets.errors import WalletCode
from wallets.payee_passes import pass_text
from wallets.payment_code_pictures import blocks, svg
from wallets.payment_codes import (
    SECONDS_MAX,
    TEXT_LENGTH_MAX,
    PaymentCode,
    check_not_expired,
    link,
    new_payment_code,
    qr_text,
    read_payment_code,
    uri,
)
from wallets.request_errors import AskingCode

router = APIRouter(tags=["payments"], prefix="/payment_codes")

SVG: Final = "image/svg+xml"
TEXT: Final = "text/plain"

_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            SVG: {"schema": {"type": "string"}, "example": "<svg xmlns=…"},
            TEXT: {"schema": {"type": "string"}, "example": "██▀▄▀██"},
        }
    }
}
"""What Accept may ask for instead of JSON."""


class PaymentCodeRequest(Asked):
    """What the code asks for."""

    asset: AssetText
    amount: Annotated[AmountText | None, Field(description="Left out: the payer chooses.")] = None
    expires_in_seconds: Annotated[
        int | None, Field(ge=1, le=SECONDS_MAX, description="Left out: for ever.")
    ] = None
    reference: Annotated[
        UUIDText | None, Field(description="The payee's own number; payments of the code carry it.")
    ] = None


class CodeText(Asked):
    """A code as it was scanned or clicked."""

    code: Annotated[
        str,
        Field(min_length=1, max_length=TEXT_LENGTH_MAX, description="The QR text, the URI or the link."),
    ]


class PaymentCodeAnswer(Answer):
    """A payment that somebody proposes, and its texts."""

    model_config = shown(
        {
            "payee": "@ko_ko",
            "asset": "USDT",
            "amount": "25.000000",
            "expires_at": None,
            "reference": None,
            "qr_text": "NUGPAY:1FFVW6X3LN4A4B4HVBMSTV5XT",
            "uri": "nugpay:1FFVW6X3LN4A4B4HVBMSTV5XT",
            "link": "https://api.example.org/p/1FFVW6X3LN4A4B4HVBMSTV5XT",
        }
    )

    payee: HandleText
    asset: AssetText
    amount: Annotated[AmountAnswer | None, Field(description="Null: the payer chooses.")]
    expires_at: Annotated[TimeAnswer | None, Field(description="Null: never.")]
    reference: UUIDText | None
    payee_pass: Annotated[
        PassText | None,
        Field(
            description="Of a payee who is not listed: for GET /v1/handles/{handle} and POST /v1/payments.",
            exclude_if=lambda payee_pass: payee_pass is None,
        ),
    ] = None
    qr_text: Annotated[str, Field(description="For a QR code; upper case packs tightly.")]
    uri: str
    link: str


@router.post(
    "",
    response_model=PaymentCodeAnswer,
    summary="Make a payment code",
    description="For the caller's own wallet. Nothing is stored: the code says it all. With Accept: "
    "image/svg+xml the answer is the QR code, with text/plain the same in blocks for a terminal.",
    responses=_PICTURES
    | problems(
        OF_A_WALLET,
        WITH_BODY,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.AMOUNT_NOT_POSITIVE,
        AskingCode.PAYMENT_CODE_EXPIRY_OUT_OF_RANGE,
    ),
    openapi_extra=asks(PaymentCodeRequest, example={"asset": "USDT", "amount": "25.00"}),
)
async def make_payment_code(request: Request) -> Response:
    """A code that pays the caller."""
    wallet = await wallet_of(request)
    asked = read(PaymentCodeRequest, await request.body())
    asset = asset_by_code(asked.asset)
    code = new_payment_code(
        connections_of(request).clock,
        payee_handle=wallet.handle,
        asset=asset,
        amount=Money.parse(asked.amount, asset) if asked.amount is not None else None,
        seconds=asked.expires_in_seconds,
        reference=parse_id(asked.reference) if asked.reference is not None else None,
        payee_pass=connections_of(request).wallets.pass_of(wallet),
    )
    match _wanted(request.headers.get("accept", "")):
        case "image/svg+xml":
            return Response(svg(code), media_type=SVG)
        case "text/plain":
            return Response(blocks(code), media_type=TEXT)
        case _:
            return answered(_answer(request, code))


@router.post(
    "/read",
    response_model=PaymentCodeAnswer,
    summary="Read a payment code",
    description="Says what the code proposes, and moves nothing: pay it with POST /v1/payments, with the "
    "code's reference. Whether the payee can be paid, GET /v1/handles/{handle} tells. A device can read "
    "codes itself, and then needs no network for it.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        FoundationCode.UNKNOWN_ASSET,
        AskingCode.PAYMENT_CODE_MALFORMED,
        AskingCode.PAYMENT_CODE_VERSION_UNKNOWN,
        AskingCode.PAYMENT_CODE_CHECKSUM,
        AskingCode.PAYMENT_CODE_EXPIRED,
    ),
    openapi_extra=asks(CodeText, example={"code": "NUGPAY:1FFVW6X3LN4A4B4HVBMSTV5XT"}),
)
async def read_code(request: Request) -> Response:
    """What a code proposes."""
    await wallet_of(request)
    asked = read(CodeText, await request.body())
    connections = connections_of(request)
    code = read_payment_code(asked.code, base_url=base_url(request.scope, connections.settings))
    check_not_expired(code, connections.clock)
    return answered(_answer(request, code))


def _wanted(accept: str) -> str:
    """The first kind of answer that the client names and that is made here; JSON if none."""
    for part in accept.split(","):
        kind = part.partition(";")[0].strip().lower()
        if kind in {SVG, TEXT, "application/json", "*/*"}:
            return kind
    return "application/json"


def _answer(request: Request, code: PaymentCode) -> PaymentCodeAnswer:
    base = base_url(request.scope, connections_of(request).settings)
    return PaymentCodeAnswer(
        payee=handle_text(code.payee_handle),
        asset=code.asset.code,
        amount=code.amount.format() if code.amount is not None else None,
        expires_at=time_text(code.expires_at_ns) if code.expires_at_ns is not None else None,
        reference=str(code.reference) if code.reference is not None else None,
        payee_pass=pass_text(code.payee_pass) if code.payee_pass is not None else None,
        qr_text=qr_text(code),
        uri=uri(code),
        link=link(code, base),
    )
