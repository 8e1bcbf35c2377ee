"""Deposits: tokens that arrived on chain, credited once, when nothing can take them back.

A deposit is a transfer from custody to the customer's account, made when its
block is final; its id is derived from the log, so seeing it twice credits it once.
Its state is read from the mirror and the ledger each time: there is no status to
drift. What cannot be credited to its owner goes to suspense or waits as a case,
and is named by every reconciliation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import checksum
from chain.observations import (
    TransferObservation,
    mirror_heights,
    orphaned_transfers_into,
    transfers_into,
)
from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation
from ledger.contract import CreateTransferStatus, Transfer
from ledger.interface import Ledger
from treasury.arrivals import deposit_id, times_reversed
from treasury.corrections import correct_reversed
from treasury.custody import Custody
from treasury.custody_addresses import custody_addresses
from treasury.deposit_addresses import wallet_addresses
from treasury.deposit_transfers import (
    credit_of,
    credited_ids,
    dust_of,
    suspense_of,
)
from treasury.models import CaseKind, TreasuryBookingCursor, TreasuryDeposit, TreasuryReversedDeposit
from treasury.movements import write_movements
from treasury.repayments import origins_of, repay

BOOKED_PER_REQUEST = 2_000
"""Deposits sent to the ledger at once; each is at most two transfers."""
LISTED_MAX = 100
"""Most deposits in a list."""

_DONE = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_ACCOUNT_UNUSABLE = frozenset(
    {
        CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED,
        # The id failed before in one of these two ways, and the process died
        # before suspense was credited: the same way is taken again.
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)


class DepositState(StrEnum):
    """How far a deposit has got."""

    SEEN = "seen"
    """In a block that is not final yet: it may still vanish, and cannot be spent."""
    ARRIVING = "arriving"
    """Final on chain; the ledger is about to credit it."""
    CREDITED = "credited"
    """In the customer's balance."""
    HELD = "held"
    """It cannot be credited as it is; a person looks at it."""
    ORPHANED = "orphaned"
    """A reorg took it away before it was final; nothing was credited."""
    REVERSED = "reversed"
    """It was credited, and the chain took back its final block: so was the credit. Mined again it
    becomes another deposit."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit as its owner sees it."""

    id: UUID
    state: DepositState
    asset: Asset
    amount: int
    """Minor units."""
    tx_hash: str
    block_number: int
    from_address: str
    """With checksum."""
    credited_at_ns: int | None
    """The ledger's time of the credit."""


@dataclass(frozen=True, slots=True)
class BookingReport:
    """What one step of booking did."""

    written: int
    """Arrivals written down."""
    booked: int
    """Deposits whose transfers the ledger has."""
    corrected: int = 0
    """Deposits of broken finality that are undone in the ledger."""


async def book_deposits(database: Database, ledger: Ledger, clock: Clock, custody: Custody) -> BookingReport:
    """Write down final arrivals and credit what is not credited yet.

    Safe to repeat and to kill anywhere. Killed after the first half, the rows wait;
    killed between the ledger's answer and ``booked_at``, the next step asks again
    and the ledger says that the transfers exist.
    """
    async with database.session() as session:
        written = (await write_movements(session, clock, custody)).arrivals
    # Before anything is credited: what is mined again first pays what its earlier times left owed.
    corrected = await correct_reversed(database, ledger, clock, custody)
    booked = 0
    while deposits := await _unbooked(database, custody):
        await _credit(database, ledger, deposits)
        async with database.session() as session:
            await session.execute(
                update(TreasuryDeposit)
                .where(TreasuryDeposit.id.in_([deposit.id for deposit in deposits]))
                .values(booked_at=clock.now())
            )
        booked += len(deposits)
    return BookingReport(written, booked, corrected)


