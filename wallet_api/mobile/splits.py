"""Splits: ask several people for their shares of one amount, and see who has paid."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from foundation.money import Money
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.mobile.payment_requests import REQUEST_SHOWN, RequestAnswer, request_answer
from wallet_api.operations import AMOUNTS, OF_A_WALLET, OF_THE_LEDGER, WITH_BODY, asks, problems, signed
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
    id_in_path,
    instant_text,
    read,
    shown,
)
from wallets.errors import WalletCode
from wallets.payment_request_orders import SECONDS_MAX, SECONDS_MIN
from wallets.request_errors import AskingCode
from wallets.split_errors import SplitCode
from wallets.splits import SHARES_MAX, Share, Split, SplitOrder, equal_shares, split_amount, split_by_id

router = APIRouter(tags=["payments"], prefix="/splits")

LINE_BYTES: Final = 640
"""Longest request among those of a split."""

_SPLIT: Final[dict[str, Any]] = {
    "id": "019ab0c4-c073-7266-ac70-8ebf516a7c93",
    "asset": "USDT",
    "total": "30.000000",
    "paid": "0.000000",
    "requests": [{**REQUEST_SHOWN, "reference": "019ab0c4-c073-7266-ac70-8ebf516a7c93"}],
    "created_at": "2026-11-23T14:05:09.123456Z",
}

_LEFT_OUT: Final = "Left out of all: the total is divided equally."


class ShareRequest(Asked):
    """Of whom how much is asked."""

    payer: HandleText
    amount: Annotated[AmountText | None, Field(description=_LEFT_OUT)] = None


class SplitRequest(Asked):
    """Ask several people for one amount."""

    id: IdText
    asset: AssetText
    total: Annotated[AmountText, Field(description="What all shares make up, to the last unit.")]
    shares: Annotated[list[ShareRequest], Field(min_length=1, max_length=SHARES_MAX)]
    remainder_to: Annotated[
        HandleText | None,
        Field(description="Whose share has what does not divide; needed where amounts are left out."),
    ] = None
    expires_in_seconds: Annotated[
        int, Field(ge=SECONDS_MIN, le=SECONDS_MAX, description="A week if left out.")
    ] = 7 * 86_400


class SplitAnswer(Answer):
    """A split as it stands now."""

    model_config = shown(_SPLIT)

    id: UUIDText
    asset: AssetText
    total: AmountAnswer
    paid: Annotated[AmountAnswer, Field(description="What was paid of it.")]
    requests: Annotated[
        list[RequestAnswer], Field(description="One for each share, in the order in which they were named.")
    ]
    created_at: TimeAnswer


@router.post(
    "",
    status_code=201,
    response_model=SplitAnswer,
    summary="Ask several people for one amount",
    description="Each is asked for a share by a request to pay, whose reference is the split's id; all are "
    "asked or nobody. The same id with the same content gives the split as it stands, with the header "
    "Idempotency-Replayed; with other content the field that differs is named.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        WalletCode.PAYMENT_ID_MALFORMED,
        WalletCode.AMOUNT_NOT_POSITIVE,
        WalletCode.HANDLE_MALFORMED,
        SplitCode.SPLIT_SHARES_WRONG,
        AskingCode.TOO_MANY_LOOKUPS,
        AskingCode.PAYER_UNKNOWN,
        AskingCode.PAYER_IS_PAYEE,
        SplitCode.SPLIT_ID_TAKEN,
        SplitCode.SPLIT_ID_USED_DIFFERENTLY,
        AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE,
        AskingCode.TOO_MANY_OPEN_REQUESTS,
        AskingCode.TOO_MANY_REQUESTS_TODAY,
        AskingCode.PAYMENT_REQUEST_CONTESTED,
    ),
    openapi_extra=asks(
        SplitRequest,
        example={
            "id": _SPLIT["id"],
            "asset": "USDT",
            "total": "30.00",
            "shares": [{"payer": "@aye_aye"}, {"payer": "@su_su"}],
            "remainder_to": "@aye_aye",
        },
    ),
)
async def split(request: Request) -> Response:
    """Ask several people to pay the caller."""
    pad_list(request, lines_max=SHARES_MAX, line_bytes=LINE_BYTES)
    connections = connections_of(request)
    payee = await wallet_of(request)
    asked = read(SplitRequest, await request.body())
    total = Money.parse(asked.total, asset_by_code(asked.asset))
    order = SplitOrder(
        id=parse_id(asked.id),
        payee=payee,
        total=total,
        shares=_shares(asked, total),
        seconds=asked.expires_in_seconds,
    )
    made = await split_amount(connections.request_books(), connections.lookups, order)
    return answered(_answer(made.split), status=201, replayed=made.replayed)


@router.get(
    "/{split_id}",
    response_model=SplitAnswer,
    summary="A split",
    description="Who has paid, in one read. Only who asks sees it.",
    responses=problems(
        OF_A_WALLET,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        SplitCode.SPLIT_NOT_FOUND,
        AskingCode.PAYMENT_REQUEST_CONTESTED,
    ),
    openapi_extra=signed(),
)
async def own_split(request: Request, split_id: Annotated[str, id_in_path("The split's id.")]) -> Response:
    """A split of the caller."""
    pad_list(request, lines_max=SHARES_MAX, line_bytes=LINE_BYTES)
    wallet = await wallet_of(request)
    books = connections_of(request).request_books()
    return answered(_answer(await split_by_id(books, wallet=wallet, split_id=parse_id(split_id))))


def _shares(asked: SplitRequest, total: Money) -> list[Share]:
    named = [
        Share(each.payer, Money.parse(each.amount, total.asset))
        for each in asked.shares
        if each.amount is not None
    ]
    if len(named) == len(asked.shares) and asked.remainder_to is None:
        return named
    if named or asked.remainder_to is None:
        raise Refusal(
            SplitCode.SPLIT_SHARES_WRONG,
            "Name every share's amount; or none, and to whom goes what does not divide.",
        )
    return equal_shares(total, [each.payer for each in asked.shares], asked.remainder_to)


def _answer(found: Split) -> SplitAnswer:
    return SplitAnswer(
        id=str(found.id),
        asset=found.total.asset.code,
        total=found.total.format(),
        paid=found.paid.format(),
        requests=[request_answer(each) for each in found.requests],
        created_at=instant_text(found.created_at),
    )
