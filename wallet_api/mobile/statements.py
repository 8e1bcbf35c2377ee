"""Statements: a month of the wallet in one asset, as JSON page by page, or whole as CSV or PDF."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from foundation.assets import ASSETS, asset_by_code
from foundation.errors import FoundationCode
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.mobile.history import HistoryLineAnswer, line_answer
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.padding import FILE_STEP_BYTES, pad_list
from wallet_api.wire import AmountAnswer, Answer, Asked, AssetText, answered, shown
from wallets.errors import WalletCode
from wallets.statement_csvs import statement_csv
from wallets.statement_errors import StatementCode
from wallets.statement_pdfs import statement_pdf
from wallets.statements import PAGE_MAX, MonthPage, parse_month, statement, statement_pages

router = APIRouter(tags=["wallet"])

CSV: Final = "text/csv"
PDF: Final = "application/pdf"

LINE_BYTES: Final = 512
"""Longest line of the list."""

_FILES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            CSV: {
                "schema": {"type": "string"},
                "example": "at,kind,effect,counterparty,reference,id,asset,amount,money_in,money_out,…",
            },
            PDF: {"schema": {"type": "string", "format": "binary"}, "example": "%PDF-1.4…"},
        }
    }
}
"""What Accept may ask for instead of JSON."""


class StatementQuery(Asked):
    """Which page; a file is always whole."""

    cursor: Annotated[str | None, Field(max_length=256, description="From the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most lines on the page.")] = 20


class StatementLineAnswer(HistoryLineAnswer):
    """A line of history, and what it did to the balance."""

    change: Annotated[
        str,
        Field(
            description="What it added to the balance at the asset's full scale; with - before it for what "
            "left, zero for what was only reserved or freed.",
            examples=["-25.000000"],
        ),
    ]


class StatementAnswer(Answer):
    """A page of a month."""

    model_config = shown(
        {
            "asset": "USDT",
            "month": "2026-11",
            "is_over": True,
            "opening_balance": "250.000000",
            "closing_balance": "225.000000",
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
                    "change": "-25.000000",
                }
            ],
            "next_cursor": None,
        }
    )

    asset: AssetText
    month: str
    is_over: Annotated[
        bool, Field(description="False: more lines may come, and the closing balance is the newest one.")
    ]
    opening_balance: AmountAnswer
    closing_balance: Annotated[
        AmountAnswer, Field(description="The opening balance and the changes of all pages' lines.")
    ]
    lines: Annotated[list[StatementLineAnswer], Field(description="In the order of the books.")]
    next_cursor: Annotated[str | None, Field(description="Asks for the next page; null at the end.")]


@router.get(
    "/statements/{asset}/{month}",
    response_model=StatementAnswer,
    summary="A month's statement",
    description="A calendar month in UTC. Opening balance and all changes make the closing balance, which "
    "is the ledger's. With Accept: text/csv or application/pdf the answer is the whole month as a file; "
    "a CSV whose last row is no closing_balance was cut off.",
    responses=_FILES
    | problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        FoundationCode.UNKNOWN_ASSET,
        StatementCode.STATEMENT_MONTH_MALFORMED,
        WalletCode.CURSOR_MALFORMED,
    ),
    openapi_extra=signed(),
)
async def own_statement(
    request: Request,
    asset: Annotated[
        str,
        Path(
            max_length=16,
            description="The asset's code.",
            json_schema_extra={"enum": [each.code for each in ASSETS]},
        ),
    ],
    month: Annotated[
        str,
        Path(
            max_length=7,
            description="yyyy-mm.",
            json_schema_extra={"pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$", "example": "2026-11"},
        ),
    ],
    query: Annotated[StatementQuery, Query()],
) -> Response:
    """The caller's statement."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    connections = connections_of(request)
    wallet = await wallet_of(request)
    chosen, which = asset_by_code(asset), parse_month(month, connections.clock)
    kind = _wanted(request.headers.get("accept", ""))
    if kind in {CSV, PDF}:
        pages = statement_pages(
            connections.ledger,
            connections.wallets,
            connections.clock,
            wallet=wallet,
            asset=chosen,
            month=which,
        )
        # In a session the length of a file says as little as it can of whose month it is.
        step = FILE_STEP_BYTES if "authorization" in request.headers else 1
        content = (
            statement_csv(pages, step_bytes=step)
            if kind == CSV
            else statement_pdf(pages, handle=wallet.handle, step_bytes=step)
        )
        return await _file(content, kind, f"{chosen.code}-{which}")
    page = await statement(
        connections.ledger,
        connections.wallets,
        connections.clock,
        wallet=wallet,
        asset=chosen,
        month=which,
        cursor=query.cursor,
        limit=query.limit,
    )
    return answered(_answer(page))


async def _file(content: AsyncIterator[bytes], kind: str, name: str) -> Response:
    # The first pieces are made before the answer begins: what is refused is refused in time.
    first = await anext(content)
    second = await anext(content)

    async def pieces() -> AsyncIterator[bytes]:
        yield first + second
        async for piece in content:
            yield piece

    ending = "csv" if kind == CSV else "pdf"
    disposition = f'attachment; filename="statement-{name}.{ending}"'
    return StreamingResponse(pieces(), media_type=kind, headers={"content-disposition": disposition})


def _wanted(accept: str) -> str:
    """The first kind of answer that the client names and that is made here; JSON if none."""
    for part in accept.split(","):
        kind = part.partition(";")[0].strip().lower()
        if kind in {CSV, PDF, "application/json", "*/*"}:
            return kind
    return "application/json"


def _answer(page: MonthPage) -> StatementAnswer:
    return StatementAnswer(
        asset=page.asset.code,
        month=str(page.month),
        is_over=page.is_over,
        opening_balance=page.opening.format(),
        closing_balance=page.closing.format(),
        lines=[
            StatementLineAnswer(**line_answer(each.line).model_dump(), change=each.change.format())
            for each in page.lines
        ],
        next_cursor=page.next_cursor,
    )
