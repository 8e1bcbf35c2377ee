"""What the mirror saw, for those who book it: transfers, heights, orphans.

Reads only, in the caller's session, so that what is decided on them commits with
them. Addresses are lower case, values the token's own units. A height is a block
number; ``finalized`` is the last block that no reorg can take away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.models import (
    ChainCursor,
    ChainFinalityBreak,
    ChainOrphanedLog,
    ChainTransferLog,
    ChainWatchedToken,
)

Addresses = Select[str] | Collection[str]
"""Addresses in lower case: a query that yields them, or the addresses themselves."""


@dataclass(frozen=True, slots=True)
class MirrorHeights:
    """How far the mirror has got."""

    start: int
    """First block mirrored."""
    head: int
    finalized: int
    """``start - 1`` while no mirrored block is final."""


@dataclass(frozen=True, slots=True)
class TransferObservation:
    """A Transfer event of a watched token, in the canonical chain or orphaned."""

    chain_id: int
    block_number: int
    block_hash: str
    log_index: int
    tx_hash: str
    token: str
    from_address: str
    to_address: str
    value: int
    """Units of the token."""


@dataclass(frozen=True, slots=True)
class BrokenFinality:
    """Blocks above ``ancestor_number`` that were final and are not in the chain any more."""

    id: UUID
    ancestor_number: int
    finalized_number: int
    lost_hash: str
    found_hash: str


async def broken_finalities(
    session: AsyncSession, chain_id: int, *, known: Select[UUID]
) -> list[BrokenFinality]:
    """Every time that final blocks were replaced, but those that are ``known``; in order."""
    rows = await session.scalars(
        select(ChainFinalityBreak)
        .where(ChainFinalityBreak.chain_id == chain_id, ChainFinalityBreak.id.not_in(known))
        .order_by(ChainFinalityBreak.created_at)
    )
    return [
        BrokenFinality(row.id, row.ancestor_number, row.finalized_number, row.lost_hash, row.found_hash)
        for row in rows
    ]


async def mirror_heights(session: AsyncSession, chain_id: int, *, hold: bool = False) -> MirrorHeights | None:
    """The mirror's heights; None before its first block.

    With ``hold`` the mirror cannot move until the session ends: for whoever writes down
    what is final, since even that can be taken back.
    """
    row = await session.get(
        ChainCursor, chain_id, with_for_update={"read": True} if hold else None, populate_existing=hold
    )
    return None if row is None else MirrorHeights(row.start_number, row.head_number, row.finalized_number)


async def finality_hold(session: AsyncSession, chain_id: int) -> str | None:
    """Why no block becomes final now, where the second endpoint is the reason."""
    row = await session.get(ChainCursor, chain_id)
    return None if row is None else row.finality_hold


async def watched_tokens(session: AsyncSession, chain_id: int) -> frozenset[str]:
    """Tokens whose every Transfer from the mirror's start to its head is mirrored."""
    found = await session.scalars(
        select(ChainWatchedToken.token).where(ChainWatchedToken.chain_id == chain_id)
    )
    return frozenset(found)


async def transfers_into(
    session: AsyncSession,
    chain_id: int,
    addresses: Addresses,
    *,
    first: int,
    last: int | None = None,
    token: str | None = None,
    not_from: Addresses = (),
) -> list[TransferObservation]:
    """Transfers to any of ``addresses`` in blocks ``first`` to ``last`` (the head), in order.

    Those that come from ``not_from`` are left out, as are those of other tokens
    than ``token`` where it is given, and those of value 0.
    """
    query = _between(chain_id, first, last).where(
        ChainTransferLog.to_address.in_(addresses), ChainTransferLog.value > 0
    )
    if not_from != ():
        query = query.where(ChainTransferLog.from_address.not_in(not_from))
    if token is not None:
        query = query.where(ChainTransferLog.token == token)
    return [_observation(row) for row in await session.scalars(query)]


async def transfers_out_of(
    session: AsyncSession,
    chain_id: int,
    addresses: Addresses,
    *,
    first: int,
    last: int | None = None,
    token: str | None = None,
    not_to: Addresses = (),
) -> list[TransferObservation]:
    """Transfers from any of ``addresses`` in blocks ``first`` to ``last`` (the head), in order.

    Those that go to ``not_to`` are left out, as are those of other tokens than
    ``token`` where it is given, and those of value 0.
    """
    query = _between(chain_id, first, last).where(
        ChainTransferLog.from_address.in_(addresses), ChainTransferLog.value > 0
    )
    if not_to != ():
        query = query.where(ChainTransferLog.to_address.not_in(not_to))
    if token is not None:
        query = query.where(ChainTransferLog.token == token)
    return [_observation(row) for row in await session.scalars(query)]


async def orphaned_transfers_into(
    session: AsyncSession, chain_id: int, addresses: Addresses
) -> list[TransferObservation]:
    """Transfers to ``addresses`` that a reorg took away and that were not mined again."""
    again = aliased(ChainTransferLog)
    mined_again = exists().where(
        again.chain_id == ChainOrphanedLog.chain_id,
        again.to_address == ChainOrphanedLog.to_address,
        again.tx_hash == ChainOrphanedLog.tx_hash,
        again.token == ChainOrphanedLog.token,
        again.value == ChainOrphanedLog.value,
    )
    rows = await session.scalars(
        select(ChainOrphanedLog)
        .where(
            ChainOrphanedLog.chain_id == chain_id,
            ChainOrphanedLog.to_address.in_(addresses),
            ~mined_again,
        )
        .order_by(ChainOrphanedLog.block_number, ChainOrphanedLog.log_index)
    )
    # A tx that was mined in several forks and is in none of them now counts once.
    last = {(row.tx_hash, row.token, row.to_address, row.value): row for row in rows}
    return [_observation(row) for row in last.values()]


def _between(chain_id: int, first: int, last: int | None) -> Select[ChainTransferLog]:
    query = select(ChainTransferLog).where(
        ChainTransferLog.chain_id == chain_id, ChainTransferLog.block_number >= first
    )
    if last is not None:
        query = query.where(ChainTransferLog.block_number <= last)
    return query.order_by(ChainTransferLog.block_number, ChainTransferLog.log_index)


def _observation(row: Any) -> TransferObservation:
    return TransferObservation(
        chain_id=row.chain_id,
        block_number=row.block_number,
        block_hash=row.block_hash,
        log_index=row.log_index,
        tx_hash=row.tx_hash,
        token=row.token,
        from_address=row.from_address,
        to_address=row.to_address,
        value=int(row.value),
    )
