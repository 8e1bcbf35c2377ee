"""The chain's side: how fast blocks are followed into PostgreSQL, and both books compared.

The node is an anvil on the same machine and PostgreSQL a server on the same disk, so
the figures share two cores with what they are measured beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import uvloop

from benchmarks.chain import follower_runs, reconciliation_runs
from benchmarks.chain.sizes import FULL, QUICK, Sizes
from ops.bench import Benchmark, Options, Row


def chain(options: Options) -> Iterator[Row]:
    """The follower beside a bare fetch of the same logs, and reconciliation of many addresses."""
    yield from measure(QUICK if options.quick else FULL, options)


def measure(sizes: Sizes, options: Options) -> Iterator[Row]:
    """Everything that was asked for, at these sizes."""
    # The loop that the processes run on.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for group in (follower_runs.measure, reconciliation_runs.measure):
            rows: AsyncIterator[Row] = group(sizes, options)
            while (row := runner.run(anext(rows, None))) is not None:
                yield row


BENCHMARKS: dict[str, Benchmark] = {"chain": chain}
