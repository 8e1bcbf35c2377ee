"""Sides: the ledgers that are compared, each started or reached, and let go of afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from benchmarks.conformance.run import Conformance, OtherLedger
from benchmarks.laboratory import fresh_database
from benchmarks.ledger.process_runs import connected, ledger_process
from benchmarks.tigerbeetle import TigerBeetle
from foundation.clock import Clock, SystemClock
from ledger.chart import open_system_accounts
from ledger.contract import QueryFilter
from ledger.engine import LedgerEngine
from ops.errors import OperationError


@contextlib.asynccontextmanager
async def our_engine(clock: Clock, *, with_system_accounts: bool) -> AsyncIterator[LedgerEngine]:
    """An engine here on an empty database, with the accounts that a ledger process opens, if asked."""
    with fresh_database() as url:
        engine = await LedgerEngine.start(url, clock)
        try:
            if with_system_accounts:
                await open_system_accounts(engine)
            yield engine
        finally:
            await engine.close()


@contextlib.asynccontextmanager
async def our_process() -> AsyncIterator[OtherLedger]:
    """A ledger process on an empty database, through its client and its socket."""
    with fresh_database() as url:
        async with ledger_process(url) as process, connected(process.address) as client:
            yield client


@contextlib.asynccontextmanager
async def tigerbeetle(address: str, cluster: int) -> AsyncIterator[OtherLedger]:
    """A running TigerBeetle; ``OperationError`` when it is not there, or its cluster is not empty."""
    theirs = await TigerBeetle.connect(address, cluster)
    try:
        if await theirs.query_accounts(QueryFilter(limit=1)):
            raise OperationError(
                f"The TigerBeetle at {address} holds accounts",
                "Compare with an empty cluster: format a new data file and start it.",
            )
        yield theirs
    finally:
        await theirs.close()


async def conform(
    *, seed: int, events: int, address: str | None, cluster: int, report: Callable[[str], None]
) -> Conformance:
    """Compare our engine with a TigerBeetle, or without an address with our own ledger process.

    Raises the first :class:`benchmarks.conformance.run.Difference`.
    """
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        report("starting both ledgers")
        other = our_process() if address is None else tigerbeetle(address, cluster)
        theirs = await stack.enter_async_context(other)
        ours = await stack.enter_async_context(our_engine(clock, with_system_accounts=address is None))
        run = Conformance(seed, ours, theirs, clock, report=report)
        await run.run(events)
        return run
