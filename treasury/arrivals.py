"""Arrivals: what came into custody in final blocks, written down before it is booked.

This is the *intend* half of deposits. One database transaction reads the mirror's
final logs after the cursor, writes one row for each, and moves the cursor, so a log
is written once, in order. Transfers between custody addresses (sweeps) are no
arrivals. What was sent to the vault itself has no owner and becomes a case.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Select, Text, insert, literal, select, union
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.observations import (
    Addresses,
    MirrorHeights,
    TransferObservation,
    mirror_heights,
    transfers_into,
    watched_tokens,
)
from foundation.clock import Clock
from foundation.ids import derive_id
from foundation.money import AMOUNT_LIMIT
from treasury.custody import Custody, CustodyToken
from treasury.models import CaseKind, TreasuryBookingCursor, TreasuryDeposit, TreasuryDepositAddress

BLOCKS_MAX = 20_000
"""Most blocks written down in one step, so that a step stays short after a long stop."""
ROWS_PER_INSERT = 2_000
"""Rows of one INSERT; PostgreSQL takes 65,535 parameters."""


def deposit_id(chain_id: int, tx_hash: str, log_index: int) -> UUID:
    """Id of the deposit that a log is, and of the transfer that credits it."""
    return derive_id("deposit", chain_id, tx_hash, log_index)


def custody_addresses(custody: Custody) -> Select[str]:
    """Query of every address that holds customers' tokens: ours and the deposit addresses."""
    ours = [select(literal(address, Text)) for address in custody.own_addresses]
    everything = union(select(TreasuryDepositAddress.address), *ours).subquery()
    return select(everything.c[0])


async def write_arrivals(session: AsyncSession, clock: Clock, custody: Custody) -> int:
    """Write the next final arrivals of each token; how many there were."""
    heights = await mirror_heights(session, custody.chain_id)
    if heights is None:
        return 0
    watched = await watched_tokens(session, custody.chain_id)
    written = 0
    for token in _in_lock_order(custody, watched):
        cursor = await _locked_cursor(session, custody, token, heights)
        last = min(heights.finalized, cursor.booked_number + BLOCKS_MAX)
        if last <= cursor.booked_number:
            continue
        inside = custody_addresses(custody)
        written += await _write(
            session, clock, custody, token, cursor, inside, first=cursor.booked_number + 1, last=last
        )
        cursor.booked_number = last
    return written


async def write_earlier_arrivals(
    session: AsyncSession, clock: Clock, custody: Custody, *, address: str
) -> None:
    """Write what came to ``address``, new in this transaction, in blocks passed already.

    The cursors' locks make this and ``write_arrivals`` wait for each other: the one
    that comes second sees what the first committed.
    """
    heights = await mirror_heights(session, custody.chain_id)
    if heights is None:
        return
    watched = await watched_tokens(session, custody.chain_id)
    for token in _in_lock_order(custody, watched):
        cursor = await _locked_cursor(session, custody, token, heights)
        await _write(
            session, clock, custody, token, cursor, [address],
            first=heights.start, last=cursor.booked_number,
        )  # fmt: skip


def _in_lock_order(custody: Custody, watched: Collection[str]) -> list[CustodyToken]:
    return sorted(
        (token for token in custody.tokens if token.address in watched), key=lambda token: token.address
    )


async def _locked_cursor(
    session: AsyncSession, custody: Custody, token: CustodyToken, heights: MirrorHeights
) -> TreasuryBookingCursor:
    await session.execute(
        upsert(TreasuryBookingCursor)
        .values(
            chain_id=custody.chain_id, token=token.address, asset=token.asset.code,
            booked_number=heights.start - 1, dust_units=0,
        )
        .on_conflict_do_nothing()
    )  # fmt: skip
    return await session.get_one(
        TreasuryBookingCursor, (custody.chain_id, token.address), with_for_update=True, populate_existing=True
    )


async def _write(
    session: AsyncSession,
    clock: Clock,
    custody: Custody,
    token: CustodyToken,
    cursor: TreasuryBookingCursor,
    addresses: Addresses,
    *,
    first: int,
    last: int,
) -> int:
    arrivals = await transfers_into(
        session,
        custody.chain_id,
        addresses,
        first=first,
        last=last,
        token=token.address,
        not_from=custody_addresses(custody),
    )
    owners = await _owners(session, arrivals)
    dust = int(cursor.dust_units)
    rows = []
    for arrival in arrivals:
        wallet_id = owners.get(arrival.to_address)
        amount, dust_left = token.split_units(arrival.value)
        case = None if wallet_id else CaseKind.NO_OWNER
        dust_amount = 0
        if amount > AMOUNT_LIMIT:
            case = CaseKind.BEYOND_LEDGER
        else:
            dust_amount, dust = token.split_units(dust + dust_left)
        rows.append(
            {
                "id": deposit_id(arrival.chain_id, arrival.tx_hash, arrival.log_index),
                "chain_id": arrival.chain_id, "tx_hash": arrival.tx_hash, "log_index": arrival.log_index,
                "block_number": arrival.block_number, "block_hash": arrival.block_hash,
                "token": token.address, "asset": token.asset.code,
                "from_address": arrival.from_address, "to_address": arrival.to_address,
                "units": arrival.value, "wallet_id": wallet_id, "amount": amount,
                "dust_amount": dust_amount, "case_kind": case, "created_at": clock.now(),
            }
        )  # fmt: skip
    for start in range(0, len(rows), ROWS_PER_INSERT):
        await session.execute(insert(TreasuryDeposit).values(rows[start : start + ROWS_PER_INSERT]))
    cursor.dust_units = Decimal(dust)
    await session.flush()
    return len(rows)


async def _owners(session: AsyncSession, arrivals: Sequence[TransferObservation]) -> dict[str, UUID]:
    """Whose deposit addresses the arrivals came to."""
    wanted = {arrival.to_address for arrival in arrivals}
    if not wanted:
        return {}
    rows = await session.execute(
        select(TreasuryDepositAddress.address, TreasuryDepositAddress.wallet_id).where(
            TreasuryDepositAddress.address.in_(wanted)
        )
    )
    return {row.address: row.wallet_id for row in rows}
