"""Reviews: what officers look at because much passed through; it was paid nonetheless.

A review asks a question, it holds nothing up. It is opened before its withdrawal can be
approved, so that nothing which should be looked at has left unseen, and closed by an
officer who says what they found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainOrder
from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.errors import Refusal
from foundation.money import Money
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal
from treasury.review_models import TreasuryReview

LISTED_MAX: Final = 200
"""Most reviews in a list, the oldest first."""

REASON_MAX: Final = 500
"""Longest reason, in characters."""


@dataclass(frozen=True, slots=True)
class Review:
    """A withdrawal that officers look at."""

    withdrawal_id: UUID
    wallet_id: UUID
    amount: Money
    passing: Money
    """What of it came in on chain within 30 days, as what leaves."""
    passed_in_week: Money
    """The same of the wallet's withdrawals in the 7 days up to it, itself included."""
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


async def open_review(
    session: AsyncSession, clock: Clock, *, withdrawal_id: UUID, passing: int, passed_in_week: int
) -> None:
    """Put a withdrawal before officers; once, however often it is asked for."""
    await session.execute(
        insert(TreasuryReview)
        .values(
            withdrawal_id=withdrawal_id,
            passing=passing,
            passed_in_week=passed_in_week,
            opened_at=clock.now(),
        )
        .on_conflict_do_nothing()
    )


async def open_reviews(session: AsyncSession) -> list[Review]:
    """What nobody has looked at yet, the oldest first."""
    rows = await session.execute(
        select(TreasuryReview, TreasuryWithdrawal)
        .join(TreasuryWithdrawal, TreasuryWithdrawal.id == TreasuryReview.withdrawal_id)
        .where(TreasuryReview.closed_at.is_(None))
        .order_by(TreasuryReview.opened_at, TreasuryReview.withdrawal_id)
        .limit(LISTED_MAX)
    )
    return [_review(row.TreasuryReview, row.TreasuryWithdrawal) for row in rows]


async def close_review(
    session: AsyncSession, clock: Clock, *, withdrawal_id: UUID, person_id: UUID, name: str, reason: str
) -> Review:
    """Close one by an officer's word; closed already, it stays as it was closed.

    The caller has made sure that ``person_id`` is the officer ``name``. Refused as
    ``review_not_found``, ``review_of_own`` or ``review_without_reason``.
    """
    reason = reason.strip()
    row = await session.get(TreasuryReview, withdrawal_id, with_for_update=True)
    if row is None:
        raise Refusal(TreasuryCode.REVIEW_NOT_FOUND, "There is no review of such a withdrawal.")
    withdrawal = await session.get_one(TreasuryWithdrawal, withdrawal_id)
    order = await session.get_one(ChainOrder, withdrawal_id)
    if order.requester == person_id:
        raise Refusal(
            TreasuryCode.REVIEW_OF_OWN, "You asked for this withdrawal; another officer must look at it."
        )
    if not 0 < len(reason) <= REASON_MAX:
        raise Refusal(
            TreasuryCode.REVIEW_WITHOUT_REASON, f"Say what you found, in {REASON_MAX} characters at most."
        )
    if row.closed_at is None:
        row.closed_at, row.closed_by, row.reason = clock.now(), name, reason
        await session.flush()
    return _review(row, withdrawal)


def _review(row: TreasuryReview, withdrawal: TreasuryWithdrawal) -> Review:
    asset = asset_by_code(withdrawal.asset)
    return Review(
        withdrawal.id,
        withdrawal.wallet_id,
        Money(withdrawal.amount, asset),
        Money(row.passing, asset),
        Money(row.passed_in_week, asset),
        row.opened_at,
        row.closed_at,
        row.closed_by,
        row.reason,
    )
