"""The breaker: stops withdrawals when the two books do not agree.

While it is tripped nothing new is requested, approved or given a nonce; what has a
nonce is followed to its end, since its money may have left. The first reason stands
until the breaker is released.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.ids import uuid7
from treasury.models import TreasuryBreaker


@dataclass(frozen=True, slots=True)
class BreakerTrip:
    """Why and since when withdrawals stand still."""

    reason: str
    tripped_at: datetime


async def trip_breaker(session: AsyncSession, clock: Clock, chain_id: int, *, reason: str) -> None:
    """Stop withdrawals on a chain; an earlier trip and its reason stay as they are."""
    await session.execute(
        insert(TreasuryBreaker)
        .values(id=uuid7(clock), chain_id=chain_id, reason=reason, tripped_at=clock.now())
        .on_conflict_do_nothing()
    )


async def breaker_trip(session: AsyncSession, chain_id: int) -> BreakerTrip | None:
    """The trip that stops withdrawals now, if there is one."""
    row = await session.scalar(
        select(TreasuryBreaker).where(
            TreasuryBreaker.chain_id == chain_id, TreasuryBreaker.released_at.is_(None)
        )
    )
    return None if row is None else BreakerTrip(row.reason, row.tripped_at)


async def release_breaker(session: AsyncSession, clock: Clock, chain_id: int, *, released_by: str) -> bool:
    """Let withdrawals go on; false if the breaker had not tripped."""
    released = await session.execute(
        update(TreasuryBreaker)
        .where(TreasuryBreaker.chain_id == chain_id, TreasuryBreaker.released_at.is_(None))
        .values(released_at=clock.now(), released_by=released_by)
        .returning(TreasuryBreaker.id)
    )
    return released.first() is not None
