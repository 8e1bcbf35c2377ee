"""One engine decides at a time; the next one takes over, and nobody is told what is no longer true."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import engine as engine_module
from ledger import pipeline as pipeline_module
from ledger.contract import (
    Account,
    AccountFilter,
    ChangeEventsFilter,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
)
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ledger.journal import LOCK_KEY
from ledger.writer import Phase
from tests.ledger.invariants import check_journal

A, B = 1, 2


def transfer(transfer_id: int, amount: int = 1) -> Transfer:
    return Transfer(transfer_id, A, B, amount, ledger=1, code=1)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # the engine's thread has no event loop to notify
            await asyncio.sleep(0.005)


def end_writers_session(url: str) -> None:
    """End the database session that holds the lock, as a cut network would."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        [ended] = db.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_locks"
            " WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND (classid::bigint << 32 | objid::bigint) = %s",
            (LOCK_KEY,),
        ).fetchone() or [0]
        assert ended == 1


@pytest.fixture
async def pair(database_url: str, clock: SettableClock) -> AsyncIterator[tuple[LedgerEngine, LedgerEngine]]:
    """An engine that serves, with two accounts, and one that stands by."""
    first = await LedgerEngine.start(database_url, clock)
    second = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    await first.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    await until(lambda: second.phase is Phase.STANDBY)
    yield first, second
    await first.close()
    await second.close()
    check_journal(database_url)


async def test_a_standby_refuses_and_takes_over_when_the_first_closes(
    pair: tuple[LedgerEngine, LedgerEngine],
) -> None:
    first, second = pair
    with pytest.raises(LedgerUnavailable) as refused:
        await second.create_transfers([transfer(1)])
    assert not refused.value.outcome_unknown
    with pytest.raises(LedgerUnavailable):
        await second.lookup_accounts([A])
    [created] = await first.create_transfers([transfer(1, 7)])
    await first.close()
    await until(lambda: second.phase is Phase.SERVING)
    [again] = await second.create_transfers([transfer(1, 7)])
    assert (again.status, again.timestamp) == (CreateTransferStatus.EXISTS, created.timestamp)
    assert [a.credits_posted for a in await second.lookup_accounts([B])] == [7]
    with pytest.raises(LedgerUnavailable):
        await first.create_transfers([transfer(2)])


async def test_an_engine_that_lost_its_lock_never_answers_from_its_old_memory(
    pair: tuple[LedgerEngine, LedgerEngine], database_url: str
) -> None:
    first, second = pair
    await first.create_transfers([transfer(1)])
    # Both race for the lock from here on; only the other one may win this test.
    end_writers_session(database_url)
    await until(lambda: second.phase is Phase.SERVING)
    await second.create_transfers([transfer(2, 10)])
    for read in (
        first.lookup_accounts([A]),
        first.get_account_transfers(AccountFilter(account_id=A)),
        first.get_statement(A),
        first.lookup_transfers([2]),
        first.query_transfers(QueryFilter()),
        first.get_change_events(ChangeEventsFilter()),
    ):
        with pytest.raises(LedgerUnavailable):
            await read
    assert first.phase is Phase.STANDBY


async def test_an_engine_that_lost_its_lock_decides_nothing(
    pair: tuple[LedgerEngine, LedgerEngine], database_url: str
) -> None:
    first, second = pair
    end_writers_session(database_url)
    await until(lambda: second.phase is Phase.SERVING)
    with pytest.raises(LedgerUnavailable):
        await first.create_transfers([transfer(1)])
    assert await second.lookup_transfers([1]) == []
    await second.close()
    await until(lambda: first.phase is Phase.SERVING)
    [created] = await first.create_transfers([transfer(1)])
    assert created.status is CreateTransferStatus.CREATED


async def test_a_lost_session_without_a_rival_is_taken_up_again(
    engine: LedgerEngine, database_url: str
) -> None:
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    for number in range(1, 6):
        end_writers_session(database_url)
        [created] = await engine.create_transfers([transfer(number)])
        assert created.status is CreateTransferStatus.CREATED
    end_writers_session(database_url)
    assert [a.debits_posted for a in await engine.lookup_accounts([A])] == [5]


