"""Debts: what reversed deposits still leave owed to the bank, and what was decided about each.

A debt has no row of its own: it is the reversed deposit, the ledger's count of what it
leaves owed, and the payments that were decided. All of it is read each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select

from foundation.assets import asset_by_code
from foundation.database import Database
from foundation.money import Money
from ledger.interface import Ledger
from treasury.custody import Custody
from treasury.debt_models import DebtPaymentKind, TreasuryDebtPayment
from treasury.debt_transfers import debt_account_id, payment_transfer_id
from treasury.deposit_transfers import credited_ids, receivable_transfer_id
from treasury.models import TreasuryReversedDeposit

READ_PER_STEP = 500
"""Reversed deposits read at once."""


class DebtState(StrEnum):
    """How far a debt has got."""

    NOT_CORRECTED = "not_corrected"
    """The ledger still holds some of the deposit: how much it leaves owed is not known yet."""
    OWED = "owed"
    """Some of it is owed."""
    MINED_AGAIN = "mined_again"
    """The chain has the same deposit again, which pays what was still owed and gives back what was paid."""
    PAID = "paid"
    """All of it was settled or written off."""


class DebtPaymentState(StrEnum):
    """What became of a decision."""

    DECIDED = "decided"
    """Written down; the ledger does not have it. Asked for again with its id, it is carried out."""
    PAID = "paid"
    """The money has moved."""
    REFUSED = "refused"
    """The ledger refused it, and always will."""


@dataclass(frozen=True, slots=True)
class DebtPayment:
    """A decision to pay on a debt."""

    id: UUID
    deposit_id: UUID
    kind: DebtPaymentKind
    amount: Money
    decided_by: str
    reason: str
    decided_at: datetime
    state: DebtPaymentState
    refusal_code: str | None


@dataclass(frozen=True, slots=True)
class Debt:
    """What one reversed deposit leaves owed."""

    deposit_id: UUID
    wallet_id: UUID | None
    """Whose it was; None where it had no owner."""
    owed: Money
    """Still owed; while it is not corrected, nothing is known yet and this is 0."""
    owed_at_first: Money
    since: datetime
    state: DebtState
    payments: tuple[DebtPayment, ...]


async def list_debts(database: Database, ledger: Ledger, custody: Custody) -> list[Debt]:
    """Every reversed deposit that is not corrected, or has left anything owed; the oldest first."""
    debts: list[Debt] = []
    offset = 0
    while rows := await _reversed(database, custody, offset):
        debts += await _debts_of(database, ledger, rows)
        offset += len(rows)
    return debts


async def payment_view(ledger: Ledger, row: TreasuryDebtPayment, asset_code: str) -> DebtPayment:
    """A decision and what became of it."""
    found = await ledger.lookup_transfers([payment_transfer_id(row.id).int])
    return _payment(row, asset_code, paid={transfer.id for transfer in found})


async def _reversed(database: Database, custody: Custody, offset: int) -> Sequence[TreasuryReversedDeposit]:
    async with database.session() as session:
        found = await session.scalars(
            select(TreasuryReversedDeposit)
            .where(TreasuryReversedDeposit.chain_id == custody.chain_id)
            .order_by(TreasuryReversedDeposit.reversed_at, TreasuryReversedDeposit.id)
            .offset(offset)
            .limit(READ_PER_STEP)
        )
        return found.all()


async def _debts_of(
    database: Database, ledger: Ledger, rows: Sequence[TreasuryReversedDeposit]
) -> list[Debt]:
    async with database.session() as session:
        decided = (
            await session.scalars(
                select(TreasuryDebtPayment)
                .where(TreasuryDebtPayment.deposit_id.in_([row.id for row in rows]))
                .order_by(TreasuryDebtPayment.created_at, TreasuryDebtPayment.id)
            )
        ).all()
    found = await ledger.lookup_transfers([payment_transfer_id(one.id).int for one in decided])
    paid = {transfer.id for transfer in found}
    receivable = {receivable_transfer_id(one).int: row.id for row in rows for one in credited_ids(row.id)}
    at_first: dict[UUID, int] = {}
    for transfer in await ledger.lookup_transfers(list(receivable)):
        deposit = receivable[transfer.id]
        at_first[deposit] = at_first.get(deposit, 0) + transfer.amount
    accounts = await ledger.lookup_accounts([debt_account_id(row.id) for row in rows])
    left = {account.id: account.debits_posted - account.credits_posted for account in accounts}
    return [
        _debt(row, at_first.get(row.id, 0), left, [one for one in decided if one.deposit_id == row.id], paid)
        for row in rows
        if row.corrected_at is None or row.id in at_first
    ]


def _debt(
    row: TreasuryReversedDeposit,
    at_first: int,
    left: Mapping[int, int],
    decided: Sequence[TreasuryDebtPayment],
    paid: set[int],
) -> Debt:
    asset = asset_by_code(row.asset)
    # A debt of before debts were counted by deposit is owed in full, or was paid in full by
    # the deposit that it became again; the first payment of it opens its account.
    owed = left.get(debt_account_id(row.id), 0 if row.again_id is not None else at_first)
    if row.corrected_at is None:
        state, owed = DebtState.NOT_CORRECTED, 0
    elif owed:
        state = DebtState.OWED
    else:
        state = DebtState.PAID if row.again_id is None else DebtState.MINED_AGAIN
    return Debt(
        row.id,
        row.wallet_id,
        Money(owed, asset),
        Money(at_first, asset),
        row.reversed_at,
        state,
        tuple(_payment(one, row.asset, paid) for one in decided),
    )


def _payment(row: TreasuryDebtPayment, asset_code: str, paid: set[int]) -> DebtPayment:
    if payment_transfer_id(row.id).int in paid:
        state = DebtPaymentState.PAID
    else:
        state = DebtPaymentState.DECIDED if row.refusal_code is None else DebtPaymentState.REFUSED
    return DebtPayment(
        row.id,
        row.deposit_id,
        DebtPaymentKind(row.kind),
        Money(row.amount, asset_by_code(asset_code)),
        row.decided_by,
        row.reason,
        row.created_at,
        state,
        row.refusal_code,
    )
