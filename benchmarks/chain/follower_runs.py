"""The follower into PostgreSQL, beside a bare fetch of the same logs from the same node.

The bare fetch asks for the same logs in the same ranges over one connection that is
kept, and does nothing with the bytes. It is done before and after the follower, and
both together are the baseline, since other work on the machine comes and goes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from benchmarks.chain.busy_chain import CHAIN_ID, TOKEN, Node, fresh_node, make_events
from benchmarks.chain.sizes import Sizes
from benchmarks.laboratory import fresh_database
from chain.follower import WINDOW_BLOCKS, FollowerConfig, FollowReport, follow_once, follow_to_head
from chain.rpc import RPC, Call
from chain.transfer_columns import TRANSFER_TOPIC
from foundation.clock import SystemClock
from foundation.database import Database
from ops.bench import Options, Row, Target

RATE = "events/s"
FINAL = "follower, final blocks by range"
BESIDE = "the same, beside the bare fetch of the logs"
YOUNG = "follower, blocks above finality by hash, beside the bare fetch"

HASHES_AT_ONCE = 100
"""Blocks whose logs the bare fetch asks for in one request by hash, as the follower does."""


async def measure(sizes: Sizes, options: Options) -> AsyncIterator[Row]:
    """The rows that were asked for."""
    if options.wants(FINAL) or options.wants(BESIDE):
        rate, bare = await _rates(sizes.final_blocks, sizes.events_each, options, final=True)
        yield Row(FINAL, rate, RATE, target=Target(50_000))
        yield Row(BESIDE, rate, RATE, bare, Target(0.35, of_ratio=True))
    if options.wants(YOUNG):
        rate, bare = await _rates(sizes.young_blocks, sizes.events_each, options, final=False)
        yield Row(YOUNG, rate, RATE, bare)


async def _rates(blocks: int, each: int, options: Options, *, final: bool) -> tuple[float, float]:
    """Events a second of the follower, and of the bare fetch."""
    # With so long an epoch nothing becomes final while we look.
    with fresh_node(epoch_slots=1 if final else 10 * blocks) as node, fresh_database() as url:
        make_events(node, blocks=blocks, each=each, report=options.report)
        options.report("fetching")
        calls = _ranges(blocks) if final else _by_hash(node, blocks)
        bare = _bare_seconds(node, calls)
        options.report("following")
        seconds, report = await _follow(node, url)
        bare += _bare_seconds(node, calls)
    events = blocks * each
    if report.logs_added == 0 or report.head != blocks:
        raise AssertionError(f"the follower has not followed: {report}")
    return report.logs_added / seconds, 2 * events / bare


async def _follow(node: Node, url: str) -> tuple[float, FollowReport]:
    """Seconds from the mirror's first block to the node's head, and what was done in them."""
    database, rpc = Database(url), RPC(node.url)
    config = FollowerConfig(CHAIN_ID, (TOKEN,))
    try:
        # The first block, which has no events: it connects, and prepares what is prepared once.
        await follow_once(database, rpc, config, SystemClock())
        began = time.perf_counter()
        report = await follow_to_head(database, rpc, config, SystemClock())
        return time.perf_counter() - began, report
    finally:
        await rpc.close()
        await database.close()


def _bare_seconds(node: Node, calls: Sequence[Sequence[Call]]) -> float:
    began = time.perf_counter()
    for batch in calls:
        node.post(
            [
                {"jsonrpc": "2.0", "id": index, "method": method, "params": list(params)}
                for index, (method, params) in enumerate(batch)
            ]
        )
    return time.perf_counter() - began


def _ranges(blocks: int) -> list[list[Call]]:
    filters = {"address": [TOKEN], "topics": [TRANSFER_TOPIC]}
    return [
        [("eth_getLogs", ({"fromBlock": hex(first), "toBlock": hex(last), **filters},))]
        for first in range(1, blocks + 1, WINDOW_BLOCKS)
        for last in [min(first + WINDOW_BLOCKS - 1, blocks)]
    ]


def _by_hash(node: Node, blocks: int) -> list[list[Call]]:
    filters = {"address": [TOKEN], "topics": [TRANSFER_TOPIC]}
    hashes = [
        node.call("eth_getBlockByNumber", hex(number), False)["hash"] for number in range(1, blocks + 1)
    ]
    return [
        [("eth_getLogs", ({"blockHash": one, **filters},)) for one in hashes[first : first + HASHES_AT_ONCE]]
        for first in range(0, blocks, HASHES_AT_ONCE)
    ]
