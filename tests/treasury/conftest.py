"""A treasury on a real chain, a real ledger and a real signer, and what tests do around it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chain.follower import FollowerConfig, FollowReport, follow_to_head
from chain.rpc import RPC
from chain.sender import Sender
from chain.signer_client import SignerClient
from foundation.assets import USDT, Asset, asset_by_code
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import (
    AccountCode,
    new_account,
    open_accounts,
    open_system_accounts,
    system_account_id,
    wallet_account_id,
)
from ledger.contract import Account
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import Anvil, running_anvil
from tests.fixtures.contracts import ContractsOnChain, running_signer
from tests.ledger.invariants import check_journal
from treasury.custody import Custody, custody_of
from treasury.deposit_addresses import deposit_address
from treasury.deposits import BookingReport, book_deposits
from treasury.payouts import PayoutReport, advance_withdrawals
from treasury.reconciliation import Reconciliation, reconcile
from treasury.sweeps import SweepReport, sweep_deposits
from treasury.withdrawals import Withdrawal, request_withdrawal

OUTSIDE = "0x00000000000000000000000000000000000c0ffe"
"""Somebody's own address, none of ours."""


@dataclass
class Treasury:
    """All that the use cases take, and short names for using them."""

    database: Database
    ledger: LedgerEngine
    rpc: RPC
    clock: SettableClock
    contracts: ContractsOnChain
    custody: Custody
    sender: Sender
    check: RPC | None = None
    """A second endpoint, which must agree to what is final."""
    amounts_min: dict[str, int] = field(default_factory=dict)

    async def wallet(self) -> UUID:
        """A wallet with its accounts in USDT and DMMK."""
        wallet_id = uuid7(self.clock)
        await open_accounts(
            self.ledger,
            [
                new_account(wallet_account_id(wallet_id, asset), AccountCode.WALLET, asset, owner=wallet_id)
                for asset in map(asset_by_code, ("USDT", "DMMK"))
            ],
        )
        return wallet_id

    async def address(self, wallet_id: UUID, asset: Asset = USDT) -> str:
        """The wallet's deposit address in lower case."""
        given = await deposit_address(
            self.database, self.clock, self.custody, wallet_id=wallet_id, asset=asset
        )
        return given.address.lower()

    async def follow(self) -> FollowReport:
        config = FollowerConfig(self.custody.chain_id, tuple(token.address for token in self.custody.tokens))
        return await follow_to_head(self.database, self.rpc, config, self.clock, check=self.check)

    async def book(self) -> BookingReport:
        return await book_deposits(self.database, self.ledger, self.clock, self.custody)

    async def advance(self) -> PayoutReport:
        return await advance_withdrawals(
            self.database, self.ledger, self.rpc, self.clock, self.custody, self.sender
        )

    async def sweep(self) -> SweepReport:
        return await sweep_deposits(
            self.database, self.rpc, self.clock, self.custody, self.sender, amounts_min=self.amounts_min
        )

    async def reconcile(self) -> list[Reconciliation]:
        return await reconcile(self.database, self.ledger, self.rpc, self.clock, self.custody)

    async def finalize(self) -> None:
        """Mine until what is in the head's block is final, follow, and book."""
        self.contracts.node.mine(3)
        await self.follow()
        await self.book()

    async def fund(self, wallet_id: UUID, text: str, asset: Asset = USDT) -> None:
        """A deposit through the chain, credited and swept."""
        token = self.custody.token_of(asset)
        units = token.units_of(Money.parse(text, asset).minor)
        await self.contracts.mint(await self.address(wallet_id), units, asset=asset.code)
        await self.finalize()

    async def balance(self, wallet_id: UUID, asset: Asset = USDT) -> str:
        """What the wallet can spend, as text."""
        return Money(await self.minor(wallet_id, asset), asset).format()

    async def minor(self, wallet_id: UUID, asset: Asset = USDT) -> int:
        """What the wallet can spend, in minor units."""
        (account,) = await self.ledger.lookup_accounts([wallet_account_id(wallet_id, asset)])
        return account.credits_posted - account.debits_posted - account.debits_pending

    async def system(self, code: AccountCode, asset: Asset = USDT) -> Account:
        (account,) = await self.ledger.lookup_accounts([system_account_id(code, asset)])
        return account

    async def held(self, code: AccountCode, asset: Asset = USDT) -> str:
        """The credit balance of one of the asset's own accounts; the debit balance of custody."""
        account = await self.system(code, asset)
        balance = account.credits_posted - account.debits_posted
        return Money(-balance if code is AccountCode.CUSTODY else balance, asset).format()

    async def request(self, wallet_id: UUID, text: str, asset: Asset = USDT, **fields: Any) -> Withdrawal:
        fields = {"withdrawal_id": uuid7(self.clock), "to_address": OUTSIDE, **fields}
        return await request_withdrawal(
            self.database,
            self.ledger,
            self.clock,
            self.custody,
            wallet_id=wallet_id,
            amount=Money.parse(text, asset),
            **fields,
        )

    async def assert_books_agree(self) -> None:
        """A reconciliation at a new final block explains every unit."""
        await self.finalize()
        results = await self.reconcile()
        assert {result.asset.code for result in results} == {"USDT", "DMMK"}
        assert all(result.agrees for result in results), results


@pytest.fixture
def anvil(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Anvil]:
    """The test's node; an indirect parameter says how many slots an epoch has."""
    with running_anvil(tmp_path / "anvil.log", epoch_slots=getattr(request, "param", 1)) as node:
        yield node


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def ledger(database_url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(engine)
    yield engine
    await engine.close()
    check_journal(database_url)


@pytest.fixture
async def signer(
    contracts: ContractsOnChain, database: Database, clock: SettableClock
) -> AsyncIterator[SignerClient]:
    async with running_signer(contracts, database, clock) as client:
        yield client


@pytest.fixture
async def treasury(
    database: Database,
    ledger: LedgerEngine,
    clock: SettableClock,
    contracts: ContractsOnChain,
    signer: SignerClient,
) -> AsyncIterator[Treasury]:
    async with treasury_of(database, ledger, clock, contracts, signer) as treasury:
        yield treasury


@asynccontextmanager
async def treasury_of(
    database: Database,
    ledger: LedgerEngine,
    clock: SettableClock,
    contracts: ContractsOnChain,
    signer: SignerClient,
) -> AsyncIterator[Treasury]:
    rpc = RPC(contracts.node.url)
    sender = Sender(database=database, rpc=rpc, signer=signer, clock=clock, deployment=contracts.deployment)
    custody = custody_of(contracts.deployment, hot_addresses=[contracts.signer_key.address])
    yield Treasury(database, ledger, rpc, clock, contracts, custody, sender)
    await rpc.close()
