"""A real engine on a real PostgreSQL, and the laws that must hold after every test."""

from collections.abc import AsyncIterator

import pytest

from foundation.clock import SettableClock
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal


@pytest.fixture
async def engine(database_url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(database_url, clock)
    yield engine
    await engine.close()
    check_journal(database_url)
