"""Kill -9: no acknowledged transfer is lost, none is doubled, and everything recovers by itself.

The short form; ``tests/simulation/crash.py`` is the long one.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import psycopg
import pytest

from foundation.clock import SystemClock
from foundation.postgres import sync_url
from ledger.engine import LedgerEngine
from ops import postgres
from ops.migrations import migrate
from tests.fixtures.postgres import SMALLER
from tests.ledger.crash_clients import CrashClient, Tally, open_accounts, verify
from tests.ledger.crashes import crash_ledger, crash_postgres


@pytest.mark.slow
async def test_ten_kills_of_the_ledger_process_lose_and_double_nothing(database_url: str) -> None:
    tally = await crash_ledger(database_url, kills=10, seed=1, pause=0.3)
    assert len(tally.stored) > 50


@pytest.mark.slow
async def test_three_kills_of_postgresql_lose_and_double_nothing(make_home: Callable[[], Path]) -> None:
    home = make_home()
    url = postgres.ensure_running(home, changes=SMALLER)
    try:
        migrate(url)
        tally = await crash_postgres(home, url, kills=3, seed=2, pause=0.5)
        assert len(tally.stored) > 50
    finally:
        postgres.stop(home, immediate=True)


@pytest.mark.parametrize(
    "crime",
    [
        "DELETE FROM ledger_transfer_1 WHERE timestamp = (SELECT max(timestamp) FROM ledger_transfer)",
        "UPDATE ledger_transfer_1 SET amount = amount + 1 WHERE flags = 0",
        "UPDATE ledger_transfer_1 SET code = 2 WHERE debit_previous = 0 AND credit_previous = 0",
        "DELETE FROM ledger_failed_id",
    ],
)
async def test_the_checks_find_what_is_wrong(database_url: str, crime: str) -> None:
    engine, tally, stop = await LedgerEngine.start(database_url, SystemClock()), Tally(), asyncio.Event()
    try:
        await open_accounts(engine)
        running = asyncio.create_task(CrashClient(1, engine, tally, Random(1)).run(stop))
        async with asyncio.timeout(60):
            while len(tally.stored) < 100 or not any(s.is_transient for s in tally.refused.values()):
                await asyncio.sleep(0.01)
        stop.set()
        await running
        await verify(engine, tally, database_url)
        with psycopg.connect(sync_url(database_url), autocommit=True) as db:
            for table in ("ledger_transfer_1", "ledger_failed_id"):
                db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            db.execute(crime)
        with pytest.raises(AssertionError):
            await verify(engine, tally, database_url)
    finally:
        await engine.close()
