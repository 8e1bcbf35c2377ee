"""What tests do around debts: a deposit that is spent and taken back, and those who pay on it."""

from collections.abc import Awaitable
from uuid import UUID

import pytest

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, QueryFilter, Transfer
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import Treasury
from tests.treasury.test_broken_finality import credited, pay, take_back
from treasury.debt_payments import settle_debt, write_off_debt
from treasury.debts import Debt, DebtPayment, list_debts
from treasury.errors import TreasuryCode

OFFICERS = ("may", "hla")


async def appoint_two(treasury: Treasury) -> None:
    for name in OFFICERS:
        await OfficerDevice(name).enrol(treasury.database, treasury.clock)


async def spent_and_gone(treasury: Treasury, units: int, spent: int) -> tuple[UUID, UUID, str]:
    """A deposit of which ``spent`` was paid on, then taken back: debtor, payee, and the raw tx."""
    wallet_id, raw = await credited(treasury, units)
    payee = await treasury.wallet()
    await pay(treasury, wallet_id, payee, spent)
    await take_back(treasury, depth=8)
    return wallet_id, payee, raw


async def earn(treasury: Treasury, payer: UUID, amount: int) -> None:
    """Fees that the bank has earned."""
    fees = system_account_id(AccountCode.FEES, USDT)
    (result,) = await treasury.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(treasury.clock).int,
                debit_account_id=wallet_account_id(payer, USDT),
                credit_account_id=fees,
                amount=amount,
                ledger=USDT.ledger,
                code=int(TransferCode.PAYMENT_FEE),
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED


async def settled(
    treasury: Treasury, deposit_id: UUID, amount: int, payment_id: UUID | None = None
) -> DebtPayment:
    return await settle_debt(
        treasury.database,
        treasury.ledger,
        treasury.clock,
        payment_id=payment_id or uuid7(treasury.clock),
        deposit_id=deposit_id,
        amount=Money(amount, USDT),
    )


async def written_off(
    treasury: Treasury, deposit_id: UUID, amount: int, payment_id: UUID | None = None
) -> DebtPayment:
    return await write_off_debt(
        treasury.database,
        treasury.ledger,
        treasury.clock,
        payment_id=payment_id or uuid7(treasury.clock),
        deposit_id=deposit_id,
        amount=Money(amount, USDT),
        decided_by=OFFICERS,
        reason="the chain broke",
    )


async def debts(treasury: Treasury) -> list[Debt]:
    return await list_debts(treasury.database, treasury.ledger, treasury.custody)


async def the_debt(treasury: Treasury) -> Debt:
    (debt,) = await debts(treasury)
    return debt


async def fees(treasury: Treasury) -> int:
    account = await treasury.system(AccountCode.FEES)
    return account.credits_posted - account.debits_posted


async def assert_debts_are_receivable(treasury: Treasury) -> None:
    """The debts, their accounts and the two accounts of all of them say the same sum."""
    account = await treasury.system(AccountCode.RECEIVABLE)
    owed = account.debits_posted - account.credits_posted
    both = await treasury.system(AccountCode.DEBTS)
    assert both.credits_posted - both.debits_posted == owed
    single = await treasury.ledger.query_accounts(QueryFilter(code=int(AccountCode.DEBT), limit=1000))
    assert sum(one.debits_posted - one.credits_posted for one in single) == owed
    assert sum(one.owed.minor for one in await debts(treasury)) == owed
    assert all(one.owed.minor >= 0 for one in await debts(treasury))


async def refused(code: TreasuryCode, call: Awaitable[object]) -> None:
    with pytest.raises(Refusal) as refusal:
        await call
    assert refusal.value.code is code
