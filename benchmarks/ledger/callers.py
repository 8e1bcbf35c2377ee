"""Small calls: one transfer each, from many callers at once or from one, closed and open loop.

In a closed loop a caller waits for its answer before it asks again, so that a slow
ledger is asked less. In the open loop calls arrive at a fixed rate whatever happens,
and a call's latency counts from when it was meant to arrive, not from when it got
its turn: what a queue hides from a closed loop, it shows.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.laboratory import collecting_as_served
from benchmarks.ledger.baselines import insert_latencies_ms
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.workloads import Ids, Picker, uniform
from ledger.contract import CreateTransferResult, CreateTransferStatus, Transfer
from ledger.interface import LedgerBusy
from ops.bench import Row

TICK_SECONDS = 0.0005
"""How often the open loop looks which calls are due."""


@dataclass
class Latencies:
    """Milliseconds of calls, and how many got none."""

    ms: list[float] = field(default_factory=list)
    dropped: int = 0
    rate: float = 0.0

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.ms) if self.ms else float("inf")

    @property
    def p99(self) -> float:
        """What one of a hundred exceeds."""
        return statistics.quantiles(self.ms, n=100)[98] if len(self.ms) > 1 else float("inf")


class Calls:
    """Makes transfers one by one, between the accounts that a workload picks."""

    def __init__(self, pick: Picker, ids: Ids, *, account_offset: int = 0) -> None:
        self._pick = pick
        self._ids = ids
        self._offset = account_offset

    def take(self, count: int) -> list[Transfer]:
        """The next ones."""
        debit, credit = (each.tolist() for each in self._pick(count))
        return [
            Transfer(
                id=self._ids.one(), debit_account_id=d + self._offset, credit_account_id=c + self._offset,
                amount=1, ledger=1, code=1,
            )
            for d, c in zip(debit, credit, strict=True)
        ]  # fmt: skip


class Creates(Protocol):
    """Takes transfers: the engine, its client, a TigerBeetle."""

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """One result each, in order."""


async def closed_loop(ledger: Creates, calls: Calls, *, callers: int, each: int) -> Latencies:
    """So many callers, each of them so many transfers, one after the other."""
    found = Latencies()
    transfers = [calls.take(each) for _ in range(callers)]

    async def call(mine: list[Transfer]) -> None:
        for transfer in mine:
            began = time.perf_counter()
            (result,) = await ledger.create_transfers([transfer])
            found.ms.append((time.perf_counter() - began) * 1000)
            assert result.status is CreateTransferStatus.CREATED

    with collecting_as_served():
        began = time.perf_counter()
        await asyncio.gather(*(call(mine) for mine in transfers))
        found.rate = callers * each / (time.perf_counter() - began)
    return found


async def open_loop(ledger: Creates, calls: Calls, *, rate: int, seconds: int) -> Latencies:
    """So many arrivals a second; ``LedgerBusy`` drops a call."""
    found = Latencies()
    transfers = calls.take(rate * seconds)

    async def call(transfer: Transfer, meant_at: float) -> None:
        try:
            (result,) = await ledger.create_transfers([transfer])
        except LedgerBusy:
            found.dropped += 1
            return
        found.ms.append((time.perf_counter() - meant_at) * 1000)
        assert result.status is CreateTransferStatus.CREATED

    with collecting_as_served():
        await _arrive(transfers, call, rate, found)
    return found


async def _arrive(
    transfers: Sequence[Transfer],
    call: Callable[[Transfer, float], Coroutine[None, None, None]],
    rate: int,
    found: Latencies,
) -> None:
    """Let the calls come when they are due, and wait for the last answer."""
    began = time.perf_counter()
    arrived = 0
    async with asyncio.TaskGroup() as group:
        while arrived < len(transfers):
            due = min(int((time.perf_counter() - began) * rate) + 1, len(transfers))
            for number in range(arrived, due):
                group.create_task(call(transfers[number], began + number / rate))
            arrived = due
            await asyncio.sleep(TICK_SECONDS)
    found.rate = len(found.ms) / (time.perf_counter() - began)


def wanted(bench: Bench) -> bool:
    """Whether anything here was asked for."""
    return bench.wants("callers", "callers p99", "single", *_arrival_keys(bench))


def _arrival_keys(bench: Bench) -> list[str]:
    parts = ("p50", "p99", "dropped")
    return [f"arrivals {rate} {part}" for rate in bench.sizes.arrival_rates for part in parts]


async def measure(bench: Bench, ledger: Creates, url: str, ids: Ids) -> AsyncIterator[Row]:
    """The figures of small calls, beside bare INSERT."""
    sizes = bench.sizes
    calls = Calls(uniform(sizes.few_accounts, seed=4), ids)
    if bench.wants("callers", "callers p99", "single"):
        bench.report("one caller")
        single = await closed_loop(ledger, calls, callers=1, each=sizes.singles)
        bench.report(f"{sizes.callers} concurrent callers")
        many = await closed_loop(ledger, calls, callers=sizes.callers, each=sizes.calls)
        inserts_ms = await asyncio.to_thread(insert_latencies_ms, url, sizes.singles)
        yield bench.row("callers", many.rate, 1000 / statistics.fmean(inserts_ms))
        yield bench.row("callers p99", many.p99)
        yield bench.row("single", single.p50, statistics.median(inserts_ms))
    for rate in sizes.arrival_rates:
        if bench.wants(*(f"arrivals {rate} {part}" for part in ("p50", "p99", "dropped"))):
            bench.report(f"open loop at {rate:,}/s")
            found = await open_loop(ledger, calls, rate=rate, seconds=sizes.arrival_seconds)
            yield bench.row(f"arrivals {rate} p50", found.p50)
            yield bench.row(f"arrivals {rate} p99", found.p99)
            yield bench.row(f"arrivals {rate} dropped", found.dropped)
