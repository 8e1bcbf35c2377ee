"""Memo keys: the wallet publishes the key that memos to it are encrypted to."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems
from wallet_api.wire import Answer, Asked, MemoKeyText, TimeAnswer, answered, instant_text, read, shown
from wallets.memo_errors import MemoCode
from wallets.memo_keys import parse_memo_key, publish_memo_key
from wallets.memos import unpadded

router = APIRouter(tags=["wallet"])

_KEY = "5kd3kbLkDbYEHDOX1bUFf3q9aIEWZwJyVIz2ZyqzvWA"


class MemoKeyRequest(Asked):
    """The key to publish."""

    memo_key: MemoKeyText


class MemoKeyAnswer(Answer):
    """The key that memos to the caller's wallet are encrypted to."""

    model_config = shown({"memo_key": _KEY, "published_at": "2026-11-23T14:05:09.123456Z"})

    memo_key: MemoKeyText
    published_at: TimeAnswer


@router.put(
    "/memo_key",
    response_model=MemoKeyAnswer,
    summary="Publish the key for memos",
    description="Whoever looks the handle up sees it, and encrypts memos to it. Another key replaces it: "
    "keep the private keys from before, for memos from before can be read with them alone.",
    responses=problems(OF_A_WALLET, WITH_BODY, MemoCode.MEMO_KEY_MALFORMED),
    openapi_extra=asks(MemoKeyRequest, example={"memo_key": _KEY}),
)
async def publish_own_memo_key(request: Request) -> Response:
    """Publish the caller's memo key."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    asked = read(MemoKeyRequest, await request.body())
    public_key = parse_memo_key(asked.memo_key)
    made = await publish_memo_key(
        connections.database, connections.clock, wallet=wallet, public_key=public_key
    )
    return answered(
        MemoKeyAnswer(memo_key=unpadded(made.public_key), published_at=instant_text(made.published_at))
    )
