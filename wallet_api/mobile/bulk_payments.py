"""Bulk payments: bring a file of payments, see what is wrong with it, release it, follow it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import caller_of, wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import (
    AMOUNTS,
    OF_A_WALLET,
    OF_THE_LEDGER,
    WITH_BODY,
    asks,
    brings_file,
    problems,
    signed,
)
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    HandleText,
    IdText,
    TimeAnswer,
    UUIDText,
    answered,
    handle_text,
    id_in_path,
    instant_text,
    read,
    shown,
)
from wallets.bulk_cancellations import cancel_bulk_payment
from wallets.bulk_errors import BulkCode
from wallets.bulk_payments import (
    LINES_PAGE_MAX,
    PAGE_MAX,
    BulkPayment,
    BulkState,
    LineResult,
    LineState,
    bulk_payment_by_id,
    list_bulk_lines,
    list_bulk_payments,
)
from wallets.bulk_releases import BulkRelease, release_bulk_payment
from wallets.bulk_uploads import BulkOrder, upload_bulk_payment
from wallets.errors import WalletCode
from wallets.request_errors import AskingCode

router = APIRouter(tags=["payments"], prefix="/bulk_payments")

LINE_BYTES: Final = 768
"""Longest file in the list, and longest line of a file: a handle and a reference in any script."""

BulkPath = Annotated[str, id_in_path("The bulk payment's id.")]

_DIGEST = "1f2d8f6b0c1f0a1c1f6ed1b7f3a3d6e6b8b6d1b1f9f0f4c0a9a5f3f5a7c9e1b3"

_BULK = {
    "id": "019ab0c4-9d5e-7f44-a05e-6c9d3f4e5a71",
    "state": "checked",
    "payer": "@the_mill",
    "asset": "USDT",
    "digest": _DIGEST,
    "lines": 2,
    "wrong": 0,
    "total": "37.500000",
    "fees": "0.035000",
    "done": 0,
    "paid": 0,
    "paid_total": "0.000000",
    "created_at": "2026-11-23T14:05:09.123456Z",
    "released_at": None,
    "finished_at": None,
    "cancelled_at": None,
}

_LINE = {
    "number": 2,
    "state": "paid",
    "payee": "@ko_ko",
    "amount": "25.000000",
    "fee": "0.025000",
    "reference": "November",
    "code": None,
    "payment_id": "0c5f6a1e-2b3c-8d4e-9f60-718293a4b5c6",
}


class BulkQuery(Asked):
    """Under which id a file is brought, and what it pays in."""

    id: IdText
    asset: AssetText


class BulkReleaseRequest(Asked):
    """A second device's word for a file."""

    digest: Annotated[
        str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, as sha256sum writes it.")
    ]
    total: Annotated[AmountText, Field(description="What the payees get together.")]


class BulkAnswer(Answer):
    """A bulk payment as it stands now."""

    model_config = shown(_BULK)

    id: UUIDText
    state: BulkState
    payer: HandleText
    asset: AssetText
    digest: Annotated[str, Field(description="SHA-256 of the file, as sha256sum writes it.")]
    lines: int
    wrong: Annotated[
        int, Field(description="Lines that cannot be paid; with one, the file is never released.")
    ]
    total: Annotated[AmountAnswer, Field(description="What the payees of all good lines get.")]
    fees: Annotated[AmountAnswer, Field(description="What comes on top.")]
    done: Annotated[int, Field(description="Lines that have a result.")]
    paid: int
    paid_total: Annotated[AmountAnswer, Field(description="What the payees of paid lines got.")]
    created_at: TimeAnswer
    released_at: TimeAnswer | None
    finished_at: TimeAnswer | None
    cancelled_at: TimeAnswer | None


class LineAnswer(Answer):
    """A line as it stands now."""

    model_config = shown(_LINE)

    number: Annotated[int, Field(description="As a spreadsheet counts: the header is line 1.")]
    state: LineState
    payee: Annotated[str, Field(description="The handle; of a wrong line, what stood there.")]
    amount: AmountAnswer | None
    fee: AmountAnswer | None
    reference: str
    code: Annotated[str | None, Field(description="Why it is wrong, or was refused: a problem's code.")]
    payment_id: Annotated[UUIDText | None, Field(description="The payment that it has become.")]


