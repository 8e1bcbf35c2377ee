"""History: the wallet's lines, newest first, each with the balance after it."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import Asset, asset_by_code
from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from foundation.money import Money
from wallet_api.callers import wallet_read
from wallet_api.connections import connections_of
from wallet_api.operations import AMOUNTS, OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    HandleText,
    InstantText,
    MemoAnswer,
    TimeAnswer,
    UUIDText,
    answered,
    handle_text,
    parse_instant,
    shown,
    time_text,
)
from wallets.errors import WalletCode
from wallets.history import PAGE_MAX, Effect, HistoryLine, history, with_memos
from wallets.history_filters import Direction, HistoryFilter, HistoryKind
from wallets.request_errors import AskingCode

router = APIRouter(tags=["wallet"])

LINE_BYTES: Final = 448
"""Longest line of the list, without its memo."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

MEMO_LINE_BYTES: Final = 2048
"""Longest line with its memo."""


MemosAsked = Annotated[
    bool, Field(strict=False, description="True: lines bring their memos, and the answer is larger.")
]
"""Whether lines are wanted with their memos."""


class HistoryQuery(Asked):
    """Which part of the history."""

    asset: Annotated[AssetText | None, Field(description="Only this asset; all when left out.")] = None
    kind: Annotated[
        list[Annotated[HistoryKind, Field(strict=False)]],
        Field(
            default_factory=list,
            max_length=len(HistoryKind),
            description="Only these; may stand several times.",
        ),
    ]
    direction: Annotated[Direction | None, Field(strict=False, description="Only this way.")] = None
    counterparty: Annotated[HandleText | None, Field(description="Only with this wallet.")] = None
    reference: Annotated[UUIDText | None, Field(description="Only lines with this reference.")] = None
    since: Annotated[InstantText | None, Field(description="From this instant on.")] = None
    until: Annotated[InstantText | None, Field(description="Before this instant.")] = None
    amount_min: Annotated[AmountText | None, Field(description="At least; needs the asset.")] = None
    amount_max: Annotated[AmountText | None, Field(description="At most; needs the asset.")] = None
    memo_hash: Annotated[
        str | None,
        Field(
            min_length=64,
            max_length=64,
            description="Only payments whose memo has this SHA-256, in hex of lower case; with their memos.",
            json_schema_extra={"pattern": "^[0-9a-f]{64}$"},
        ),
    ] = None
    memos: MemosAsked = False
    cursor: Annotated[str | None, Field(max_length=64, description="From the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most lines on the page.")] = 20


class HistoryLineAnswer(Answer):
    """One transfer of the wallet."""

    id: Annotated[UUIDText, Field(description="Of a payment: the payment's id.")]
    kind: HistoryKind
    direction: Direction
    effect: Effect
    asset: AssetText
    amount: AmountAnswer
    balance: Annotated[AmountAnswer, Field(description="After this line, reserved money included.")]
    available: Annotated[AmountAnswer, Field(description="After this line, reserved money left out.")]
    counterparty: HandleText | None
    reference: Annotated[
        UUIDText | None,
        Field(
            description="The payer's number; of a fee: what it is the fee of; of money posted or "
            "released: the line that reserved it."
        ),
    ]
    at: TimeAnswer
    memo: MemoAnswer = None


class HistoryAnswer(Answer):
    """A page of history."""

    model_config = shown(
        {
            "lines": [
                {
                    "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
                    "kind": "payment",
                    "direction": "out",
                    "effect": "settled",
                    "asset": "USDT",
                    "amount": "25.000000",
                    "balance": "225.000000",
                    "available": "225.000000",
                    "counterparty": "@ko_ko",
                    "reference": None,
                    "at": "2026-11-23T14:05:09.123456Z",
                }
            ],
            "next_cursor": "aGlzdG9yeToZ6tNwrKtGAA",
        }
    )

    lines: list[HistoryLineAnswer]
    next_cursor: Annotated[str | None, Field(description="Asks for the next page; null at the end.")]


@router.get(
    "/history",
    response_model=HistoryAnswer,
    summary="History",
    description="Newest first. A cursor stays valid while new lines arrive, and belongs to its filter. "
    "A filtered page may be short, or empty, before the last: the end is where next_cursor is null.",
    responses=problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.HANDLE_MALFORMED,
        WalletCode.COUNTERPARTY_UNKNOWN,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HISTORY_FILTER_MALFORMED,
        WalletCode.CURSOR_MALFORMED,
    ),
    openapi_extra=signed(or_token=True),
)
async def own_history(request: Request, query: Annotated[HistoryQuery, Query()]) -> Response:
    """The caller's history."""
    connections = connections_of(request)
    wallet = await wallet_read(request)
    # By what is asked alone: whether a wallet has memos must not be seen from a size.
    memos = query.memos or query.memo_hash is not None
    pad_list(request, lines_max=query.limit, line_bytes=MEMO_LINE_BYTES if memos else LINE_BYTES)
    only = _filter(query)
    only.check()
    if only.counterparty is not None:
        # Whether somebody has a handle is told here as it is where handles are looked up.
        await connections.lookups.count(wallet.person_id)
    page = await history(
        connections.ledger,
        connections.wallets,
        wallet=wallet,
        only=only,
        cursor=query.cursor,
        limit=query.limit,
    )
    lines = page.lines
    if memos:
        lines = await with_memos(connections.memos, lines, sha256=only.memo_sha256)
    return answered(HistoryAnswer(lines=[line_answer(line) for line in lines], next_cursor=page.next_cursor))


def _filter(query: HistoryQuery) -> HistoryFilter:
    asset = asset_by_code(query.asset) if query.asset is not None else None
    return HistoryFilter(
        asset=asset,
        kinds=frozenset(query.kind),
        direction=query.direction,
        counterparty=query.counterparty,
        reference=parse_id(query.reference) if query.reference is not None else None,
        since_ns=_instant("since", query.since),
        until_ns=_instant("until", query.until),
        amount_min=_amount("amount_min", query.amount_min, asset),
        amount_max=_amount("amount_max", query.amount_max, asset),
        memo_sha256=_sha256(query.memo_hash),
    )


def _amount(field: str, text: str | None, asset: Asset | None) -> Money | None:
    if text is None:
        return None
    if asset is None:
        raise Refusal(
            WalletCode.HISTORY_FILTER_MALFORMED,
            "An amount is of one asset: name the asset as well.",
            field=field,
        )
    return Money.parse(text, asset)


def _sha256(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not _SHA256.fullmatch(text):
        raise Refusal(
            WalletCode.HISTORY_FILTER_MALFORMED,
            "A memo's hash is its SHA-256, in hex of lower case.",
            field="memo_hash",
        )
    return bytes.fromhex(text)


def _instant(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    at = parse_instant(text)
    if at is None:
        raise Refusal(
            WalletCode.HISTORY_FILTER_MALFORMED,
            'A time is UTC and written like "2026-11-23T14:05:09Z".',
            field=field,
        )
    return at


def line_answer(line: HistoryLine) -> HistoryLineAnswer:
    """A line as it is answered."""
    return HistoryLineAnswer(
        id=str(line.id),
        kind=line.kind,
        direction=line.direction,
        effect=line.effect,
        asset=line.amount.asset.code,
        amount=line.amount.format(),
        balance=line.balance.format(),
        available=line.available.format(),
        counterparty=handle_text(line.counterparty) if line.counterparty is not None else None,
        reference=str(line.reference) if line.reference is not None else None,
        at=time_text(line.at_ns),
        memo=line.memo.text if line.memo is not None else None,
    )
