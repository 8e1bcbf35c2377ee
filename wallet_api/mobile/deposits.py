"""Deposits: where to send tokens, and what has arrived."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.errors import ChainCode
from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.money import Money
from treasury.deposit_addresses import deposit_address
from treasury.deposits import LISTED_MAX, Deposit, DepositState, list_deposits
from treasury.errors import TreasuryCode
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    Answer,
    Asked,
    AssetText,
    TimeAnswer,
    UUIDText,
    answered,
    shown,
    time_text,
)

router = APIRouter(tags=["chain"])

LINE_BYTES: Final = 448
"""Longest line of the list."""


class DepositAddressQuery(Asked):
    """Which asset is to be sent."""

    asset: AssetText


class DepositAddressAnswer(Answer):
    """The wallet's own address on chain for one asset."""

    model_config = shown(
        {
            "asset": "USDT",
            "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "chain_id": 31337,
            "token": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "token_decimals": 6,
        }
    )

    asset: AssetText
    address: Annotated[str, Field(description="Send here; valid for ever. EIP-55 checksum.")]
    chain_id: Annotated[int, Field(description="The EVM chain: EIP-155.")]
    token: Annotated[str, Field(description="The token's contract; other tokens are not credited.")]
    token_decimals: Annotated[int, Field(description="Decimals of the token on chain.")]


class DepositsQuery(Asked):
    """How many deposits."""

    limit: Annotated[int, Field(ge=1, le=LISTED_MAX, strict=False, description="Most deposits.")] = 10


class DepositAnswer(Answer):
    """Tokens that came to the wallet's address."""

    id: UUIDText
    state: DepositState
    asset: AssetText
    amount: AmountAnswer
    tx_hash: str
    block_number: int
    from_address: str
    credited_at: TimeAnswer | None


class DepositsAnswer(Answer):
    """The wallet's deposits, newest first."""

    model_config = shown(
        {
            "deposits": [
                {
                    "id": "9a0856b3-5600-8d6a-bab8-69117e45b91c",
                    "state": "credited",
                    "asset": "USDT",
                    "amount": "250.000000",
                    "tx_hash": "0x9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f",
                    "block_number": 1042,
                    "from_address": "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
                    "credited_at": "2026-11-23T14:05:09.123456Z",
                }
            ]
        }
    )

    deposits: list[DepositAnswer]


@router.get(
    "/deposit_address",
    response_model=DepositAddressAnswer,
    summary="Deposit address",
    description="Always the same address for a wallet. A deposit is credited once its block is final.",
    responses=problems(
        OF_A_WALLET,
        FoundationCode.UNKNOWN_ASSET,
        TreasuryCode.ASSET_NOT_ON_CHAIN,
        ChainCode.DEPLOYMENT_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def own_deposit_address(request: Request, query: Annotated[DepositAddressQuery, Query()]) -> Response:
    """Where the caller sends tokens to."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    found = await deposit_address(
        connections.database,
        connections.clock,
        connections.custody(),
        wallet_id=wallet.id,
        asset=asset_by_code(query.asset),
    )
    return answered(
        DepositAddressAnswer(
            asset=found.asset.code,
            address=found.address,
            chain_id=found.chain_id,
            token=found.token,
            token_decimals=found.decimals,
        )
    )


@router.get(
    "/deposits",
    response_model=DepositsAnswer,
    summary="Deposits",
    description="Those on their way as well: seen and arriving ones cannot be spent yet.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, ChainCode.DEPLOYMENT_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_deposits(request: Request, query: Annotated[DepositsQuery, Query()]) -> Response:
    """The caller's deposits."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    pad_list(request, lines_max=query.limit, line_bytes=LINE_BYTES)
    found = await list_deposits(
        connections.database,
        connections.ledger,
        connections.custody(),
        wallet_id=wallet.id,
        limit=query.limit,
    )
    return answered(DepositsAnswer(deposits=[deposit_answer(deposit) for deposit in found]))


def deposit_answer(deposit: Deposit) -> DepositAnswer:
    """A deposit as it is answered."""
    return DepositAnswer(
        id=str(deposit.id),
        state=deposit.state,
        asset=deposit.asset.code,
        amount=Money(deposit.amount, deposit.asset).format(),
        tx_hash=deposit.tx_hash,
        block_number=deposit.block_number,
        from_address=deposit.from_address,
        credited_at=time_text(deposit.credited_at_ns) if deposit.credited_at_ns is not None else None,
    )
