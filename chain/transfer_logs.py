"""Transfer logs: ERC-20 Transfer events of the watched tokens, fetched and decoded.

Above the finalized block logs are asked for by block hash, since an empty answer
to a range cannot be tied to a fork; at or below it by range. Every log must name
the hash of the header it belongs to. Where a header's bloom filter says that a
token may have logs and none came, the block is asked again by its hash, and that
answer stands: bloom filters have false positives, never false negatives.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
_HEX = re.compile("[0-9a-fx]*")
_TOPIC_COUNT = 3
_METHOD = "eth_getLogs"


class TransferLog(NamedTuple):
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
    return BlockKey(header.height, header.hash, int(header.logs_bloom, 16))


async def fetch_transfer_logs(
    rpc: RPC, blocks: Sequence[BlockKey], tokens: Sequence[str], finalized_number: int
) -> list[TransferLog]:
    """Every Transfer of ``tokens`` in ``blocks`` (consecutive, ascending), in order.

    Raises ``RPCMalformed`` if any log names another block hash than the header's;
    the caller drops the window, since the chain may have changed meanwhile.
    """
    if not tokens:
        return []
    final = [block for block in blocks if block.number <= finalized_number]
    rest = [block for block in blocks if block.number > finalized_number]
    by_number: dict[int, list[TransferLog]] = {}
    for first in range(0, len(final), RANGE_BLOCKS_MAX):
        by_number |= await _by_range(rpc, final[first : first + RANGE_BLOCKS_MAX], tokens)
    by_number |= await _by_hash(rpc, rest, tokens)
    suspects = [block for block in final if not by_number.get(block.number) and _may_hold(block, tokens)]
    by_number |= await _by_hash(rpc, suspects, tokens)
    for block in blocks:
        if by_number.get(block.number) and not _may_hold(block, tokens):
            raise RPCMalformed(_METHOD, f"logs in block {block.number} that its bloom filter excludes")
    return [log for block in blocks for log in by_number.get(block.number, ())]


async def _by_hash(
    rpc: RPC, blocks: Sequence[BlockKey], tokens: Sequence[str]
) -> dict[int, list[TransferLog]]:
    if not blocks:
        return {}
    calls: list[Call] = [
        (_METHOD, [{"blockHash": block.hash, "address": list(tokens), "topics": [TRANSFER_TOPIC]}])
        for block in blocks
    ]
    answers = await rpc.read(calls, list[Log])
    watched = frozenset(tokens)
    return {
        block.number: _decoded(answer, {block.number: block.hash}, watched)
        for block, answer in zip(blocks, answers, strict=True)
    }


async def _by_range(
    rpc: RPC, blocks: Sequence[BlockKey], tokens: Sequence[str]
) -> dict[int, list[TransferLog]]:
    query = {
        "fromBlock": hex(blocks[0].number),
        "toBlock": hex(blocks[-1].number),
        "address": list(tokens),
        "topics": [TRANSFER_TOPIC],
    }
    try:
        answer = (await rpc.read([(_METHOD, [query])], list[Log]))[0]
    except RPCError:
        # Providers refuse ranges with too many results, each with its own code
        # and words; a single block that is refused is a true error.
        if len(blocks) == 1:
            raise
        middle = len(blocks) // 2
        return await _by_range(rpc, blocks[:middle], tokens) | await _by_range(rpc, blocks[middle:], tokens)
    hashes = {block.number: block.hash for block in blocks}
    found: dict[int, list[TransferLog]] = {}
    for log in _decoded(answer, hashes, frozenset(tokens)):
        found.setdefault(log.block_number, []).append(log)
    return found


def _decoded(logs: Iterable[Log], hashes: dict[int, str], watched: frozenset[str]) -> list[TransferLog]:
    """The logs that are ERC-20 transfers, by hand slicing; each tied to its header's hash."""
    decoded = []
    try:
        for log in logs:
            topics = log.topics
            number = int(log.block_number, 16)
            if hashes.get(number) != log.block_hash:
                raise RPCMalformed(_METHOD, f"a log of block {log.block_hash}, which is not the header's")
            token = log.address.lower()
            # A node that ignores the filter, and ERC-721's Transfer, which has four
            # topics: neither is a transfer of our token.
            if token not in watched or len(topics) != _TOPIC_COUNT or topics[0] != TRANSFER_TOPIC:
                continue
            if len(log.data) != _WORD_LENGTH:
                continue
            decoded.append(
                TransferLog(
                    number,
                    int(log.log_index, 16),
                    log.block_hash,
                    log.transaction_hash,
                    token,
                    "0x" + topics[1][_PADDING_LENGTH:],
                    "0x" + topics[2][_PADDING_LENGTH:],
                    int(log.data, 16),
                )
            )
            _check_words(log)
    except ValueError as error:
        raise RPCMalformed(_METHOD, f"a log that is not hex: {error}") from error
    _check_texts(decoded)
    decoded.sort(key=lambda log: (log.block_number, log.log_index))
    return decoded


def _check_words(log: Log) -> None:
    """The log's words have 32 bytes each, and those that are addresses their padding."""
    _, sender, receiver = log.topics
    if not (len(log.transaction_hash) == len(sender) == len(receiver) == _WORD_LENGTH):
        raise RPCMalformed(_METHOD, "a word that has not 32 bytes")
    if not (sender.startswith(_ADDRESS_PADDING) and receiver.startswith(_ADDRESS_PADDING)):
        raise RPCMalformed(_METHOD, "a topic that is no address")
    if not (log.data.startswith("0x") and log.log_index.startswith("0x")):
        raise RPCMalformed(_METHOD, "a number that does not begin with 0x")


def _check_texts(logs: Sequence[TransferLog]) -> None:
    """Nothing but lower-case hex may reach a table: all texts are looked at in one pass."""
    texts = "".join([text for log in logs for text in (log.tx_hash, log.from_address, log.to_address)])
    if not _HEX.fullmatch(texts):
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
