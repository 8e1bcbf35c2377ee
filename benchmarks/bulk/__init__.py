"""Bulk payments: lines a second from the release to the last stored result, beside a bare ledger.

The worker's use case runs in this process, as in the worker; the ledger is a process of its
own, and the database a server. Beside it, in the same run: the same number of linked pairs,
packed beforehand, sent by a bulk caller to the same ledger, which reads and stores nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import numpy as np
import uvloop
from sqlalchemy import text

from benchmarks.bulk.business import Business, opened
from benchmarks.laboratory import collecting_as_served, fresh_database
from benchmarks.ledger.bulk import packed, run_batches
from benchmarks.ledger.process_runs import ledger_process
from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id
from ledger.client import LedgerClient
from ledger.contract import BATCH_MAX, TransferFlags
from ledger.records import TRANSFER_DTYPE
from ops.bench import Benchmark, Options, Row, Target
from wallets.bulk_execution import BulkTools, advance_bulk_payments
from wallets.bulk_files import LINES_MAX
from wallets.bulk_payments import BulkPayment, BulkState, bulk_payment_by_id
from wallets.bulk_releases import BulkRelease, release_bulk_payment
from wallets.bulk_uploads import BulkBooks, BulkOrder, upload_bulk_payment
from wallets.handle_lookups import HandleLookups
from wallets.limits import Limits
from wallets.wallets import WalletDirectory, wallet_account


@dataclass(frozen=True)
class Sizes:
    """How much is paid."""

    payees: int
    lines: int
    """In each file."""
    files: int
    """Released at once."""
    rounds: int


FULL = Sizes(payees=LINES_MAX, lines=LINES_MAX, files=5, rounds=5)
QUICK = Sizes(payees=1_000, lines=2_000, files=2, rounds=2)


def bulk(options: Options) -> Iterator[Row]:
    """Files of payments from their release to their last result, beside a bare ledger."""
    yield from measure(QUICK if options.quick else FULL, options)


def measure(sizes: Sizes, options: Options) -> Iterator[Row]:
    """Everything that was asked for, at these sizes."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, fresh_database() as url:
        rows = _measured(sizes, options, url)
        while (row := runner.run(anext(rows, None))) is not None:
            yield row


async def _measured(sizes: Sizes, options: Options, url: str) -> AsyncIterator[Row]:
    async with ledger_process(url) as process:
        database, ledger = Database(url, pool_size=4), LedgerClient(process.address)
        try:
            options.report(f"opening {sizes.payees:,} wallets")
            business = await opened(database, ledger, sizes.payees)
            async for row in _rates(Bench(sizes, options, database, ledger, business)):
                yield row
        finally:
            await ledger.close()
            await database.close()


@dataclass(frozen=True)
class Bench:
    """What is measured with."""

    sizes: Sizes
    options: Options
    database: Database
    ledger: LedgerClient
    business: Business


async def _rates(bench: Bench) -> AsyncIterator[Row]:
    sizes, clock = bench.sizes, SystemClock()
    checked, paid, bare = [], [], []
    for number in range(sizes.rounds):
        bench.options.report(f"round {number + 1} of {sizes.rounds}")
        bulks = []
        for _ in range(sizes.files):
            content = bench.business.file(sizes.lines)
            with collecting_as_served():
                began = time.perf_counter()
                bulks.append(await _brought(bench, clock, content))
                checked.append(sizes.lines / (time.perf_counter() - began))
        with collecting_as_served():
            paid.append(await _paid(bench, clock, bulks))
            bare.append(await _bare(bench, clock, sizes.files * sizes.lines))
    count = f"{sizes.files} files of {sizes.lines:,} lines"
    yield Row(f"{count}, from release to results", statistics.median(paid), "lines/s", target=Target(20_000))
    yield Row(
        f"{count}, beside linked pairs alone",
        statistics.median(paid),
        "lines/s",
        statistics.median(bare),
    )
    yield Row(
        f"a file of {sizes.lines:,} lines read, checked and kept", statistics.median(checked), "lines/s"
    )


async def _brought(bench: Bench, clock: SystemClock, content: bytes) -> BulkPayment:
    books = BulkBooks(bench.database, bench.ledger, clock, HandleLookups(bench.database, clock))
    order = BulkOrder(uuid7(clock), bench.business.wallet, bench.business.maker, USDT, content)
    made = (await upload_bulk_payment(books, order)).bulk_payment
    assert made.state is BulkState.CHECKED, f"{made.wrong} lines are wrong"
    return made


async def _paid(bench: Bench, clock: SystemClock, bulks: list[BulkPayment]) -> float:
    """Lines a second from the first release to the last result, with nothing remembered from before."""
    database, ledger, business = bench.database, bench.ledger, bench.business
    # As in the worker, where the files of a month find nothing in memory.
    wallet_account.cache_clear()
    began = time.perf_counter()
    limits = Limits(ledger, clock)
    for each in bulks:
        release = BulkRelease(each.id, business.wallet, business.checker, each.digest, each.total.format())
        await release_bulk_payment(database, ledger, clock, limits, release)
    tools = BulkTools(
        database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock)
    )
    report = await advance_bulk_payments(tools)
    seconds = time.perf_counter() - began
    assert report.paid == sum(each.lines for each in bulks), f"only {report.paid} lines were paid"
    for each in bulks:
        done = await bulk_payment_by_id(database, wallet=business.wallet, bulk_id=each.id)
        assert (done.state, done.paid) == (BulkState.FINISHED, each.lines)
    async with database.session() as session:
        stored = await session.scalar(
            text("SELECT count(*) FROM wallets_bulk_result WHERE bulk_id = ANY(:ids) AND result = 'paid'"),
            {"ids": [each.id for each in bulks]},
        )
    assert stored == report.paid
    return report.paid / seconds


async def _bare(bench: Bench, clock: SystemClock, lines: int) -> float:
    """Linked pairs a second, the same transfers without anything around them."""
    pairs = np.zeros((lines, 2), TRANSFER_DTYPE)
    pairs["id"][..., 0] = np.random.default_rng().integers(1, 2**63, (lines, 2))
    pairs["id"][..., 1] = uuid7(clock).int >> 64
    pairs["debit_account_id"] = _words(wallet_account(bench.business.wallet.id, USDT))
    payees = [_words(wallet_account(each, USDT)) for each in bench.business.payees]
    pairs["credit_account_id"][:, 0] = [payees[number % len(payees)] for number in range(lines)]
    pairs["credit_account_id"][:, 1] = _words(system_account_id(AccountCode.FEES, USDT))
    pairs["amount"][:, :, 0] = 10_000
    pairs["ledger"] = USDT.ledger
    pairs["code"] = (int(TransferCode.PAYMENT), int(TransferCode.PAYMENT_FEE))
    pairs["flags"][:, 0] = int(TransferFlags.LINKED)
    at_once = BATCH_MAX // 2
    batches = [pairs[start : start + at_once].reshape(-1) for start in range(0, lines, at_once)]
    return (await run_batches([packed(bench.ledger)], batches)).rate / 2


def _words(number: int) -> tuple[int, int]:
    return number & 2**64 - 1, number >> 64


BENCHMARKS: dict[str, Benchmark] = {"bulk": bulk}
"""The benchmarks of this module."""
