"""Tiny sizes of the ledger's benchmark, and a second database for a second ledger."""

import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from benchmarks.ledger.figures import Bench
from benchmarks.ledger.sizes import Sizes
from foundation.clock import SystemClock
from ledger.engine import LedgerEngine
from ops.bench import Options
from tests.fixtures.postgres import TEMPLATE, drop_database, url_of

TINY = Sizes(
    few_accounts=40, transfers=600, rounds=2, batch=100, small_batches=(1, 8), small_batch_requests=5,
    many_accounts=60, many_transfers=1_000, slice_transfers=200, tail_transfers=500, segment_rows=200,
    histories=20,
    callers=4, calls=5, singles=10, arrival_rates=(200,), arrival_seconds=1, row_lock_transfers=64,
)  # fmt: skip


@pytest.fixture
def bench() -> Bench:
    return Bench(TINY, Options())


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(database_url, SystemClock())
    yield engine
    await engine.close()


@pytest.fixture
def other_database_url(postgres_url: str, postgres_admin: psycopg.Connection) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(f"create database {name} template {TEMPLATE}")
    yield url_of(postgres_url, name)
    drop_database(postgres_admin, name)


@pytest.fixture
async def other_engine(other_database_url: str) -> AsyncIterator[LedgerEngine]:
    """A second ledger: nothing of the first is in it."""
    engine = await LedgerEngine.start(other_database_url, SystemClock())
    yield engine
    await engine.close()
