"""The engine in process over a few accounts: every workload, beside its baseline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial

from benchmarks.ledger.baselines import copy_rate, newest_timestamp
from benchmarks.ledger.bulk import packed, run_batches
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
    """Every workload's figure: of several rounds the one whose ratio to its baseline is the median."""
    runs = _Runs(bench, engine, url, ids)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(bench.sizes.rounds):
        runs.round = f"round {number + 1} of {bench.sizes.rounds}"
        async for key, value, baseline in runs.measure():
            found.setdefault(key, []).append((value, baseline))
    for key, pairs in found.items():
        value, baseline = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
        yield bench.row(key, value, baseline)


Figures = AsyncIterator[tuple[str, float, float]]
"""A figure's key, its value, and its baseline of the same moments."""


class _Runs:
    """Runs of one engine, each with its baseline right after or before it."""

    def __init__(self, bench: Bench, engine: LedgerEngine, url: str, ids: Ids) -> None:
        self.round = ""
        self._bench = bench
        self._engine = engine
        self._url = url
        self._ids = ids

    async def measure(self) -> Figures:
        """One round of all that was asked for."""
        async for figure in self._spread():
            yield figure
        async for figure in self._kinds():
            yield figure
        async for figure in self._small_batches():
            yield figure

    async def _spread(self) -> Figures:
        """Plain transfers, spread in different ways, and with a refusal among them."""
        bench, sizes = self._bench, self._bench.sizes
        if not bench.wants("full", "indexed", "zipf 1", "zipf 2", "hot", "refusal"):
            return
        after = await self._newest()
        even = await self._plain("full batches", uniform(sizes.few_accounts))
        if bench.wants("full"):
            yield "full", even, await self._copy(after)
        if bench.wants("indexed"):
            yield "indexed", even, await self._copy(after, unique_id=True)
        if bench.wants("hot"):
            yield "hot", await self._plain("one hot account", hot(sizes.few_accounts)), even
        if bench.wants("refusal"):
            make = partial(plain, uniform(sizes.few_accounts, seed=2), self._ids)
            batches = with_one_refusal(in_batches(make, sizes.transfers, sizes.batch), POOR)
            yield "refusal", await self._run("one refusal", batches, refusals_a_batch=1), even
        for exponent in (1, 2):
            if bench.wants(f"zipf {exponent}"):
                pick = zipf(sizes.few_accounts, exponent)
                yield f"zipf {exponent}", await self._plain(f"Zipf {exponent}.0", pick), even

    async def _kinds(self) -> Figures:
        """Transfers that need more than a plain one."""
        bench, sizes = self._bench, self._bench.sizes
        pick = uniform(sizes.few_accounts, seed=2)
        if bench.wants("linked"):
            after = await self._newest()
            batches = in_batches(partial(linked_pairs, pick, self._ids), sizes.transfers, sizes.batch)
            yield "linked", await self._run("linked pairs", batches), await self._copy(after)
        if bench.wants("pending"):
            after = await self._newest()
            batches = pending_then_post(pick, self._ids, sizes.transfers, sizes.batch)
            yield "pending", await self._run("pending then post", batches), await self._copy(after)

    async def _small_batches(self) -> Figures:
        """Plain transfers in batches of other sizes, a few of them on their way at a time."""
        sizes = self._bench.sizes
        for size in sizes.small_batches:
            if not self._bench.wants(f"batch {size}"):
                continue
            transfers = min(size * sizes.small_batch_requests, sizes.transfers)
            make = partial(plain, uniform(sizes.few_accounts, seed=size), self._ids)
            after = await self._newest()
            rate = await self._run(f"batches of {size:,}", in_batches(make, transfers, size))
            yield f"batch {size}", rate, await self._copy(after, batch=size)

    async def _plain(self, name: str, pick: Picker) -> float:
        sizes = self._bench.sizes
        make = partial(plain, pick, self._ids)
        return await self._run(name, in_batches(make, sizes.transfers, sizes.batch))

    async def _run(self, name: str, batches: Iterator[Records], *, refusals_a_batch: int = 0) -> float:
        name = f"{self.round}, {name}"
        self._bench.report(f"{name}: making the transfers")
        prepared: Iterable[Records] = list(batches)
        total = sum(map(len, prepared))

        def tell(done: int) -> None:
            self._bench.report(f"{name}: {done:,} of {total:,} transfers")

        run = await run_batches(
            [packed(self._engine)], prepared, refusals_a_batch=refusals_a_batch, progress=tell
        )
        return run.rate

    async def _newest(self) -> int:
        return await asyncio.to_thread(newest_timestamp, self._url)

    async def _copy(self, after: int, *, batch: int | None = None, unique_id: bool = False) -> float:
        self._bench.report(f"{self.round}, the baseline of the same rows")
        size = batch or self._bench.sizes.batch
        return await asyncio.to_thread(copy_rate, self._url, batch=size, after=after, unique_id=unique_id)
