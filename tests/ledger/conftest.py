"""A real engine on a real PostgreSQL, and the laws that must hold after every test."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import pytest_asyncio

from foundation.clock import SettableClock
from ledger.client import LedgerClient
from ledger.engine import LedgerEngine
from ledger.server import listening, publish
from tests.fixtures.postgres import TEMPLATE, drop_database, url_of
from tests.ledger.books import Books
from tests.ledger.invariants import check_journal
from tests.ledger.world import World


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


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: str, postgres_admin: psycopg.Connection) -> Iterator[str]:
    """A database that all tests of a module share."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(f"create database {name} template {TEMPLATE}")
    yield url_of(postgres_url, name)
    drop_database(postgres_admin, name)


@pytest.fixture(scope="module")
def shared_clock() -> SettableClock:
    return SettableClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_engine(shared_database_url: str, shared_clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    """One engine for a module's worlds: what one test did must not disturb the next."""
    engine = await LedgerEngine.start(shared_database_url, shared_clock)
    yield engine
    await engine.close()
    check_journal(shared_database_url)


@pytest.fixture
def pure_world(clock: SettableClock) -> World:
    """A fresh world on the pure state machine."""
    return World(Books(clock), clock)


@pytest.fixture(params=["in memory", "journaled"])
def world(request: pytest.FixtureRequest) -> World:
    """A fresh world, once on the pure state machine and once on an engine with its journal."""
    if request.param == "in memory":
        pure: World = request.getfixturevalue("pure_world")
        return pure
    clock = request.getfixturevalue("shared_clock")
    # Whatever an earlier test of this module did lies well in the past.
    clock.advance(seconds=100)
    return World(request.getfixturevalue("shared_engine"), clock)
