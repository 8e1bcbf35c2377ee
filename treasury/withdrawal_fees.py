"""Withdrawal fees: what being paid on chain costs, known before it is asked for.

A flat fee an asset, in minor units, for a payment costs the same gas whatever its
amount.
"""

from __future__ import annotations

from typing import Final

from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset
from foundation.money import Money

WITHDRAWAL_FEES: Final[dict[Asset, int]] = {
    USDT: 1_000_000,
    USDC: 1_000_000,
    DMMK: 200_000,
    THB: 3_500,
    XAU: 100,
}
"""1 USDT or USDC, 2,000 DMMK, 35 THB, 0.01 g of gold."""


def withdrawal_fee(amount: Money) -> Money:
    """The fee of a withdrawal of ``amount``; an asset without a fee is free."""
    return Money(WITHDRAWAL_FEES.get(amount.asset, 0), amount.asset)
