"""Lost payments: withdrawals that were paid in a final block which the chain took back.

Such a payment stays posted, since its signed bytes are valid for ever: it is given to the
node again until a block has it, and every reconciliation names it. But the new chain may
refuse it, for the tokens that it paid with may be gone. Then its nonce is used, it can
never pay, and nobody was paid: amount and fee go back to the wallet. Without that, custody
in the ledger would stay below what the same chain took back of deposits, and these could
not be corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import select, update

from chain.finality import send_lost_again
from chain.order_status import OrderState
from chain.rpc import RPC
from chain.sender import Sender
from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from treasury.custody import Custody
from treasury.models import TreasuryDeparture, TreasuryLostDeparture, TreasuryWithdrawal
from treasury.payout_batches import has_left_nothing
from treasury.reversals import unhandled_breaks
from treasury.withdrawal_transfers import (
    chain_status,
    lost_fee_transfer_id,
    lost_suspense_transfer_id,
    lost_transfer_id,
    settlement_transfer_id,
)
from treasury.young_funds import give_room_back

logger = structlog.get_logger()

_DONE = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_WALLET_UNUSABLE = frozenset(
    {
        CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED,
        # It failed in one of these two ways before, and the process died before suspense.
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class LostPaymentsReport:
    """What one step did."""

    returned: int = 0
    """Payments that can never be made, given back."""
    waiting: int = 0
    """Payments that may still be mined again."""


async def tend_lost_payments(
    database: Database, ledger: Ledger, rpc: RPC, clock: Clock, custody: Custody, sender: Sender
) -> LostPaymentsReport:
    """Send again what is lost and may be mined, give back what never can be. Safe to repeat.

    Raises the RPC's and the ledger's errors.
    """
    returned = waiting = 0
    for row, token in await _lost(database, custody):
        if not await _can_never_be_made(database, custody, sender, row, token):
            waiting += 1
            continue
        await _give_back(ledger, row)
        await give_room_back(ledger, row)
        # Dies here: given back; the next step does the same and notes it.
        async with database.session() as session:
            await session.execute(
                update(TreasuryLostDeparture)
                .where(TreasuryLostDeparture.order_id == row.id)
                .values(returned_at=clock.now())
            )
        logger.critical("a lost payment was given back", withdrawal_id=str(row.id), amount=row.amount)
        returned += 1
    if waiting:
        await send_lost_again(database, rpc)
    return LostPaymentsReport(returned, waiting)


async def _lost(database: Database, custody: Custody) -> Sequence[tuple[TreasuryWithdrawal, str]]:
    lost, again = TreasuryLostDeparture, select(TreasuryDeparture.order_id)
    async with database.session() as session:
        # Until a break's departures are all out of their table, nobody knows what is lost.
        if await unhandled_breaks(session, custody.chain_id):
            return []
        rows = await session.execute(
            select(TreasuryWithdrawal, lost.token)
            .join(lost, lost.order_id == TreasuryWithdrawal.id)
            .where(
                lost.chain_id == custody.chain_id,
                lost.returned_at.is_(None),
                lost.order_id.not_in(again.where(TreasuryDeparture.order_id.is_not(None))),
            )
            .order_by(TreasuryWithdrawal.id)
        )
        return list({row.TreasuryWithdrawal.id: (row.TreasuryWithdrawal, row.token) for row in rows}.values())


async def _can_never_be_made(
    database: Database, custody: Custody, sender: Sender, row: TreasuryWithdrawal, token: str
) -> bool:
    """Whether its nonce is finally used without paying it, and our own books say the same."""
    status = await sender.status(row.id)
    if not status.state.never_pays:
        return False
    if status.state is OrderState.DISPLACED:
        return True
    async with database.session() as session:
        return await has_left_nothing(session, custody, token=token, order_id=row.id, sent=status)


async def _give_back(ledger: Ledger, row: TreasuryWithdrawal) -> None:
    """Amount and fee back to the wallet, or to suspense where the wallet takes nothing any more.

    The fee comes back as far as the bank still has fees: it may have borne a debt with it.
    """
    asset = asset_by_code(row.asset)
    suspense = system_account_id(AccountCode.SUSPENSE, asset)
    for transfer_id, account in (
        (lost_transfer_id(row.id), wallet_account_id(row.wallet_id, asset)),
        (lost_suspense_transfer_id(row.id), suspense),
    ):
        status = chain_status(await ledger.create_transfers(_chain(row, transfer_id, account)))
        if status in _DONE:
            return
        if status not in _WALLET_UNUSABLE or account == suspense:
            raise InvariantViolation(f"giving back lost payment {row.id}: {status.name}")


def _chain(row: TreasuryWithdrawal, transfer_id: UUID, account: int) -> list[Transfer]:
    asset = asset_by_code(row.asset)
    amount = Transfer(
        id=transfer_id.int,
        debit_account_id=system_account_id(AccountCode.CUSTODY, asset),
        credit_account_id=account,
        amount=row.amount,
        user_data_128=settlement_transfer_id(row.id).int,
        ledger=asset.ledger,
        code=int(TransferCode.CORRECTION),
    )
    if not row.fee:
        return [amount]
    amount.flags = int(TransferFlags.LINKED)
    fee = Transfer(
        id=lost_fee_transfer_id(transfer_id).int,
        debit_account_id=system_account_id(AccountCode.FEES, asset),
        credit_account_id=account,
        amount=row.fee,
        user_data_128=transfer_id.int,
        ledger=asset.ledger,
        code=int(TransferCode.CORRECTION),
        flags=int(TransferFlags.BALANCING_DEBIT),
    )
    return [amount, fee]
