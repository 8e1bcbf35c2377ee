"""Balances: what the wallet holds in every asset, as the ledger says now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.callers import wallet_read
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.wire import AmountAnswer, Answer, AssetText, answered, shown
from wallets.balances import Balance, balances

router = APIRouter(tags=["wallet"])


class BalanceAnswer(Answer):
    """The wallet's money in one asset."""

    asset: AssetText
    balance: Annotated[AmountAnswer, Field(description="All that belongs to the wallet.")]
    reserved: Annotated[
        AmountAnswer, Field(description="Promised and not gone yet, such as a withdrawal on its way.")
    ]
    available: Annotated[AmountAnswer, Field(description="What can be spent now.")]


class BalancesAnswer(Answer):
    """The wallet's money in every asset."""

    model_config = shown(
        {
            "balances": [
                {
                    "asset": "USDT",
                    "balance": "250.000000",
                    "reserved": "20.100000",
                    "available": "229.900000",
                },
                {"asset": "DMMK", "balance": "1000000.00", "reserved": "0.00", "available": "1000000.00"},
            ]
        }
    )

    balances: list[BalanceAnswer]


@router.get(
    "/balances",
    response_model=BalancesAnswer,
    summary="Balances",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER),
    openapi_extra=signed(or_token=True),
)
async def own_balances(request: Request) -> Response:
    """The caller's balances."""
    wallet = await wallet_read(request)
    held = await balances(connections_of(request).ledger, wallet)
    return answered(
        BalancesAnswer(
            balances=[balance_answer(each) for each in held],
        )
    )


def balance_answer(held: Balance) -> BalanceAnswer:
    """A balance as it is answered."""
    return BalanceAnswer(
        asset=held.asset.code,
        balance=held.balance.format(),
        reserved=held.reserved.format(),
        available=held.available.format(),
    )
