"""Nothing is acknowledged before it is on the standby's disk, whatever happens to the wait for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from foundation.clock import SystemClock
from ledger.contract import Account, CreateTransferResult, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ledger.writer import Phase
from ops import postgres, postgres_standby
from ops.cluster import Cluster, stands_in
from ops.migrations import migrate
from ops.postgres_settings import ROLE
from tests.fixtures.postgres import SMALLER
from tests.ledger.invariants import check_journal

PAYMENT = Transfer(7, 1, 2, 1, ledger=1, code=1)


@pytest.fixture
def homes(make_home: Callable[[], Path]) -> Iterator[tuple[Path, Path]]:
    """A migrated primary and its synchronous standby."""
    directory = make_home()
    first, second = directory / "a", directory / "b"
    try:
        migrate(postgres.ensure_running(first, changes=SMALLER))
        postgres_standby.create(first, second)
        yield first, second
    finally:
        for home in (first, second):
            Cluster(home, lambda _: None).stop(immediate=True)


@contextlib.asynccontextmanager
async def engine_on(url: str) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(url, SystemClock())
    await engine.create_accounts([Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1)])
    try:
        yield engine
    finally:
        await engine.close()


def kill(home: Path) -> None:
    """Postmaster and children, as a power cut would."""
    cluster = Cluster(home, lambda _: None)
    postmaster = cluster.server_process()
    assert postmaster is not None
    victims = [postmaster, *postmaster.children(recursive=True)]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    while any(stands_in(victim, cluster.data) for victim in victims):
        time.sleep(0.01)


def start_alone(home: Path) -> None:
    """Start a primary without its standby."""
    cluster = Cluster(home, lambda _: None)
    cluster.start()
    assert cluster.becomes_ready(grace_seconds=5)


def waiting_pids(home: Path) -> list[int]:
    """Sessions whose commit waits for the standby."""
    with Cluster(home, lambda _: None).as_superuser() as connection:
        rows = connection.execute("select pid from pg_stat_activity where wait_event = 'SyncRep'").fetchall()
    return [int(pid) for (pid,) in rows]


async def until_a_commit_waits(home: Path) -> int:
    async with asyncio.timeout(20):
        while not (pids := await asyncio.to_thread(waiting_pids, home)):
            await asyncio.sleep(0.01)
    return pids[0]


async def pay(engine: LedgerEngine) -> CreateTransferResult:
    """Send the payment, with the same id again and again, until somebody answers."""
    while True:
        with contextlib.suppress(LedgerUnavailable):
            return (await engine.create_transfers([PAYMENT]))[0]
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_primary_that_restarts_alone_acknowledges_nothing_that_its_standby_lacks(
    homes: tuple[Path, Path],
) -> None:
    first, second = homes
    url = url_of_both(first)
    async with engine_on(url) as engine:
        await asyncio.to_thread(kill, second)
        paying = asyncio.create_task(pay(engine))
        await until_a_commit_waits(first)
        await asyncio.to_thread(kill, first)
        # The payment is in its journal now, and nowhere else.
        await asyncio.to_thread(start_alone, first)
        await until_a_commit_waits(first)
        assert not paying.done(), "the fail-over below would take it back"
        await asyncio.to_thread(kill, first)
        await asyncio.to_thread(postgres_standby.promote, first)
        result = await asyncio.wait_for(paying, 60)
        assert result.status in {CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS}
        [stored] = await engine.lookup_transfers([PAYMENT.id])
        assert stored.timestamp == result.timestamp
    check_journal(url)


@pytest.mark.slow
async def test_a_wait_that_somebody_cancels_is_no_acknowledgement(homes: tuple[Path, Path]) -> None:
    first, second = homes
    url = url_of_both(first)
    async with engine_on(url) as engine:
        await asyncio.to_thread(kill, second)
        paying = asyncio.create_task(pay(engine))
        cancelled = await until_a_commit_waits(first)
        with Cluster(first, lambda _: None).as_superuser() as connection:
            connection.execute("select pg_cancel_backend(%s)", [cancelled])
        while await until_a_commit_waits(first) == cancelled:
            await asyncio.sleep(0.01)
        assert not paying.done(), "only one disk has it"
        await asyncio.to_thread(postgres.ensure_running, first, changes=SMALLER)
        result = await asyncio.wait_for(paying, 60)
        assert result.status in {CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS}
    check_journal(url)


@pytest.mark.slow
async def test_an_engine_on_a_standby_waits_until_that_takes_writes(homes: tuple[Path, Path]) -> None:
    first, second = homes
    alone = Cluster(second, lambda _: None).url(ROLE)
    engine = await LedgerEngine.start(alone, SystemClock(), wait_until_serving=False)
    try:
        await asyncio.sleep(0.5)
        engine.check()
        assert not serves(engine)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), psycopg.connect(alone) as connection:
            connection.execute("create table refused ()")
        await asyncio.to_thread(postgres_standby.promote, first, stop_primary=True)
        async with asyncio.timeout(20):
            while not serves(engine):
                await asyncio.sleep(0.01)
    finally:
        await engine.close()


def serves(engine: LedgerEngine) -> bool:
    return engine.phase is Phase.SERVING


def url_of_both(home: Path) -> str:
    """The URL that names both servers."""
    return postgres.ensure_running(home, changes=SMALLER)
