"""Transfer logs: ERC-20 Transfer events of the watched tokens, fetched and decoded.

Above the finalized block logs are asked for by block hash, since an empty answer
to a range cannot be tied to a fork; at or below it by range. Every log must name
the hash of the header it belongs to. Where a header's bloom filter says that a
token may have logs and none came, the block is asked again by its hash, and that
answer stands: bloom filters have false positives, never false negatives.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sha3

from chain.errors import RPCError, RPCMalformed
from chain.rpc import RPC, Call, Header, Log
from chain.transfer_columns import NO_LOGS, TRANSFER_TOPIC, TransferLogs, joined, transfer_logs

RANGE_BLOCKS_MAX = 100
"""Most blocks in one range query: providers refuse 2,000 or more, and small answers are read faster."""

LOGS_AT_ONCE = 1_000
"""Logs taken apart before others have their turn: a millisecond or two."""

_METHOD = "eth_getLogs"


class BlockKey(NamedTuple):
    """What ties logs to their block: its number, hash and bloom filter."""

    number: int
    hash: str
    bloom: int


def block_key(header: Header) -> BlockKey:
    """The key of a header that a node gave."""
    try:
        return BlockKey(header.height, header.hash, int(header.logs_bloom, 16))
    except ValueError as error:
        raise RPCMalformed("eth_getBlockByNumber", "a bloom filter that is not hex") from error


async def prefetch_ranges(rpc: RPC, first: int, last: int, tokens: Sequence[str]) -> TransferLogs:
    """Logs of final blocks ``first`` to ``last`` as the node gives them, not yet tied to any header.

    They may be asked for before the headers are known; ``fetch_transfer_logs`` ties them.
    Each answer is taken apart before the next is read.
    """
    watched, parts = frozenset(tokens), []
    for start in range(first, last + 1, RANGE_BLOCKS_MAX) if tokens else ():
        logs = await _range(rpc, start, min(start + RANGE_BLOCKS_MAX - 1, last), tokens)
        parts.append(await _taken_apart(logs, watched))
    return joined(parts)


async def _taken_apart(logs: Sequence[Log], watched: frozenset[str]) -> TransferLogs:
    """The transfers among the logs, with turns for others between.

    A window is written meanwhile: PostgreSQL takes what a socket holds in some three
    milliseconds and then waits until we send more.
    """
    parts = []
    for first in range(0, len(logs), LOGS_AT_ONCE):
        await asyncio.sleep(0)
        parts.append(transfer_logs(logs[first : first + LOGS_AT_ONCE], watched))
    return joined(parts)


async def transfers_by_hash(rpc: RPC, hashes: Mapping[int, str], tokens: Sequence[str]) -> TransferLogs:
    """Every Transfer of ``tokens`` in the blocks of these hashes, by number. Raises the RPC's errors."""
    blocks = [BlockKey(number, block_hash, 0) for number, block_hash in sorted(hashes.items())]
    return await _by_hash(rpc, blocks, frozenset(tokens))


async def fetch_transfer_logs(
    rpc: RPC,
    blocks: Sequence[BlockKey],
    tokens: Sequence[str],
    finalized_number: int,
    *,
    ranges: TransferLogs | None = None,
) -> TransferLogs:
    """Every Transfer of ``tokens`` in ``blocks`` (consecutive, ascending), in order.

    ``ranges`` are the answers for those at or below ``finalized_number``, where they
    are here already. Raises ``RPCMalformed`` if any log names another block hash than
    the header's; the caller drops the window, since the chain may have changed.
    """
    if not tokens or not blocks:
        return NO_LOGS
    final = [block for block in blocks if block.number <= finalized_number]
    rest = [block for block in blocks if block.number > finalized_number]
    if ranges is None:
        ranges = NO_LOGS
        if final:
            ranges = await prefetch_ranges(rpc, final[0].number, final[-1].number, tokens)
    watched = frozenset(tokens)
    _check_blocks(ranges, final)
    logs = joined([ranges, await _by_hash(rpc, rest, watched)])
    holding = logs.holding()
    suspects = [block for block in final if block.number not in holding and _may_hold(block, tokens)]
    if suspects:
        logs = joined([logs, await _by_hash(rpc, suspects, watched)])
    for block in blocks:
        if block.number in holding and not _may_hold(block, tokens):
            raise RPCMalformed(_METHOD, f"logs in block {block.number} that its bloom filter excludes")
    return logs


def _check_blocks(logs: TransferLogs, blocks: Sequence[BlockKey]) -> None:
    """Each block that a log names must be one of these, with the hash that its header has."""
    hashes = {block.number: block.hash for block in blocks}
    for number, block_hash in logs.blocks.items():
        if hashes.get(number) != block_hash:
            raise RPCMalformed(_METHOD, f"a log of block {block_hash}, which is not the header's")


async def _by_hash(rpc: RPC, blocks: Sequence[BlockKey], watched: frozenset[str]) -> TransferLogs:
    tokens = sorted(watched)
    calls: list[Call] = [
        (_METHOD, [{"blockHash": block.hash, "address": tokens, "topics": [TRANSFER_TOPIC]}])
        for block in blocks
    ]
    answers = await rpc.read(calls, list[Log]) if calls else []
    for block, answer in zip(blocks, answers, strict=True):
        # Each answer speaks of its own block; together they are checked only as a whole.
        if not {log.block_hash for log in answer} <= {block.hash}:
            raise RPCMalformed(_METHOD, f"a log of another block than {block.hash}, which was asked for")
    logs = await _taken_apart([log for answer in answers for log in answer], watched)
    _check_blocks(logs, blocks)
    return logs


async def _range(rpc: RPC, first: int, last: int, tokens: Sequence[str]) -> list[Log]:
    query = {
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "address": list(tokens),
        "topics": [TRANSFER_TOPIC],
    }
    try:
        return (await rpc.read([(_METHOD, [query])], list[Log]))[0]
    except RPCError:
        # Providers refuse ranges with too many results, each with its own code
        # and words; a single block that is refused is a true error.
        if first == last:
            raise
        middle = (first + last) // 2
        return await _range(rpc, first, middle, tokens) + await _range(rpc, middle + 1, last, tokens)


def _may_hold(block: BlockKey, tokens: Sequence[str]) -> bool:
    return any(block.bloom & mask == mask for mask in map(_bloom_mask, tokens))


@functools.cache
def _bloom_mask(token: str) -> int:
    """Bits that a block's bloom filter has if it holds a Transfer of ``token``."""
    mask = 0
    for item in (bytes.fromhex(token[2:]), bytes.fromhex(TRANSFER_TOPIC[2:])):
        digest = sha3.keccak_256(item).digest()
        for offset in (0, 2, 4):
            mask |= 1 << (int.from_bytes(digest[offset : offset + 2], "big") & 2047)
    return mask
