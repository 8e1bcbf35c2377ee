"""Transfer columns: many ERC-20 Transfer events, column by column, and as rows of a binary COPY.

A backfill has millions of logs. A check of a whole column costs a fraction of the same
check made log by log, and a table of rows of one width is filled without an object for
each. Nothing but lower-case hex of the right length gets in here; whether the blocks
are the chain's own is for the caller to see, by ``blocks``.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chain.errors import RPCMalformed
from chain.rpc import Log

TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""keccak256 of "Transfer(address,address,uint256)"."""
COLUMNS: Final = (
    "chain_id", "block_number", "log_index", "block_hash", "tx_hash",
    "token", "from_address", "to_address", "value",
)  # fmt: skip
"""Columns of ``chain_transfer_log`` in the order of the rows."""

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

_METHOD = "eth_getLogs"
_WORD = 66
"""Characters of 32 bytes as hex, ``0x`` included."""
_ADDRESS = 42
_PADDING = np.frombuffer(b"0x" + b"0" * 24, np.uint8)
"""How an address begins that is a word."""
_HEX = b"0123456789abcdefx"
_INDEX_MAX = 2**31 - 1
"""No block has so many logs."""

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Texts = NDArray[np.bytes_]


def _row(digits: int) -> np.dtype[np.void]:
    """A row in PostgreSQL's binary form whose value has so many digits, which are in base 10,000."""
    number, word, address = ">i8", f"S{_WORD}", f"S{_ADDRESS}"
    numeric = [("digit_count", ">i2"), ("weight", ">i2"), ("sign", ">i2"), ("scale", ">i2")]
    value = np.dtype([*numeric, ("digits", ">i2", (digits,))])
    types: list[Any] = [number, number, number, word, word, address, address, address, value]
    row: list[Any] = [("column_count", ">i2")]
    for name, kind in zip(COLUMNS, types, strict=True):
        row += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(row)


NARROW = _row(5)
"""For values of 64 bits, which have at most 20 decimal digits."""
WIDE = _row(20)
"""For any value of 256 bits, which has at most 78. Leading zeros are PostgreSQL's to drop."""


@dataclass(frozen=True, slots=True)
class TransferLogs:
    """Transfer events of watched tokens; those at one place of each column are one event."""

    blocks: dict[int, str]
    """Number and hash of each block that a log was given for, whether it is a transfer or not."""
    numbers: Integers
    """Block numbers."""
    indices: Integers
    """Indices of the logs in their blocks."""
    tx_hashes: Texts
    tokens: Texts
    from_addresses: Texts
    to_addresses: Texts
    values: Texts
    """Token units as words of hex."""

    def __len__(self) -> int:
        return len(self.numbers)

    def holding(self) -> set[int]:
        """Numbers of the blocks that have any."""
        return set(np.unique(self.numbers).tolist())

    def rows(self, chain_id: int) -> NDArray[np.void]:
        """The rows of ``chain_transfer_log``."""
        words = np.frombuffer(binascii.unhexlify(_characters(self.values)[:, 2:].tobytes()), ">u8")
        quarters = words.reshape(-1, 4)
        narrow = not quarters[:, :3].any()
        rows = np.zeros(len(self), NARROW if narrow else WIDE)
        rows["column_count"] = len(COLUMNS)
        for name in COLUMNS:
            rows[f"{name}_length"] = rows.dtype[name].itemsize
        rows["chain_id"] = chain_id
        rows["block_number"], rows["log_index"] = self.numbers, self.indices
        rows["block_hash"] = self._block_hashes()
        rows["tx_hash"], rows["token"] = self.tx_hashes, self.tokens
        rows["from_address"], rows["to_address"] = self.from_addresses, self.to_addresses
        digits = _digits_of_64_bits(quarters[:, 3]) if narrow else _digits(self.values)
        rows["value"]["digit_count"] = digits.shape[1]
        rows["value"]["weight"] = digits.shape[1] - 1
        rows["value"]["digits"] = digits
        return rows

    def fields(self, chain_id: int) -> list[dict[str, Any]]:
        """The same as values for an INSERT, each row by its columns' names."""
        values = [int(word, 16) for word in self.values.tolist()]
        numbers = (self.numbers.tolist(), self.indices.tolist())
        texts = (
            [text.decode() for text in column.tolist()]
            for column in (
                self._block_hashes(), self.tx_hashes, self.tokens, self.from_addresses, self.to_addresses,
            )
        )  # fmt: skip
        return [
            dict(zip(COLUMNS, (chain_id, *row), strict=True))
            for row in zip(*numbers, *texts, values, strict=True)
        ]

    def _block_hashes(self) -> Texts:
        held, positions = np.unique(self.numbers, return_inverse=True)
        hashes = np.array([self.blocks[number] for number in held.tolist()], f"S{_WORD}")
        return hashes[positions]


