"""Reconciliation: custody on chain against the ledger, at one final block.

The chain's side is the sum of the token's balances of every custody address at the
block up to which movements are written down. The ledger's side is the debit
balance of its custody account after one posting, whose timestamp says exactly what
is in it and what is not. What lies between the two books is named, item by item:
deposits final but not booked, withdrawals paid but not posted, and the reverse. Any
unit that no item explains trips the breaker, in the same database transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainBlock
from chain.rpc import RPC
from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from ledger.chart import AccountCode, system_account_id
from ledger.contract import BATCH_MAX
from ledger.interface import Ledger
from treasury.breaker import trip_breaker
from treasury.custody import Custody, CustodyToken
from treasury.custody_addresses import custody_addresses
from treasury.custody_balances import units_at
from treasury.deposits import dust_transfer_id, suspense_transfer_id
from treasury.models import (
    CaseKind,
    TreasuryBookingCursor,
    TreasuryDeparture,
    TreasuryDeposit,
    TreasuryReconciliation,
    TreasuryWithdrawal,
)
from treasury.withdrawal_transfers import hold_transfer_id, settlement_transfer_id


class ItemKind(StrEnum):
    """What explains a difference between the books."""

    DEPOSIT_UNBOOKED = "deposit_unbooked"
    """Final on chain, not in the ledger yet."""
    DEPOSIT_BEYOND_LEDGER = "deposit_beyond_ledger"
    """More than the ledger can hold; it has a case."""
    DEPOSIT_AHEAD = "deposit_ahead"
    """In the ledger already, from a block after this one."""
    WITHDRAWAL_UNPOSTED = "withdrawal_unposted"
    """Left custody, still pending in the ledger."""
    WITHDRAWAL_AHEAD = "withdrawal_ahead"
    """Posted in the ledger already, paid in a block after this one."""


@dataclass(frozen=True, slots=True)
class ReconciliationItem:
    """One explanation: ``units`` (of the token, signed) that the chain has more than the ledger."""

    kind: ItemKind
    id: UUID
    units: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One token's books at one final block."""

    asset: Asset
    block_number: int
    block_hash: str
    chain_units: int
    """Held on chain, in token units."""
    ledger_amount: int
    """Held according to the ledger, in minor units."""
    ledger_timestamp: int
    dust_units: int
    """Held on chain and not a whole minor unit yet."""
    items: tuple[ReconciliationItem, ...]
    unexplained_units: int

    @property
    def agrees(self) -> bool:
        """Whether every unit is explained."""
        return self.unexplained_units == 0


@dataclass(frozen=True, slots=True)
class _Side:
    """The state that movements are written down to, read in one database transaction."""

    token: CustodyToken
    block_number: int
    block_hash: str
    dust_units: int
    addresses: tuple[str, ...]
    unbooked: tuple[TreasuryDeposit, ...]
    unposted: tuple[TreasuryDeparture, ...]


@dataclass(frozen=True, slots=True)
class _Posting:
    """A transfer that moves custody, and the signed units it adds to the ledger's custody."""

    kind: ItemKind
    subject: UUID
    ids: tuple[int, ...]
    """Any one of them in the ledger means that it is booked."""
    units: int


async def reconcile(
    database: Database, ledger: Ledger, rpc: RPC, clock: Clock, custody: Custody
) -> list[Reconciliation]:
    """Compare the books of each token at the last block written down, and record the result.

    A block that was reconciled before is not asked about again. Trips the breaker
    where a unit is unexplained. Raises the RPC's and the ledger's errors, with
    nothing recorded.
    """
    results = []
    for token in custody.tokens:
        side = await _read_side(database, custody, token)
        if side is None:
            continue
        held = await units_at(rpc, token=token.address, addresses=side.addresses, block_hash=side.block_hash)
        result = await _compare(database, ledger, custody, side, sum(held))
        await _record(database, clock, custody, result)
        results.append(result)
    return results


