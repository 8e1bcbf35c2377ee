"""The large journal: a million accounts with limits, ten million transfers, and what follows from them.

Memory is that of real processes: an account's is what a ledger process grows by
when it creates them. Disk is what PostgreSQL says of the sealed journal.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from functools import partial

import psutil
import psycopg

from benchmarks.laboratory import collecting_as_served
from benchmarks.ledger.baselines import copy_rate, newest_timestamp
from benchmarks.ledger.bulk import packed, run_batches
from benchmarks.ledger.engine_runs import open_accounts
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.process_runs import connected, ledger_process
from benchmarks.ledger.workloads import (
    LIMITED,
    SEED,
    Ids,
    accounts_in_batches,
    funding,
    in_batches,
    plain,
    uniform,
)
from foundation.clock import SystemClock
from foundation.postgres import sync_url
from ledger.engine import LedgerEngine
from ops.bench import Row

HISTORY_LINES = 50
"""Newest transfers of an account, as an app shows them."""
MEMORY_EVERY = 64
"""Batches between two looks at the process' memory."""

RUN_KEYS = ("many", "many indexed", "last", "history", "disk", "memory")
RESTART_KEYS = ("restart", "restart tail")


def wanted(bench: Bench) -> bool:
    """Whether anything here was asked for."""
    return bench.wants("account", *RUN_KEYS, *RESTART_KEYS)


async def measure(bench: Bench, url: str) -> AsyncIterator[Row]:
    """Fill the journal of an empty database, and measure it."""
    if bench.wants("account"):
        yield await _account_memory(bench, url)
    if not bench.wants(*RUN_KEYS, *RESTART_KEYS):
        return
    engine = await LedgerEngine.start(url, SystemClock(), segment_rows=bench.sizes.segment_rows)
    try:
        with collecting_as_served():
            async for row in _fill(bench, engine, url):
                yield row
        if bench.wants("history"):
            yield bench.row("history", await _history_p99_ms(bench, engine))
    finally:
        await engine.close()
    if bench.wants("disk"):
        yield bench.row("disk", await asyncio.to_thread(_bytes_a_transfer, url))
    if bench.wants("restart"):
        bench.report("restart from a checkpoint")
        yield bench.row("restart", await _restart_seconds(url))
    if bench.wants("restart tail"):
        bench.report("restart from a tail")
        await asyncio.to_thread(_return_to_kept_checkpoint, url)
        yield bench.row("restart tail", await _restart_seconds(url))


async def _account_memory(bench: Bench, url: str) -> Row:
    """What a ledger process grows by for each account."""
    sizes = bench.sizes
    # What the first of them make the process load and set up is not an account's.
    first, rest = (
        range(1, sizes.many_accounts // 10 + 1),
        range(sizes.many_accounts // 10 + 1, sizes.many_accounts + 1),
    )
    async with ledger_process(url) as process, connected(process.address) as client:
        for numbers in (first, rest):
            before = process.memory
            for accounts in accounts_in_batches(numbers, LIMITED, sizes.batch):
                bench.report(f"memory of an account: {accounts[-1].id:,} of {sizes.many_accounts:,}")
                await client.create_accounts(accounts)
        return bench.row("account", max(process.memory - before, 1) / len(rest))


async def _fill(bench: Bench, engine: LedgerEngine, url: str) -> AsyncIterator[Row]:
    """The timed run, all indexes caught up at its end, and its baselines."""
    sizes = bench.sizes
    ids = Ids()
    bench.report(f"many accounts: creating {sizes.many_accounts:,}")
    await open_accounts(engine, sizes.many_accounts, sizes.batch, LIMITED)
    await run_batches([packed(engine)], funding(sizes.many_accounts, ids, sizes.batch))
    await engine.wait_until_sealed()
    after = await asyncio.to_thread(newest_timestamp, url)
    memory = _Memory()

    def tell(done: int) -> None:
        bench.report(f"many accounts: {done:,} of {sizes.many_transfers:,} transfers")
        memory.look()

    # Made on the fly: all of them at once would be in the memory that is measured.
    make = partial(plain, uniform(sizes.many_accounts), ids)
    before_tail = sizes.many_transfers - sizes.tail_transfers
    first = await run_batches([packed(engine)], in_batches(make, before_tail, sizes.batch), progress=tell)
    await asyncio.to_thread(_keep_checkpoint, url)
    began = time.perf_counter()
    tail = in_batches(make, sizes.tail_transfers, sizes.batch)
    last = await run_batches([packed(engine)], tail, progress=lambda done: tell(before_tail + done))
    bench.report("many accounts: until the last segment is sealed")
    await engine.wait_until_sealed()
    seconds = time.perf_counter() - began + first.seconds
    rate = sizes.many_transfers / seconds
    if bench.wants("memory"):
        yield bench.row("memory", memory.highest)
    if bench.wants("last"):
        part, end = sizes.slice_transfers, sizes.tail_transfers
        yield bench.row("last", last.rate_between(end - part, end), first.rate_between(0, part))
    for key, unique_id in (("many", False), ("many indexed", True)):
        if bench.wants(key):
            bench.report(f"the baseline of {sizes.many_transfers:,} rows")
            baseline = partial(copy_rate, url, batch=sizes.batch, after=after, unique_id=unique_id)
            yield bench.row(key, rate, await asyncio.to_thread(baseline))


class _Memory:
    """The most memory that this process was seen to use."""

    def __init__(self) -> None:
        self.highest = 0
        self._process = psutil.Process()
        self._turn = 0

    def look(self) -> None:
        """Now and then."""
        if self._turn % MEMORY_EVERY == 0:
            self.highest = max(self.highest, self._process.memory_info().rss)
        self._turn += 1


async def _history_p99_ms(bench: Bench, engine: LedgerEngine) -> float:
    """Milliseconds in which 99 of 100 statements are there, one after the other."""
    numbers = random.Random(SEED)
    latencies = []
    for done in range(bench.sizes.histories):
        account = numbers.randrange(1, bench.sizes.many_accounts + 1)
        began = time.perf_counter()
        lines = await engine.get_statement(account, limit=HISTORY_LINES)
        latencies.append((time.perf_counter() - began) * 1000)
        assert lines
        bench.report(f"histories: {done + 1:,} of {bench.sizes.histories:,}")
    return statistics.quantiles(latencies, n=100)[98]


_SEALED = """
SELECT (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
        WHERE inhparent = 'ledger_transfer_sealed'::regclass)
     + (SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class
        WHERE relname IN ('ledger_id_filter', 'ledger_history_mark')
          AND relnamespace = current_schema()::regnamespace),
       (SELECT sum(transfer_count) FROM ledger_seal)
"""
"""Sealed segments with their indexes and what finds their rows; how many rows they have."""


def _bytes_a_transfer(url: str) -> float:
    """What a transfer of a sealed segment takes on disk."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        row = db.execute(_SEALED).fetchone()
        assert row is not None
        return int(row[0]) / int(row[1])


async def _restart_seconds(url: str) -> float:
    """From the start of a ledger process to its first answer."""
    async with ledger_process(url) as process:
        return process.started_seconds


def _keep_checkpoint(url: str) -> None:
    """Put the checkpoint of now aside, for the restart from a tail."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("CREATE TABLE kept_checkpoint AS SELECT * FROM ledger_checkpoint")


def _return_to_kept_checkpoint(url: str) -> None:
    """Let the next start know no later checkpoint than the one that was put aside."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("DELETE FROM ledger_checkpoint")
        db.execute("INSERT INTO ledger_checkpoint SELECT * FROM kept_checkpoint")
