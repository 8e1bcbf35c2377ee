"""The same workloads on a running TigerBeetle, through its own Python client, beside ours.

Both get the same transfers through the fastest interface that each has for Python:
ours packed arrays, TigerBeetle lists of records, which are made before the clock
starts. Its accounts get ids of this run, so that a cluster can be used again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial

from benchmarks.ledger.bulk import Send, packed, run_batches
from benchmarks.ledger.callers import Calls, closed_loop
from benchmarks.ledger.figures import TIGERBEETLE_KEYS, Bench
from benchmarks.ledger.workloads import (
    BANK,
    Ids,
    Records,
    accounts_in_batches,
    hot,
    in_batches,
    linked_pairs,
    pending_then_post,
    plain,
    uniform,
    zipf,
)
from benchmarks.tigerbeetle import TigerBeetle
from foundation.clock import SystemClock
from ledger.contract import AMOUNT_MAX, CREATED, CreateAccountStatus, Transfer, TransferFlags
from ledger.engine import LedgerEngine
from ledger.records import unpack_transfers
from ops.bench import Row


def _keys(bench: Bench) -> list[str]:
    sizes = [f"batch {size}" for size in bench.sizes.small_batches]
    return [f"tigerbeetle {key}" for key in (*TIGERBEETLE_KEYS, *sizes, "callers p99", "single")]


def wanted(bench: Bench) -> bool:
    """Whether there is one to measure, and anything of it was asked for."""
    return bench.options.tigerbeetle is not None and bench.wants(*_keys(bench))


async def measure(bench: Bench, engine: LedgerEngine, ids: Ids) -> AsyncIterator[Row]:
    """Every workload on both."""
    assert bench.options.tigerbeetle is not None
    theirs = await TigerBeetle.connect(bench.options.tigerbeetle)
    try:
        # High enough to meet no account of an earlier run on this cluster.
        offset = SystemClock().now_ns() << 64
        await _open_accounts(theirs, bench, offset)
        async for row in side_by_side(bench, engine, theirs, ids, offset):
            yield row
    finally:
        await theirs.close()


async def _open_accounts(theirs: TigerBeetle, bench: Bench, offset: int) -> None:
    numbers = range(1, bench.sizes.few_accounts + 1)
    for accounts in (
        *accounts_in_batches(numbers, 0, bench.sizes.batch),
        *accounts_in_batches(range(BANK, BANK + 1), 0, 1),
    ):
        for account in accounts:
            account.id += offset
        results = await theirs.create_accounts(accounts)
        assert all(result.status is CreateAccountStatus.CREATED for result in results)


async def side_by_side(
    bench: Bench, engine: LedgerEngine, theirs: TigerBeetle, ids: Ids, offset: int
) -> AsyncIterator[Row]:
    """Every workload, on ours and then on theirs."""
    for key, batches in _workloads(bench, ids):
        if not bench.wants(f"tigerbeetle {key}"):
            continue
        bench.report(f"{key}, beside TigerBeetle")
        prepared = list(batches)
        ours = await run_batches([packed(engine)], prepared)
        lists = [shifted(batch, offset) for batch in prepared]
        other = await run_batches([_lists(theirs)], lists)
        yield bench.row(f"tigerbeetle {key}", ours.rate, other.rate)
    if not bench.wants("tigerbeetle callers", "tigerbeetle callers p99", "tigerbeetle single"):
        return
    bench.report("callers, beside TigerBeetle")
    sizes = bench.sizes
    calls = Calls(uniform(sizes.few_accounts, seed=7), ids)
    their_calls = Calls(uniform(sizes.few_accounts, seed=7), ids, account_offset=offset)
    many, one = (sizes.callers, sizes.calls), (1, sizes.singles)
    ours_many, ours_one = [await closed_loop(engine, calls, callers=n, each=each) for n, each in (many, one)]
    other_many, other_one = [
        await closed_loop(theirs, their_calls, callers=n, each=each) for n, each in (many, one)
    ]
    yield bench.row("tigerbeetle callers", ours_many.rate, other_many.rate)
    yield bench.row("tigerbeetle callers p99", ours_many.p99, other_many.p99)
    yield bench.row("tigerbeetle single", ours_one.p50, other_one.p50)


def _workloads(bench: Bench, ids: Ids) -> Iterator[tuple[str, Iterator[Records]]]:
    sizes = bench.sizes
    accounts, pick = sizes.few_accounts, uniform(sizes.few_accounts, seed=8)
    for key, picker in (
        ("full", pick),
        ("zipf 1", zipf(accounts, 1.0)),
        ("zipf 2", zipf(accounts, 2.0)),
        ("hot", hot(accounts)),
    ):
        yield key, in_batches(partial(plain, picker, ids), sizes.transfers, sizes.batch)
    yield "linked", in_batches(partial(linked_pairs, pick, ids), sizes.transfers, sizes.batch)
    yield "pending", pending_then_post(pick, ids, sizes.transfers, sizes.batch)
    for size in sizes.small_batches:
        transfers = min(size * sizes.small_batch_requests, sizes.transfers)
        yield f"batch {size}", in_batches(partial(plain, pick, ids), transfers, size)


def shifted(batch: Records, offset: int) -> list[Transfer]:
    """A batch as records of its own accounts; a post in full is one by amount."""
    transfers = unpack_transfers(batch.tobytes())
    for each in transfers:
        if each.flags & TransferFlags.POST_PENDING_TRANSFER:
            each.amount = AMOUNT_MAX
        else:
            each.debit_account_id += offset
            each.credit_account_id += offset
    return transfers


def _lists(theirs: TigerBeetle) -> Send[list[Transfer]]:
    async def send(batch: list[Transfer]) -> int:
        results = await theirs.client.create_transfers(batch)
        return sum(int(result.status) != CREATED for result in results)

    return send
