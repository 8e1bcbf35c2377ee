"""Keys of a till, for a shop's server: made, listed, revoked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.ids import parse_id
from wallet_api.connections import connections_of
from wallet_api.merchant.access import OF_A_TILL, till_of
from wallet_api.merchant.tills import TillPath
from wallet_api.operations import WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    NameText,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
)
from wallets.merchant_errors import MerchantCode
from wallets.till_keys import KEYS_MAX, TillKey, make_till_key, revoke_till_key, till_keys_of
from wallets.till_rights import TillRight

router = APIRouter(tags=["merchants"], prefix="/merchant/tills/{till_id}/keys")

_KEY = {
    "id": "019ab0c4-b0b0-7c11-9d2b-3f6f0c1d2e4a",
    "name": "Web shop",
    "last_four": "k3Zq",
    "rights": ["see", "charge"],
    "created_at": "2026-11-23T14:05:09.123456Z",
    "revoked_at": None,
}


class TillKeyRequest(Asked):
    """What the key is for."""

    name: NameText
    rights: Annotated[
        list[TillRight], Field(min_length=1, max_length=3, description="Any key may see as well.")
    ]


class TillKeyAnswer(Answer):
    """A key, without what makes it one."""

    model_config = shown(_KEY)

    id: UUIDText
    name: str
    last_four: Annotated[str, Field(description="How the key ends.")]
    rights: list[TillRight]
    created_at: TimeAnswer
    revoked_at: TimeAnswer | None


class NewTillKeyAnswer(TillKeyAnswer):
    """A key, shown this once."""

    model_config = shown({**_KEY, "key": "nugpay_till_2bYh…k3Zq"})

    key: Annotated[str, Field(description="Send it as Authorization: Bearer. It is shown this once.")]


class TillKeyList(Answer):
    """A till's keys."""

    model_config = shown({"keys": [_KEY]})

    keys: Annotated[list[TillKeyAnswer], Field(description="The oldest first, revoked ones as well.")]


@router.post(
    "",
    status_code=201,
    response_model=NewTillKeyAnswer,
    summary="Make a key of a till",
    description="By its owner, for a server that makes invoices, sees what is paid or gives it back, at "
    "this till alone. The key is shown this once: if the answer is lost, revoke it and make another one.",
    responses=problems(OF_A_TILL, WITH_BODY, MerchantCode.MERCHANT_LIST_FULL),
    openapi_extra=asks(TillKeyRequest, example={"name": "Web shop", "rights": ["see", "charge"]}),
)
async def make_key(request: Request, till_id: TillPath) -> Response:
    """Make a key of a till of the caller."""
    access = await till_of(request, till_id)
    asked = read(TillKeyRequest, await request.body())
    books = connections_of(request).merchant_books()
    made = await make_till_key(books, access, name=asked.name, rights=asked.rights)
    return answered(NewTillKeyAnswer(**_answer(made.key).model_dump(), key=made.text), status=201)


@router.get(
    "",
    response_model=TillKeyList,
    summary="Keys of a till",
    description="For its owner.",
    responses=problems(OF_A_TILL),
    openapi_extra=signed(),
)
async def till_keys(request: Request, till_id: TillPath) -> Response:
    """The keys of a till of the caller."""
    pad_list(request, lines_max=KEYS_MAX, line_bytes=512)
    access = await till_of(request, till_id)
    found = await till_keys_of(connections_of(request).merchant_books(), access)
    return answered(TillKeyList(keys=[_answer(each) for each in found]))


@router.delete(
    "/{key_id}",
    response_model=TillKeyAnswer,
    summary="Revoke a key of a till",
    description="By its owner; the key opens nothing from the next request on. May be repeated.",
    responses=problems(OF_A_TILL, MerchantCode.TILL_KEY_NOT_FOUND),
    openapi_extra=signed(),
)
async def revoke_key(
    request: Request, till_id: TillPath, key_id: Annotated[str, id_in_path("The key's id.")]
) -> Response:
    """Revoke a key of a till of the caller."""
    access = await till_of(request, till_id)
    books = connections_of(request).merchant_books()
    return answered(_answer(await revoke_till_key(books, access, key_id=parse_id(key_id))))


def _answer(key: TillKey) -> TillKeyAnswer:
    return TillKeyAnswer(
        id=str(key.id),
        name=key.name,
        last_four=key.last_four,
        rights=list(key.rights),
        created_at=instant_text(key.created_at),
        revoked_at=instant_text(key.revoked_at) if key.revoked_at is not None else None,
    )
