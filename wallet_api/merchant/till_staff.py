"""People at a till: asked by its owner, working when they have accepted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.merchant.access import OF_A_TILL, till_of
from wallet_api.merchant.tills import TillInList, TillPath, till_fields
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    HandleText,
    TimeAnswer,
    answered,
    handle_in_path,
    handle_text,
    instant_text,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.merchant_errors import MerchantCode
from wallets.request_errors import AskingCode
from wallets.till_rights import TillRight
from wallets.till_staff import STAFF_MAX, TillStaff, accept_work, end_work, invite_staff, staff_of

router = APIRouter(tags=["merchants"], prefix="/merchant/tills/{till_id}")

_STAFF = {
    "handle": "@su_su",
    "rights": ["see", "charge"],
    "invited_at": "2026-11-23T14:05:09.123456Z",
    "accepted_at": None,
}

StaffPath = Annotated[str, handle_in_path("Handle of the person.")]


class StaffRequest(Asked):
    """What somebody may do at the till."""

    rights: Annotated[
        list[TillRight], Field(min_length=1, max_length=3, description="Whoever has any may see as well.")
    ]


class StaffAnswer(Answer):
    """Somebody at the till."""

    model_config = shown(_STAFF)

    handle: HandleText
    rights: list[TillRight]
    invited_at: TimeAnswer
    accepted_at: Annotated[TimeAnswer | None, Field(description="Null: no rights until it is accepted.")]


class StaffList(Answer):
    """People at the till."""

    model_config = shown({"staff": [_STAFF]})

    staff: list[StaffAnswer]


class WorkEnded(Answer):
    """Somebody's work at the till is over."""

    model_config = shown({"handle": "@su_su"})

    handle: HandleText


@router.get(
    "/staff",
    response_model=StaffList,
    summary="People at a till",
    description="For its owner.",
    responses=problems(OF_A_TILL),
    openapi_extra=signed(),
)
async def till_people(request: Request, till_id: TillPath) -> Response:
    """Who works at a till or was asked to."""
    pad_list(request, lines_max=STAFF_MAX, line_bytes=200)
    access = await till_of(request, till_id)
    found = await staff_of(connections_of(request).merchant_books(), access)
    return answered(StaffList(staff=[_answer(each) for each in found]))


@router.put(
    "/staff/{handle}",
    response_model=StaffAnswer,
    summary="Ask somebody to work at a till",
    description="By its owner. Rights count once the person has accepted; with other rights the person is "
    "asked anew. Counts as a look-up of the handle.",
    responses=problems(
        OF_A_TILL,
        WITH_BODY,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_MALFORMED,
        MerchantCode.STAFF_UNKNOWN,
        MerchantCode.MERCHANT_LIST_FULL,
    ),
    openapi_extra=asks(StaffRequest, example={"rights": ["see", "charge"]}),
)
async def invite_to_till(request: Request, till_id: TillPath, handle: StaffPath) -> Response:
    """Ask somebody to work at a till of the caller."""
    access = await till_of(request, till_id)
    asked = read(StaffRequest, await request.body())
    connections = connections_of(request)
    made = await invite_staff(
        connections.merchant_books(), connections.lookups, access, handle=handle, rights=asked.rights
    )
    return answered(_answer(made))


@router.delete(
    "/staff/{handle}",
    response_model=WorkEnded,
    summary="End somebody's work at a till",
    description="By the owner; or by the person, with the own handle, to leave or to decline.",
    responses=problems(
        OF_A_WALLET,
        FoundationCode.ID_MALFORMED,
        WalletCode.HANDLE_MALFORMED,
        MerchantCode.TILL_NOT_FOUND,
        MerchantCode.STAFF_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def end_till_work(request: Request, till_id: TillPath, handle: StaffPath) -> Response:
    """End somebody's work at a till."""
    wallet = await wallet_of(request)
    books = connections_of(request).merchant_books()
    await end_work(books, wallet=wallet, till_id=parse_id(till_id), handle=handle)
    return answered(WorkEnded(handle=handle_text(handle.removeprefix("@").lower())))


@router.put(
    "/acceptance",
    response_model=TillInList,
    summary="Accept to work at a till",
    description="By a person whom its owner asked; may be repeated.",
    responses=problems(OF_A_WALLET, FoundationCode.ID_MALFORMED, MerchantCode.TILL_NOT_FOUND),
    openapi_extra=signed(),
)
async def accept_till_work(request: Request, till_id: TillPath) -> Response:
    """Accept to work at a till."""
    wallet = await wallet_of(request)
    books = connections_of(request).merchant_books()
    till = await accept_work(books, wallet=wallet, till_id=parse_id(till_id))
    return answered(TillInList(**till_fields(till)))


def _answer(staff: TillStaff) -> StaffAnswer:
    return StaffAnswer(
        handle=handle_text(staff.wallet.handle),
        rights=list(staff.rights),
        invited_at=instant_text(staff.invited_at),
        accepted_at=instant_text(staff.accepted_at) if staff.accepted_at is not None else None,
    )
