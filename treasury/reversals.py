"""Reversals: what was written down from blocks that the chain took back although they were final.

One database transaction takes the deposits and departures above the ancestor out of
their tables, sets the tokens' cursors back to it, and notes the break as handled. A
process killed before its commit has done nothing; after it the rows say what is still
to be corrected in the ledger (:mod:`treasury.corrections`). It is the first thing that
happens in every transaction that writes movements, so nothing of the new chain is
written before what it replaced is out.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.observations import BrokenFinality, broken_finalities
from foundation.clock import Clock
from treasury.breaker import trip_breaker
from treasury.custody import Custody
from treasury.models import (
    CaseKind,
    TreasuryBookingCursor,
    TreasuryDeparture,
    TreasuryDeposit,
    TreasuryHandledBreak,
    TreasuryLostDeparture,
    TreasuryReconciliation,
    TreasuryReversedDeposit,
    TreasurySweep,
    TreasuryUnswept,
)

_DEPOSIT_COLUMNS = (
    "id", "chain_id", "tx_hash", "log_index", "block_number", "block_hash", "token", "asset", "from_address",
    "to_address", "units", "wallet_id", "amount", "dust_amount", "case_kind", "again_of", "created_at",
)  # fmt: skip
_DEPARTURE_COLUMNS = (
    "tx_hash", "log_index", "chain_id", "block_number", "token", "asset", "from_address", "to_address",
    "units", "order_id", "created_at",
)  # fmt: skip


async def reverse_lost_movements(session: AsyncSession, clock: Clock, custody: Custody) -> int:
    """Take out what is above the ancestor of each new break; how many breaks there were.

    The caller holds the mirror still (``mirror_heights`` with ``hold``).
    """
    breaks = await unhandled_breaks(session, custody.chain_id)
    if not breaks:
        return 0
    ancestor = min(one.ancestor_number for one in breaks)
    for token in sorted(custody.tokens, key=lambda token: token.address):
        cursor = await session.get(
            TreasuryBookingCursor,
            (custody.chain_id, token.address),
            with_for_update=True,
            populate_existing=True,
        )
        if cursor is not None:
            cursor.dust_units -= await _lost_dust(session, custody, token.address, token.unit, ancestor)
            cursor.booked_number = min(cursor.booked_number, ancestor)
    # A sweep may have been taken back as well: each address that was ever swept is looked at
    # again, which costs one question.
    swept = select(TreasurySweep.address, TreasurySweep.token).distinct()
    await session.execute(
        upsert(TreasuryUnswept).from_select(["address", "token"], swept).on_conflict_do_nothing()
    )
    newest = breaks[-1]
    await _move(session, clock, custody, newest, ancestor)
    # What was compared there was compared with a chain that is gone.
    await session.execute(
        delete(TreasuryReconciliation).where(*_above(TreasuryReconciliation, custody, ancestor))
    )
    for one in breaks:
        session.add(TreasuryHandledBreak(break_id=one.id, handled_at=clock.now()))
        # The follower's caller has tripped it before the mirror moved; if it is released
        # meanwhile, the corrections that are to come are one more reason.
        await trip_breaker(session, clock, custody.chain_id, reason=reason_of(one))
    await session.flush()
    return len(breaks)


async def unhandled_breaks(session: AsyncSession, chain_id: int) -> list[BrokenFinality]:
    """Breaks whose movements are still in the tables."""
    return await broken_finalities(session, chain_id, known=select(TreasuryHandledBreak.break_id))


def reason_of(gone: BrokenFinality) -> str:
    """What the operators are told."""
    return (
        f"finality was broken: block {gone.finalized_number} was {gone.lost_hash} and is {gone.found_hash}; "
        f"what was final above {gone.ancestor_number} is taken back"
    )


async def _move(
    session: AsyncSession, clock: Clock, custody: Custody, gone: BrokenFinality, ancestor: int
) -> None:
    for source, target, columns, more in (
        (TreasuryDeposit, TreasuryReversedDeposit, _DEPOSIT_COLUMNS, {"reversed_at": clock.now()}),
        (TreasuryDeparture, TreasuryLostDeparture, _DEPARTURE_COLUMNS, {}),
    ):
        above = _above(source, custody, ancestor)
        extra: dict[str, Any] = {"break_id": gone.id, **more}
        chosen = select(
            *(getattr(source, name) for name in columns),
            *(literal(value, getattr(target, name).type) for name, value in extra.items()),
        ).where(*above)
        await session.execute(insert(target).from_select([*columns, *extra], chosen))
        await session.execute(delete(source).where(*above))


def _above(table: Any, custody: Custody, ancestor: int) -> Sequence[Any]:
    return table.chain_id == custody.chain_id, table.block_number > ancestor


async def _lost_dust(
    session: AsyncSession, custody: Custody, token: str, unit: int, ancestor: int
) -> Decimal:
    """Token units of dust that go with the deposits, less those that had become minor units.

    May be negative: then dust of a lost deposit completed a minor unit of one that
    stands, and the tokens are short by that until new dust makes up for it.
    """
    lost = await session.execute(
        select(
            func.coalesce(func.sum(func.mod(TreasuryDeposit.units, unit)), 0),
            func.coalesce(func.sum(TreasuryDeposit.dust_amount), 0),
        ).where(
            *_above(TreasuryDeposit, custody, ancestor),
            TreasuryDeposit.token == token,
            TreasuryDeposit.case_kind.is_distinct_from(CaseKind.BEYOND_LEDGER),
        )
    )
    units, amount = lost.one()
    return Decimal(units) - Decimal(amount) * unit
