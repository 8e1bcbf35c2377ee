"""The wallet's own handle: changed, listed or not, and which it had before."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    HandleText,
    TimeAnswer,
    answered,
    handle_text,
    instant_text,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.handle_changes import LISTED_MAX, OwnHandles, change_handle, own_handles, set_listed
from wallets.request_errors import AskingCode

router = APIRouter(tags=["wallet"], prefix="/wallet")

_FORMER_BYTES = 150
"""More than a former handle takes in an answer."""


class HandleRequest(Asked):
    """The handle that the wallet is to have."""

    handle: HandleText


class ListingRequest(Asked):
    """Whether the wallet is found by its handle."""

    listed: bool


class FormerHandleAnswer(Answer):
    """A handle that the wallet gave up."""

    handle: HandleText
    given_up_at: TimeAnswer
    pays_until: Annotated[
        TimeAnswer, Field(description="Until then it still pays this wallet. Nobody else gets it, ever.")
    ]


class OwnHandleAnswer(Answer):
    """How the caller's wallet is found."""

    model_config = shown(
        {
            "handle": "@aye_chan",
            "listed": True,
            "former": [
                {
                    "handle": "@aye_aye",
                    "given_up_at": "2026-11-23T14:05:09.123456Z",
                    "pays_until": "2027-02-21T14:05:09.123456Z",
                }
            ],
        }
    )

    handle: HandleText
    listed: Annotated[bool, Field(description="False: found only with the pass of its payment codes.")]
    former: Annotated[
        list[FormerHandleAnswer], Field(description="The newest first; memos from before need them.")
    ]


@router.get(
    "/handle",
    response_model=OwnHandleAnswer,
    summary="The own handle",
    description="With those of before, and whether the wallet is listed.",
    responses=problems(OF_A_WALLET),
    openapi_extra=signed(),
)
async def own_handle(request: Request) -> Response:
    """How the caller's wallet is found."""
    pad_list(request, lines_max=LISTED_MAX, line_bytes=_FORMER_BYTES)
    wallet = await wallet_of(request)
    return answered(_answer(await own_handles(connections_of(request).database, wallet=wallet)))


@router.put(
    "/handle",
    response_model=OwnHandleAnswer,
    summary="Change the handle",
    description="The handle of before pays this wallet for 90 days more, and is nobody else's for ever. The "
    "handle that the wallet has changes nothing, so that the same request may be sent again. Three changes "
    "in 30 days.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        WalletCode.HANDLE_MALFORMED,
        WalletCode.HANDLE_RESERVED,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_TAKEN,
        WalletCode.HANDLE_TOO_SIMILAR,
        WalletCode.TOO_MANY_HANDLE_CHANGES,
    ),
    openapi_extra=asks(HandleRequest, example={"handle": "@aye_chan"}),
)
async def change_own_handle(request: Request) -> Response:
    """Give the caller's wallet another handle."""
    connections = connections_of(request)
    pad_list(request, lines_max=LISTED_MAX, line_bytes=_FORMER_BYTES)
    wallet = await wallet_of(request)
    asked = read(HandleRequest, await request.body())
    # Whether a handle is taken is what a look-up tells.
    await connections.lookups.count(wallet.person_id)
    made = await change_handle(connections.database, connections.clock, wallet=wallet, handle=asked.handle)
    return answered(_answer(made))


@router.put(
    "/listing",
    response_model=OwnHandleAnswer,
    summary="Be listed or not",
    description="Who is not listed is found by nobody who types the handle: it is answered as one that "
    "nobody has. Payment codes that the wallet makes from then on carry a pass by which they are paid; "
    "its requests, invoices and standing orders are paid as ever. Listed and unlisted again, the codes of "
    "before end.",
    responses=problems(OF_A_WALLET, WITH_BODY),
    openapi_extra=asks(ListingRequest, example={"listed": False}),
)
async def list_own_wallet(request: Request) -> Response:
    """Have the caller's wallet be listed or not."""
    connections = connections_of(request)
    pad_list(request, lines_max=LISTED_MAX, line_bytes=_FORMER_BYTES)
    wallet = await wallet_of(request)
    asked = read(ListingRequest, await request.body())
    made = await set_listed(connections.database, connections.clock, wallet=wallet, listed=asked.listed)
    return answered(_answer(made))


def _answer(own: OwnHandles) -> OwnHandleAnswer:
    return OwnHandleAnswer(
        handle=handle_text(own.handle),
        listed=own.listed,
        former=[
            FormerHandleAnswer(
                handle=handle_text(each.handle),
                given_up_at=instant_text(each.given_up_at),
                pays_until=instant_text(each.pays_until),
            )
            for each in own.former
        ],
    )
