"""Bulk runs: batches sent to a ledger with a few on their way at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from benchmarks.ledger.workloads import Records
from ledger.contract import CREATED

WINDOW = 4
"""Requests on their way at a time: one that commits, one that is decided, and those on the wire."""

Batch = TypeVar("Batch", bound=Sized)

Send = Callable[[Batch], Awaitable[int]]
"""Sends a batch; gives how many of its transfers were refused."""


class BulkLedger(Protocol):
    """Takes packed transfers: the engine in process, and its client."""

    async def create_transfer_records(self, records: Records) -> Records:
        """``TRANSFER_DTYPE`` in, ``RESULT_DTYPE`` out."""


def packed(ledger: BulkLedger) -> Send[Records]:
    """Sends packed batches to a ledger."""

    async def send(batch: Records) -> int:
        results = await ledger.create_transfer_records(batch)
        return int((results["status"] != CREATED).sum())

    return send


@dataclass
class BulkRun:
    """What a run did, and when."""

    began: float = field(default_factory=time.perf_counter)
    transfers: int = 0
    refused: int = 0
    marks: list[tuple[int, float]] = field(default_factory=list)
    """After each answer: transfers that were answered so far, and the time."""

    @property
    def seconds(self) -> float:
        """How long it took, up to the last answer."""
        return self.marks[-1][1] - self.began

    @property
    def rate(self) -> float:
        """Transfers a second."""
        return self.transfers / self.seconds

    def rate_between(self, first: int, last: int) -> float:
        """The same from one number of transfers to another."""
        start = max((mark for mark in self.marks if mark[0] <= first), default=(0, self.began))
        end = min(mark for mark in self.marks if mark[0] >= last)
        return (end[0] - start[0]) / (end[1] - start[1])


async def run_batches(
    senders: Sequence[Send[Batch]],
    batches: Iterable[Batch],
    *,
    refusals_a_batch: int = 0,
    progress: Callable[[int], None] | None = None,
) -> BulkRun:
    """Send the batches in order; where they are made on the fly, making them is timed too.

    Several senders are connections to the same ledger, used in turn. Fails when more
    or less was refused than expected: such a run measured something else.
    """
    window = asyncio.Semaphore(WINDOW)
    run = BulkRun()
    expected = 0

    async def submit(send: Send[Batch], batch: Batch) -> None:
        try:
            refused = await send(batch)
        finally:
            window.release()
        run.transfers += len(batch)
        run.refused += refused
        run.marks.append((run.transfers, time.perf_counter()))
        if progress is not None:
            progress(run.transfers)

    async with asyncio.TaskGroup() as group:
        for number, batch in enumerate(batches):
            await window.acquire()
            expected += refusals_a_batch
            group.create_task(submit(senders[number % len(senders)], batch))
    assert run.refused == expected, f"{run.refused} transfers were refused, not {expected}"
    return run
