"""The ledger process: a real one, over its Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.ledger.bulk import Send, packed, run_batches
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.workloads import Ids, Records, in_batches, plain, uniform
from ledger.client import LedgerClient
from ops.bench import Row

START_SECONDS_MAX = 1800
"""How long a process may take to read a large journal before the run is given up."""
POLL_SECONDS = 0.005
"""Between two looks whether it serves."""
CONNECTIONS = 2
"""Connections of the bulk caller: one sends while the other's batch is decided."""


@dataclass
class LedgerProcess:
    """A ledger process that serves."""

    address: str
    started_seconds: float
    """From its start as a program to its first answer."""
    process: psutil.Process

    @property
    def memory(self) -> int:
        """Bytes of its memory that are in use now."""
        return int(self.process.memory_info().rss)


@contextlib.asynccontextmanager
async def ledger_process(url: str) -> AsyncIterator[LedgerProcess]:
    """Start a process on a database, wait until it answers, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="nugpay-bench-") as directory:
        address = f"unix:{directory}/ledger.sock"
        environment = os.environ | {
            "NUGPAY_HOME": directory,
            "NUGPAY_DATABASE_URL": url,
            "NUGPAY_LEDGER_URL": address,
            "NUGPAY_LOG_LEVEL": "error",
        }
        began = time.perf_counter()
        # No working directory in its path, as ./nugpay starts it.
        program = (sys.executable, "-P", "-m", "ledger.server")
        started = await asyncio.create_subprocess_exec(*program, env=environment)
        try:
            await _until_it_answers(started, address)
            seconds = time.perf_counter() - began
            yield LedgerProcess(address, seconds, psutil.Process(started.pid))
        finally:
            if started.returncode is None:
                started.terminate()
            await started.wait()


def _is_published(address: str) -> bool:
    return Path(address.removeprefix("unix:")).exists()


async def _until_it_answers(started: Process, address: str) -> None:
    deadline = time.perf_counter() + START_SECONDS_MAX
    while not _is_published(address):
        if started.returncode is not None:
            raise RuntimeError(f"the ledger process ended with {started.returncode}")
        if time.perf_counter() > deadline:
            raise RuntimeError("the ledger process does not serve")
        # The socket has no event to wait for; a look costs little.
        await asyncio.sleep(POLL_SECONDS)
    async with connected(address) as client:
        await client.lookup_accounts([1])


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[LedgerClient]:
    """A client of a ledger process."""
    client = LedgerClient(address)
    try:
        yield client
    finally:
        await client.close()


async def measure(bench: Bench, url: str, ids: Ids, in_process: float) -> Row:
    """Packed full batches through a process, beside the same in process; no engine may hold the lock."""
    sizes = bench.sizes
    bench.report("through the ledger process: starting it")
    async with contextlib.AsyncExitStack() as stack:
        process = await stack.enter_async_context(ledger_process(url))
        senders: list[Send[Records]] = [
            packed(await stack.enter_async_context(connected(process.address))) for _ in range(CONNECTIONS)
        ]
        make = partial(plain, uniform(sizes.few_accounts, seed=5), ids)
        batches = list(in_batches(make, sizes.transfers, sizes.batch))

        def tell(done: int) -> None:
            bench.report(f"through the ledger process: {done:,} of {sizes.transfers:,} transfers")

        run = await run_batches(senders, batches, progress=tell)
    return bench.row("process", run.rate, in_process)
