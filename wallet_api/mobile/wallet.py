"""The wallet: opened once with a handle, then asked for."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.callers import caller_of, wallet_read
from wallet_api.connections import connections_of
from wallet_api.operations import (
    OF_A_SESSION,
    OF_A_WALLET,
    OF_THE_LEDGER,
    SIGNED,
    WITH_BODY,
    asks,
    problems,
    signed,
)
from wallet_api.wire import Answer, Asked, HandleText, TimeAnswer, answered, handle_text, read, shown
from wallets.errors import WalletCode
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet, open_wallet

router = APIRouter(tags=["wallet"])


class WalletRequest(Asked):
    """The handle that the wallet is to have."""

    handle: HandleText


class WalletAnswer(Answer):
    """The caller's wallet."""

    model_config = shown({"handle": "@aye_aye", "created_at": "2026-11-23T14:05:09.123456Z"})

    handle: HandleText
    created_at: TimeAnswer


@router.post(
    "/wallet",
    status_code=201,
    response_model=WalletAnswer,
    summary="Open the wallet",
    description="The same handle again gives the same wallet.",
    responses=problems(
        SIGNED,
        OF_A_SESSION,
        WITH_BODY,
        OF_THE_LEDGER,
        WalletCode.HANDLE_MALFORMED,
        WalletCode.HANDLE_RESERVED,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_TAKEN,
        WalletCode.HANDLE_TOO_SIMILAR,
        WalletCode.WALLET_ALREADY_OPEN,
    ),
    openapi_extra=asks(WalletRequest, example={"handle": "@aye_aye"}),
)
async def open_own_wallet(request: Request) -> Response:
    """Open the wallet of the person whose device asks."""
    connections = connections_of(request)
    caller = await caller_of(request)
    asked = read(WalletRequest, await request.body())
    # Whether a handle is taken is what a look-up tells.
    await connections.lookups.count(caller.person_id)
    wallet = await open_wallet(
        connections.database,
        connections.ledger,
        connections.clock,
        person_id=caller.person_id,
        handle=asked.handle,
    )
    return answered(_answer(wallet), status=201)


@router.get(
    "/wallet",
    response_model=WalletAnswer,
    summary="The wallet",
    responses=problems(OF_A_WALLET),
    openapi_extra=signed(or_token=True),
)
async def own_wallet(request: Request) -> Response:
    """The caller's wallet."""
    return answered(_answer(await wallet_read(request)))


def _answer(wallet: Wallet) -> WalletAnswer:
    created_at = wallet.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return WalletAnswer(handle=handle_text(wallet.handle), created_at=created_at)
