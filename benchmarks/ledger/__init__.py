"""The ledger's speed, beside what PostgreSQL alone does with the same rows in the same run.

Everything is durable: the server has the journal's own settings, with ``fsync``,
``full_page_writes`` and ``synchronous_commit`` on. The figures and what they are to
reach are in ``figures``, the sizes in ``sizes``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import uvloop

from benchmarks.laboratory import fresh_database
from benchmarks.ledger import (
    callers,
    engine_runs,
    many_accounts,
    process_runs,
    row_lock,
    tigerbeetle_runs,
)
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.sizes import FULL, QUICK
from benchmarks.ledger.workloads import Ids
from foundation.clock import SystemClock
from ledger.engine import LedgerEngine
from ops.bench import Benchmark, Options, Row


def ledger(options: Options) -> Iterator[Row]:
    """The ledger engine beside bare COPY and INSERT, a row-lock SQL ledger, and a TigerBeetle."""
    yield from measure(Bench(QUICK if options.quick else FULL, options))


def measure(bench: Bench) -> Iterator[Row]:
    """Everything that was asked for, at the bench's sizes."""
    # The loop that the ledger process and the API run on.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # First of all, since it measures the memory of this process.
        for group in (_many_accounts, _few_accounts):
            rows = group(bench)
            while (row := runner.run(anext(rows, None))) is not None:
                yield row


async def _many_accounts(bench: Bench) -> AsyncIterator[Row]:
    if many_accounts.wanted(bench):
        with fresh_database() as url:
            async for row in many_accounts.measure(bench, url):
                yield row


async def _few_accounts(bench: Bench) -> AsyncIterator[Row]:
    """What a single server with a few accounts is measured with, one after the other."""
    process, sql = bench.wants("process"), bench.wants("row lock", "row lock hot")
    tigerbeetle = tigerbeetle_runs.wanted(bench)
    if not (engine_runs.wanted(bench) or callers.wanted(bench) or process or sql or tigerbeetle):
        return
    ids, sizes = Ids(), bench.sizes
    with fresh_database() as url:
        engine = await LedgerEngine.start(url, SystemClock())
        try:
            bench.report(f"creating {sizes.few_accounts:,} accounts")
            await engine_runs.open_accounts(engine, sizes.few_accounts, sizes.batch)
            async for row in engine_runs.measure(bench, engine, url, ids):
                yield row
            if callers.wanted(bench):
                # The sealing of what the full batches left would be most of what small calls wait for.
                bench.report("sealing what is full")
                await engine.wait_until_sealed()
                async for row in callers.measure(bench, engine, url, ids):
                    yield row
            if tigerbeetle:
                async for row in tigerbeetle_runs.measure(bench, engine, ids):
                    yield row
            if sql:
                async for row in row_lock.measure(bench, engine, url, ids):
                    yield row
        finally:
            await engine.close()
        if process:
            yield await process_runs.measure(bench, url, ids)


BENCHMARKS: dict[str, Benchmark] = {"ledger": ledger}
