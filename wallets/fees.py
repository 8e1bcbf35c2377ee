"""Fees: what a payment costs, known before it is sent.

A schedule is data: a share of the amount in basis points, held between a least
and a greatest fee, all integers of minor units. The share is cut to whole units,
in the payer's favour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset
from foundation.money import Money

BASIS: Final = 10_000
"""Basis points in the whole."""


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """A fee in one asset; all three numbers 0 means free."""

    share_bps: int
    """Share of the amount, in basis points."""
    minor_min: int
    """Least fee, in minor units."""
    minor_max: int
    """Greatest fee, in minor units."""

    def fee(self, amount: Money) -> Money:
        """The fee on ``amount``, in its asset."""
        share = amount.minor * self.share_bps // BASIS
        return Money(min(max(share, self.minor_min), self.minor_max), amount.asset)


PAYMENT_FEES: Final[dict[Asset, FeeSchedule]] = {
    USDT: FeeSchedule(share_bps=10, minor_min=10_000, minor_max=1_000_000),
    USDC: FeeSchedule(share_bps=10, minor_min=10_000, minor_max=1_000_000),
    DMMK: FeeSchedule(share_bps=10, minor_min=2_000, minor_max=200_000),
    THB: FeeSchedule(share_bps=10, minor_min=25, minor_max=2_500),
    XAU: FeeSchedule(share_bps=10, minor_min=1, minor_max=100),
}
"""What payments cost: 0.1 %, at least 0.01 USDT or 20 DMMK, at most 1 USDT or 2,000 DMMK."""


def payment_fee(amount: Money) -> Money:
    """The fee of a payment of ``amount``; an asset without a schedule is free."""
    schedule = PAYMENT_FEES.get(amount.asset)
    return Money(0, amount.asset) if schedule is None else schedule.fee(amount)
