"""Payout batches: several withdrawals of one token, paid in one transaction of the vault.

A payment in a batch costs about half the gas of one alone, and the vault tells of each
by itself, so a frozen receiver takes nothing from the others. What is put together has
passed everything that a single payment passes, their sum included. A batch that nothing
was signed for can be dissolved at any time: then its members go alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.batches import batch_is_cheaper, write_batch
from chain.models import ChainBatchMember, ChainBlock, OrderKind
from chain.order_status import OrderStatus
from foundation.clock import Clock
from treasury.breaker import breaker_trip
from treasury.custody import Custody
from treasury.models import TreasuryBlockedReceiver, TreasuryBookingCursor, TreasuryDeparture
from treasury.open_withdrawals import OpenWithdrawal

PAYOUTS_PER_BATCH: Final = 20
"""Most withdrawals in one transaction. Of 20 each costs 3 % more gas than of 50, and the key must
hold the fee of 290,000 gas for each before anything is mined: 5,900,000 gas and not 14,600,000."""


def grouped(ready: Sequence[OpenWithdrawal]) -> list[list[OpenWithdrawal]]:
    """Withdrawals that may be sent, as they go: a group of one alone, of several in a batch.

    In a group all are of one token, and no two pay the same amount to the same receiver,
    so that a Transfer log names its withdrawal without doubt. Those of a token go in the
    order in which they stand: so they were counted against the vault's bucket, and another
    order could make one of them bounce.
    """
    groups: list[list[OpenWithdrawal]] = []
    last: dict[str, list[OpenWithdrawal]] = {}
    for one in ready:
        group = last.get(one.token)
        if group is not None and _takes(group, one):
            group.append(one)
        else:
            last[one.token] = [one]
            groups.append(last[one.token])
    return [part for group in groups for part in _as_cheap_as_can_be(group)]


def _takes(group: Sequence[OpenWithdrawal], one: OpenWithdrawal) -> bool:
    ends = {(other.row.to_address, other.units) for other in group}
    return (
        not one.goes_alone
        and not group[0].goes_alone
        and len(group) < PAYOUTS_PER_BATCH
        and (one.row.to_address, one.units) not in ends
    )


def _as_cheap_as_can_be(group: list[OpenWithdrawal]) -> list[list[OpenWithdrawal]]:
    return [group] if batch_is_cheaper(len(group)) else [[one] for one in group]


async def write_payout_batch(
    session: AsyncSession, clock: Clock, custody: Custody, group: Sequence[OpenWithdrawal]
) -> UUID | None:
    """Write the batch of a group; None if one of it must not or cannot go with others (any more)."""
    receivers = {one.row.to_address for one in group}
    blocked = exists().where(TreasuryBlockedReceiver.address.in_(receivers))
    stopped = await breaker_trip(session, custody.chain_id) is not None
    if stopped or await session.scalar(select(blocked)):
        return None
    return await write_batch(
        session,
        clock,
        kind=OrderKind.PAYOUT_BATCH,
        vault=custody.vault,
        members=[one.row.id for one in group],
    )


async def members_count(session: AsyncSession, batch_id: UUID) -> int:
    """How many orders go in a batch."""
    counted = select(func.count()).where(ChainBatchMember.batch_id == batch_id)
    return await session.scalar(counted) or 0


async def has_left_nothing(
    session: AsyncSession, custody: Custody, *, token: str, order_id: UUID, sent: OrderStatus
) -> bool:
    """Whether the books have the block of its transaction, which is final, and no departure of it.

    False too while they have not got there, or have another block than the transaction's.
    """
    # Held until the caller's transaction ends: a broken finality cannot take a departure
    # out between the two questions (treasury.reversals holds the cursor for that).
    cursor = await session.get(
        TreasuryBookingCursor, (custody.chain_id, token), with_for_update={"read": True}
    )
    if cursor is None or sent.block_number is None or cursor.booked_number < sent.block_number:
        return False
    block = await session.get(ChainBlock, (custody.chain_id, sent.block_number))
    if block is None or block.hash != sent.block_hash:
        return False
    return not await session.scalar(select(exists().where(TreasuryDeparture.order_id == order_id)))
