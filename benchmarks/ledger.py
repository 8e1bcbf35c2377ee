"""The ledger's speed, beside what PostgreSQL alone does with the same rows in the same run.

Everything is durable: the server has the journal's own settings, with ``fsync``,
``full_page_writes`` and ``synchronous_commit`` on.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Iterator
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from benchmarks.laboratory import fresh_database
from foundation.clock import SystemClock
from foundation.postgres import sync_url
from ledger.contract import BATCH_MAX, CREATED, Account, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.records import TRANSFER_DTYPE
from ledger.rows import COPY_HEADER, COPY_TRAILER
from ops.bench import Benchmark, Row

ACCOUNTS = 10_000
"""Accounts that the transfers are spread over, evenly."""
BATCHES = 60
"""Full batches of 8,189 transfers."""
CALLERS = 64
"""Concurrent callers of one transfer each."""
CALLS = 100
"""Transfers of each of them."""
SINGLES = 500
"""Transfers of one caller, one after the other."""
SEED = 1

_ids = iter(range(1 << 100, 1 << 101))


def ledger() -> Iterator[Row]:
    """The ledger engine in process, beside bare COPY and bare INSERT."""
    with fresh_database() as url:
        yield from asyncio.run(_measure(url))


async def _measure(url: str) -> list[Row]:
    rng = random.Random(SEED)
    engine = await LedgerEngine.start(url, SystemClock())
    try:
        for first in range(0, ACCOUNTS, BATCH_MAX):
            last = min(first + BATCH_MAX, ACCOUNTS)
            await engine.create_accounts([Account(id=n + 1, ledger=1, code=1) for n in range(first, last)])
        full = await _full_batches(engine)
        concurrent, p99_ms = await _concurrent_callers(engine, rng)
        singles_ms = await _one_by_one(engine, rng)
    finally:
        await engine.close()
    copy = await asyncio.to_thread(_bare_copy, url)
    inserts_ms = await asyncio.to_thread(_bare_inserts, url)
    insert_rate = 1000 / statistics.fmean(inserts_ms)
    return [
        Row(f"full batches of {BATCH_MAX:,}, beside bare COPY", full, "transfers/s", copy),
        Row(f"{CALLERS} concurrent callers, beside bare INSERT", concurrent, "transfers/s", insert_rate),
        Row(f"{CALLERS} concurrent callers, p99", p99_ms, "ms", statistics.median(inserts_ms)),
        Row(
            "one by one, p50, beside bare INSERT",
            statistics.median(singles_ms),
            "ms",
            statistics.median(inserts_ms),
        ),
    ]


def _transfer(rng: random.Random) -> Transfer:
    debit, credit = rng.sample(range(1, ACCOUNTS + 1), 2)
    return Transfer(
        id=next(_ids), debit_account_id=debit, credit_account_id=credit, amount=rng.randrange(1, 1000),
        ledger=1, code=1,
    )  # fmt: skip


async def _full_batches(engine: LedgerEngine) -> float:
    """Transfers a second, with two batches on their way at any time."""
    numbers = np.random.default_rng(SEED)
    batches = [_records(numbers, n) for n in range(BATCHES)]
    window = asyncio.Semaphore(2)

    async def submit(batch: npt.NDArray[np.void]) -> None:
        async with window:
            results = await engine.create_transfer_records(batch)
        assert (results["status"] == CREATED).all()

    began = time.perf_counter()
    await asyncio.gather(*(submit(batch) for batch in batches))
    return BATCHES * BATCH_MAX / (time.perf_counter() - began)


def _records(numbers: np.random.Generator, batch: int) -> npt.NDArray[np.void]:
    """A full batch with time-ordered ids, as clients make them."""
    records = np.zeros(BATCH_MAX, TRANSFER_DTYPE)
    records["id"][:, 1] = (batch * BATCH_MAX + np.arange(BATCH_MAX)) // 64 + (1 << 56)
    records["id"][:, 0] = numbers.integers(0, 2**62, BATCH_MAX)
    debit = numbers.integers(0, ACCOUNTS, BATCH_MAX)
    records["debit_account_id"][:, 0] = debit + 1
    records["credit_account_id"][:, 0] = (debit + numbers.integers(1, ACCOUNTS, BATCH_MAX)) % ACCOUNTS + 1
    records["amount"][:, 0] = numbers.integers(1, 1000, BATCH_MAX)
    records["ledger"] = records["code"] = 1
    return records


async def _concurrent_callers(engine: LedgerEngine, rng: random.Random) -> tuple[float, float]:
    """Transfers a second, and the 99th percentile of a call in milliseconds."""
    latencies: list[float] = []

    async def call() -> None:
        for _ in range(CALLS):
            transfer = _transfer(rng)
            began = time.perf_counter()
            (result,) = await engine.create_transfers([transfer])
            latencies.append((time.perf_counter() - began) * 1000)
            assert result.status is CreateTransferStatus.CREATED

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    rate = CALLERS * CALLS / (time.perf_counter() - began)
    return rate, statistics.quantiles(latencies, n=100)[98]


async def _one_by_one(engine: LedgerEngine, rng: random.Random) -> list[float]:
    """Milliseconds of each call of a single caller."""
    latencies = []
    for _ in range(SINGLES):
        transfer = _transfer(rng)
        began = time.perf_counter()
        await engine.create_transfers([transfer])
        latencies.append((time.perf_counter() - began) * 1000)
    return latencies


def _bare_copy(url: str) -> float:
    """Rows a second of binary COPY alone: the journal's own rows, no index, no decision."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        with db.cursor().copy("COPY ledger_transfer TO STDOUT (FORMAT BINARY)") as copy:
            data = b"".join(bytes(part) for part in copy)[len(COPY_HEADER) : -len(COPY_TRAILER)]
        db.execute("CREATE TABLE bare (LIKE ledger_transfer)")
        batches = list(_split(data))
        began = time.perf_counter()
        for _, rows in batches:
            with db.transaction(), db.cursor().copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(COPY_HEADER + rows + COPY_TRAILER)
        return sum(count for count, _ in batches) / (time.perf_counter() - began)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The stream's rows in batches of at most 8,189."""
    start = at = count = 0
    while at < len(data):
        end = at + 2
        for _ in range(int.from_bytes(data[at:end], "big")):
            end += 4 + max(int.from_bytes(data[end : end + 4], "big", signed=True), 0)
        at, count = end, count + 1
        if count == BATCH_MAX:
            yield count, data[start:at]
            start, count = at, 0
    if count:
        yield count, data[start:at]


def _bare_inserts(url: str) -> list[float]:
    """Milliseconds of each one-row INSERT and COMMIT into a table with the id's index alone."""
    latencies = []
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("CREATE TABLE bare_single (LIKE ledger_transfer)")
        db.execute("CREATE UNIQUE INDEX ON bare_single (id)")
        row = db.execute("SELECT * FROM ledger_transfer LIMIT 1").fetchone()
        assert row is not None
        columns = [column.name for column in db.execute("SELECT * FROM bare_single").description or ()]
        at = columns.index("id")
        statement = sql.SQL("INSERT INTO bare_single VALUES ({})").format(
            sql.SQL(", ").join([sql.Placeholder()] * len(columns))
        )
        for _ in range(SINGLES):
            values = (*row[:at], UUID(int=next(_ids)), *row[at + 1 :])
            began = time.perf_counter()
            db.execute(statement, values)
            latencies.append((time.perf_counter() - began) * 1000)
    return latencies


BENCHMARKS: dict[str, Benchmark] = {"ledger": ledger}
