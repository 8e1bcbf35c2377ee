"""Repayments: what a deposit that is mined again pays before its owner gets the rest.

The same tokens came once before, and were taken back after they were spent. Of what its
earlier times left, so much goes

    to RECEIVABLE   what is still owed,
    to the fees     what the bank has borne for it meanwhile,
    to the owner    the rest, in which is all that they have settled themselves.

First the debts are closed: one transfer takes whatever is left of each, and from then on
no payment of it can succeed. So the three parts cannot change any more, whoever counts
them, and a process killed anywhere does the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from foundation.assets import asset_by_code
from foundation.database import Database
from foundation.errors import InvariantViolation
from ledger.chart import AccountCode, new_account, open_accounts
from ledger.contract import CreateTransferStatus, Transfer
from ledger.interface import Ledger
from treasury.debt_models import DebtPaymentKind, TreasuryDebtPayment
from treasury.debt_transfers import closing_of, debt_account_id, payment_transfer_id, share_of
from treasury.deposit_transfers import (
    AnyDeposit,
    correction_transfer_id,
    credited_ids,
    fees_refund_of,
    fees_refund_transfer_id,
    receivable_transfer_id,
    repayment_of,
    repayment_transfer_id,
)
from treasury.models import TreasuryReversedDeposit

_DONE = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_PAID_OTHERWISE = frozenset({CreateTransferStatus.EXCEEDS_DEBITS, CreateTransferStatus.ID_ALREADY_FAILED})


@dataclass(frozen=True, slots=True)
class Origins:
    """The earlier times of a deposit that is mined again, the newest first, and what was borne for them."""

    rows: tuple[TreasuryReversedDeposit, ...] = ()
    write_offs: tuple[UUID, ...] = ()
    """Decisions to write off; the ledger says which were carried out."""

    @property
    def are_corrected(self) -> bool:
        """Whether the ledger has all that they leave owed."""
        return all(row.corrected_at is not None for row in self.rows)


async def origins_of(database: Database, again_of: UUID | None) -> Origins:
    """Every reversed deposit that led to one: a transfer may be taken back more than once."""
    rows: list[TreasuryReversedDeposit] = []
    async with database.session() as session:
        while again_of is not None:
            row = await session.get_one(TreasuryReversedDeposit, again_of)
            rows.append(row)
            again_of = row.again_of
        found = await session.scalars(
            select(TreasuryDebtPayment.id).where(
                TreasuryDebtPayment.deposit_id.in_([row.id for row in rows]),
                TreasuryDebtPayment.kind == DebtPaymentKind.WRITE_OFF,
            )
        )
        return Origins(tuple(rows), tuple(found))


async def open_debt(ledger: Ledger, row: TreasuryReversedDeposit) -> int:
    """Count what a reversed deposit leaves owed in an account of its own; minor units. Safe to repeat."""
    # Dust is never owed: its account gives nothing away, and so has all that is corrected.
    ids = [receivable_transfer_id(one).int for one in credited_ids(row.id)]
    receivables = await ledger.lookup_transfers(ids)
    if receivables:
        asset = asset_by_code(row.asset)
        account = new_account(debt_account_id(row.id), AccountCode.DEBT, asset, owner=row.id)
        await open_accounts(ledger, [account])
        await _make(ledger, [share_of(row, receivable) for receivable in receivables])
    return sum(receivable.amount for receivable in receivables)


async def close_debts(ledger: Ledger, again: AnyDeposit, origins: Origins) -> int:
    """Have a deposit take over what its earlier times still leave owed; how much, for ever the same."""
    taken = 0
    for newer, row in zip((again, *origins.rows), origins.rows, strict=False):
        if not await open_debt(ledger, row):
            continue
        # Where the time between has paid it in a release that did not count debts, it is not
        # owed by this one any more but by that one; in this release that is counted already.
        if newer is not again and await has_repaid(ledger, newer.id):
            await _take_over(ledger, newer.id, row, int(newer.amount))
        if (left := int(again.amount) - taken) > 0:
            taken += await _take_over(ledger, again.id, row, left)
    return taken


async def has_repaid(ledger: Ledger, deposit: UUID) -> bool:
    """Whether a deposit has paid what its earlier time left owed."""
    return bool(await ledger.lookup_transfers([repayment_transfer_id(deposit).int]))


async def _take_over(ledger: Ledger, again: UUID, row: TreasuryReversedDeposit, most: int) -> int:
    closing = closing_of(again, row, most)
    await _make(ledger, [closing])
    (stored,) = await ledger.lookup_transfers([closing.id])
    return stored.amount


async def repay(ledger: Ledger, deposit: AnyDeposit, origins: Origins) -> int:
    """Make a deposit, mined again, pay what its earlier times left; how much its owner does not get."""
    owed = await close_debts(ledger, deposit, origins)
    # Refused where somebody has paid it meanwhile by a transfer of their own; then that
    # part is its owner's, and the burned id says so for ever.
    if owed and not await _make(ledger, [repayment_of(deposit, owed)], but=_PAID_OTHERWISE):
        owed = 0
    borne = min(await _borne_by_fees(ledger, origins), int(deposit.amount) - owed)
    if borne:
        await _make(ledger, [fees_refund_of(deposit, borne)])
    return owed + borne


async def _borne_by_fees(ledger: Ledger, origins: Origins) -> int:
    """What the fees have paid for the earlier times and not got back.

    An earlier time may have given it back, and been taken back itself: then the fees
    have paid again what their correction took.
    """
    refunds = [fees_refund_transfer_id(row.id).int for row in origins.rows]
    paid = [payment_transfer_id(one).int for one in origins.write_offs]
    paid += [correction_transfer_id(one).int for one in refunds]
    return await _sum(ledger, paid) - await _sum(ledger, refunds)


async def _sum(ledger: Ledger, ids: Sequence[int]) -> int:
    return sum(transfer.amount for transfer in await ledger.lookup_transfers(ids)) if ids else 0


async def _make(
    ledger: Ledger, transfers: Sequence[Transfer], *, but: frozenset[CreateTransferStatus] = frozenset()
) -> bool:
    """Make transfers that cannot fail except as in ``but``; false if one did."""
    statuses = [result.status for result in await ledger.create_transfers(transfers)]
    for transfer, status in zip(transfers, statuses, strict=True):
        if status not in _DONE | but:
            raise InvariantViolation(f"transfer {UUID(int=transfer.id)} of a debt: {status.name}")
    return _DONE.issuperset(statuses)