async def list_deposits(
    database: Database, ledger: Ledger, custody: Custody, *, wallet_id: UUID, limit: int = LISTED_MAX
) -> list[Deposit]:
    """A wallet's deposits, newest first: those on their way, then those written down."""
    limit = min(limit, LISTED_MAX)
    async with database.session() as session:
        heights = await mirror_heights(session, custody.chain_id)
        booked_numbers = {
            row.token: row.booked_number
            for row in await session.scalars(
                select(TreasuryBookingCursor).where(TreasuryBookingCursor.chain_id == custody.chain_id)
            )
        }
        addresses = wallet_addresses(wallet_id)
        first = min(booked_numbers.values(), default=-1) + 1
        coming = await transfers_into(
            session, custody.chain_id, addresses, first=first, not_from=custody_addresses(custody)
        )
        orphaned = await orphaned_transfers_into(session, custody.chain_id, addresses)
        rows = (
            await session.scalars(
                select(TreasuryDeposit)
                .where(TreasuryDeposit.wallet_id == wallet_id)
                .order_by(TreasuryDeposit.block_number.desc(), TreasuryDeposit.log_index.desc())
                .limit(limit)
            )
        ).all()
        taken_back = await _taken_back(session, wallet_id)
    finalized = heights.finalized if heights else -1
    coming = [one for one in coming if one.block_number > booked_numbers.get(one.token, -1)]
    found = [_coming(custody, one, finalized, taken_back) for one in reversed(coming)]
    # An orphan that had been credited is a reversed deposit, and told as such.
    known = {(one.tx_hash, one.token, one.to_address, int(one.units)) for one in taken_back}
    found += [
        _orphaned(custody, one)
        for one in reversed(orphaned)
        if (one.tx_hash, one.token, one.to_address, one.value) not in known
    ]
    listed = [deposit for deposit in found if deposit is not None]
    listed += await _written(ledger, rows)
    listed += [_reversed(one) for one in taken_back if one.again_id is None]
    return sorted(listed, key=lambda deposit: deposit.block_number, reverse=True)[:limit]


async def deposits_by_ids(
    database: Database, ledger: Ledger, *, wallet_id: UUID, ids: Sequence[UUID]
) -> list[Deposit]:
    """Those of some deposits that are a wallet's and written down, oldest first."""
    if not ids:
        return []
    async with database.session() as session:
        rows = (
            await session.scalars(
                select(TreasuryDeposit)
                .where(TreasuryDeposit.id.in_(ids), TreasuryDeposit.wallet_id == wallet_id)
                .order_by(TreasuryDeposit.block_number, TreasuryDeposit.log_index)
            )
        ).all()
        taken_back = (
            await session.scalars(
                select(TreasuryReversedDeposit)
                .where(TreasuryReversedDeposit.id.in_(ids), TreasuryReversedDeposit.wallet_id == wallet_id)
                .order_by(TreasuryReversedDeposit.block_number, TreasuryReversedDeposit.log_index)
            )
        ).all()
    return [*await _written(ledger, rows), *(_reversed(one) for one in taken_back)]


async def _taken_back(session: AsyncSession, wallet_id: UUID) -> Sequence[TreasuryReversedDeposit]:
    rows = await session.scalars(
        select(TreasuryReversedDeposit)
        .where(TreasuryReversedDeposit.wallet_id == wallet_id)
        .order_by(TreasuryReversedDeposit.reversed_at.desc(), TreasuryReversedDeposit.block_number.desc())
        .limit(LISTED_MAX)
    )
    return rows.all()


async def _unbooked(database: Database, custody: Custody) -> Sequence[TreasuryDeposit]:
    async with database.session() as session:
        rows = await session.scalars(
            select(TreasuryDeposit)
            .where(
                TreasuryDeposit.chain_id == custody.chain_id,
                TreasuryDeposit.booked_at.is_(None),
                TreasuryDeposit.case_kind.is_distinct_from(CaseKind.BEYOND_LEDGER),
                # What it is once more must be undone first: only then is known what is owed.
                TreasuryDeposit.again_of.is_(None)
                | TreasuryDeposit.again_of.in_(
                    select(TreasuryReversedDeposit.id).where(
                        TreasuryReversedDeposit.corrected_at.is_not(None)
                    )
                ),
            )
            .order_by(TreasuryDeposit.block_number, TreasuryDeposit.log_index)
            .limit(BOOKED_PER_REQUEST)
        )
        return rows.all()


