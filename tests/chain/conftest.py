"""What the tests of the chain share: a database, a node's RPC, our contracts."""

from collections.abc import AsyncIterator

import pytest

from chain.rpc import RPC
from foundation.database import Database
from tests.fixtures.anvil import Anvil


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
