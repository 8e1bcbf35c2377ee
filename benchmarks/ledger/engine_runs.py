"""The engine in process over a few accounts: every workload, beside its baseline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial

from benchmarks.ledger.baselines import copy_rate, newest_timestamp
from benchmarks.ledger.bulk import BulkRun, packed, run_batches
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.workloads import (
    BANK,
    LIMITED,
    Ids,
    Picker,
    Records,
    accounts_in_batches,
    hot,
    in_batches,
    linked_pairs,
    pending_then_post,
    plain,
    uniform,
    with_one_refusal,
    zipf,
)
from ledger.contract import Account
from ledger.engine import LedgerEngine
from ops.bench import Row

POOR = BANK + 1
"""Account with a limit and nothing to spend."""


async def open_accounts(engine: LedgerEngine, accounts: int, batch: int, flags: int = 0) -> None:
    """Create the accounts of the workloads: numbered ones, the bank and the poor one."""
    for each in accounts_in_batches(range(1, accounts + 1), flags, batch):
        await engine.create_accounts(each)
    await engine.create_accounts(
        [Account(id=BANK, ledger=1, code=1), Account(id=POOR, ledger=1, code=1, flags=LIMITED)]
    )


def wanted(bench: Bench) -> bool:
    """Whether anything here was asked for."""
    keys = ("full", "indexed", "zipf 1", "zipf 2", "hot", "linked", "pending", "refusal")
    return bench.wants(*keys, *(f"batch {size}" for size in bench.sizes.small_batches))


async def measure(bench: Bench, engine: LedgerEngine, url: str, ids: Ids) -> AsyncIterator[Row]:
    """Every workload's figure."""
    runs = _Runs(bench, engine, url, ids)
    async for row in runs.spread():
        yield row
    async for row in runs.kinds():
        yield row
    async for row in runs.small_batches():
        yield row


async def plain_rate(bench: Bench, engine: LedgerEngine, ids: Ids) -> float:
    """Full batches once more, to stand beside the same through a process."""
    sizes = bench.sizes
    bench.report("full batches in process")
    make = partial(plain, uniform(sizes.few_accounts, seed=5), ids)
    batches = list(in_batches(make, sizes.transfers, sizes.batch))
    return (await run_batches([packed(engine)], batches)).rate


class _Runs:
    """Runs of one engine, each with its baseline right after it."""

    def __init__(self, bench: Bench, engine: LedgerEngine, url: str, ids: Ids) -> None:
        self._bench = bench
        self._engine = engine
        self._url = url
        self._ids = ids
        self._uniform = 0.0

    async def spread(self) -> AsyncIterator[Row]:
        """Plain transfers, spread in different ways."""
        bench, accounts = self._bench, self._bench.sizes.few_accounts
        if not bench.wants("full", "indexed", "zipf 1", "zipf 2", "hot", "refusal"):
            return
        after = await self._newest()
        run = await self._plain("full batches", uniform(accounts))
        self._uniform = run.rate
        if bench.wants("full"):
            yield bench.row("full", run.rate, await self._copy(after))
        if bench.wants("indexed"):
            yield bench.row("indexed", run.rate, await self._copy(after, unique_id=True))
        for key, pick in (
            ("zipf 1", zipf(accounts, 1.0)),
            ("zipf 2", zipf(accounts, 2.0)),
            ("hot", hot(accounts)),
        ):
            if bench.wants(key):
                yield bench.row(key, (await self._plain(key, pick)).rate, self._uniform)

    async def kinds(self) -> AsyncIterator[Row]:
        """Transfers that need more than a plain one."""
        bench, sizes = self._bench, self._bench.sizes
        pick = uniform(sizes.few_accounts, seed=2)
        if bench.wants("linked"):
            after = await self._newest()
            batches = in_batches(partial(linked_pairs, pick, self._ids), sizes.transfers, sizes.batch)
            run = await self._run("linked pairs", batches)
            yield bench.row("linked", run.rate, await self._copy(after))
        if bench.wants("pending"):
            after = await self._newest()
            batches = pending_then_post(pick, self._ids, sizes.transfers, sizes.batch)
            run = await self._run("pending then post", batches)
            yield bench.row("pending", run.rate, await self._copy(after))
        if bench.wants("refusal"):
            batches = in_batches(partial(plain, pick, self._ids), sizes.transfers, sizes.batch)
            run = await self._run("one refusal", with_one_refusal(batches, POOR), refusals_a_batch=1)
            yield bench.row("refusal", run.rate, self._uniform)

    async def small_batches(self) -> AsyncIterator[Row]:
        """Plain transfers in batches of other sizes, a few of them on their way at a time."""
        bench, sizes = self._bench, self._bench.sizes
        for size in sizes.small_batches:
            if not bench.wants(f"batch {size}"):
                continue
            transfers = min(size * sizes.small_batch_requests, sizes.transfers)
            make = partial(plain, uniform(sizes.few_accounts, seed=size), self._ids)
            after = await self._newest()
            run = await self._run(f"batches of {size:,}", in_batches(make, transfers, size))
            yield bench.row(f"batch {size}", run.rate, await self._copy(after, batch=size))

    async def _plain(self, name: str, pick: Picker) -> BulkRun:
        sizes = self._bench.sizes
        make = partial(plain, pick, self._ids)
        return await self._run(name, in_batches(make, sizes.transfers, sizes.batch))

    async def _run(self, name: str, batches: Iterator[Records], *, refusals_a_batch: int = 0) -> BulkRun:
        self._bench.report(f"{name}: making the transfers")
        prepared: Iterable[Records] = list(batches)
        total = sum(map(len, prepared))

        def tell(done: int) -> None:
            self._bench.report(f"{name}: {done:,} of {total:,} transfers")

        return await run_batches(
            [packed(self._engine)], prepared, refusals_a_batch=refusals_a_batch, progress=tell
        )

    async def _newest(self) -> int:
        return await asyncio.to_thread(newest_timestamp, self._url)

    async def _copy(self, after: int, *, batch: int | None = None, unique_id: bool = False) -> float:
        self._bench.report("the baseline of the same rows")
        size = batch or self._bench.sizes.batch
        return await asyncio.to_thread(copy_rate, self._url, batch=size, after=after, unique_id=unique_id)
