"""Deposit transfers: what a deposit is in the ledger, and what undoes it.

Every id is derived from the deposit's, so each transfer is made once, whoever makes it
and however often. A correction undoes one transfer: it takes back what its account
still has, and what is missing becomes owed to the bank (``RECEIVABLE``), so that no
limited account goes below zero and custody falls by exactly what is gone.
"""

from __future__ import annotations

from uuid import UUID

from foundation.assets import asset_by_code
from foundation.ids import derive_id
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import Transfer, TransferFlags
from treasury.models import TreasuryDeposit, TreasuryReversedDeposit

AnyDeposit = TreasuryDeposit | TreasuryReversedDeposit
"""A deposit, or what stands in its place when it was taken back."""


def suspense_transfer_id(deposit: UUID) -> UUID:
    """Id of the transfer that puts a deposit into suspense after its owner's account refused it."""
    return derive_id("deposit-suspense", deposit)


def dust_transfer_id(deposit: UUID) -> UUID:
    """Id of the transfer that books the minor units which a deposit's dust completed."""
    return derive_id("deposit-dust", deposit)


def repayment_transfer_id(deposit: UUID) -> UUID:
    """Id of the transfer by which a deposit, mined again, first pays what its first time left owed."""
    return derive_id("deposit-repayment", deposit)


def fees_refund_transfer_id(deposit: UUID) -> UUID:
    """Id of the transfer by which a deposit, mined again, gives the fees back what they bore for it."""
    return derive_id("deposit-fees-refund", deposit)


def correction_transfer_id(transfer_id: int) -> UUID:
    """Id of the transfer that takes back what the account credited by ``transfer_id`` still has."""
    return derive_id("deposit-correction", UUID(int=transfer_id))


def receivable_transfer_id(transfer_id: int) -> UUID:
    """Id of the transfer that makes the rest of ``transfer_id`` owed to the bank."""
    return derive_id("deposit-receivable", UUID(int=transfer_id))


def credited_ids(deposit: UUID) -> tuple[int, ...]:
    """Ids of the transfers that may bring a deposit's whole minor units out of custody."""
    return (
        deposit.int,
        suspense_transfer_id(deposit).int,
        repayment_transfer_id(deposit).int,
        fees_refund_transfer_id(deposit).int,
    )


def all_ids(deposit: UUID) -> tuple[int, ...]:
    """The same, and that of its dust."""
    return *credited_ids(deposit), dust_transfer_id(deposit).int


def credit_of(deposit: AnyDeposit, repaid: int = 0) -> Transfer:
    """To its owner, or to suspense where it has none, less what its earlier times had ``repaid``."""
    asset = asset_by_code(deposit.asset)
    owner = deposit.wallet_id
    account = wallet_account_id(owner, asset) if owner else system_account_id(AccountCode.SUSPENSE, asset)
    return _from_custody(deposit, deposit.id, account, int(deposit.amount) - repaid)


def suspense_of(deposit: AnyDeposit, repaid: int = 0) -> Transfer:
    """To suspense, after its owner's account refused it."""
    account = system_account_id(AccountCode.SUSPENSE, asset_by_code(deposit.asset))
    return _from_custody(deposit, suspense_transfer_id(deposit.id), account, int(deposit.amount) - repaid)


def repayment_of(deposit: AnyDeposit, amount: int) -> Transfer:
    """Pays so much of what is owed."""
    account = system_account_id(AccountCode.RECEIVABLE, asset_by_code(deposit.asset))
    return _from_custody(deposit, repayment_transfer_id(deposit.id), account, amount)


def fees_refund_of(deposit: AnyDeposit, amount: int) -> Transfer:
    """Gives the fees back what was written off."""
    account = system_account_id(AccountCode.FEES, asset_by_code(deposit.asset))
    return _from_custody(deposit, fees_refund_transfer_id(deposit.id), account, amount)


def dust_of(deposit: AnyDeposit) -> Transfer:
    """The minor units that the dust so far has made with this deposit's."""
    account = system_account_id(AccountCode.DUST, asset_by_code(deposit.asset))
    return _from_custody(deposit, dust_transfer_id(deposit.id), account, deposit.dust_amount)


def _from_custody(deposit: AnyDeposit, transfer_id: UUID, account: int, amount: int) -> Transfer:
    asset = asset_by_code(deposit.asset)
    return Transfer(
        id=transfer_id.int,
        debit_account_id=system_account_id(AccountCode.CUSTODY, asset),
        credit_account_id=account,
        amount=amount,
        # Leads from the journal to the chain: half of the tx hash, block, log.
        user_data_128=int(deposit.tx_hash[2:34], 16),
        user_data_64=deposit.block_number,
        user_data_32=deposit.log_index,
        ledger=asset.ledger,
        code=int(TransferCode.DEPOSIT),
    )


def correction_of(credit: Transfer) -> Transfer:
    """Takes back what the credited account still has of ``credit``: at most all of it, at least nothing."""
    return Transfer(
        id=correction_transfer_id(credit.id).int,
        debit_account_id=credit.credit_account_id,
        credit_account_id=credit.debit_account_id,
        amount=credit.amount,
        user_data_128=credit.id,
        user_data_64=credit.user_data_64,
        user_data_32=credit.user_data_32,
        ledger=credit.ledger,
        code=int(TransferCode.CORRECTION),
        flags=int(TransferFlags.BALANCING_DEBIT),
    )


def receivable_of(deposit: AnyDeposit, credit: Transfer, amount: int) -> Transfer:
    """What is missing of ``credit`` is owed to the bank from now on."""
    return Transfer(
        id=receivable_transfer_id(credit.id).int,
        debit_account_id=system_account_id(AccountCode.RECEIVABLE, asset_by_code(deposit.asset)),
        credit_account_id=credit.debit_account_id,
        amount=amount,
        user_data_128=credit.id,
        user_data_64=credit.user_data_64,
        user_data_32=credit.user_data_32,
        ledger=credit.ledger,
        code=int(TransferCode.CORRECTION),
    )
