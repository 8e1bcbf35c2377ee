"""The ledger process: a real one, over its Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.laboratory import collecting_as_served
from benchmarks.ledger.bulk import Send, packed, run_batches
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.workloads import Ids, Records, in_batches, plain, uniform
from foundation.clock import SystemClock
from ledger.client import LedgerClient
from ledger.engine import LedgerEngine
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


async def measure(bench: Bench, url: str, ids: Ids) -> Row:
    """Packed full batches through a process, beside the same in process; no engine may hold the lock.

    Of several rounds the one whose ratio is the median. A round is one run in process, two
    through one, and one in process, each started anew: a server that grows slower while its
    tables and its log grow is then as slow for both.
    """
    found = []
    for number in range(bench.sizes.rounds):
        told = f"round {number + 1} of {bench.sizes.rounds}: full batches"
        if number == 0:
            # Else only the first run of all would find an empty server and nothing to seal.
            await _in_process(bench, url, ids, f"before all: {told}")
        first = await _in_process(bench, url, ids, told)
        through = [await _through(bench, url, ids, told) for _ in range(2)]
        last = await _in_process(bench, url, ids, told)
        found.append((statistics.harmonic_mean(through), statistics.harmonic_mean([first, last])))
    return bench.row("process", *sorted(found, key=lambda pair: pair[0] / pair[1])[len(found) // 2])


async def _in_process(bench: Bench, url: str, ids: Ids, told: str) -> float:
    engine = await LedgerEngine.start(url, SystemClock())
    try:
        await engine.wait_until_sealed()
        with collecting_as_served():
            rate = await _rate(bench, [packed(engine)], ids, f"{told} in process")
        await engine.wait_until_sealed()
    finally:
        await engine.close()
    return rate


async def _through(bench: Bench, url: str, ids: Ids, told: str) -> float:
    async with contextlib.AsyncExitStack() as stack:
        process = await stack.enter_async_context(ledger_process(url))
        senders: list[Send[Records]] = [
            packed(await stack.enter_async_context(connected(process.address))) for _ in range(CONNECTIONS)
        ]
        return await _rate(bench, senders, ids, f"{told} through the ledger process")


async def _rate(bench: Bench, senders: Sequence[Send[Records]], ids: Ids, told: str) -> float:
    sizes = bench.sizes
    make = partial(plain, uniform(sizes.few_accounts, seed=5), ids)
    batches = list(in_batches(make, sizes.transfers, sizes.batch))

    def tell(done: int) -> None:
        bench.report(f"{told}: {done:,} of {sizes.transfers:,} transfers")

    return (await run_batches(senders, batches, progress=tell)).rate
