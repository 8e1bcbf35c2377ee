"""Reconciliation: custody on chain against the ledger, at one final block.

The chain's side is the sum of the token's balances of every custody address at the
block up to which movements are written down. The ledger's side is the debit
balance of its custody account after one posting, whose timestamp says exactly what
is in it and what is not. What lies between the two books is named, item by item:
deposits final but not booked, withdrawals paid but not posted, and the reverse. Any
unit that no item explains trips the breaker, in the same database transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.rpc import RPC
from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from ledger.chart import AccountCode, system_account_id
from ledger.contract import BATCH_MAX, Transfer
from ledger.interface import Ledger
from treasury.breaker import trip_breaker
from treasury.chain_side import ChainSide, read_chain_side
from treasury.custody import Custody, CustodyToken
from treasury.custody_balances import UnitsByPlace, by_place, units_at
from treasury.deposit_transfers import (
    all_ids,
    correction_transfer_id,
    credited_ids,
    dust_transfer_id,
    receivable_transfer_id,
)
from treasury.models import (
    CaseKind,
    TreasuryDeparture,
    TreasuryDeposit,
    TreasuryReconciliation,
)
from treasury.withdrawal_transfers import (
    hold_transfer_id,
    lost_suspense_transfer_id,
    lost_transfer_id,
    settlement_transfer_id,
)


class ItemKind(StrEnum):
    """What explains a difference between the books."""

    DEPOSIT_UNBOOKED = "deposit_unbooked"
    """Final on chain, not in the ledger yet."""
    DEPOSIT_BEYOND_LEDGER = "deposit_beyond_ledger"
    """More than the ledger can hold; it has a case."""
    DEPOSIT_AHEAD = "deposit_ahead"
    """In the ledger already, from a block after this one."""
    DEPOSIT_REVERSED = "deposit_reversed"
    """Credited, then taken back by the chain itself; its correction is not in the ledger yet."""
    WITHDRAWAL_LOST = "withdrawal_lost"
    """Posted in the ledger, and its payment taken back by the chain itself; not mined again yet."""
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
    places: UnitsByPlace | None = None
    """Where ``chain_units`` lie; None in a result older than its being told apart."""

    @property
    def agrees(self) -> bool:
        """Whether every unit is explained."""
        return self.unexplained_units == 0


@dataclass(frozen=True, slots=True)
class _Posting:
    """A transfer that moves custody, and the signed units it adds to the ledger's custody."""

    kind: ItemKind
    subject: UUID
    ids: tuple[int, ...]
    """Transfers that together are it; what the ledger has of them is booked."""
    units: int
    """All of it; what is booked has the same sign."""


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
        side = await read_chain_side(database, custody, token)
        if side is None:
            continue
        held = await units_at(rpc, token=token.address, addresses=side.addresses, block_hash=side.block_hash)
        places = by_place(side.addresses, held, hot=custody.own_addresses, cold=side.cold)
        result = replace(await _compare(database, ledger, custody, side, sum(held)), places=places)
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


async def _compare(
    database: Database, ledger: Ledger, custody: Custody, side: ChainSide, chain_units: int
) -> Reconciliation:
    token = side.token
    amount, timestamp = await _ledger_custody(ledger, token.asset)
    # Read after the balance: a movement of a later block that the balance includes
    # was written down before it was booked, so it is found here.
    later = await _later_postings(database, custody, side)
    earlier = [posting for one in side.unbooked for posting in _deposit_postings(token, one)]
    earlier += [_withdrawal_posting(one) for one in await _held(ledger, side.unposted)]
    booked = await _booked_by(ledger, token, [*earlier, *later], timestamp)
    items = [
        ReconciliationItem(posting.kind, posting.subject, left)
        for posting in earlier
        if (left := posting.units - _booked_units(posting, booked))
    ]
    items += [
        ReconciliationItem(_AHEAD[posting.kind], posting.subject, -units)
        for posting in later
        if (units := _booked_units(posting, booked))
    ]
    items += await _reversed_items(ledger, side, timestamp)
    items += await _lost_items(ledger, side, timestamp)
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


