"""Tiers: how much a wallet may pay, by how much the bank knows of whom it belongs to.

A tier is data: for each asset the most in one payment, in any 24 hours, in a calendar
week (from Monday) and in a calendar month, both in UTC. Amounts are what payees get;
fees do not count. Beside it stands the most that a wallet may hold of an asset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset


class Tier(StrEnum):
    """How far a wallet may go."""

    STARTER = "starter"
    """Nothing is known of its owner but a device."""
    STANDARD = "standard"
    """Somebody vouches for its owner: an agent, or whoever invited them. What a new wallet has."""
    BUSINESS = "business"
    """The bank knows the business."""


@dataclass(frozen=True, slots=True)
class TierLimits:
    """Minor units of one asset."""

    per_payment: int
    day: int
    """In any 24 hours."""
    week: int
    month: int


_DOLLARS: Final[Mapping[Tier, TierLimits]] = {
    Tier.STARTER: TierLimits(per_payment=200, day=500, week=1_500, month=4_000),
    Tier.STANDARD: TierLimits(per_payment=10_000, day=20_000, week=60_000, month=150_000),
    Tier.BUSINESS: TierLimits(per_payment=100_000, day=500_000, week=2_000_000, month=6_000_000),
}
"""In whole dollars."""

_MINOR_A_DOLLAR: Final[Mapping[Asset, int]] = {
    USDT: 1_000_000,
    USDC: 1_000_000,
    # Round figures near the rates of 2026; limits do not follow the market.
    DMMK: 400_000,
    THB: 3_500,
    XAU: 100,
}
"""About as much of each asset as a dollar, in minor units."""

TIER_LIMITS: Final[Mapping[Tier, Mapping[Asset, TierLimits]]] = {
    tier: {
        asset: TierLimits(
            per_payment=dollars.per_payment * minor,
            day=dollars.day * minor,
            week=dollars.week * minor,
            month=dollars.month * minor,
        )
        for asset, minor in _MINOR_A_DOLLAR.items()
    }
    for tier, dollars in _DOLLARS.items()
}
"""What each tier may pay, by asset."""

_CEILINGS: Final[Mapping[Tier, int]] = {Tier.STARTER: 5_000, Tier.STANDARD: 250_000}
"""In whole dollars; a tier that is not here has none."""

CEILINGS: Final[Mapping[Tier, Mapping[Asset, int]]] = {
    tier: {asset: _CEILINGS[tier] * minor for asset, minor in _MINOR_A_DOLLAR.items() if tier in _CEILINGS}
    for tier in Tier
}
"""What payments may fill a wallet of each tier up to, by asset; no entry is no ceiling."""
