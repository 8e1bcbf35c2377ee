"""Debt transfers: what a reversed deposit leaves owed, counted by deposit in the ledger itself.

``RECEIVABLE`` holds what all debtors owe together, and would let one debt be paid with
another's room. So each reversed deposit that leaves anything owed has an account of its
own (``DEBT``), which may not be credited beyond its debits: a payment is a chain of two,
the money and the same amount off that account, and the ledger takes both or neither.
The other side of these accounts is ``DEBTS``, so that their sum stands beside
``RECEIVABLE``. Every id is derived.
"""

from __future__ import annotations

from uuid import UUID

from foundation.assets import Asset, asset_by_code
from foundation.ids import derive_id
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import Transfer, TransferFlags
from treasury.debt_models import DebtPaymentKind, TreasuryDebtPayment
from treasury.models import TreasuryReversedDeposit


def debt_account_id(deposit: UUID) -> int:
    """Id of the account that counts what a reversed deposit still leaves owed."""
    return derive_id("debt-account", deposit).int


def share_transfer_id(receivable_id: int) -> UUID:
    """Id of the transfer that counts a receivable in its deposit's debt."""
    return derive_id("debt-share", UUID(int=receivable_id))


def payment_transfer_id(payment: UUID) -> UUID:
    """Id of the transfer that pays on a debt; it is there once the money has moved."""
    return derive_id("debt-payment", payment)


def closing_transfer_id(again: UUID, origin: UUID) -> UUID:
    """Id of the transfer by which a deposit, mined again, takes over what ``origin`` still leaves owed."""
    return derive_id("debt-closed", again, origin)


def share_of(row: TreasuryReversedDeposit, receivable: Transfer) -> Transfer:
    """The debt grows by a receivable."""
    asset = asset_by_code(row.asset)
    return Transfer(
        id=share_transfer_id(receivable.id).int,
        debit_account_id=debt_account_id(row.id),
        credit_account_id=system_account_id(AccountCode.DEBTS, asset),
        amount=receivable.amount,
        user_data_128=receivable.id,
        ledger=asset.ledger,
        code=int(TransferCode.DEBT_SHARE),
    )


def closing_of(again: UUID, row: TreasuryReversedDeposit, amount: int) -> Transfer:
    """Takes whatever of the debt is left, at most ``amount``, at least nothing."""
    share = _less(row.id, asset_by_code(row.asset), closing_transfer_id(again, row.id), amount)
    share.user_data_128 = again.int
    share.flags = int(TransferFlags.BALANCING_CREDIT)
    return share


def payment_of(row: TreasuryReversedDeposit, payment: TreasuryDebtPayment) -> list[Transfer]:
    """The chain that pays on a debt: less is owed, and the money for it moves.

    A settlement needs ``row.wallet_id``.
    """
    asset = asset_by_code(row.asset)
    if payment.kind == DebtPaymentKind.SETTLEMENT:
        assert row.wallet_id is not None, "nobody's wallet settles nothing"
        payer, code = wallet_account_id(row.wallet_id, asset), TransferCode.DEBT_SETTLED
    else:
        payer, code = system_account_id(AccountCode.FEES, asset), TransferCode.DEBT_WRITTEN_OFF
    # The share stands first: of two reasons to refuse it gives the one about the debt.
    share = _less(row.id, asset, derive_id("debt-payment-share", payment.id), payment.amount)
    share.user_data_128 = payment.id.int
    share.flags = int(TransferFlags.LINKED)
    money = Transfer(
        id=payment_transfer_id(payment.id).int,
        debit_account_id=payer,
        credit_account_id=system_account_id(AccountCode.RECEIVABLE, asset),
        amount=payment.amount,
        user_data_128=row.id.int,
        ledger=asset.ledger,
        code=int(code),
    )
    return [share, money]


def _less(deposit: UUID, asset: Asset, transfer_id: UUID, amount: int) -> Transfer:
    return Transfer(
        id=transfer_id.int,
        debit_account_id=system_account_id(AccountCode.DEBTS, asset),
        credit_account_id=debt_account_id(deposit),
        amount=amount,
        ledger=asset.ledger,
        code=int(TransferCode.DEBT_SHARE),
    )
