"""A real engine on a real PostgreSQL, and the laws that must hold after every test."""

import tempfile
from collections.abc import AsyncIterator

import pytest

from foundation.clock import SettableClock
from ledger.client import LedgerClient
from ledger.engine import LedgerEngine
from ledger.server import listening, publish
from tests.ledger.invariants import check_journal


@pytest.fixture
async def engine(database_url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(database_url, clock)
    yield engine
    await engine.close()
    check_journal(database_url)


@pytest.fixture
async def client(engine: LedgerEngine) -> AsyncIterator[LedgerClient]:
    """The same engine, asked over its socket."""
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-") as directory:
        address = f"unix:{directory}/ledger.sock"
        async with listening(engine, address) as own:
            publish(address, own)
            client = LedgerClient(address)
            yield client
            await client.close()