SERVE = """
import asyncio, sys
from foundation.clock import SystemClock
from ledger.contract import Account, Transfer
from ledger.engine import LedgerEngine

async def main():
    engine = await LedgerEngine.start(sys.argv[1], SystemClock())
    print("serving", flush=True)
    number = 1000
    while True:
        number += 1
        [result] = await engine.create_transfers([Transfer(number, 1, 2, 1, ledger=1, code=1)])
        print(number, result.status.name, flush=True)

asyncio.run(main())
"""


async def test_a_standby_takes_over_when_the_first_process_is_killed(
    database_url: str, clock: SettableClock
) -> None:
    async with _started(database_url, clock) as engine:
        await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVE,
        database_url,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"serving\n"
    second = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    try:
        await until(lambda: second.phase is Phase.STANDBY)
        answered = [await process.stdout.readline() for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        answered += (await process.stdout.read()).splitlines()
        await process.wait()
        began = asyncio.get_running_loop().time()
        await until(lambda: second.phase is Phase.SERVING)
        assert asyncio.get_running_loop().time() - began < 10
        acknowledged = {int(line.split()[0]) for line in answered if line.split()[1:] == [b"CREATED"]}
        assert len(acknowledged) >= 20
        stored = {t.id for t in await second.lookup_transfers(sorted(acknowledged))}
        assert stored == acknowledged
    finally:
        await second.close()
    check_journal(database_url)


@contextlib.asynccontextmanager
async def _started(url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(url, clock)
    try:
        yield engine
    finally:
        await engine.close()


async def test_a_read_whose_session_was_lost_is_asked_again(engine: LedgerEngine, database_url: str) -> None:
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    await engine.create_transfers([transfer(1)])
    for _ in range(3):
        # As many readers as there are get a session each; then all of these break.
        await asyncio.gather(*(engine.lookup_transfers([1]) for _ in range(20)))
        with psycopg.connect(sync_url(database_url), autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'nugpay-ledger-reader' AND datname = current_database()"
            )
        assert [t.id for t in await engine.lookup_transfers([1])] == [1]
        assert [t.id for t in await engine.query_transfers(QueryFilter())] == [1]
        assert len(await engine.get_statement(A)) == 1
        assert len(await engine.get_change_events(ChangeEventsFilter())) == 1
        assert len(await engine.query_accounts(QueryFilter())) == 2


async def test_reads_of_a_database_that_is_gone_are_unavailable(
    database_url: str,
    postgres_admin: psycopg.Connection,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "READ_WAIT_SECONDS", 0.3)
    name = conninfo_to_dict(sync_url(database_url))["dbname"]
    async with _started(database_url, clock) as engine:
        postgres_admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres_admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        with pytest.raises(LedgerUnavailable) as refused:
            await engine.lookup_transfers([1])
        assert not refused.value.outcome_unknown


async def test_callers_are_told_of_an_outage_and_the_engine_comes_back_by_itself(
    database_url: str,
    postgres_admin: psycopg.Connection,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "OUTAGE_SECONDS", 0.3)
    name = conninfo_to_dict(sync_url(database_url))["dbname"]
    async with _started(database_url, clock) as engine:
        await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
        postgres_admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres_admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        answers = await asyncio.gather(
            *(engine.create_transfers([transfer(n)]) for n in range(1, 30)), return_exceptions=True
        )
        assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
        with pytest.raises(LedgerUnavailable) as later:
            await engine.lookup_accounts([A])
        assert not later.value.outcome_unknown
        postgres_admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        async def is_back() -> bool:
            try:
                return bool(await engine.lookup_accounts([A]))
            except LedgerUnavailable:
                return False

        async with asyncio.timeout(30):
            while not await is_back():
                await asyncio.sleep(0.01)
        again = await asyncio.gather(*(engine.create_transfers([transfer(n)]) for n in range(1, 30)))
        assert {results[0].status for results in again} == {CreateTransferStatus.CREATED}
    check_journal(database_url)
