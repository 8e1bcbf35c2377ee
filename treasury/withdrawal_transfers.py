"""The transfers of a withdrawal: held, then settled or returned; each set is one chain.

A withdrawal resolves exactly once, because a pending transfer does: its amount and
its fee are held together, and posted or voided together. All their ids are derived
from the withdrawal's, so that any process that repeats a step repeats the same
transfers, and so that nothing a client can name is ever taken for a hold: a
payment's id is the client's own, and would otherwise stand for money that nobody
set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from uuid import UUID

from foundation.assets import asset_by_code
from foundation.errors import InvariantViolation
from foundation.ids import derive_id
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import AMOUNT_MAX, CreateTransferResult, CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from treasury.models import TreasuryWithdrawal

_POST = TransferFlags.POST_PENDING_TRANSFER
_VOID = TransferFlags.VOID_PENDING_TRANSFER

_EXCEEDS_BALANCE = frozenset(
    {
        CreateTransferStatus.EXCEEDS_CREDITS,
        # An amount near the end of 64 bits overflows the account's counters before
        # the balance is looked at; nobody has that much.
        CreateTransferStatus.OVERFLOWS_DEBITS_PENDING,
        CreateTransferStatus.OVERFLOWS_CREDITS_PENDING,
        CreateTransferStatus.OVERFLOWS_DEBITS_POSTED,
        CreateTransferStatus.OVERFLOWS_CREDITS_POSTED,
        CreateTransferStatus.OVERFLOWS_DEBITS,
        CreateTransferStatus.OVERFLOWS_CREDITS,
    }
)
_WALLET_UNUSABLE = frozenset(
    {CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND, CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED}
)


class HoldOutcome(Enum):
    """What the ledger said to holding a withdrawal's money."""

    HELD = "held"
    """The money is set aside, now or since an earlier try."""
    EXCEEDS_BALANCE = "exceeds_balance"
    """The wallet has not that much."""
    WALLET_UNUSABLE = "wallet_unusable"
    """The wallet's account is closed or missing."""
    ALREADY_FAILED = "already_failed"
    """An earlier try failed; the id is burned."""


def hold_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the pending transfer that holds the amount; it is there once the money is set aside."""
    return derive_id("withdrawal-hold", withdrawal)


def fee_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the pending transfer that holds the fee."""
    return derive_id("withdrawal-fee", withdrawal)


def settlement_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the transfer that takes the paid amount out of custody; it is there once paid."""
    return derive_id("withdrawal-settled", withdrawal)


def void_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the transfer that gives the amount back; it is there once returned."""
    return derive_id("withdrawal-void", withdrawal)


