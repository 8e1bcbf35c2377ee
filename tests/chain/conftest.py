"""What the tests of the chain share: a database, a node's RPC, our contracts."""

from collections.abc import AsyncIterator

import pytest

from chain.rpc import RPC
from chain.signer_client import SignerClient
from foundation.clock import SettableClock
from foundation.database import Database
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import ContractsOnChain, running_signer
from tests.fixtures.sending import Desk
from tests.fixtures.signing import Orders


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def rpc(anvil: Anvil) -> AsyncIterator[RPC]:
    client = RPC(anvil.url)
    yield client
    await client.close()


@pytest.fixture
async def signer(
    contracts: ContractsOnChain, database: Database, clock: SettableClock
) -> AsyncIterator[SignerClient]:
    async with running_signer(contracts, database, clock) as client:
        yield client


@pytest.fixture
def orders(database: Database, clock: SettableClock, contracts: ContractsOnChain) -> Orders:
    return Orders(database, clock, contracts)


@pytest.fixture
async def desk(
    database: Database, clock: SettableClock, contracts: ContractsOnChain, rpc: RPC
) -> AsyncIterator[Desk]:
    async with running_signer(contracts, database, clock) as signer:
        yield Desk(database, clock, contracts, signer, rpc)