async def last_reconciliations(session: AsyncSession, custody: Custody) -> list[Reconciliation]:
    """The newest result of each token."""
    results = []
    for token in custody.tokens:
        row = await session.scalar(
            select(TreasuryReconciliation)
            .where(
                TreasuryReconciliation.chain_id == custody.chain_id,
                TreasuryReconciliation.asset == token.asset.code,
            )
            .order_by(TreasuryReconciliation.block_number.desc())
            .limit(1)
        )
        if row is not None:
            results.append(_result(row))
    return results


async def _read_side(database: Database, custody: Custody, token: CustodyToken) -> _Side | None:
    """What is written down, at one instant; None if nothing is, or it was reconciled before."""
    async with database.session() as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token.address))
        if cursor is None:
            return None
        number = cursor.booked_number
        block = await session.get(ChainBlock, (custody.chain_id, number))
        done = await session.get(TreasuryReconciliation, (custody.chain_id, number, token.asset.code))
        if block is None or done is not None:
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
        return _Side(
            token,
            number,
            block.hash,
            int(cursor.dust_units),
            tuple(addresses),
            tuple(unbooked),
            tuple(unposted),
        )


async def _compare(
    database: Database, ledger: Ledger, custody: Custody, side: _Side, chain_units: int
) -> Reconciliation:
    token = side.token
    amount, timestamp = await _ledger_custody(ledger, token.asset)
    # Read after the balance: a movement of a later block that the balance includes
    # was written down before it was booked, so it is found here.
    later = await _later_postings(database, custody, side)
    earlier = [posting for one in side.unbooked for posting in _deposit_postings(token, one)]
    earlier += [_withdrawal_posting(one) for one in await _held(ledger, side.unposted)]
    booked = await _booked_by(ledger, [*earlier, *later], timestamp)
    items = [
        ReconciliationItem(posting.kind, posting.subject, posting.units)
        for posting in earlier
        if not booked.intersection(posting.ids)
    ]
    items += [
        ReconciliationItem(_AHEAD[posting.kind], posting.subject, -posting.units)
        for posting in later
        if booked.intersection(posting.ids)
    ]
    explained = token.units_of(amount) + side.dust_units + sum(item.units for item in items)
    return Reconciliation(
        token.asset,
        side.block_number,
        side.block_hash,
        chain_units,
        amount,
        timestamp,
        side.dust_units,
        tuple(items),
        chain_units - explained,
    )


async def _ledger_custody(ledger: Ledger, asset: Asset) -> tuple[int, int]:
    """Debit balance of the custody account after its newest posting, and that posting's time."""
    account = system_account_id(AccountCode.CUSTODY, asset)
    lines = await ledger.get_statement(account, limit=1)
    if not lines:
        return 0, 0
    balance = lines[0].balance
    return balance.debits_posted - balance.credits_posted, lines[0].transfer.timestamp


async def _later_postings(database: Database, custody: Custody, side: _Side) -> list[_Posting]:
    """Postings of movements in blocks after the one that is compared."""
    async with database.session() as session:
        deposits = await session.scalars(
            select(TreasuryDeposit).where(
                TreasuryDeposit.chain_id == custody.chain_id,
                TreasuryDeposit.token == side.token.address,
                TreasuryDeposit.block_number > side.block_number,
                TreasuryDeposit.case_kind.is_distinct_from(CaseKind.BEYOND_LEDGER),
            )
        )
        departures = await session.scalars(
            select(TreasuryDeparture).where(
                TreasuryDeparture.chain_id == custody.chain_id,
                TreasuryDeparture.token == side.token.address,
                TreasuryDeparture.block_number > side.block_number,
                TreasuryDeparture.order_id.is_not(None),
            )
        )
        postings = [posting for one in deposits for posting in _deposit_postings(side.token, one)]
        return postings + [_withdrawal_posting(one) for one in departures]


