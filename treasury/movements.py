"""Movements: the final transfers into and out of custody, written down once, in order.

This is the *intend* half of deposits and the evidence for withdrawals. One database
transaction reads the mirror's final logs after a token's cursor, writes a row for
each, and moves the cursor; a process killed before the commit has done nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.observations import MirrorHeights, mirror_heights, watched_tokens
from foundation.clock import Clock
from treasury.arrivals import write_arrivals
from treasury.custody import Custody, CustodyToken
from treasury.custody_addresses import custody_addresses
from treasury.departures import write_departures
from treasury.models import TreasuryBookingCursor
from treasury.reversals import reverse_lost_movements

BLOCKS_MAX = 20_000
"""Most blocks written down in one step, so that a step stays short after a long stop."""


@dataclass(frozen=True, slots=True)
class MovementReport:
    """What one step wrote down."""

    arrivals: int = 0
    departures: int = 0


async def write_movements(session: AsyncSession, clock: Clock, custody: Custody) -> MovementReport:
    """Write the next final movements of each token."""
    # The mirror is held still: even what is final can be taken back, and must not be
    # while it is written down.
    heights = await mirror_heights(session, custody.chain_id, hold=True)
    if heights is None:
        return MovementReport()
    await reverse_lost_movements(session, clock, custody)
    watched = await watched_tokens(session, custody.chain_id)
    arrivals = departures = 0
    for token in _in_lock_order(custody, watched):
        cursor = await _locked_cursor(session, custody, token, heights)
        first = cursor.booked_number + 1
        last = min(heights.finalized, cursor.booked_number + BLOCKS_MAX)
        if last < first:
            continue
        inside = custody_addresses(custody)
        arrivals += await write_arrivals(
            session, clock, custody, token, cursor, inside, first=first, last=last
        )
        departures += await write_departures(session, clock, custody, token.address, first=first, last=last)
        cursor.booked_number = last
    return MovementReport(arrivals, departures)


async def write_earlier_arrivals(
    session: AsyncSession, clock: Clock, custody: Custody, *, address: str
) -> None:
    """Write what came to ``address``, new in this transaction, in blocks passed already.

    The cursors' locks make this and ``write_movements`` wait for each other: the one
    that comes second sees what the first committed.
    """
    heights = await mirror_heights(session, custody.chain_id, hold=True)
    if heights is None:
        return
    await reverse_lost_movements(session, clock, custody)
    watched = await watched_tokens(session, custody.chain_id)
    for token in _in_lock_order(custody, watched):
        cursor = await _locked_cursor(session, custody, token, heights)
        await write_arrivals(
            session,
            clock,
            custody,
            token,
            cursor,
            [address],
            first=heights.start,
            last=cursor.booked_number,
        )


def _in_lock_order(custody: Custody, watched: Collection[str]) -> list[CustodyToken]:
    return sorted(
        (token for token in custody.tokens if token.address in watched), key=lambda token: token.address
    )


async def _locked_cursor(
    session: AsyncSession, custody: Custody, token: CustodyToken, heights: MirrorHeights
) -> TreasuryBookingCursor:
    await session.execute(
        insert(TreasuryBookingCursor)
        .values(
            chain_id=custody.chain_id,
            token=token.address,
            asset=token.asset.code,
            booked_number=heights.start - 1,
            dust_units=0,
        )
        .on_conflict_do_nothing()
    )
    return await session.get_one(
        TreasuryBookingCursor, (custody.chain_id, token.address), with_for_update=True, populate_existing=True
    )
