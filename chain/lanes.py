"""Lanes: the nonces of one key, given to orders without gaps, and what was signed with them.

A lane is the sequence of one sender's nonces. An order gets its nonce once, and a
nonce has one order: that alone makes a payment happen once, however often it is
signed, sent and replaced. A nonce without a signature can only be the lane's
last, since nobody gets the next one before it is signed or taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, SQLColumnExpression, delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.fees import Fees
from chain.models import ChainAttempt, ChainBatchMember, ChainLane
from chain.transactions import SignedTransaction
from foundation.clock import Clock
from foundation.ids import uuid7


@dataclass(frozen=True, slots=True)
class Place:
    """A nonce of a key, and the order that it is for."""

    nonce: int
    order_id: UUID
    from_address: str
    """Whose lane it is in; orders outlive keys, places do not change lanes."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction of an order, as stored before it was sent."""

    order_id: UUID
    from_address: str
    nonce: int
    tx_hash: str
    raw: bytes
    fees: Fees
    created_at: datetime
    broadcast_at: datetime | None
    """When a node first took it; None if that is not known."""


async def lock_lane(session: AsyncSession, from_address: str) -> None:
    """Be the only one who gives nonces of this key until this database transaction ends."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:lane, 0))"),
        {"lane": f"chain_lane {from_address}"},
    )


async def place_of(session: AsyncSession, order_id: UUID) -> Place | None:
    """The order's nonce, if it has one, in whichever lane."""
    row = await session.scalar(select(ChainLane).where(ChainLane.order_id == order_id))
    return None if row is None else Place(row.nonce, order_id, row.from_address)


async def unsigned_place(session: AsyncSession, from_address: str) -> Place | None:
    """The nonce that was given and for which nothing is stored: the lane's last, or none."""
    row = (
        await session.execute(
            select(ChainLane.nonce, ChainLane.order_id)
            .where(ChainLane.from_address == from_address)
            .order_by(ChainLane.nonce.desc())
            .limit(1)
        )
    ).first()
    if row is None or await session.scalar(select(exists().where(ChainAttempt.order_id == row.order_id))):
        return None
    return Place(row.nonce, row.order_id, from_address)


async def places_from(session: AsyncSession, from_address: str, nonce: int) -> list[Place]:
    """The lane from a nonce on, in order."""
    rows = await session.execute(
        select(ChainLane.nonce, ChainLane.order_id)
        .where(ChainLane.from_address == from_address, ChainLane.nonce >= nonce)
        .order_by(ChainLane.nonce)
    )
    return [Place(row.nonce, row.order_id, from_address) for row in rows]


async def give_place(
    session: AsyncSession, from_address: str, order_id: UUID, *, first_nonce: int, next_nonce: int = 0
) -> Place:
    """The order's nonce; the lane's next if it has none yet, ``first_nonce`` in an empty lane.

    At least ``next_nonce``: what the signer has signed before it has its order, which a
    database that was restored may have forgotten. An order that has one in a retired
    key's lane keeps it: the signer refuses that one, and it is taken back.

    Under ``lock_lane`` of another session, so that this one can commit while the
    lane stays locked.
    """
    place = await place_of(session, order_id)
    if place is not None:
        return place
    last = await session.scalar(
        select(func.max(ChainLane.nonce)).where(ChainLane.from_address == from_address)
    )
    nonce = max(first_nonce if last is None else last + 1, next_nonce)
    await session.execute(insert(ChainLane).values(from_address=from_address, nonce=nonce, order_id=order_id))
    return Place(nonce, order_id, from_address)


async def take_place(session: AsyncSession, place: Place) -> bool:
    """Put an order at the nonce that it was signed with; false if that is another order's here.

    A place that it has with another nonce, and that nothing is stored for, is given up.
    """
    await session.execute(
        delete(ChainLane).where(
            ChainLane.order_id == place.order_id,
            (ChainLane.from_address != place.from_address) | (ChainLane.nonce != place.nonce),
            ~exists().where(ChainAttempt.order_id == place.order_id),
        )
    )
    await session.execute(
        insert(ChainLane)
        .values(from_address=place.from_address, nonce=place.nonce, order_id=place.order_id)
        .on_conflict_do_nothing()
    )
    return await place_of(session, place.order_id) == place


