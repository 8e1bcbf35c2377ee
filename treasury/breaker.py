"""The breaker: stops withdrawals when the two books do not agree.

While it is tripped nothing new is requested, approved or given a nonce; what has a
nonce is followed to its end, since its money may have left. The first reason stands
until the breaker is released (``treasury.breaker_release``). The signer stands still
by itself, as it reads the same row.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.breaker import BreakerTrip
from chain.models import ChainTrip
from foundation.clock import Clock
from foundation.ids import uuid7


async def trip_breaker(session: AsyncSession, clock: Clock, chain_id: int, *, reason: str) -> None:
    """Stop withdrawals on a chain; an earlier trip and its reason stay as they are."""
    await session.execute(
        insert(ChainTrip)
        .values(id=uuid7(clock), chain_id=chain_id, reason=reason, tripped_at=clock.now())
        .on_conflict_do_nothing()
    )


async def breaker_trip(session: AsyncSession, chain_id: int) -> BreakerTrip | None:
    """The trip that stops withdrawals now, if there is one."""
    row = await session.scalar(
        select(ChainTrip).where(ChainTrip.chain_id == chain_id, ChainTrip.released_at.is_(None))
    )
    return None if row is None else BreakerTrip(row.id, row.reason, row.tripped_at)
