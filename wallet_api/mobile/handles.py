"""Handles: what a payer may see of somebody before paying."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import ASSETS
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.wire import (
    Answer,
    AssetText,
    HandleText,
    MemoKeyText,
    answered,
    handle_in_path,
    handle_text,
    shown,
)
from wallets.errors import WalletCode
from wallets.handle_lookups import look_up_handle
from wallets.memos import unpadded
from wallets.payee_passes import PASS_LENGTH, parse_pass
from wallets.request_errors import AskingCode

router = APIRouter(tags=["payments"])


class PayeeAnswer(Answer):
    """Somebody whom the caller may pay."""

    model_config = shown(
        {
            "handle": "@ko_ko",
            "can_be_paid": True,
            "assets": [asset.code for asset in ASSETS],
            "memo_key": "5kd3kbLkDbYEHDOX1bUFf3q9aIEWZwJyVIz2ZyqzvWA",
        }
    )

    handle: Annotated[HandleText, Field(description="The one of now. Show it before the payment is signed.")]
    can_be_paid: Annotated[bool, Field(description="False for the caller's own handle.")]
    assets: Annotated[list[AssetText], Field(description="In which the caller can pay.")]
    memo_key: Annotated[
        MemoKeyText | None, Field(description="Memos are encrypted to it; null when there is none.")
    ]


@router.get(
    "/handles/{handle}",
    response_model=PayeeAnswer,
    summary="Whom a handle belongs to",
    description="For showing the payee before paying. A handle that was given up less than 90 days ago is "
    "answered with the one of now. Who is not listed is found only with the pass of a payment code. A person "
    "may look up 60 handles a minute, with all devices together; asking to pay, opening a wallet, changing "
    "a handle and paying a handle that nobody has count as well.",
    responses=problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        WalletCode.HANDLE_MALFORMED,
        AskingCode.TOO_MANY_LOOKUPS,
        AskingCode.HANDLE_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def payee_of_handle(
    request: Request,
    handle: Annotated[
        str,
        handle_in_path("With @ or without, in either case."),
    ],
    payee_pass: Annotated[
        str | None,
        Query(
            max_length=PASS_LENGTH,
            description="Of a payment code: by it a payee is found who is not listed.",
            json_schema_extra={"pattern": "^[A-Z2-7]{16}$"},
        ),
    ] = None,
) -> Response:
    """What the caller may see of a handle."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    found = await look_up_handle(
        connections.lookup_books(),
        payer=wallet,
        handle=handle,
        shown=parse_pass(payee_pass) if payee_pass is not None else None,
    )
    return answered(
        PayeeAnswer(
            handle=handle_text(found.handle),
            can_be_paid=bool(found.assets),
            assets=[asset.code for asset in found.assets],
            memo_key=unpadded(found.memo_key) if found.memo_key is not None else None,
        )
    )
