"""Transfer logs: ERC-20 Transfer events of the watched tokens, fetched and decoded.

Above the finalized block logs are asked for by block hash, since an empty answer
to a range cannot be tied to a fork; at or below it by range. Every log must name
the hash of the header it belongs to. Where a header's bloom filter says that a
token may have logs and none came, the block is asked again by its hash, and that
answer stands: bloom filters have false positives, never false negatives.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import sha3

from chain.errors import RPCError, RPCMalformed
from chain.rpc import RPC, Call, Header, Log

TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""keccak256 of "Transfer(address,address,uint256)"."""
RANGE_BLOCKS_MAX = 2_000
"""Most blocks in one range query; several providers refuse more."""

_WORD_LENGTH = 66
_ADDRESS_PADDING = "0x" + "0" * 24
_PADDING_LENGTH = len(_ADDRESS_PADDING)
_HEX = b"0123456789abcdefx"
_METHOD = "eth_getLogs"


class TransferLog(msgspec.Struct, frozen=True, order=True, gc=False):
    """One Transfer event, in the column order of ``chain_transfer_log`` after the chain id."""

    block_number: int
    log_index: int
    block_hash: str
    tx_hash: str
    token: str
    from_address: str
    to_address: str
    value: int


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


async def prefetch_ranges(rpc: RPC, first: int, last: int, tokens: Sequence[str]) -> list[Log]:
    """Logs of final blocks ``first`` to ``last`` as the node gives them, not yet tied to any header.

    They may be asked for before the headers are known; ``fetch_transfer_logs`` ties them.
    """
    found: list[Log] = []
    for start in range(first, last + 1, RANGE_BLOCKS_MAX) if tokens else ():
        found += await _range(rpc, start, min(start + RANGE_BLOCKS_MAX - 1, last), tokens)
    return found


async def fetch_transfer_logs(
    rpc: RPC,
    blocks: Sequence[BlockKey],
    tokens: Sequence[str],
    finalized_number: int,
    *,
    ranges: list[Log] | None = None,
) -> list[TransferLog]:
    """Every Transfer of ``tokens`` in ``blocks`` (consecutive, ascending), in order.

    ``ranges`` are the answers for those at or below ``finalized_number``, where they
    are here already. Raises ``RPCMalformed`` if any log names another block hash than
    the header's; the caller drops the window, since the chain may have changed.
    """
    if not tokens or not blocks:
        return []
    final = [block for block in blocks if block.number <= finalized_number]
    rest = [block for block in blocks if block.number > finalized_number]
    if ranges is None:
        ranges = await prefetch_ranges(rpc, blocks[0].number, final[-1].number, tokens) if final else []
    watched = frozenset(tokens)
    logs = _decoded(ranges, {block.number: block.hash for block in final}, watched)
    logs += await _by_hash(rpc, rest, watched)
    holding = {log.block_number for log in logs}
    suspects = [block for block in final if block.number not in holding and _may_hold(block, tokens)]
    if suspects:
        logs += await _by_hash(rpc, suspects, watched)
        logs.sort()
    for block in blocks:
        if block.number in holding and not _may_hold(block, tokens):
            raise RPCMalformed(_METHOD, f"logs in block {block.number} that its bloom filter excludes")
    return logs


async def _by_hash(rpc: RPC, blocks: Sequence[BlockKey], watched: frozenset[str]) -> list[TransferLog]:
    tokens = sorted(watched)
    calls: list[Call] = [
        (_METHOD, [{"blockHash": block.hash, "address": tokens, "topics": [TRANSFER_TOPIC]}])
        for block in blocks
    ]
    answers = await rpc.read(calls, list[Log]) if calls else []
    for block, answer in zip(blocks, answers, strict=True):
        # Each answer speaks of its own block; together they are checked only as a whole.
        if any(log.block_hash != block.hash for log in answer):
            raise RPCMalformed(_METHOD, f"a log of another block than {block.hash}, which was asked for")
    hashes = {block.number: block.hash for block in blocks}
    return _decoded([log for answer in answers for log in answer], hashes, watched)


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


def _decoded(logs: Sequence[Log], hashes: dict[int, str], watched: frozenset[str]) -> list[TransferLog]:
    """The logs that are ERC-20 transfers, by hand slicing; each tied to its header's hash.

    Column by column, since a backfill has millions of them: a check of a whole column
    costs a fraction of the same check made log by log.
    """
    try:
        numbers = _tied_numbers(logs, hashes)
        # A node that ignores the filter, and ERC-721's Transfer, which has four
        # topics: neither is a transfer of our token.
        ours = [
            log
            for log in logs
            if log.topics.event == TRANSFER_TOPIC
            and not log.topics.third
            and log.topics.second
            and len(log.data) == _WORD_LENGTH
            and log.address.lower() in watched
        ]
        _check_words(ours)
        decoded = [
            TransferLog(
                numbers[log.block_number],
                int(log.log_index, 16),
                log.block_hash,
                log.transaction_hash,
                log.address.lower(),
                "0x" + log.topics.first[_PADDING_LENGTH:],
                "0x" + log.topics.second[_PADDING_LENGTH:],
                int(log.data, 16),
            )
            for log in ours
        ]
    except ValueError as error:
        raise RPCMalformed(_METHOD, f"a log that is not hex: {error}") from error
    # By number and index, which are the first two columns; mostly they are in order.
    decoded.sort()
    return decoded


def _tied_numbers(logs: Sequence[Log], hashes: dict[int, str]) -> dict[str, int]:
    """The blocks' numbers by their texts; each log must name the hash that its block's header has."""
    numbers = {}
    for text, block_hash in {(log.block_number, log.block_hash) for log in logs}:
        numbers[text] = int(text, 16)
        if hashes.get(numbers[text]) != block_hash:
            raise RPCMalformed(_METHOD, f"a log of block {block_hash}, which is not the header's")
    return numbers


def _check_words(logs: Sequence[Log]) -> None:
    """The logs' words have 32 bytes each, those that are addresses their padding, and all are hex.

    Nothing but lower-case hex may reach a table.
    """
    if not logs:
        return
    addresses = [log.topics.first for log in logs]
    addresses += [log.topics.second for log in logs]
    if {address[:_PADDING_LENGTH] for address in addresses} != {_ADDRESS_PADDING}:
        raise RPCMalformed(_METHOD, "a topic that is no address")
    hashes = [log.transaction_hash for log in logs]
    if set(map(len, addresses)) | set(map(len, hashes)) != {_WORD_LENGTH}:
        raise RPCMalformed(_METHOD, "a word that has not 32 bytes")
    numbers = [log.data for log in logs] + [log.log_index for log in logs]
    if {word[:2] for word in hashes} | {number[:2] for number in numbers} != {"0x"}:
        raise RPCMalformed(_METHOD, "a number that does not begin with 0x")
    if "".join([*addresses, *hashes, *numbers]).encode().translate(None, _HEX):
        raise RPCMalformed(_METHOD, "a text that is not lower-case hex")


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
