"""Corrections: the ledger's half of a reversal, once for each deposit that was taken back.

Each transfer that credited the deposit gets a correction: what its account still has
goes back to custody, and what was spent already becomes owed to the bank. The deposit
counts as corrected when the ledger has all of it. Every id is derived, so a process
killed between two transfers, or between the last one and the note, does the same again
and the ledger says that it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import select, update

from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation
from ledger.chart import AccountCode, system_account_id
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from treasury.custody import Custody
from treasury.deposit_transfers import (
    all_ids,
    correction_of,
    correction_transfer_id,
    credit_of,
    credited_ids,
    receivable_of,
    receivable_transfer_id,
    suspense_of,
)
from treasury.models import CaseKind, TreasuryReversedDeposit
from treasury.repayments import open_debt, origins_of, repay

logger = structlog.get_logger()

CORRECTED_PER_STEP = 500
"""Reversed deposits read at once."""

_DONE = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_NOTHING_TAKEN = frozenset(
    {
        # A closed account gives nothing back, and the id failed in that way before.
        CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)


async def correct_reversed(database: Database, ledger: Ledger, clock: Clock, custody: Custody) -> int:
    """Undo in the ledger what was reversed and is not corrected yet; how many deposits."""
    done = 0
    after: tuple[int, UUID] = (-1, UUID(int=0))
    while rows := await _uncorrected(database, custody, after):
        for row in rows:
            after = row.block_number, row.id
            if await _correct(database, ledger, row):
                async with database.session() as session:
                    await session.execute(
                        update(TreasuryReversedDeposit)
                        .where(TreasuryReversedDeposit.id == row.id)
                        .values(corrected_at=clock.now())
                    )
                done += 1
    return done


async def _uncorrected(
    database: Database, custody: Custody, after: tuple[int, UUID]
) -> Sequence[TreasuryReversedDeposit]:
    row = TreasuryReversedDeposit
    async with database.session() as session:
        found = await session.scalars(
            select(row)
            .where(
                row.chain_id == custody.chain_id,
                row.corrected_at.is_(None),
                (row.block_number > after[0]) | ((row.block_number == after[0]) & (row.id > after[1])),
            )
            .order_by(row.block_number, row.id)
            .limit(CORRECTED_PER_STEP)
        )
        return found.all()


async def _correct(database: Database, ledger: Ledger, row: TreasuryReversedDeposit) -> bool:
    """Undo one deposit; false if it must wait.

    It waits for its own earlier times, since what they leave owed passes on to it, and
    where the ledger's custody holds too little, which a person must see.
    """
    origins = await origins_of(database, row.again_of)
    if not origins.are_corrected:
        return False
    credited = await ledger.lookup_transfers(all_ids(row.id))
    if row.case_kind != CaseKind.BEYOND_LEDGER and _credited(row, credited) < row.amount:
        # It was written down and not credited, or not all of it. A process that has lost
        # its lock may be about to: so it is credited and taken back in one, and that
        # process finds its ids used.
        await _credit_and_undo(ledger, row, await repay(ledger, row, origins))
        credited = await ledger.lookup_transfers(all_ids(row.id))
    asset = asset_by_code(row.asset)
    for credit in credited:
        undone = (correction_transfer_id(credit.id).int, receivable_transfer_id(credit.id).int)
        left = credit.amount - sum(one.amount for one in await ledger.lookup_transfers(undone))
        if left > await _custody_free(ledger, asset):
            logger.critical("custody holds less than what was reversed", deposit=str(row.id), amount=left)
            return False
        if left:
            await _undo(ledger, row, credit)
    # The deposit counts as corrected after this only, and nobody pays on it before.
    await open_debt(ledger, row)
    return True


def _credited(row: TreasuryReversedDeposit, transfers: Sequence[Transfer]) -> int:
    ids = credited_ids(row.id)
    return sum(transfer.amount for transfer in transfers if transfer.id in ids)


async def _credit_and_undo(ledger: Ledger, row: TreasuryReversedDeposit, repaid: int) -> None:
    if row.amount == repaid:
        return
    for credit in (credit_of(row, repaid), suspense_of(row, repaid)):
        credit.flags |= int(TransferFlags.LINKED)
        results = await ledger.create_transfers([credit, correction_of(credit)])
        if {result.status for result in results} <= _DONE:
            return
        # Meanwhile credited by somebody else after all.
        if _credited(row, await ledger.lookup_transfers(credited_ids(row.id))) == row.amount:
            return
    raise InvariantViolation(f"deposit {row.id} can be neither credited nor undone: {results}")


async def _custody_free(ledger: Ledger, asset: Asset) -> int:
    (account,) = await ledger.lookup_accounts([system_account_id(AccountCode.CUSTODY, asset)])
    return account.debits_posted - account.credits_posted - account.credits_pending


async def _undo(ledger: Ledger, row: TreasuryReversedDeposit, credit: Transfer) -> None:
    """Take back what the account still has; the rest is owed.

    If we die between the two, the first is found with the amount that it took, and the
    second is for the same rest.
    """
    correction = correction_of(credit)
    (result,) = await ledger.create_transfers([correction])
    if result.status in _DONE:
        (stored,) = await ledger.lookup_transfers([correction.id])
        taken = stored.amount
    elif result.status in _NOTHING_TAKEN:
        taken = 0
    else:
        raise InvariantViolation(f"correction of {UUID(int=credit.id)}: {result.status.name}")
    if taken < credit.amount:
        receivable = receivable_of(row, credit, credit.amount - taken)
        (result,) = await ledger.create_transfers([receivable])
        if result.status not in _DONE:
            raise InvariantViolation(f"receivable of {UUID(int=credit.id)}: {result.status.name}")
        logger.critical(
            "owed to the bank", deposit=str(row.id), wallet=str(row.wallet_id), amount=receivable.amount
        )
