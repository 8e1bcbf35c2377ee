"""Departures: what left custody in final blocks, each tied to the order that sent it.

A departure belongs to an order if one of the order's signed attempts made it and
it pays what the order says, to the letter. Anything else left without our will:
it trips the breaker in the same database transaction that writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainAttempt, ChainOrder, OrderKind
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
    orders = await _orders(session, departures)
    rows = []
    for one in departures:
        order_id = _fulfilled(custody, one, orders.get(one.tx_hash))
        if order_id is None:
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


async def _orders(session: AsyncSession, departures: Sequence[TransferObservation]) -> dict[str, ChainOrder]:
    """The orders whose attempts the departures' txs are, by tx hash."""
    rows = await session.execute(
        select(ChainAttempt.tx_hash, ChainOrder)
        .join(ChainOrder, ChainOrder.id == ChainAttempt.order_id)
        .where(ChainAttempt.tx_hash.in_({one.tx_hash for one in departures}))
    )
    return {row.tx_hash: row.ChainOrder for row in rows}


def _fulfilled(custody: Custody, departure: TransferObservation, order: ChainOrder | None) -> UUID | None:
    """The order's id, if the departure is exactly what it ordered."""
    if order is None or order.kind != OrderKind.WITHDRAWAL:
        return None
    paid = (departure.from_address, departure.token, departure.to_address, departure.value)
    ordered = (custody.vault, order.token, order.to_address, int(order.amount))
    return order.id if paid == ordered else None


def _asset_code(custody: Custody, token: str) -> str:
    known = custody.token_at(token)
    assert known is not None, "departures are written for our tokens only"
    return known.asset.code