_NO_INTEGERS: Integers = np.zeros(0, np.int64)
_NO_WORDS: Texts = np.zeros(0, f"S{_WORD}")
_NO_ADDRESSES: Texts = np.zeros(0, f"S{_ADDRESS}")
NO_LOGS = TransferLogs(
    {}, _NO_INTEGERS, _NO_INTEGERS, _NO_WORDS, _NO_ADDRESSES, _NO_ADDRESSES, _NO_ADDRESSES, _NO_WORDS
)
"""No events, of no blocks."""


def joined(parts: Sequence[TransferLogs]) -> TransferLogs:
    """The events of all parts in the order of their blocks and indices, each once.

    Raises ``RPCMalformed`` if one is there twice, or a block has two hashes.
    """
    parts = [part for part in parts if part.blocks]
    if not parts:
        return NO_LOGS
    blocks: dict[int, str] = {}
    for part in parts:
        for number, block_hash in part.blocks.items():
            if blocks.setdefault(number, block_hash) != block_hash:
                raise RPCMalformed(_METHOD, f"two hashes of block {number}")
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in TransferLogs.__slots__[1:]]
    numbers, indices = columns[:2]
    # Mostly they are in order: then nothing is moved.
    places = numbers * (_INDEX_MAX + 1) + indices
    if (np.diff(places) <= 0).any():
        order = np.argsort(places)
        if not np.diff(places[order]).all():
            raise RPCMalformed(_METHOD, "the same log twice")
        columns = [column[order] for column in columns]
    return TransferLogs(blocks, *columns)


def transfer_logs(logs: Sequence[Log], watched: frozenset[str]) -> TransferLogs:
    """The logs that are ERC-20 transfers of watched tokens, by hand slicing, in the order they come in.

    Raises ``RPCMalformed`` for what is a transfer by its topic and is not written as one.
    """
    if not logs:
        return NO_LOGS
    try:
        blocks = _blocks(logs)
        ours = _transfers(logs, watched)
        return _columns(blocks, ours) if ours else replace(NO_LOGS, blocks=blocks)
    except ValueError as error:
        raise RPCMalformed(_METHOD, f"a log that is not hex: {error}") from error


def _blocks(logs: Sequence[Log]) -> dict[int, str]:
    """Number and hash of each block that any of the logs names."""
    named = set(zip([log.block_number for log in logs], [log.block_hash for log in logs], strict=True))
    blocks = {int(number, 16): block_hash for number, block_hash in named}
    if len(blocks) != len(named):
        raise RPCMalformed(_METHOD, "a block with two hashes")
    return blocks