def _deposit_postings(token: CustodyToken, deposit: TreasuryDeposit) -> list[_Posting]:
    if deposit.case_kind == CaseKind.BEYOND_LEDGER:
        return [_Posting(ItemKind.DEPOSIT_BEYOND_LEDGER, deposit.id, (), int(deposit.units))]
    unbooked = ItemKind.DEPOSIT_UNBOOKED
    credit = (deposit.id.int, suspense_transfer_id(deposit.id).int)
    postings = [_Posting(unbooked, deposit.id, credit, token.units_of(int(deposit.amount)))]
    if deposit.dust_amount:
        dust = (dust_transfer_id(deposit.id).int,)
        postings.append(_Posting(unbooked, deposit.id, dust, token.units_of(deposit.dust_amount)))
    return [posting for posting in postings if posting.units]


def _withdrawal_posting(departure: TreasuryDeparture) -> _Posting:
    assert departure.order_id is not None, "a departure without an order explains nothing"
    settled = (settlement_transfer_id(departure.order_id).int,)
    return _Posting(ItemKind.WITHDRAWAL_UNPOSTED, departure.order_id, settled, -int(departure.units))


async def _held(ledger: Ledger, departures: Sequence[TreasuryDeparture]) -> list[TreasuryDeparture]:
    """Departures whose money the ledger has set aside; any other one explains nothing.

    Tokens that left without a hold were paid with everybody's money, whatever row
    or order they can show.
    """
    holds = {hold_transfer_id(one.order_id).int: one for one in departures if one.order_id is not None}
    found: list[TreasuryDeparture] = []
    ids = list(holds)
    for first in range(0, len(ids), BATCH_MAX):
        found += [holds[t.id] for t in await ledger.lookup_transfers(ids[first : first + BATCH_MAX])]
    return found


async def _booked_by(ledger: Ledger, postings: Sequence[_Posting], timestamp: int) -> set[int]:
    """Ids among the postings' that the ledger had by ``timestamp``."""
    ids = [transfer_id for posting in postings for transfer_id in posting.ids]
    booked = set()
    for first in range(0, len(ids), BATCH_MAX):
        found = await ledger.lookup_transfers(ids[first : first + BATCH_MAX])
        booked |= {transfer.id for transfer in found if transfer.timestamp <= timestamp}
    return booked


async def _record(database: Database, clock: Clock, custody: Custody, result: Reconciliation) -> None:
    async with database.session() as session:
        await session.execute(
            insert(TreasuryReconciliation).values(
                chain_id=custody.chain_id,
                block_number=result.block_number,
                asset=result.asset.code,
                block_hash=result.block_hash,
                token=custody.token_of(result.asset).address,
                chain_units=result.chain_units,
                ledger_amount=result.ledger_amount,
                ledger_timestamp=result.ledger_timestamp,
                dust_units=result.dust_units,
                items=[
                    {"kind": item.kind, "id": str(item.id), "units": str(item.units)} for item in result.items
                ],
                unexplained_units=result.unexplained_units,
                created_at=clock.now(),
            )
        )
        if not result.agrees:
            reason = (
                f"{result.unexplained_units} units of {result.asset.code} "
                f"are unexplained at block {result.block_number}"
            )
            await trip_breaker(session, clock, custody.chain_id, reason=reason)


def _result(row: TreasuryReconciliation) -> Reconciliation:
    return Reconciliation(
        asset_by_code(row.asset),
        row.block_number,
        row.block_hash,
        int(row.chain_units),
        row.ledger_amount,
        row.ledger_timestamp,
        int(row.dust_units),
        tuple(
            ReconciliationItem(ItemKind(item["kind"]), UUID(item["id"]), int(item["units"]))
            for item in row.items
        ),
        int(row.unexplained_units),
    )


_AHEAD = {
    ItemKind.DEPOSIT_UNBOOKED: ItemKind.DEPOSIT_AHEAD,
    ItemKind.WITHDRAWAL_UNPOSTED: ItemKind.WITHDRAWAL_AHEAD,
}
"""The same movement, seen from the other side."""
