"""A commit that breaks off: the answers stand, or everything is decided anew; nothing is doubled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import intake
from ledger import pipeline as pipeline_module
from ledger.contract import Account, CreateTransferStatus, QueryFilter, Transfer
from ledger.engine import LedgerEngine
from ledger.journal import Batch
from ledger.writer import Phase, Writer
from tests.ledger.cutting_proxy import Cut, CuttingProxy
from tests.ledger.invariants import check_journal
from tests.ledger.journaled_duel import JournaledDuel, compare_states, state_of

A, B = 1, 2
CUTS = [cut for cut in Cut if cut is not Cut.NOWHERE]


@contextlib.asynccontextmanager
async def cut_engine(
    database_url: str, clock: SettableClock, plan: Callable[[Batch], Cut]
) -> AsyncIterator[tuple[LedgerEngine, CuttingProxy]]:
    """An engine whose commits are interrupted as planned."""
    async with CuttingProxy(database_url, plan) as proxy:
        writer = Writer(database_url, clock, open_journal=proxy.open_journal)
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            sync_url(database_url), min_size=1, max_size=2, kwargs={"autocommit": True}, open=False
        )
        engine = LedgerEngine(writer, pool)
        writer.start()
        await pool.open()
        try:
            async with asyncio.timeout(30):
                while engine.phase is not Phase.SERVING:
                    await asyncio.sleep(0.005)
            yield engine, proxy
        finally:
            await engine.close()
    check_journal(database_url)


def transfers(first: int, count: int) -> list[Transfer]:
    return [Transfer(first + n, A, B, 1, ledger=1, code=1) for n in range(count)]


async def open_accounts(engine: LedgerEngine) -> None:
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])


@pytest.mark.parametrize("count", [1, 3, 40, 1000])
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.value)
async def test_an_interrupted_commit_is_answered_as_what_it_became(
    database_url: str, clock: SettableClock, cut: Cut, count: int
) -> None:
    planned = iter([Cut.NOWHERE, cut])
    async with cut_engine(database_url, clock, lambda _: next(planned, Cut.NOWHERE)) as (engine, proxy):
        await open_accounts(engine)
        results = await engine.create_transfers(transfers(100, count))
        assert {r.status for r in results} == {CreateTransferStatus.CREATED}
        assert proxy.cuts == [cut]
        stored = await engine.lookup_transfers(range(100, 100 + count))
        assert [t.timestamp for t in stored] == [r.timestamp for r in results]
        again = await engine.create_transfers(transfers(100, count))
        assert {r.status for r in again} == {CreateTransferStatus.EXISTS}
        assert [r.timestamp for r in again] == [r.timestamp for r in results]
        assert [a.debits_posted for a in await engine.lookup_accounts([A])] == [count]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.value)
async def test_groups_decided_on_top_of_an_interrupted_one_are_neither_lost_nor_doubled(
    database_url: str, clock: SettableClock, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "INLINE_ROWS_MAX", -1)
    monkeypatch.setattr(pipeline_module, "PIPELINE_EVENTS_MIN", 0)
    monkeypatch.setattr(intake, "BATCH_MAX", 250)
    random = Random(cut.value)

    def plan(batch: Batch) -> Cut:
        return cut if batch.transfer_count and random.random() < 0.3 else Cut.NOWHERE

    async with cut_engine(database_url, clock, plan) as (engine, proxy):
        await open_accounts(engine)
        number = 0
        while len(proxy.cuts) < 5 and number < 2000:
            calls = [engine.create_transfers(transfers(1000 * (number + n), 100)) for n in range(1, 21)]
            number += 20
            for results in await asyncio.gather(*calls):
                assert {r.status for r in results} == {CreateTransferStatus.CREATED}
        assert [a.debits_posted for a in await engine.lookup_accounts([A])] == [100 * number]


@pytest.mark.parametrize("seed", range(3))
async def test_an_interrupted_stream_gets_the_models_answers(
    database_url: str, clock: SettableClock, seed: int
) -> None:
    random = Random(seed)

    def plan(_: Batch) -> Cut:
        return random.choice(CUTS) if random.random() < 0.25 else Cut.NOWHERE

    duel = JournaledDuel(Random(seed), clock)
    # Each request has a time of its own, so that deciding it anew gives the same timestamps.
    duel.stream.requests_at_once = (1,)
    async with cut_engine(database_url, clock, plan) as (engine, proxy):
        number = 0
        while number < 60 or set(proxy.cuts) != set(CUTS):
            number += 1
            duel.stream.now = max(duel.stream.now, duel.model.last) + 10**6
            await duel.step(engine)
        await duel.read_everything(engine)
        await engine.close()
        before = state_of(engine)
    started = await LedgerEngine.start(database_url, clock)
    compare_states(state_of(started), before)
    await started.close()


async def test_an_expiry_that_is_interrupted_happens_once(database_url: str, clock: SettableClock) -> None:
    cuts = iter(CUTS)

    def plan(batch: Batch) -> Cut:
        return next(cuts, Cut.NOWHERE) if batch.expiry_count else Cut.NOWHERE

    async with cut_engine(database_url, clock, plan) as (engine, proxy):
        await open_accounts(engine)
        for number in range(1, 6):
            clock.advance(seconds=1)
            pending = Transfer(number, A, B, 7, ledger=1, code=1, flags=2, timeout=1)
            await engine.create_transfers([pending])
            clock.advance(seconds=2)
            assert [a.debits_pending for a in await engine.lookup_accounts([A])] == [0]
        assert proxy.cuts == CUTS
        assert len(await engine.query_transfers(QueryFilter())) == 5