def _transfers(logs: Sequence[Log], watched: frozenset[str]) -> Sequence[Log]:
    """Those that are transfers of watched tokens; an honest node gives no others."""
    topics = [log.topics for log in logs]
    if (
        [one.event for one in topics].count(TRANSFER_TOPIC) == len(logs)
        and {one.third for one in topics} == {""}
        and "" not in {one.second[:1] for one in topics}
        and {len(log.data) for log in logs} == {_WORD}
        and {log.address for log in logs} <= watched
    ):
        return logs
    # A node that ignores the filter, and ERC-721's Transfer, which has four topics:
    # neither is a transfer of our token.
    return [
        log
        for log in logs
        if log.topics.event == TRANSFER_TOPIC
        and not log.topics.third
        and log.topics.second
        and len(log.data) == _WORD
        and log.address.lower() in watched
    ]


def _columns(blocks: dict[int, str], logs: Sequence[Log]) -> TransferLogs:
    topics = [log.topics for log in logs]
    return TransferLogs(
        blocks,
        _integers([log.block_number for log in logs]),
        _integers([log.log_index for log in logs]),
        _words([log.transaction_hash for log in logs]),
        np.array([log.address.lower() for log in logs], f"S{_ADDRESS}"),
        _addresses([one.first for one in topics]),
        _addresses([one.second for one in topics]),
        _words([log.data for log in logs]),
    )


def _integers(texts: Sequence[str]) -> Integers:
    """Small numbers, most of which come again and again."""
    numbers = {text: int(text, 16) for text in set(texts)}
    if any(not text.startswith("0x") for text in numbers) or "".join(numbers).encode().translate(None, _HEX):
        raise RPCMalformed(_METHOD, "a number that is not lower-case hex")
    if not 0 <= min(numbers.values()) <= max(numbers.values()) <= _INDEX_MAX:
        raise RPCMalformed(_METHOD, "an index or block number that no chain has")
    return np.fromiter(map(numbers.__getitem__, texts), np.int64, len(texts))


def _words(texts: Sequence[str]) -> Texts:
    """32 bytes each as lower-case hex behind ``0x``."""
    if set(map(len, texts)) != {_WORD}:
        raise RPCMalformed(_METHOD, "a word that has not 32 bytes")
    column = "".join(texts).encode()
    words = np.frombuffer(column, f"S{_WORD}") if len(column) == _WORD * len(texts) else None
    # Each has one x, which stands behind its 0; so the rest is hex if there is nothing else.
    if (
        words is None
        or column.translate(None, _HEX)
        or column.count(b"x") != len(texts)
        or not (_characters(words)[:, :2] == _PADDING[:2]).all()
    ):
        raise RPCMalformed(_METHOD, "a word that is not lower-case hex")
    return words


def _addresses(texts: Sequence[str]) -> Texts:
    """The addresses that words are."""
    words = _characters(_words(texts))
    begin = len(_PADDING)
    if not (words[:, :begin] == _PADDING).all():
        raise RPCMalformed(_METHOD, "a topic that is no address")
    addresses = np.empty((len(words), _ADDRESS), np.uint8)
    addresses[:, :2] = _PADDING[:2]
    addresses[:, 2:] = words[:, begin:]
    return addresses.view(f"S{_ADDRESS}").reshape(-1)


def _characters(column: Texts) -> Bytes:
    """A column's characters, one row for each text; the same memory."""
    return column.view(np.uint8).reshape(len(column), column.itemsize)


def _digits_of_64_bits(values: NDArray[np.uint64]) -> Integers:
    powers = np.array([10**16, 10**12, 10**8, 10**4, 1], np.uint64)
    digits = values.astype(np.uint64)[:, None] // powers % np.uint64(10_000)
    return digits.astype(np.int64)


def _digits(words: Texts) -> Integers:
    """Digits of numbers of 256 bits, which only Python counts with: by way of their decimal text."""
    text = "".join([f"{int(word, 16):080}" for word in words.tolist()]).encode()
    decimal = np.frombuffer(text, np.uint8).reshape(len(words), -1, 4).astype(np.int64) - ord("0")
    digits: Integers = decimal @ np.array([1_000, 100, 10, 1])
    return digits