async def _later_postings(database: Database, custody: Custody, side: ChainSide) -> list[_Posting]:
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
    postings = [_Posting(unbooked, deposit.id, credited_ids(deposit.id), token.units_of(int(deposit.amount)))]
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


async def _booked_by(
    ledger: Ledger, token: CustodyToken, postings: Sequence[_Posting], timestamp: int
) -> dict[int, int]:
    """Units of those among the postings' transfers that the ledger had by ``timestamp``."""
    ids = [transfer_id for posting in postings for transfer_id in posting.ids]
    return {
        transfer.id: token.units_of(transfer.amount)
        for transfer in await _transfers_by(ledger, ids, timestamp)
    }


async def _transfers_by(ledger: Ledger, ids: Sequence[int], timestamp: int) -> list[Transfer]:
    found: list[Transfer] = []
    for first in range(0, len(ids), BATCH_MAX):
        found += await ledger.lookup_transfers(ids[first : first + BATCH_MAX])
    return [transfer for transfer in found if transfer.timestamp <= timestamp]


def _booked_units(posting: _Posting, booked: Mapping[int, int]) -> int:
    """How much of a posting is booked, with its sign."""
    units = sum(booked.get(one, 0) for one in posting.ids)
    return units if posting.units >= 0 else -units


async def _reversed_items(ledger: Ledger, side: ChainSide, timestamp: int) -> list[ReconciliationItem]:
    """What the ledger still holds of deposits that the chain took back."""
    items = []
    for row in side.reversed:
        credited = await _transfers_by(ledger, all_ids(row.id), timestamp)
        undone = [correction_transfer_id(one.id).int for one in credited]
        undone += [receivable_transfer_id(one.id).int for one in credited]
        corrections = await _transfers_by(ledger, undone, timestamp)
        left = sum(one.amount for one in credited) - sum(one.amount for one in corrections)
        if left:
            units = -side.token.units_of(left)
            items.append(ReconciliationItem(ItemKind.DEPOSIT_REVERSED, row.id, units))
    return items


async def _lost_items(ledger: Ledger, side: ChainSide, timestamp: int) -> list[ReconciliationItem]:
    """Payments that the ledger has posted and not given back, and that the chain took back."""
    lost = {one.order_id: int(one.units) for one in side.lost if one.order_id is not None}
    ids = [
        of(one).int
        for one in lost
        for of in (settlement_transfer_id, lost_transfer_id, lost_suspense_transfer_id)
    ]
    booked = {transfer.id for transfer in await _transfers_by(ledger, ids, timestamp)}
    return [
        ReconciliationItem(ItemKind.WITHDRAWAL_LOST, one, units)
        for one, units in lost.items()
        if settlement_transfer_id(one).int in booked
        # Given back a moment ago, and not noted yet.
        and not {lost_transfer_id(one).int, lost_suspense_transfer_id(one).int} & booked
    ]


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
                hot_units=result.places.hot if result.places is not None else None,
                deposit_units=result.places.deposit if result.places is not None else None,
                cold_units=result.places.cold if result.places is not None else None,
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
        _places(row),
    )


def _places(row: TreasuryReconciliation) -> UnitsByPlace | None:
    if row.hot_units is None or row.deposit_units is None or row.cold_units is None:
        return None
    return UnitsByPlace(int(row.hot_units), int(row.deposit_units), int(row.cold_units))


_AHEAD = {
    ItemKind.DEPOSIT_UNBOOKED: ItemKind.DEPOSIT_AHEAD,
    ItemKind.WITHDRAWAL_UNPOSTED: ItemKind.WITHDRAWAL_AHEAD,
}
"""The same movement, seen from the other side."""