def lost_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the transfer that gives back a payment which the chain took back and can never make."""
    return derive_id("withdrawal-lost", withdrawal)


def lost_suspense_transfer_id(withdrawal: UUID) -> UUID:
    """Id of the same into suspense, where the wallet takes nothing any more."""
    return derive_id("withdrawal-lost-suspense", withdrawal)


def lost_fee_transfer_id(transfer_id: UUID) -> UUID:
    """Id of the transfer that gives the fee back beside either."""
    return derive_id("withdrawal-lost-fee", transfer_id)


async def hold_withdrawal(ledger: Ledger, withdrawal: TreasuryWithdrawal) -> HoldOutcome:
    """Set amount and fee aside, both or neither; safe to repeat."""
    status = chain_status(await ledger.create_transfers(_hold(withdrawal)))
    if status in {CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS}:
        return HoldOutcome.HELD
    if status in _EXCEEDS_BALANCE:
        return HoldOutcome.EXCEEDS_BALANCE
    if status in _WALLET_UNUSABLE:
        return HoldOutcome.WALLET_UNUSABLE
    if status is CreateTransferStatus.ID_ALREADY_FAILED:
        return HoldOutcome.ALREADY_FAILED
    raise InvariantViolation(f"holding withdrawal {withdrawal.id}: {status.name}")


async def settle_withdrawal(ledger: Ledger, withdrawal: TreasuryWithdrawal) -> None:
    """The money has left: post amount and fee, and take the amount out of custody.

    Safe to repeat. Anything but success is a broken law: paid on chain, and the
    ledger will not have it.
    """
    _expect_done(withdrawal, "settling", await ledger.create_transfers(_settlement(withdrawal)))


async def return_withdrawal(ledger: Ledger, withdrawal: TreasuryWithdrawal) -> None:
    """The money can never leave: void amount and fee. Safe to repeat."""
    _expect_done(withdrawal, "returning", await ledger.create_transfers(_return(withdrawal)))


def _hold(withdrawal: TreasuryWithdrawal) -> list[Transfer]:
    asset = asset_by_code(withdrawal.asset)
    wallet = wallet_account_id(withdrawal.wallet_id, asset)
    transfers = [
        Transfer(
            id=hold_transfer_id(withdrawal.id).int,
            debit_account_id=wallet,
            credit_account_id=system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, asset),
            amount=withdrawal.amount,
            user_data_128=withdrawal.id.int,
            ledger=asset.ledger,
            code=int(TransferCode.WITHDRAWAL),
            flags=int(TransferFlags.PENDING),
        )
    ]
    if withdrawal.fee:
        transfers.append(
            Transfer(
                id=fee_transfer_id(withdrawal.id).int,
                debit_account_id=wallet,
                credit_account_id=system_account_id(AccountCode.FEES, asset),
                amount=withdrawal.fee,
                user_data_128=withdrawal.id.int,
                ledger=asset.ledger,
                code=int(TransferCode.WITHDRAWAL_FEE),
                flags=int(TransferFlags.PENDING),
            )
        )
    return _linked(transfers)


def _settlement(withdrawal: TreasuryWithdrawal) -> list[Transfer]:
    asset = asset_by_code(withdrawal.asset)
    transfers = [
        _resolution("withdrawal-post", withdrawal.id, hold_transfer_id(withdrawal.id), _POST, AMOUNT_MAX)
    ]
    if withdrawal.fee:
        fee = fee_transfer_id(withdrawal.id)
        transfers.append(_resolution("withdrawal-fee-post", withdrawal.id, fee, _POST, AMOUNT_MAX))
    transfers.append(
        Transfer(
            id=settlement_transfer_id(withdrawal.id).int,
            debit_account_id=system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, asset),
            credit_account_id=system_account_id(AccountCode.CUSTODY, asset),
            amount=withdrawal.amount,
            user_data_128=withdrawal.id.int,
            ledger=asset.ledger,
            code=int(TransferCode.WITHDRAWAL_SETTLED),
        )
    )
    return _linked(transfers)


def _return(withdrawal: TreasuryWithdrawal) -> list[Transfer]:
    transfers = [_resolution("withdrawal-void", withdrawal.id, hold_transfer_id(withdrawal.id), _VOID, 0)]
    if withdrawal.fee:
        fee = fee_transfer_id(withdrawal.id)
        transfers.append(_resolution("withdrawal-fee-void", withdrawal.id, fee, _VOID, 0))
    return _linked(transfers)


def _resolution(domain: str, withdrawal: UUID, pending: UUID, flag: TransferFlags, amount: int) -> Transfer:
    return Transfer(
        id=derive_id(domain, withdrawal).int, pending_id=pending.int, amount=amount, flags=int(flag)
    )


def _linked(transfers: list[Transfer]) -> list[Transfer]:
    for transfer in transfers[:-1]:
        transfer.flags |= int(TransferFlags.LINKED)
    return transfers


def chain_status(results: Sequence[CreateTransferResult]) -> CreateTransferStatus:
    """What became of a chain: the one status that is not just the others' failure.

    A chain that was made before answers ``exists`` to its first member, which breaks
    the repetition; since a chain is made whole or not at all, it exists whole.
    """
    telling = [
        result.status for result in results if result.status is not CreateTransferStatus.LINKED_EVENT_FAILED
    ]
    assert telling, "a broken chain names the member that broke it"
    return telling[0]


def _expect_done(withdrawal: TreasuryWithdrawal, doing: str, results: Sequence[CreateTransferResult]) -> None:
    status = chain_status(results)
    if status not in {CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS}:
        raise InvariantViolation(f"{doing} withdrawal {withdrawal.id}: {status.name}")