async def take_back_place(session: AsyncSession, place: Place) -> None:
    """Undo ``give_place``: only where nothing was ever signed with the nonce, and it is the last."""
    await session.execute(
        delete(ChainLane).where(
            ChainLane.from_address == place.from_address,
            ChainLane.nonce == place.nonce,
            ChainLane.order_id == place.order_id,
            ~exists().where(ChainAttempt.order_id == place.order_id),
        )
    )


async def store_attempt(
    session: AsyncSession,
    clock: Clock,
    place: Place,
    signed: SignedTransaction,
    fees: Fees,
) -> None:
    """Store signed bytes; storing the same again changes nothing."""
    await session.execute(
        insert(ChainAttempt)
        .values(
            id=uuid7(clock),
            order_id=place.order_id,
            from_address=place.from_address,
            nonce=place.nonce,
            tx_hash=signed.tx_hash,
            raw=signed.raw,
            max_fee_per_gas=fees.max_fee_per_gas,
            max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing(index_elements=[ChainAttempt.tx_hash])
    )


async def attempts_of(session: AsyncSession, order_id: UUID) -> list[Attempt]:
    """What was signed for an order, lowest fee first; the last is the one to send."""
    rows = await session.execute(
        select(ChainAttempt.__table__)
        .where(ChainAttempt.order_id == order_id)
        .order_by(ChainAttempt.max_fee_per_gas, ChainAttempt.max_priority_fee_per_gas)
    )
    return [_attempt(row) for row in rows]


async def attempts_for(session: AsyncSession, order_ids: Sequence[UUID]) -> dict[UUID, list[Attempt]]:
    """What was signed for each of several orders, by themselves or by the batch that they go in.

    Lowest fee first; orders that nothing was signed for are not in it.
    """
    alone = select(ChainAttempt.order_id.label("asked"), ChainAttempt.__table__).where(
        ChainAttempt.order_id.in_(order_ids)
    )
    together = (
        select(ChainBatchMember.member_id.label("asked"), ChainAttempt.__table__)
        .join(ChainAttempt, ChainAttempt.order_id == ChainBatchMember.batch_id)
        .where(ChainBatchMember.member_id.in_(order_ids))
    )
    found: dict[UUID, list[Attempt]] = {}
    for query in (alone, together):
        ordered = query.order_by(ChainAttempt.max_fee_per_gas, ChainAttempt.max_priority_fee_per_gas)
        for row in await session.execute(ordered):
            found.setdefault(row.asked, []).append(_attempt(row))
    return found


def is_signed(order_id: SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """In a query: whether something is stored as signed for the order, or for the batch that it goes in."""
    alone = exists().where(ChainAttempt.order_id == order_id)
    together = exists().where(
        ChainBatchMember.member_id == order_id, ChainAttempt.order_id == ChainBatchMember.batch_id
    )
    return alone | together


async def note_broadcast(session: AsyncSession, clock: Clock, tx_hashes: Sequence[str]) -> None:
    """A node has these transactions; the first time is kept."""
    await session.execute(
        update(ChainAttempt)
        .where(ChainAttempt.tx_hash.in_(tx_hashes), ChainAttempt.broadcast_at.is_(None))
        .values(broadcast_at=clock.now())
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        order_id=row.order_id,
        from_address=row.from_address,
        nonce=row.nonce,
        tx_hash=row.tx_hash,
        raw=row.raw,
        fees=Fees(int(row.max_fee_per_gas), int(row.max_priority_fee_per_gas)),
        created_at=row.created_at,
        broadcast_at=row.broadcast_at,
    )
