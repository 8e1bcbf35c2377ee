"""Fees: what a payment or a withdrawal would cost now, before it is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.money import Money
from treasury.withdrawal_fees import withdrawal_fee
from wallet_api.operations import AMOUNTS, problems
from wallet_api.wire import AmountAnswer, AmountText, Answer, Asked, AssetText, answered, shown
from wallets.fees import payment_fee

router = APIRouter(tags=["fees"])


class FeeQuery(Asked):
    """What would be sent."""

    asset: AssetText
    amount: AmountText


class FeeAnswer(Answer):
    """What sending it would cost now; the fee comes on top of the amount."""

    model_config = shown({"asset": "USDT", "amount": "25.000000", "fee": "0.025000", "total": "25.025000"})

    asset: AssetText
    amount: AmountAnswer
    fee: AmountAnswer
    total: AmountAnswer


@router.get(
    "/fees/payment",
    response_model=FeeAnswer,
    summary="What a payment would cost",
    description="Open: not signed. Give the fee as fee_max in the payment to hold us to it.",
    responses=problems(AMOUNTS),
)
async def payment_fee_quoted(query: Annotated[FeeQuery, Query()]) -> Response:
    """The fee of a payment."""
    amount = _amount(query)
    return _answer(amount, payment_fee(amount))


@router.get(
    "/fees/withdrawal",
    response_model=FeeAnswer,
    summary="What a withdrawal would cost",
    description="Open: not signed. Give the fee as fee_max in the withdrawal to hold us to it.",
    responses=problems(AMOUNTS),
)
async def withdrawal_fee_quoted(query: Annotated[FeeQuery, Query()]) -> Response:
    """The fee of a withdrawal."""
    amount = _amount(query)
    return _answer(amount, withdrawal_fee(amount))


def _amount(query: FeeQuery) -> Money:
    return Money.parse(query.amount, asset_by_code(query.asset))


def _answer(amount: Money, fee: Money) -> Response:
    return answered(
        FeeAnswer(
            asset=amount.asset.code,
            amount=amount.format(),
            fee=fee.format(),
            total=(amount + fee).format(),
        )
    )