async def _credit(database: Database, ledger: Ledger, deposits: Sequence[TreasuryDeposit]) -> None:
    """Make the deposits' transfers; those whose owner cannot take them go to suspense."""
    repaid = {
        deposit.id: await repay(ledger, deposit, await origins_of(database, deposit.again_of))
        for deposit in deposits
        if deposit.again_of is not None
    }
    owed = [
        (deposit, credit_of(deposit, repaid.get(deposit.id, 0)))
        for deposit in deposits
        if deposit.amount > repaid.get(deposit.id, 0)
    ]
    unusable = []
    statuses = await _create(ledger, [transfer for _, transfer in owed])
    for (deposit, transfer), status in zip(owed, statuses, strict=True):
        if deposit.wallet_id is not None and status in _ACCOUNT_UNUSABLE:
            unusable.append(deposit)
        elif status not in _DONE:
            raise InvariantViolation(f"deposit {UUID(int=transfer.id)}: {status.name}")
    if unusable:
        # The case is opened first: dying between the two leaves a case whose money
        # the next step puts into suspense, never money in suspense without a case.
        async with database.session() as session:
            await session.execute(
                update(TreasuryDeposit)
                .where(TreasuryDeposit.id.in_([deposit.id for deposit in unusable]))
                .values(case_kind=CaseKind.WALLET_UNUSABLE)
            )
    rest = [suspense_of(deposit, repaid.get(deposit.id, 0)) for deposit in unusable]
    rest += [dust_of(deposit) for deposit in deposits if deposit.dust_amount > 0]
    for transfer, status in zip(rest, await _create(ledger, rest), strict=True):
        if status not in _DONE:
            raise InvariantViolation(f"deposit's transfer {UUID(int=transfer.id)}: {status.name}")


async def _create(ledger: Ledger, transfers: Sequence[Transfer]) -> list[CreateTransferStatus]:
    if not transfers:
        return []
    return [result.status for result in await ledger.create_transfers(transfers)]


async def _written(ledger: Ledger, rows: Sequence[TreasuryDeposit]) -> list[Deposit]:
    """Deposits that are written down; the ledger says which it has."""
    credited = (
        {
            transfer.id: transfer.timestamp
            for transfer in await ledger.lookup_transfers(
                [one for row in rows for one in credited_ids(row.id)]
            )
        }
        if rows
        else {}
    )
    return [_listed(row, credited) for row in rows]


def _listed(row: TreasuryDeposit, credited: dict[int, int]) -> Deposit:
    credited_at_ns = credited.get(row.id.int)
    # Where all of it pays what was owed or borne, that is the whole of its credit.
    if credited_at_ns is None and row.booked_at is not None and row.case_kind is None:
        parts = [credited[one] for one in credited_ids(row.id) if one in credited]
        credited_at_ns = max(parts, default=None)
    if credited_at_ns is not None:
        state = DepositState.CREDITED
    elif row.case_kind is not None:
        state = DepositState.HELD
    # Less than one minor unit: all of it is dust, and nothing more will come.
    elif row.amount == 0 and row.booked_at is not None:
        state = DepositState.CREDITED
    else:
        state = DepositState.ARRIVING
    return Deposit(
        row.id, state, asset_by_code(row.asset), int(row.amount), row.tx_hash, row.block_number,
        checksum(row.from_address), credited_at_ns,
    )  # fmt: skip


def _reversed(row: TreasuryReversedDeposit) -> Deposit:
    return Deposit(
        row.id, DepositState.REVERSED, asset_by_code(row.asset), int(row.amount), row.tx_hash,
        row.block_number, checksum(row.from_address), None,
    )  # fmt: skip


def _coming(
    custody: Custody,
    seen: TransferObservation,
    finalized: int,
    taken_back: Sequence[TreasuryReversedDeposit],
) -> Deposit | None:
    state = DepositState.ARRIVING if seen.block_number <= finalized else DepositState.SEEN
    return _observed(custody, seen, state, times_reversed(taken_back, seen))


def _orphaned(custody: Custody, seen: TransferObservation) -> Deposit | None:
    return _observed(custody, seen, DepositState.ORPHANED)


def _observed(
    custody: Custody, seen: TransferObservation, state: DepositState, times: int = 0
) -> Deposit | None:
    token = custody.token_at(seen.token)
    # A token that is mirrored but not taken in (any more) is nobody's deposit.
    if token is None:
        return None
    return Deposit(
        deposit_id(seen.chain_id, seen.tx_hash, seen.log_index, times),
        state,
        token.asset,
        token.split_units(seen.value)[0],
        seen.tx_hash,
        seen.block_number,
        checksum(seen.from_address),
        None,
    )
