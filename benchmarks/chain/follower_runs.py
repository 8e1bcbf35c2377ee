"""The follower into PostgreSQL, beside a bare fetch of the same logs from the same node.

The bare fetch asks for the same logs in the same ranges over one connection that is
kept, and does nothing with the bytes; a raw client takes the events out of them as well,
with the fastest decoder at hand, and drops them. Neither asks for a header, checks
anything or stores anything. Both are done before and after the follower, and the two
times together are the baseline, since other work on the machine comes and goes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.chain.busy_chain import CHAIN_ID, TOKEN, Node, fresh_node, make_events
from benchmarks.chain.sizes import Sizes
from benchmarks.laboratory import fresh_database
from chain.follower import FollowerConfig, FollowReport, follow_once, follow_to_head
from chain.rpc import RPC, Call
from chain.transfer_columns import TRANSFER_TOPIC
from chain.transfer_logs import RANGE_BLOCKS_MAX
from foundation.clock import SystemClock
from foundation.database import Database
from ops.bench import Options, Row, Target

RATE = "events/s"
FINAL = "follower, final blocks by range"
BESIDE = "the same, beside the bare fetch of the logs"
PARSED = "the same, beside a raw client that takes the events out of them"
YOUNG = "follower, blocks above finality by hash, beside the bare fetch"
YOUNG_PARSED = "the same by hash, beside a raw client that takes the events out of them"

HASHES_AT_ONCE = 100
"""Blocks whose logs the bare fetch asks for in one request by hash, as the follower does."""


class _Event(msgspec.Struct, rename="camel", gc=False):
    """What a raw client keeps of a log."""

    address: str
    topics: list[str]
    data: str
    block_hash: str
    block_number: str
    transaction_hash: str
    log_index: str


class _Answer(msgspec.Struct, gc=False):
    result: list[_Event]


_EVENTS = msgspec.json.Decoder(list[_Answer])


@dataclass(frozen=True)
class Rates:
    """Events a second."""

    follower: float
    bare: float
    """Of the bare fetch."""
    parsed: float
    """Of the raw client."""


async def measure(sizes: Sizes, options: Options) -> AsyncIterator[Row]:
    """The rows that were asked for."""
    if any(map(options.wants, (FINAL, BESIDE, PARSED))):
        rates = await _rates(sizes.final_blocks, sizes.events_each, options, final=True)
        yield Row(FINAL, rates.follower, RATE, target=Target(50_000))
        yield Row(BESIDE, rates.follower, RATE, rates.bare, Target(0.35, of_ratio=True))
        yield Row(PARSED, rates.follower, RATE, rates.parsed)
    if any(map(options.wants, (YOUNG, YOUNG_PARSED))):
        rates = await _rates(sizes.young_blocks, sizes.events_each, options, final=False)
        yield Row(YOUNG, rates.follower, RATE, rates.bare)
        yield Row(YOUNG_PARSED, rates.follower, RATE, rates.parsed)


async def _rates(blocks: int, each: int, options: Options, *, final: bool) -> Rates:
    """Events a second of the follower, and of both that it is measured beside."""
    # With so long an epoch nothing becomes final while we look.
    with fresh_node(epoch_slots=1 if final else 10 * blocks) as node, fresh_database() as url:
        make_events(node, blocks=blocks, each=each, report=options.report)
        calls = _ranges(blocks) if final else _by_hash(node, blocks)
        options.report("fetching")
        bare, parsed = _bare_seconds(node, calls), _parsed_seconds(node, calls, blocks * each)
        options.report("following")
        seconds, report = await _follow(node, url)
        options.report("fetching again")
        parsed += _parsed_seconds(node, calls, blocks * each)
        bare += _bare_seconds(node, calls)
    events = blocks * each
    if report.logs_added != events or report.head != blocks:
        raise AssertionError(f"the follower has not followed: {report}")
    return Rates(events / seconds, 2 * events / bare, 2 * events / parsed)


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
        node.post(_asked(batch))
    return time.perf_counter() - began


def _parsed_seconds(node: Node, calls: Sequence[Sequence[Call]], events: int) -> float:
    found, began = 0, time.perf_counter()
    for batch in calls:
        found += sum(len(answer.result) for answer in _EVENTS.decode(node.post(_asked(batch))))
    seconds = time.perf_counter() - began
    if found != events:
        raise AssertionError(f"{found} events where there are {events}")
    return seconds


def _asked(batch: Sequence[Call]) -> list[dict[str, Any]]:
    return [
        {"jsonrpc": "2.0", "id": index, "method": method, "params": list(params)}
        for index, (method, params) in enumerate(batch)
    ]


def _ranges(blocks: int) -> list[list[Call]]:
    filters = {"address": [TOKEN], "topics": [TRANSFER_TOPIC]}
    return [
        [("eth_getLogs", ({"fromBlock": hex(first), "toBlock": hex(last), **filters},))]
        for first in range(1, blocks + 1, RANGE_BLOCKS_MAX)
        for last in [min(first + RANGE_BLOCKS_MAX - 1, blocks)]
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
