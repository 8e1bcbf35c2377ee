"""Id filter: which ids are certainly new, so that a fresh id costs no query.

Holds a keyed 32-bit fingerprint of every id that the journal has ever seen
(transfers and failed ids), a chunk for each segment of the journal. "No" is
certain; "maybe" is looked up. Ids made by clients are time-ordered, so most
chunks are ruled out by the range of their upper halves before any probe; the
chunk of a sealed segment is stored with it, and read back only when an id falls
into its range.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]

CHUNK_IDS = 4096
"""Ids that a chunk has room for, unless more are expected; its table is at most half full."""

NO_SEGMENT = 0
"""Number of the chunks that belong to no segment: failed ids."""

_MASK64 = 2**64 - 1
_HEADER = struct.Struct("<QQI")
_CHUNK = struct.Struct("<IQQQ")

HEADER_SIZE = _HEADER.size + _CHUNK.size
"""So many bytes of a stored chunk say which ids it may hold."""


Key = tuple[int, int]
"""The two odd numbers that make a filter's hashes."""


@dataclass(slots=True)
class _Chunk:
    """An open-addressing table of fingerprints; 0 marks a free place."""

    segment: int
    bits: int
    key: Key
    """What its ids are hashed with; one that another engine has stored may have its own."""
    table: U32 = field(init=False)
    count: int = 0
    high_min: int = _MASK64
    high_max: int = 0
    fetch: Callable[[], bytes] | None = None
    """Reads the table of a sealed segment, when it is needed for the first time."""

    def __post_init__(self) -> None:
        self.table = np.zeros(0 if self.fetch else 1 << self.bits, np.uint32)

    def add(self, hashes: U64, high: U64) -> None:
        self.count += len(hashes)
        self.high_min = min(self.high_min, int(high.min()))
        self.high_max = max(self.high_max, int(high.max()))
        prints, at = _prints(hashes), _places(hashes, self.bits)
        mask = (1 << self.bits) - 1
        while len(at):
            free = np.flatnonzero(self.table.take(at) == 0)
            self.table[at.take(free)] = prints.take(free)
            # Done are those that stand in the table now; the others were
            # displaced by another fingerprint and go on.
            lost = np.flatnonzero(self.table.take(at) != prints)
            at, prints = (at.take(lost) + 1) & mask, prints.take(lost)

    def may_contain(self, hashes: U64) -> npt.NDArray[np.bool_]:
        if self.fetch is not None:
            self.table, self.fetch = np.frombuffer(self.fetch(), np.uint32), None
        hit: npt.NDArray[np.bool_]
        prints, at = _prints(hashes), _places(hashes, self.bits)
        mask = (1 << self.bits) - 1
        found = self.table[at]
        hit = found == prints
        todo = np.flatnonzero((found != 0) & ~hit)
        while len(todo):
            at[todo] = (at[todo] + 1) & mask
            found = self.table[at[todo]]
            hit[todo] = found == prints[todo]
            todo = todo[(found != 0) & (found != prints[todo])]
        return hit


def _hashes(low: U64, high: U64, key: Key) -> U64:
    h = low * np.uint64(key[0])
    h ^= high * np.uint64(key[1])
    h ^= h >> np.uint64(32)
    h *= np.uint64(0xD6E8FEB86659FD93)
    h ^= h >> np.uint64(32)
    return h


def _prints(hashes: U64) -> U32:
    prints = (hashes >> np.uint64(32)).astype(np.uint32)
    prints[prints == 0] = 1
    return prints


def _places(hashes: U64, bits: int) -> npt.NDArray[np.int64]:
    return (hashes & np.uint64((1 << bits) - 1)).astype(np.int64)


class IDFilter:
    """Says of 128-bit ids whether the journal may know them."""

    def __init__(self, key: Key | None = None) -> None:
        self._key = key or (secrets.randbits(64) | 1, secrets.randbits(64) | 1)
        self._chunks: list[_Chunk] = []
        self._segment = NO_SEGMENT
        self._expected = CHUNK_IDS

    def begin(self, segment: int, expected: int = CHUNK_IDS) -> None:
        """Ids that are added from now on belong to this segment; about so many are expected."""
        self._segment, self._expected = segment, max(expected, 1)

    def add(self, low: U64, high: U64) -> None:
        """Remember ids; adding one twice does no harm."""
        for start in range(0, len(low), self._expected):
            part = slice(start, start + self._expected)
            self._room(len(low[part])).add(_hashes(low[part], high[part], self._key), high[part])

    def may_contain(self, low: U64, high: U64) -> npt.NDArray[np.bool_]:
        """True where the journal may have the id, False where it certainly has not."""
        hit = np.zeros(len(low), bool)
        hashes: U64 | None = None
        for chunk in self._chunks:
            near = (high >= np.uint64(chunk.high_min)) & (high <= np.uint64(chunk.high_max))
            if not near.any():
                continue
            if chunk.key != self._key:
                hit[near] |= chunk.may_contain(_hashes(low[near], high[near], chunk.key))
                continue
            if hashes is None:
                hashes = _hashes(low, high, self._key)
            hit[near] |= chunk.may_contain(hashes[near])
        return hit

    def may_contain_one(self, key: int) -> bool:
        """The same for one id."""
        low, high = np.array([key & _MASK64], np.uint64), np.array([key >> 64], np.uint64)
        return bool(self.may_contain(low, high)[0])

    def dump(self, segment: int) -> list[bytes]:
        """The chunks of a segment that takes no more ids, as they are stored."""
        return [
            _HEADER.pack(*chunk.key, segment)
            + _CHUNK.pack(chunk.bits, chunk.count, chunk.high_min, chunk.high_max)
            + chunk.table.tobytes()
            for chunk in self._chunks
            if chunk.segment == segment and chunk.fetch is None
        ]

    def add_stored(self, header: bytes, fetch: Callable[[], bytes]) -> None:
        """Take over a stored chunk: its first ``HEADER_SIZE`` bytes, and what reads all of them."""
        segment = _HEADER.unpack_from(header)[2]
        bits, count, high_min, high_max = _CHUNK.unpack_from(header, _HEADER.size)
        key = stored_key(header)
        chunk = _Chunk(segment, bits, key, count, high_min, high_max, lambda: fetch()[HEADER_SIZE:])
        self._chunks.insert(0, chunk)

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return sum(chunk.table.nbytes for chunk in self._chunks)

    def _room(self, adding: int) -> _Chunk:
        for chunk in self._chunks[-1:]:
            if chunk.segment == self._segment and 2 * (chunk.count + adding) <= len(chunk.table):
                return chunk
        chunk = _Chunk(self._segment, max(2 * self._expected - 1, 1).bit_length(), self._key)
        self._chunks.append(chunk)
        return chunk


def stored_key(header: bytes) -> tuple[int, int]:
    """The key that a stored chunk was made with; all chunks of one filter share it."""
    low, high, _ = _HEADER.unpack_from(header)
    return low, high


def stored_range(header: bytes) -> tuple[int, int]:
    """The lowest and the highest upper half of a stored chunk's ids."""
    _, _, low, high = _CHUNK.unpack_from(header, _HEADER.size)
    return low, high
