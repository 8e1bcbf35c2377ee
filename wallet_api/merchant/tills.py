"""Tills: the own business, where it is paid, and where the caller works."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.hosts import base_url
from wallet_api.merchant.access import BY_KEY, till_by_any
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    AssetText,
    HandleText,
    IdText,
    NameText,
    UUIDText,
    answered,
    handle_text,
    id_in_path,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.invoices import till_code
from wallets.merchant_errors import MerchantCode
from wallets.merchants import TILLS_MAX, Merchant, Till, merchant_of, open_till, save_merchant, tills_of
from wallets.payment_codes import link, qr_text, uri
from wallets.till_rights import TillRight
from wallets.till_staff import invitations_of

router = APIRouter(tags=["merchants"], prefix="/merchant")

TillPath = Annotated[str, id_in_path("The till's id.")]

TILL: dict[str, Any] = {
    "id": "019ab0c4-a1b2-7c11-9d2b-3f6f0c1d2e4a",
    "name": "Counter 1",
    "business": "Golden Tea House",
    "owner": "@ko_ko",
    "asset": "USDT",
}
"""A till as answers show it."""

_CODE = {
    "qr_text": "NUGPAY:1FWVW6X3LN4AQDGVQYSULE7AR…",
    "uri": "nugpay:1FWVW6X3LN4AQDGVQYSULE7AR…",
    "link": "https://api.example.org/p/1FWVW6X3LN4AQDGVQYSULE7AR…",
}


class MerchantRequest(Asked):
    """What the business is called."""

    name: NameText


class MerchantAnswer(Answer):
    """A wallet as a business."""

    model_config = shown({"handle": "@ko_ko", "name": "Golden Tea House"})

    handle: HandleText
    name: str


class TillRequest(Asked):
    """Open a till."""

    id: IdText
    name: NameText
    asset: AssetText


class TillInList(Answer):
    """A till."""

    model_config = shown(TILL)

    id: UUIDText
    name: str
    business: Annotated[str, Field(description="What the business is called.")]
    owner: Annotated[HandleText, Field(description="The wallet that is paid.")]
    asset: AssetText


class InvitationInList(TillInList):
    """A till at which the caller was asked to work."""

    model_config = shown({**TILL, "rights": ["see", "charge"]})

    rights: list[TillRight]


class TillsAnswer(Answer):
    """Where the caller is paid or works."""

    model_config = shown({"tills": [TILL], "invitations": [{**TILL, "rights": ["see", "charge"]}]})

    tills: Annotated[list[TillInList], Field(description="The caller's own, and where the caller works.")]
    invitations: Annotated[list[InvitationInList], Field(description="Not accepted yet.")]


class TillAnswer(TillInList):
    """A till, and the payment code that hangs there."""

    model_config = shown({**TILL, "rights": ["see", "charge", "refund"], "is_owner": True, **_CODE})

    rights: Annotated[list[TillRight], Field(description="The caller's.")]
    is_owner: Annotated[bool, Field(description="Whether the caller owns the till.")]
    qr_text: Annotated[str, Field(description="The till's code, for ever: the payer chooses the amount.")]
    uri: str
    link: str


@router.put(
    "",
    response_model=MerchantAnswer,
    summary="Be a business",
    description="Gives the caller's wallet a business' name, or another one. Any wallet may.",
    responses=problems(OF_A_WALLET, WITH_BODY),
    openapi_extra=asks(MerchantRequest, example={"name": "Golden Tea House"}),
)
async def be_merchant(request: Request) -> Response:
    """Name the caller's business."""
    wallet = await wallet_of(request)
    asked = read(MerchantRequest, await request.body())
    books = connections_of(request).merchant_books()
    return answered(_merchant(await save_merchant(books, wallet=wallet, name=asked.name)))


@router.get(
    "",
    response_model=MerchantAnswer,
    summary="The own business",
    responses=problems(OF_A_WALLET, MerchantCode.MERCHANT_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_merchant(request: Request) -> Response:
    """The caller's business."""
    wallet = await wallet_of(request)
    books = connections_of(request).merchant_books()
    return answered(_merchant(await merchant_of(books, wallet=wallet)))


@router.post(
    "/tills",
    status_code=201,
    response_model=TillInList,
    summary="Open a till",
    description="A place where the caller's business is paid, in one asset. What is paid there comes to the "
    "caller's wallet, and its reference is the till's id or that of an invoice. The same id with the same "
    "content gives the same till, with the header Idempotency-Replayed.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        FoundationCode.ID_MALFORMED,
        FoundationCode.UNKNOWN_ASSET,
        WalletCode.PAYMENT_ID_MALFORMED,
        MerchantCode.MERCHANT_NOT_FOUND,
        MerchantCode.MERCHANT_ID_TAKEN,
        MerchantCode.MERCHANT_LIST_FULL,
    ),
    openapi_extra=asks(TillRequest, example={"id": TILL["id"], "name": "Counter 1", "asset": "USDT"}),
)
async def make_till(request: Request) -> Response:
    """Open a till of the caller's business."""
    wallet = await wallet_of(request)
    asked = read(TillRequest, await request.body())
    made = await open_till(
        connections_of(request).merchant_books(),
        wallet=wallet,
        till_id=parse_id(asked.id),
        name=asked.name,
        asset=asset_by_code(asked.asset),
    )
    return answered(TillInList(**till_fields(made.till)), status=201, replayed=made.replayed)


@router.get(
    "/tills",
    response_model=TillsAnswer,
    summary="Tills",
    description="The caller's own and those where the caller works, in order of opening; and where the "
    "caller was asked to work.",
    responses=problems(OF_A_WALLET),
    openapi_extra=signed(),
)
async def own_tills(request: Request) -> Response:
    """Where the caller is paid or works."""
    pad_list(request, lines_max=TILLS_MAX, line_bytes=800)
    wallet = await wallet_of(request)
    books = connections_of(request).merchant_books()
    return answered(
        TillsAnswer(
            tills=[TillInList(**till_fields(till)) for till in await tills_of(books, wallet=wallet)],
            invitations=[
                InvitationInList(**till_fields(each.till), rights=list(each.rights))
                for each in await invitations_of(books, wallet=wallet)
            ],
        )
    )


@router.get(
    "/tills/{till_id}",
    response_model=TillAnswer,
    summary="A till",
    description="With the payment code that hangs there, and what the caller may do. For a device of the "
    "owner or of somebody who works there, and for a key of the till.",
    responses=problems(BY_KEY),
    openapi_extra=signed(or_key=True),
)
async def one_till(request: Request, till_id: TillPath) -> Response:
    """A till, for whoever may act there."""
    access = await till_by_any(request, till_id)
    code = till_code(connections_of(request).merchant_books(), access.till)
    base = base_url(request.scope, connections_of(request).settings)
    return answered(
        TillAnswer(
            **till_fields(access.till),
            rights=[right for right in TillRight if right in access.rights],
            is_owner=access.is_owner,
            qr_text=qr_text(code),
            uri=uri(code),
            link=link(code, base),
        )
    )


def till_fields(till: Till) -> dict[str, str]:
    """A till as every answer shows it."""
    return {
        "id": str(till.id),
        "name": till.name,
        "business": till.merchant.name,
        "owner": handle_text(till.merchant.wallet.handle),
        "asset": till.asset.code,
    }


def _merchant(merchant: Merchant) -> MerchantAnswer:
    return MerchantAnswer(handle=handle_text(merchant.wallet.handle), name=merchant.name)
