"""Withdrawal limits: the most that a wallet may withdraw, known before anything is written.

What a customer may ask for is one thing, what the signer signs is another: these
limits spare the customer a request that would come back, the signer's caps hold
whatever becomes of these. A limit of a day counts what was asked for in the last 24
hours and not refused or returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainOrder
from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset
from foundation.clock import Clock
from foundation.errors import Refusal, Retryable
from foundation.money import Money
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal

DAY: Final = timedelta(hours=24)
"""The window of the daily limit."""


@dataclass(frozen=True, slots=True)
class WithdrawalLimit:
    """Minor units of one asset."""

    per_withdrawal: int
    per_day: int
    """By one wallet in 24 hours."""


WITHDRAWAL_LIMITS: Final[Mapping[Asset, WithdrawalLimit]] = {
    USDT: WithdrawalLimit(100_000_000_000, 250_000_000_000),
    USDC: WithdrawalLimit(100_000_000_000, 250_000_000_000),
    DMMK: WithdrawalLimit(40_000_000_000, 100_000_000_000),
    THB: WithdrawalLimit(350_000_000, 875_000_000),
    XAU: WithdrawalLimit(10_000_000, 25_000_000),
}
"""100,000 USDT or USDC at once and 250,000 a day, and about as much of the others."""


def refuse_above_limit(amount: Money, limits: Mapping[Asset, WithdrawalLimit]) -> None:
    """Refuse as ``withdrawal_above_limit``; an asset without a limit has none."""
    limit = limits.get(amount.asset)
    if limit is not None and amount.minor > limit.per_withdrawal:
        most = Money(limit.per_withdrawal, amount.asset)
        raise Refusal(
            TreasuryCode.WITHDRAWAL_ABOVE_LIMIT,
            f"At most {most} at once.",
            limit=most.format(),
            asset=most.asset.code,
        )


async def refuse_above_daily_limit(
    session: AsyncSession,
    clock: Clock,
    wallet_id: UUID,
    amount: Money,
    limits: Mapping[Asset, WithdrawalLimit],
) -> None:
    """Refuse as ``withdrawal_above_daily_limit``; holds the wallet until the transaction ends."""
    limit = limits.get(amount.asset)
    if limit is None:
        return
    # Two requests of one wallet that both see the same room would both take it: the
    # second waits here until the first is committed, and then counts it.
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:wallet, 0))"),
        {"wallet": f"treasury_withdrawal {wallet_id}"},
    )
    asked = await session.scalar(
        select(func.coalesce(func.sum(TreasuryWithdrawal.amount), 0))
        .join(ChainOrder, ChainOrder.id == TreasuryWithdrawal.id)
        .where(
            TreasuryWithdrawal.wallet_id == wallet_id,
            TreasuryWithdrawal.asset == amount.asset.code,
            TreasuryWithdrawal.created_at > clock.now() - DAY,
            TreasuryWithdrawal.refusal_code.is_(None),
            ChainOrder.revoked_at.is_(None),
        )
    )
    if int(asked or 0) + amount.minor > limit.per_day:
        most = Money(limit.per_day, amount.asset)
        raise Refusal(
            TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT,
            f"At most {most} in 24 hours.",
            retryable=Retryable.YES,
            limit=most.format(),
            asset=most.asset.code,
        )
