"""Withdrawals: money sent to an address on chain, and how far each has got."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.errors import ChainCode
from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from foundation.money import Money
from treasury.errors import TreasuryCode
from treasury.withdrawal_quotes import quote_withdrawal
from treasury.withdrawals import (
    LISTED_MAX,
    Withdrawal,
    WithdrawalState,
    list_withdrawals,
    request_withdrawal,
    withdrawal_by_id,
)
from treasury.young_funds import YoungWindow, young_part, young_rooms
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import AMOUNTS, OF_A_WALLET, OF_THE_LEDGER, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    AmountText,
    Answer,
    Asked,
    AssetText,
    IdText,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
)

router = APIRouter(tags=["chain"])

LINE_BYTES: Final = 640
"""Longest line of the list."""

EXAMPLE = {
    "id": "019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a",
    "state": "sent",
    "asset": "USDT",
    "amount": "20.000000",
    "fee": "1.000000",
    "total": "21.000000",
    "to_address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "tx_hash": "0x" + "9f" * 32,
    "created_at": "2026-11-23T14:05:09.123456Z",
    "refusal_code": None,
}


_NOT_HERE = {
    TreasuryCode.WITHDRAWAL_NOT_FOUND,
    TreasuryCode.CUSTODY_UNIT_TOO_COARSE,
    TreasuryCode.APPROVER_IS_NO_OFFICER,
    TreasuryCode.APPROVAL_NOT_AWAITED,
    TreasuryCode.APPROVAL_OF_OWN_WITHDRAWAL,
    TreasuryCode.APPROVAL_TIMES_MALFORMED,
    TreasuryCode.APPROVAL_EXPIRED,
    TreasuryCode.APPROVAL_SIGNATURE_WRONG,
    TreasuryCode.REVIEW_NOT_FOUND,
    TreasuryCode.REVIEW_OF_OWN,
    TreasuryCode.REVIEW_WITHOUT_REASON,
}


class WithdrawalRequest(Asked):
    """Send money to an address on chain."""

    id: IdText
    asset: AssetText
    amount: Annotated[AmountText, Field(description="What arrives; the fee comes on top.")]
    to_address: Annotated[
        str,
        Field(
            min_length=1,
            max_length=42,
            description="0x and 40 hexadecimal digits; capitals must be those of EIP-55.",
        ),
    ]
    fee_max: Annotated[
        AmountText | None, Field(description="The fee agreed to; a higher one is refused.")
    ] = None
    quote_id: Annotated[
        UUIDText | None, Field(description="A quote of this wallet for this amount: its fee is the fee.")
    ] = None


class QuoteRequest(Asked):
    """What would be withdrawn."""

    asset: AssetText
    amount: AmountText


class YoungRoomAnswer(Answer):
    """How much money that is held for less than 30 days may still leave the platform."""

    window: Annotated[YoungWindow, Field(description="day: any 24 hours; week: any 7 days.")]
    limit: AmountAnswer
    left: AmountAnswer
    more_at: Annotated[
        TimeAnswer | None, Field(description="When the first of what is used comes back; null: nothing is.")
    ]


class QuoteAnswer(Answer):
    """A fee that is promised until it expires; name the quote in the withdrawal.

    What it says of young money is so now, and promised by nobody.
    """

    model_config = shown(
        {
            "id": "019ab0c5-0fa1-7b2c-9d3e-4f5a6b7c8d9e",
            "asset": "USDT",
            "amount": "20.000000",
            "fee": "1.000000",
            "total": "21.000000",
            "expires_at": "2026-11-23T14:15:09.123456Z",
            "young": "20.000000",
            "young_rooms": [
                {
                    "window": "day",
                    "limit": "1000.000000",
                    "left": "750.000000",
                    "more_at": "2026-11-24T09:12:40.000000Z",
                },
                {
                    "window": "week",
                    "limit": "5000.000000",
                    "left": "4750.000000",
                    "more_at": "2026-11-30T09:12:40.000000Z",
                },
            ],
        }
    )

    id: UUIDText
    asset: AssetText
    amount: AmountAnswer
    fee: AmountAnswer
    total: AmountAnswer
    expires_at: TimeAnswer
    young: Annotated[
        AmountAnswer, Field(description="What of the amount is held for less than 30 days and needs room.")
    ]
    young_rooms: Annotated[
        list[YoungRoomAnswer], Field(description="None for an asset that the rules do not name.")
    ]


class WithdrawalAnswer(Answer):
    """A withdrawal; its state, tx_hash and refusal_code change, nothing else."""

    model_config = shown(EXAMPLE)

    id: UUIDText
    state: WithdrawalState
    asset: AssetText
    amount: AmountAnswer
    fee: AmountAnswer
    total: Annotated[AmountAnswer, Field(description="Set aside, then gone, or given back whole.")]
    to_address: str
    tx_hash: Annotated[str | None, Field(description="Once signed; a replacement changes it.")]
    created_at: TimeAnswer
    refusal_code: Annotated[str | None, Field(description="Of a refused one: the problem's code.")]


class WithdrawalsQuery(Asked):
    """How many withdrawals."""

    limit: Annotated[int, Field(ge=1, le=LISTED_MAX, strict=False, description="Most withdrawals.")] = 10


class WithdrawalsAnswer(Answer):
    """The wallet's withdrawals, newest first."""

    model_config = shown({"withdrawals": [EXAMPLE]})

    withdrawals: list[WithdrawalAnswer]


