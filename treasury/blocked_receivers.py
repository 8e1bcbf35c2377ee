"""Blocked receivers: addresses that are never paid.

Sanctioned, or known to hold stolen money. A request that names one is refused, and a
withdrawal to one that was asked for before goes back to its wallet, unless it is
signed: what has left is not called back. The signer's policy has a list of its own,
for an attacker could empty this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import parse_address
from foundation.clock import Clock
from treasury.models import TreasuryBlockedReceiver


@dataclass(frozen=True, slots=True)
class BlockedReceiver:
    """An address that is never paid, and why."""

    address: str
    """Lower case."""
    reason: str
    blocked_by: str
    blocked_at: datetime


async def is_blocked(session: AsyncSession, receiver: str) -> bool:
    """Whether a lower-case address is never paid."""
    return bool(await session.scalar(select(exists().where(TreasuryBlockedReceiver.address == receiver))))


async def block_receiver(
    session: AsyncSession, clock: Clock, *, address: str, reason: str, blocked_by: str
) -> None:
    """Never pay an address from now on; the first reason stays.

    Refused as ``address_malformed`` or ``address_checksum_mismatch``.
    """
    await session.execute(
        insert(TreasuryBlockedReceiver)
        .values(address=parse_address(address), reason=reason, blocked_by=blocked_by, blocked_at=clock.now())
        .on_conflict_do_nothing()
    )


async def unblock_receiver(session: AsyncSession, *, address: str) -> bool:
    """Pay an address again; false if it was not blocked."""
    gone = await session.scalar(
        delete(TreasuryBlockedReceiver)
        .where(TreasuryBlockedReceiver.address == parse_address(address))
        .returning(TreasuryBlockedReceiver.address)
    )
    return gone is not None


async def list_blocked(session: AsyncSession) -> list[BlockedReceiver]:
    """Every blocked address, newest first."""
    rows = await session.scalars(
        select(TreasuryBlockedReceiver).order_by(TreasuryBlockedReceiver.blocked_at.desc())
    )
    return [BlockedReceiver(row.address, row.reason, row.blocked_by, row.blocked_at) for row in rows]
