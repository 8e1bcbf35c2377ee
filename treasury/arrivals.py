"""Arrivals: what came into custody in final blocks, as deposits to be booked.

Transfers between custody addresses (sweeps) are no arrivals. What came to the
vault or a hot address itself has no owner and becomes a case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.observations import Addresses, TransferObservation, transfers_into
from foundation.clock import Clock
from foundation.ids import derive_id
from foundation.money import AMOUNT_LIMIT
from treasury.custody import Custody, CustodyToken
from treasury.custody_addresses import custody_addresses
from treasury.models import (
    CaseKind,
    TreasuryBookingCursor,
    TreasuryDeposit,
    TreasuryDepositAddress,
    TreasuryReversedDeposit,
    TreasuryUnswept,
)

ROWS_PER_INSERT = 2_000
"""Rows of one INSERT; PostgreSQL takes 65,535 parameters."""


def deposit_id(chain_id: int, tx_hash: str, log_index: int, times_reversed: int = 0) -> UUID:
    """Id of the deposit that a log is, and of the transfer that credits it.

    A log that was credited and taken back is another deposit when it is mined again:
    the ledger keeps the first one's transfers for ever.
    """
    if times_reversed:
        return derive_id("deposit-again", chain_id, tx_hash, log_index, times_reversed)
    return derive_id("deposit", chain_id, tx_hash, log_index)


async def write_arrivals(
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
    """Write a token's arrivals at ``addresses`` in final blocks ``first`` to ``last``.

    The cursor, which the caller has locked, carries the dust from one to the next.
    """
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
    earlier = await reversed_before(session, custody.chain_id, {one.tx_hash for one in arrivals})
    dust = int(cursor.dust_units)
    rows = []
    for arrival in arrivals:
        again_of = _take_origin(earlier, arrival)
        identity = deposit_id(
            arrival.chain_id, arrival.tx_hash, arrival.log_index, times_reversed(earlier, arrival)
        )
        row, dust = _deposit_row(token, arrival, owners.get(arrival.to_address), dust)
        rows.append(
            row | {"id": identity, "again_of": again_of.id if again_of else None, "created_at": clock.now()}
        )
        if again_of is not None:
            again_of.again_id = identity
    for start in range(0, len(rows), ROWS_PER_INSERT):
        await session.execute(insert(TreasuryDeposit).values(rows[start : start + ROWS_PER_INSERT]))
    if owners:
        await session.execute(
            upsert(TreasuryUnswept)
            .values(
                [
                    {"address": address, "token": token.address, "since": clock.now()}
                    for address in sorted(owners)
                ]
            )
            .on_conflict_do_nothing()
        )
    cursor.dust_units = Decimal(dust)
    await session.flush()
    return len(rows)


def _deposit_row(
    token: CustodyToken, arrival: TransferObservation, wallet_id: UUID | None, dust: int
) -> tuple[dict[str, Any], int]:
    """The deposit that an arrival is, and the dust held after it, in token units."""
    amount, dust_left = token.split_units(arrival.value)
    case = None if wallet_id else CaseKind.NO_OWNER
    dust_amount = 0
    if amount > AMOUNT_LIMIT:
        case = CaseKind.BEYOND_LEDGER
    elif dust + dust_left < 0:
        # A reversal has left less dust than was booked; this makes up for some of it.
        dust += dust_left
    else:
        dust_amount, dust = token.split_units(dust + dust_left)
    row = {
        "chain_id": arrival.chain_id,
        "tx_hash": arrival.tx_hash,
        "log_index": arrival.log_index,
        "block_number": arrival.block_number,
        "block_hash": arrival.block_hash,
        "token": token.address,
        "asset": token.asset.code,
        "from_address": arrival.from_address,
        "to_address": arrival.to_address,
        "units": arrival.value,
        "wallet_id": wallet_id,
        "amount": amount,
        "dust_amount": dust_amount,
        "case_kind": case,
    }
    return row, dust


async def reversed_before(
    session: AsyncSession, chain_id: int, tx_hashes: Collection[str]
) -> list[TreasuryReversedDeposit]:
    """Deposits of these txs that were credited before and taken back, oldest first."""
    if not tx_hashes:
        return []
    rows = await session.scalars(
        select(TreasuryReversedDeposit)
        .where(TreasuryReversedDeposit.chain_id == chain_id, TreasuryReversedDeposit.tx_hash.in_(tx_hashes))
        .order_by(TreasuryReversedDeposit.reversed_at, TreasuryReversedDeposit.log_index)
    )
    return list(rows)


def times_reversed(earlier: Iterable[TreasuryReversedDeposit], seen: TransferObservation) -> int:
    """How often a deposit of the same tx and log index was taken back before."""
    return sum((one.tx_hash, one.log_index) == (seen.tx_hash, seen.log_index) for one in earlier)


def _take_origin(
    earlier: Iterable[TreasuryReversedDeposit], arrival: TransferObservation
) -> TreasuryReversedDeposit | None:
    """The reversed deposit that an arrival is once more, if there is one that nothing else is.

    Its log index may be another one in its new block: tx, token, receiver and units are the same.
    """
    same = (arrival.tx_hash, arrival.token, arrival.to_address, arrival.value)
    for one in earlier:
        if one.again_id is None and (one.tx_hash, one.token, one.to_address, int(one.units)) == same:
            return one
    return None


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
