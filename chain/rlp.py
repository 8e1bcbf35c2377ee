"""RLP: the encoding in which Ethereum hashes and carries its structures.

A string of bytes or a list of items, each prefixed by its length; numbers are
big-endian without leading zeros. Encoding only: nothing here decodes RLP.
"""

from __future__ import annotations

from collections.abc import Sequence

Item = int | bytes | Sequence["Item"]
"""What can be encoded."""

SHORT_MAX = 55
"""Longest payload whose length fits the prefix itself."""


def encode(item: Item) -> bytes:
    """The encoding of a number, of bytes, or of a list of items."""
    if isinstance(item, int):
        return encode(item.to_bytes((item.bit_length() + 7) // 8, "big"))
    if isinstance(item, bytes):
        # A single byte below 0x80 is its own encoding; zero is the empty string.
        return item if len(item) == 1 and item[0] < 0x80 else _prefix(0x80, len(item)) + item
    payload = b"".join(encode(part) for part in item)
    return _prefix(0xC0, len(payload)) + payload


def _prefix(base: int, length: int) -> bytes:
    if length <= SHORT_MAX:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + SHORT_MAX + len(size)]) + size
