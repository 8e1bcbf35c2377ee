"""Wallets on a real ledger: opened, funded by a deposit, and checked when the test is over."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import text

from foundation.assets import Asset
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.money import Money
from identity import models as identity_models
from ledger.chart import (
    AccountCode,
    TransferCode,
    open_system_accounts,
    system_account_id,
    wallet_account_id,
)
from ledger.contract import CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal
from wallets.balances import balances
from wallets.limits import Limits
from wallets.payments import Paid, PaymentOrder, pay
from wallets.wallets import Wallet, WalletDirectory, open_wallet


@dataclass
class Bank:
    """All that a payment needs, and what tests do around one."""

    database: Database
    ledger: LedgerEngine
    clock: SettableClock
    directory: WalletDirectory
    limits: Limits

    async def person(self) -> UUID:
        person_id = uuid7(self.clock)
        async with self.database.session() as session:
            session.add(identity_models.Person(id=person_id, created_at=self.clock.now()))
        return person_id

    async def wallet(self, handle: str) -> Wallet:
        return await open_wallet(
            self.database, self.ledger, self.clock, person_id=await self.person(), handle=handle
        )

    async def fund(self, wallet: Wallet, text: str, asset: Asset) -> None:
        (result,) = await self.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(self.clock).int,
                    debit_account_id=system_account_id(AccountCode.CUSTODY, asset),
                    credit_account_id=wallet_account_id(wallet.id, asset),
                    amount=Money.parse(text, asset).minor,
                    ledger=asset.ledger,
                    code=TransferCode.DEPOSIT,
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED

    async def available(self, wallet: Wallet, asset: Asset) -> str:
        held = {balance.asset: balance for balance in await balances(self.ledger, wallet)}
        return held[asset].available.format()

    async def transfers(self) -> int:
        """How many transfers of money the journal holds; those of limits are left out."""
        async with self.database.session() as session:
            return await session.scalar(text("SELECT count(*) FROM ledger_transfer WHERE ledger < 1000")) or 0

    async def pay(self, order: PaymentOrder) -> Paid:
        return await pay(self.ledger, self.directory, self.limits, order)

    def order(self, payer: Wallet, payee: Wallet | str, text: str, asset: Asset, **more) -> PaymentOrder:
        handle = payee if isinstance(payee, str) else payee.handle
        return PaymentOrder(
            **{
                "id": uuid7(self.clock),
                "payer": payer,
                "payee_handle": handle,
                "amount": Money.parse(text, asset),
                **more,
            }
        )


@pytest.fixture
async def bank(database_url: str, clock: SettableClock) -> AsyncIterator[Bank]:
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(ledger)
    yield Bank(database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock))
    await ledger.close()
    await database.close()
    check_journal(database_url)