@router.post(
    "/withdrawals/quotes",
    status_code=201,
    response_model=QuoteAnswer,
    summary="Quote a withdrawal",
    description="Promises the fee of now for ten minutes. Each call makes a quote; nothing is set aside.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        ChainCode.DEPLOYMENT_NOT_FOUND,
        TreasuryCode.ASSET_NOT_ON_CHAIN,
        TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE,
    ),
    openapi_extra=asks(QuoteRequest, example={"asset": "USDT", "amount": "20"}),
)
async def quote(request: Request) -> Response:
    """Quote a withdrawal from the caller's wallet."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    asked = read(QuoteRequest, await request.body())
    custody = connections.custody()
    amount = Money.parse(asked.amount, asset_by_code(asked.asset))
    async with connections.database.session() as session:
        made = await quote_withdrawal(session, connections.clock, custody, wallet_id=wallet.id, amount=amount)
    ledger, clock = connections.ledger, connections.clock
    young = await young_part(ledger, clock, wallet_id=wallet.id, amount=amount)
    rooms = await young_rooms(ledger, clock, wallet_id=wallet.id, asset=amount.asset)
    return answered(
        QuoteAnswer(
            id=str(made.id),
            asset=amount.asset.code,
            amount=amount.format(),
            fee=made.fee.format(),
            total=(amount + made.fee).format(),
            expires_at=made.expires_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            young=young.format(),
            young_rooms=[
                YoungRoomAnswer(
                    window=room.window,
                    limit=room.limit.format(),
                    left=room.left.format(),
                    more_at=instant_text(room.more_at) if room.more_at is not None else None,
                )
                for room in rooms
            ],
        ),
        status=201,
    )


@router.post(
    "/withdrawals",
    status_code=201,
    response_model=WithdrawalAnswer,
    summary="Withdraw",
    description="The money is set aside when this answers, and paid on chain by itself. "
    "The same request again answers with the same withdrawal as it stands.",
    responses=problems(
        OF_A_WALLET,
        WITH_BODY,
        OF_THE_LEDGER,
        AMOUNTS,
        FoundationCode.ID_MALFORMED,
        ChainCode.ADDRESS_MALFORMED,
        ChainCode.ADDRESS_CHECKSUM_MISMATCH,
        ChainCode.DEPLOYMENT_NOT_FOUND,
        [code for code in TreasuryCode if code not in _NOT_HERE],
    ),
    openapi_extra=asks(
        WithdrawalRequest,
        example={
            "id": "019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a",
            "asset": "USDT",
            "amount": "20",
            "to_address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "fee_max": "1",
        },
    ),
)
async def make_withdrawal(request: Request) -> Response:
    """Withdraw from the caller's wallet."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    asked = read(WithdrawalRequest, await request.body())
    asset = asset_by_code(asked.asset)
    found = await request_withdrawal(
        connections.database,
        connections.ledger,
        connections.clock,
        connections.custody(),
        withdrawal_id=parse_id(asked.id),
        wallet_id=wallet.id,
        amount=Money.parse(asked.amount, asset),
        to_address=asked.to_address,
        fee_max=Money.parse(asked.fee_max, asset) if asked.fee_max is not None else None,
        quote_id=parse_id(asked.quote_id) if asked.quote_id is not None else None,
        requested_by=wallet.person_id,
    )
    return answered(withdrawal_answer(found), status=201)


@router.get(
    "/withdrawals",
    response_model=WithdrawalsAnswer,
    summary="Withdrawals",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER),
    openapi_extra=signed(),
)
async def own_withdrawals(request: Request, query: Annotated[WithdrawalsQuery, Query()]) -> Response:
    """The caller's withdrawals."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    found = await list_withdrawals(
        connections.database, connections.ledger, wallet_id=wallet.id, limit=query.limit
    )
    return answered(WithdrawalsAnswer(withdrawals=[withdrawal_answer(each) for each in found]))


@router.get(
    "/withdrawals/{withdrawal_id}",
    response_model=WithdrawalAnswer,
    summary="A withdrawal",
    description="Settles every doubt: found means that it was asked for; its state says how far it is.",
    responses=problems(
        OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, TreasuryCode.WITHDRAWAL_NOT_FOUND
    ),
    openapi_extra=signed(),
)
async def own_withdrawal(
    request: Request,
    withdrawal_id: Annotated[
        str,
        id_in_path("The withdrawal's id."),
    ],
) -> Response:
    """A withdrawal of the caller."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    found = await withdrawal_by_id(
        connections.database,
        connections.ledger,
        withdrawal_id=parse_id(withdrawal_id),
        wallet_id=wallet.id,
    )
    return answered(withdrawal_answer(found))


def withdrawal_answer(withdrawal: Withdrawal) -> WithdrawalAnswer:
    """A withdrawal as it is answered."""
    created_at = withdrawal.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return WithdrawalAnswer(
        id=str(withdrawal.id),
        state=withdrawal.state,
        asset=withdrawal.amount.asset.code,
        amount=withdrawal.amount.format(),
        fee=withdrawal.fee.format(),
        total=(withdrawal.amount + withdrawal.fee).format(),
        to_address=withdrawal.to_address,
        tx_hash=withdrawal.tx_hash,
        created_at=created_at,
        refusal_code=withdrawal.refusal_code,
    )