class BulksQuery(Asked):
    """Which bulk payments."""

    before: Annotated[UUIDText | None, Field(description="The next_before of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class BulksAnswer(Answer):
    """A page of bulk payments, newest first."""

    model_config = shown({"bulk_payments": [_BULK], "next_before": None})

    bulk_payments: list[BulkAnswer]
    next_before: Annotated[UUIDText | None, Field(description="Null: this was the last page.")]


class LinesQuery(Asked):
    """Which lines."""

    state: Annotated[LineState | None, Field(strict=False, description="All if left out.")] = None
    after: Annotated[
        int, Field(ge=0, le=2**31 - 1, strict=False, description="The next_after of the page before.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=LINES_PAGE_MAX, strict=False, description="Most on a page.")] = 100


class LinesAnswer(Answer):
    """A page of lines, in the file's order."""

    model_config = shown({"lines": [_LINE], "next_after": None})

    lines: list[LineAnswer]
    next_after: Annotated[int | None, Field(description="Null: this was the last page.")]


@router.post(
    "",
    status_code=201,
    response_model=BulkAnswer,
    summary="Bring a file of payments",
    description="CSV in UTF-8 with the header handle,amount,reference and at most 10,000 lines. Every "
    "line is checked and nothing moves; with wrong lines the state is wrong, and GET …/lines?state=wrong "
    "tells them all. The same file under the same id gives the bulk payment as it stands.",
    responses=problems(
        OF_A_WALLET,
        [code for code in WITH_BODY if code != "json_malformed"],
        OF_THE_LEDGER,
        FoundationCode.UNKNOWN_ASSET,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        BulkCode.BULK_TIER_NEEDED,
        AskingCode.TOO_MANY_LOOKUPS,
        BulkCode.BULK_ENCODING_BROKEN,
        BulkCode.BULK_FILE_MALFORMED,
        BulkCode.BULK_TOO_MANY_LINES,
        BulkCode.BULK_ID_TAKEN,
        BulkCode.BULK_ID_USED_DIFFERENTLY,
    ),
    openapi_extra=brings_file(example="handle,amount,reference\r\n@ko_ko,25.00,November\r\n"),
)
async def bring_file(request: Request, query: Annotated[BulkQuery, Query()]) -> Response:
    """Check a file of payments from the caller's wallet, and keep it."""
    connections = connections_of(request)
    caller = await caller_of(request)
    order = BulkOrder(
        id=parse_id(query.id),
        payer=await connections.wallets.by_person(caller.person_id),
        made_by=caller.device.id,
        asset=asset_by_code(query.asset),
        content=await request.body(),
    )
    made = await upload_bulk_payment(connections.bulk_books(), order)
    return answered(_answer(made.bulk_payment), status=201, replayed=made.replayed)


@router.post(
    "/{bulk_id}/release",
    response_model=BulkAnswer,
    summary="Release a file of payments",
    description="By another device of the wallet than the one that brought it. Lines are paid from then on; "
    "the same again gives the bulk payment as it stands.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        BulkCode.BULK_NOT_FOUND,
        BulkCode.BULK_RELEASED_BY_MAKER,
        BulkCode.BULK_CANCELLED,
        BulkCode.BULK_LINES_WRONG,
        BulkCode.BULK_RELEASED_DIFFERENTLY,
        BulkCode.BULK_EXCEEDS_BALANCE,
        BulkCode.BULK_EXCEEDS_LIMIT,
    ),
    openapi_extra=asks(BulkReleaseRequest, example={"digest": _DIGEST, "total": "37.50"}),
)
async def release_file(request: Request, bulk_id: BulkPath) -> Response:
    """Have a file's lines paid."""
    connections = connections_of(request)
    caller = await caller_of(request)
    payer = await connections.wallets.by_person(caller.person_id)
    asked = read(BulkReleaseRequest, await request.body())
    release = BulkRelease(
        bulk_id=parse_id(bulk_id),
        payer=payer,
        released_by=caller.device.id,
        digest=bytes.fromhex(asked.digest),
        total=asked.total,
    )
    released = await release_bulk_payment(
        connections.database, connections.ledger, connections.clock, connections.limits, release
    )
    return answered(_answer(released.bulk_payment), replayed=released.replayed)


@router.post(
    "/{bulk_id}/cancel",
    response_model=BulkAnswer,
    summary="Cancel a file of payments",
    description="By any device of the wallet, while no device has released it: it is never paid then. "
    "Without a body. The same again gives the bulk payment as it stands.",
    responses=problems(
        OF_A_WALLET, FoundationCode.ID_MALFORMED, BulkCode.BULK_NOT_FOUND, BulkCode.BULK_RELEASED
    ),
    openapi_extra=signed(),
)
async def cancel_file(request: Request, bulk_id: BulkPath) -> Response:
    """Take a file back that nobody has released."""
    connections = connections_of(request)
    payer = await wallet_of(request)
    cancelled = await cancel_bulk_payment(
        connections.database, connections.clock, payer=payer, bulk_id=parse_id(bulk_id)
    )
    return answered(_answer(cancelled.bulk_payment), replayed=cancelled.replayed)


@router.get(
    "",
    response_model=BulksAnswer,
    summary="Files of payments",
    description="Those of the caller's wallet, newest first.",
    responses=problems(OF_A_WALLET, FoundationCode.ID_MALFORMED, BulkCode.BULK_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_files(request: Request, query: Annotated[BulksQuery, Query()]) -> Response:
    """The caller's bulk payments."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    before = parse_id(query.before) if query.before is not None else None
    page = await list_bulk_payments(
        connections_of(request).database, wallet=wallet, before=before, limit=query.limit
    )
    return answered(
        BulksAnswer(
            bulk_payments=[_answer(each) for each in page.bulk_payments],
            next_before=str(page.next_before) if page.next_before is not None else None,
        )
    )


@router.get(
    "/{bulk_id}",
    response_model=BulkAnswer,
    summary="A file of payments",
    description="How far it is. Only its payer sees it; payees see their payments.",
    responses=problems(OF_A_WALLET, FoundationCode.ID_MALFORMED, BulkCode.BULK_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_file(request: Request, bulk_id: BulkPath) -> Response:
    """A bulk payment of the caller."""
    wallet = await wallet_of(request)
    found = await bulk_payment_by_id(
        connections_of(request).database, wallet=wallet, bulk_id=parse_id(bulk_id)
    )
    return answered(_answer(found))


@router.get(
    "/{bulk_id}/lines",
    response_model=LinesAnswer,
    summary="Lines of a file of payments",
    description="In the file's order, each with what has become of it.",
    responses=problems(OF_A_WALLET, FoundationCode.ID_MALFORMED, BulkCode.BULK_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_lines(request: Request, bulk_id: BulkPath, query: Annotated[LinesQuery, Query()]) -> Response:
    """Lines of a bulk payment of the caller."""
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    page = await list_bulk_lines(
        connections_of(request).database,
        wallet=wallet,
        bulk_id=parse_id(bulk_id),
        state=query.state,
        after=query.after,
        limit=query.limit,
    )
    return answered(LinesAnswer(lines=[_line(each) for each in page.lines], next_after=page.next_after))


def _answer(bulk: BulkPayment) -> BulkAnswer:
    return BulkAnswer(
        id=str(bulk.id),
        state=bulk.state,
        payer=handle_text(bulk.payer.handle),
        asset=bulk.asset.code,
        digest=bulk.digest.hex(),
        lines=bulk.lines,
        wrong=bulk.wrong,
        total=bulk.total.format(),
        fees=bulk.fees.format(),
        done=bulk.done,
        paid=bulk.paid,
        paid_total=bulk.paid_total.format(),
        created_at=instant_text(bulk.created_at),
        released_at=instant_text(bulk.released_at) if bulk.released_at is not None else None,
        finished_at=instant_text(bulk.finished_at) if bulk.finished_at is not None else None,
        cancelled_at=instant_text(bulk.cancelled_at) if bulk.cancelled_at is not None else None,
    )


def _line(line: LineResult) -> LineAnswer:
    return LineAnswer(
        number=line.number,
        state=line.state,
        # What is no handle is shown as it stood there.
        payee=line.payee if line.state is LineState.WRONG else handle_text(line.payee),
        amount=line.amount.format() if line.amount is not None else None,
        fee=line.fee.format() if line.fee is not None else None,
        reference=line.reference,
        code=line.code,
        payment_id=str(line.payment_id) if line.payment_id is not None else None,
    )
