"""Sync: all that changed in the wallet since a cursor, in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.mobile.balances import BalanceAnswer, balance_answer
from wallet_api.mobile.deposits import DepositAnswer, deposit_answer
from wallet_api.mobile.history import LINE_BYTES, MEMO_LINE_BYTES, HistoryLineAnswer, MemosAsked, line_answer
from wallet_api.mobile.payment_requests import RequestAnswer, request_answer
from wallet_api.mobile.withdrawals import LINE_BYTES as OBJECT_BYTES
from wallet_api.mobile.withdrawals import WithdrawalAnswer, withdrawal_answer
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import Answer, Asked, answered, shown
from wallets.errors import WalletCode
from wallets.history import HistoryLine, with_memos
from wallets.syncs import OBJECTS_PER_LINE, PAGE_MAX, SyncPage, sync

router = APIRouter(tags=["wallet"])

LIMIT: Final = 5
"""Lines of an answer unless another number is asked for: a phone that asks often has few new ones."""


class SyncQuery(Asked):
    """From where on."""

    cursor: Annotated[
        str | None, Field(max_length=64, description="next_cursor of the answer before; left out: from ever.")
    ] = None
    limit: Annotated[
        int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most lines, and most changed objects.")
    ] = LIMIT
    memos: MemosAsked = False


class SyncAnswer(Answer):
    """What changed."""

    model_config = shown(
        {
            "lines": [
                {
                    "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
                    "kind": "payment",
                    "direction": "in",
                    "effect": "settled",
                    "asset": "USDT",
                    "amount": "25.000000",
                    "balance": "225.000000",
                    "available": "225.000000",
                    "counterparty": "@aye_aye",
                    "reference": None,
                    "at": "2026-11-23T14:05:09.123456Z",
                }
            ],
            "payment_requests": [],
            "withdrawals": [],
            "deposits": [],
            "balances": [
                {"asset": "USDT", "balance": "225.000000", "reserved": "0.000000", "available": "225.000000"}
            ],
            "next_cursor": "c3luYxjZ9EFCK4AAAAAAAAAAAxQAAAAAAAAAKg",
            "has_more": False,
        }
    )

    lines: Annotated[
        list[HistoryLineAnswer], Field(description="New lines of the history, the oldest first; each once.")
    ]
    payment_requests: Annotated[
        list[RequestAnswer], Field(description="Those that changed, or were paid by a line, as they stand.")
    ]
    withdrawals: Annotated[
        list[WithdrawalAnswer], Field(description="Those that changed, and those under way, as they stand.")
    ]
    deposits: Annotated[
        list[DepositAnswer],
        Field(description="Those that changed, as they stand, from when their block is final."),
    ]
    balances: Annotated[list[BalanceAnswer], Field(description="In every asset, as of one instant.")]
    next_cursor: Annotated[str, Field(description="Keep it, and ask with it next time.")]
    has_more: Annotated[bool, Field(description="True: more has changed already, ask at once.")]


@router.get(
    "/sync",
    response_model=SyncAnswer,
    summary="What changed since",
    description="One question after a time without a network. Keep next_cursor only once the answer is "
    "stored: asked again with the cursor before, nothing is missed. Lines come exactly once; requests, "
    "withdrawals and deposits come again whenever they changed, as they stand then. That the time of a "
    "request is over changes nothing: its expires_at says it.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, WalletCode.CURSOR_MALFORMED),
    openapi_extra=signed(),
)
async def own_changes(request: Request, query: Annotated[SyncQuery, Query()]) -> Response:
    """What changed in the caller's wallet."""
    line_bytes = MEMO_LINE_BYTES if query.memos else LINE_BYTES
    pad_list(request, lines_max=query.limit, line_bytes=line_bytes + OBJECTS_PER_LINE * OBJECT_BYTES)
    connections = connections_of(request)
    wallet = await wallet_of(request)
    page = await sync(connections.request_books(), wallet=wallet, cursor=query.cursor, limit=query.limit)
    lines = await with_memos(connections.memos, page.lines) if query.memos else page.lines
    return answered(_answer(page, lines))


def _answer(page: SyncPage, lines: Sequence[HistoryLine]) -> SyncAnswer:
    return SyncAnswer(
        lines=[line_answer(each) for each in lines],
        payment_requests=[request_answer(each) for each in page.requests],
        withdrawals=[withdrawal_answer(each) for each in page.withdrawals],
        deposits=[deposit_answer(each) for each in page.deposits],
        balances=[balance_answer(each) for each in page.balances],
        next_cursor=page.next_cursor,
        has_more=page.has_more,
    )
