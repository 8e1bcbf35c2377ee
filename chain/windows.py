"""Windows: consecutive blocks with their logs, as a node gives them, proven to hang together.

A window is taken whole or not at all: each block follows the one before it, and each
log belongs to its block's hash. Where that does not hold the chain changed meanwhile,
or several nodes answered: then it is unavailable, and its caller looks again from the
start. Several windows are fetched at a time, for the node works on one while the
last is read and the one before is written; they are given in order, each linked to
the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from chain.errors import RPCMalformed, RPCUnavailable
from chain.rpc import RPC, Call, Header
from chain.transfer_columns import TransferLogs
from chain.transfer_logs import block_key, fetch_transfer_logs, prefetch_ranges

GET_BLOCK = "eth_getBlockByNumber"
"""The method that answers headers."""
WINDOWS_AT_ONCE = 3
"""Windows that are fetched ahead; each is in memory, so they are few."""


@dataclass(frozen=True, slots=True)
class Window:
    """Blocks ``headers`` and every watched Transfer in them, in order."""

    headers: list[Header]
    logs: TransferLogs


async def linked_windows(
    rpc: RPC,
    tokens: Sequence[str],
    *,
    head: tuple[int, str],
    last: int,
    final_number: int,
    window_blocks: int,
) -> AsyncGenerator[Window]:
    """Windows of the blocks after ``head`` (number and hash) up to ``last``, each linked to the one before.

    Raises the RPC's errors, when all windows before the one that failed were given.
    Closing it ends what is still being fetched.
    """
    coming: deque[asyncio.Task[Window]] = deque()
    first, parent_hash = head[0] + 1, head[1]
    try:
        while coming or first <= last:
            while first <= last and len(coming) < WINDOWS_AT_ONCE:
                end = min(first + window_blocks - 1, last)
                fetching = fetch_window(rpc, tokens, first=first, last=end, final_number=final_number)
                coming.append(asyncio.create_task(fetching))
                first = end + 1
            window = await coming[0]
            coming.popleft()
            check_links(parent_hash, window.headers[:1])
            parent_hash = window.headers[-1].hash
            yield window
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


async def fetch_window(
    rpc: RPC, tokens: Sequence[str], *, first: int, last: int, final_number: int
) -> Window:
    """Blocks ``first`` to ``last``, linked among themselves.

    ``final_number`` is the last block that no reorg takes away: at or below it logs
    are asked for by range, at the same time as the headers that they must fit.
    Raises the RPC's errors.
    """
    ranges = asyncio.create_task(prefetch_ranges(rpc, first, min(last, final_number), tokens))
    try:
        headers = await fetch_headers(rpc, first, last)
        found = await ranges
    finally:
        ranges.cancel()
        await asyncio.gather(ranges, return_exceptions=True)
    check_links(headers[0].parent_hash, headers)
    keys = [block_key(header) for header in headers]
    logs = await fetch_transfer_logs(rpc, keys, tokens, final_number, ranges=found)
    return Window(headers, logs)


async def fetch_headers(rpc: RPC, first: int, last: int) -> list[Header]:
    """Headers by number, all of them; a null is retried and then unavailable."""
    numbers = range(first, last + 1)
    calls: list[Call] = [(GET_BLOCK, (hex(number), False)) for number in numbers]
    headers = await rpc.read(calls, Header)
    for number, header in zip(numbers, headers, strict=True):
        if header.height != number:
            raise RPCMalformed(GET_BLOCK, f"block {header.height} where {number} was asked for")
    return headers


def check_links(parent_hash: str, headers: Sequence[Header]) -> None:
    """Each header's parent is the one before it, the first one's ``parent_hash``."""
    parent = parent_hash
    for header in headers:
        if header.parent_hash != parent:
            # The chain changed between the look and the fetch, or two nodes
            # answered: the next step compares again from the start.
            raise RPCUnavailable(GET_BLOCK, f"block {header.height} does not follow", outcome_unknown=False)
        parent = header.hash
