"""Open withdrawals: how far each one is, read from the chain's tables, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.lanes import attempts_for
from chain.models import ChainBatchMember, ChainLane, ChainOrder
from foundation.database import Database
from ledger.interface import Ledger
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.withdrawal_transfers import hold_transfer_id, settlement_transfer_id, void_transfer_id

OPEN_PER_PAGE = 1_000
"""Open withdrawals looked at together; each step looks at all, page by page."""


@dataclass(frozen=True, slots=True)
class OpenWithdrawal:
    """An open withdrawal and how far it is."""

    row: TreasuryWithdrawal
    token: str
    units: int
    """What is to be paid, in units of the token."""
    approved: bool
    revoked: bool
    signed: bool
    """By itself or with its batch."""
    departure: TreasuryDeparture | None
    batch_id: UUID | None
    """The batch that it goes in, if it goes in one that is not revoked."""
    goes_alone: bool
    """It cannot be put into a batch: it has a nonce, or has been in one."""


async def open_page(database: Database, after: UUID | None) -> list[OpenWithdrawal]:
    """The next open withdrawals after an id, in the order of their ids; none at the end."""
    async with database.session() as session:
        query = (
            select(TreasuryWithdrawal, ChainOrder)
            .join(ChainOrder, ChainOrder.id == TreasuryWithdrawal.id)
            .where(TreasuryWithdrawal.closed_at.is_(None))
            .order_by(TreasuryWithdrawal.id)
            .limit(OPEN_PER_PAGE)
        )
        if after is not None:
            query = query.where(TreasuryWithdrawal.id > after)
        rows = (await session.execute(query)).all()
        ids = [row.TreasuryWithdrawal.id for row in rows]
        batches = await _batches_of(session, ids)
        with_nonce = set(await session.scalars(select(ChainLane.order_id).where(ChainLane.order_id.in_(ids))))
        signed = await attempts_for(session, ids)
        # Last of all: a departure is written after the attempt that made it, so what is
        # seen here as signed and not departed was so when it was read.
        departures = await session.scalars(
            select(TreasuryDeparture).where(TreasuryDeparture.order_id.in_(ids))
        )
        left = {departure.order_id: departure for departure in departures}
    return [
        OpenWithdrawal(
            row=row.TreasuryWithdrawal,
            token=row.ChainOrder.token,
            units=int(row.ChainOrder.amount),
            approved=row.ChainOrder.approved_at is not None,
            revoked=row.ChainOrder.revoked_at is not None,
            signed=row.ChainOrder.id in signed,
            departure=left.get(row.ChainOrder.id),
            batch_id=batches.get(row.ChainOrder.id),
            goes_alone=row.ChainOrder.id in batches or row.ChainOrder.id in with_nonce,
        )
        for row in rows
    ]


async def _batches_of(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, UUID | None]:
    """The batch of each that is in one, or None where that was revoked."""
    batch = aliased(ChainOrder)
    rows = await session.execute(
        select(ChainBatchMember.member_id, batch.id, batch.revoked_at)
        .join(batch, batch.id == ChainBatchMember.batch_id)
        .where(ChainBatchMember.member_id.in_(ids))
    )
    return {row.member_id: row.id if row.revoked_at is None else None for row in rows}


async def booked_transfers(ledger: Ledger, page: Sequence[OpenWithdrawal]) -> set[int]:
    """Which of the withdrawals' transfers the ledger has: holds, settlements and voids."""
    ids = [
        transfer.int
        for one in page
        for transfer in (
            hold_transfer_id(one.row.id),
            settlement_transfer_id(one.row.id),
            void_transfer_id(one.row.id),
        )
    ]
    return {transfer.id for transfer in await ledger.lookup_transfers(ids)}
