"""The chain's side of a reconciliation: the state that movements are written down to.

Read in one database transaction, so that all of it is of one instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainBlock
from foundation.database import Database
from treasury.custody import Custody, CustodyToken
from treasury.custody_addresses import cold_addresses, custody_addresses
from treasury.models import (
    TreasuryBookingCursor,
    TreasuryDeparture,
    TreasuryDeposit,
    TreasuryLostDeparture,
    TreasuryReconciliation,
    TreasuryReversedDeposit,
    TreasuryWithdrawal,
)
from treasury.reversals import unhandled_breaks


@dataclass(frozen=True, slots=True)
class ChainSide:
    """One token's movements that the ledger may have or not have, and the block they are written down to."""

    token: CustodyToken
    block_number: int
    block_hash: str
    dust_units: int
    addresses: tuple[str, ...]
    cold: frozenset[str]
    """Those of the addresses that are cold."""
    unbooked: tuple[TreasuryDeposit, ...]
    unposted: tuple[TreasuryDeparture, ...]
    reversed: tuple[TreasuryReversedDeposit, ...]
    lost: tuple[TreasuryLostDeparture, ...]


async def read_chain_side(database: Database, custody: Custody, token: CustodyToken) -> ChainSide | None:
    """What is written down, at one instant; None if nothing is, or it was reconciled before."""
    async with database.session() as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token.address))
        if cursor is None:
            return None
        number = cursor.booked_number
        block = await session.get(ChainBlock, (custody.chain_id, number))
        done = await session.get(TreasuryReconciliation, (custody.chain_id, number, token.asset.code))
        # What the chain took back is still in the tables: there is nothing to compare yet.
        if block is None or done is not None or await unhandled_breaks(session, custody.chain_id):
            return None
        unbooked = await session.scalars(
            select(TreasuryDeposit).where(
                TreasuryDeposit.chain_id == custody.chain_id,
                TreasuryDeposit.token == token.address,
                TreasuryDeposit.booked_at.is_(None),
            )
        )
        unposted = await session.scalars(
            select(TreasuryDeparture)
            .join(TreasuryWithdrawal, TreasuryWithdrawal.id == TreasuryDeparture.order_id)
            .where(
                TreasuryDeparture.chain_id == custody.chain_id,
                TreasuryDeparture.token == token.address,
                TreasuryWithdrawal.closed_at.is_(None),
            )
        )
        addresses = await session.scalars(custody_addresses(custody))
        return ChainSide(
            token,
            number,
            block.hash,
            int(cursor.dust_units),
            tuple(addresses),
            frozenset(await session.scalars(cold_addresses(custody))),
            tuple(unbooked),
            tuple(unposted),
            tuple(await _reversed_of(session, custody, token)),
            tuple(await _lost_of(session, custody, token)),
        )


async def _reversed_of(
    session: AsyncSession, custody: Custody, token: CustodyToken
) -> Sequence[TreasuryReversedDeposit]:
    rows = await session.scalars(
        select(TreasuryReversedDeposit).where(
            TreasuryReversedDeposit.chain_id == custody.chain_id,
            TreasuryReversedDeposit.token == token.address,
            TreasuryReversedDeposit.corrected_at.is_(None),
        )
    )
    return rows.all()


async def _lost_of(
    session: AsyncSession, custody: Custody, token: CustodyToken
) -> Sequence[TreasuryLostDeparture]:
    """Payments that were taken back, that no departure has made again, and that were not given back."""
    again = select(TreasuryDeparture.order_id).where(TreasuryDeparture.order_id.is_not(None))
    rows = await session.scalars(
        select(TreasuryLostDeparture).where(
            TreasuryLostDeparture.chain_id == custody.chain_id,
            TreasuryLostDeparture.token == token.address,
            TreasuryLostDeparture.order_id.not_in(again),
            TreasuryLostDeparture.returned_at.is_(None),
        )
    )
    # Taken back more than once, it is missing once.
    return list({row.order_id: row for row in rows}.values())
