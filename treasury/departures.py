"""Departures: what left custody in final blocks, each tied to the order that sent it.

A departure belongs to an order if one of the order's signed attempts made it, or one
of the batch that it goes in, and it pays what the order says, to the letter, for the
first time. Anything else left without our will: it trips the breaker in the same
database transaction that writes it down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainAttempt, ChainBatchMember, ChainOrder, OrderKind
from chain.observations import TransferObservation, transfers_out_of
from foundation.clock import Clock
from treasury.breaker import trip_breaker
from treasury.custody import Custody
from treasury.custody_addresses import custody_addresses
from treasury.models import TreasuryDeparture


async def write_departures(
    session: AsyncSession, clock: Clock, custody: Custody, token: str, *, first: int, last: int
) -> int:
    """Write a token's departures in final blocks ``first`` to ``last``; how many there were."""
    inside = custody_addresses(custody)
    departures = await transfers_out_of(
        session, custody.chain_id, inside, first=first, last=last, token=token, not_to=inside
    )
    if not departures:
        return 0
    payments = await _payments(session, departures)
    paid = await _paid_before(session, payments)
    rows = []
    for one in departures:
        order_id = _fulfilled(custody, one, payments[one.tx_hash], paid)
        if order_id is not None:
            paid.add(order_id)
        else:
            await trip_breaker(
                session,
                clock,
                custody.chain_id,
                reason=f"{one.value} units of {token} left custody without an order: {one.tx_hash}",
            )
        rows.append(
            {
                "chain_id": one.chain_id,
                "tx_hash": one.tx_hash,
                "log_index": one.log_index,
                "block_number": one.block_number,
                "token": token,
                "asset": _asset_code(custody, token),
                "from_address": one.from_address,
                "to_address": one.to_address,
                "units": one.value,
                "order_id": order_id,
                "created_at": clock.now(),
            }
        )
    await session.execute(insert(TreasuryDeparture), rows)
    return len(rows)


async def _payments(
    session: AsyncSession, departures: Sequence[TransferObservation]
) -> Mapping[str, Sequence[ChainOrder]]:
    """What the departures' txs were signed to pay, by tx hash: one withdrawal, or those of a batch."""
    found: defaultdict[str, list[ChainOrder]] = defaultdict(list)
    alone = select(ChainAttempt.tx_hash, ChainOrder).join(ChainOrder, ChainOrder.id == ChainAttempt.order_id)
    together = (
        select(ChainAttempt.tx_hash, ChainOrder)
        .join(ChainBatchMember, ChainBatchMember.batch_id == ChainAttempt.order_id)
        .join(ChainOrder, ChainOrder.id == ChainBatchMember.member_id)
    )
    hashes = {one.tx_hash for one in departures}
    for query in (alone, together):
        rows = await session.execute(
            query.where(ChainAttempt.tx_hash.in_(hashes), ChainOrder.kind == OrderKind.WITHDRAWAL)
        )
        for row in rows:
            found[row.tx_hash].append(row.ChainOrder)
    return found


async def _paid_before(session: AsyncSession, payments: Mapping[str, Sequence[ChainOrder]]) -> set[UUID]:
    """Which of these orders have a departure already: none, unless a token lies or the vault failed."""
    ids = [order.id for orders in payments.values() for order in orders]
    found = await session.scalars(
        select(TreasuryDeparture.order_id).where(TreasuryDeparture.order_id.in_(ids))
    )
    return {one for one in found if one is not None}


def _fulfilled(
    custody: Custody, departure: TransferObservation, orders: Sequence[ChainOrder], paid: Collection[UUID]
) -> UUID | None:
    """The id of the order that the departure pays, to the letter; of a batch's no two are equal in it."""
    given = (departure.from_address, departure.token, departure.to_address, departure.value)
    for order in orders:
        ordered = (custody.vault, order.token, order.to_address, int(order.amount))
        if given == ordered and order.id not in paid:
            return order.id
    return None


def _asset_code(custody: Custody, token: str) -> str:
    known = custody.token_at(token)
    assert known is not None, "departures are written for our tokens only"
    return known.asset.code
