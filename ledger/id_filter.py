"""Id filter: which ids are certainly new, so that a fresh id costs no query.

Holds a keyed 64-bit fingerprint of every id that the journal has ever seen
(transfers and failed ids), in chunks of two million. "No" is certain; "maybe" is
looked up in the journal. Ids made by clients are time-ordered, so most chunks
are ruled out by the range of their upper halves before any probe.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

CHUNK_IDS = 2_000_000
"""Ids in a chunk; its table is at most half full."""

_MASK64 = 2**64 - 1


@dataclass(slots=True)
class _Chunk:
    """An open-addressing table of fingerprints; 0 marks a free place."""

    bits: int
    table: U64 = field(init=False)
    count: int = 0
    high_min: int = _MASK64
    high_max: int = 0

    def __post_init__(self) -> None:
        self.table = np.zeros(1 << self.bits, np.uint64)

    def add(self, prints: U64, high: U64) -> None:
        self.count += len(prints)
        self.high_min = min(self.high_min, int(high.min()))
        self.high_max = max(self.high_max, int(high.max()))
        mask = np.uint64(len(self.table) - 1)
        at = prints & mask
        todo = np.arange(len(prints))
        while len(todo):
            place = at[todo]
            free = self.table[place] == 0
            self.table[place[free]] = prints[todo[free]]
            # Done are those that stand in the table now; the others were
            # displaced by another fingerprint and go on.
            todo = todo[self.table[place] != prints[todo]]
            at[todo] = (at[todo] + np.uint64(1)) & mask

    def may_contain(self, prints: U64) -> npt.NDArray[np.bool_]:
        hit: npt.NDArray[np.bool_]
        mask = np.uint64(len(self.table) - 1)
        at = prints & mask
        found = self.table[at]
        hit = found == prints
        todo = np.flatnonzero((found != 0) & ~hit)
        while len(todo):
            at[todo] = (at[todo] + np.uint64(1)) & mask
            found = self.table[at[todo]]
            hit[todo] = found == prints[todo]
            todo = todo[(found != 0) & (found != prints[todo])]
        return hit


class IDFilter:
    """Says of 128-bit ids whether the journal may know them."""

    def __init__(self) -> None:
        self._key_low = np.uint64(secrets.randbits(64) | 1)
        self._key_high = np.uint64(secrets.randbits(64) | 1)
        self._chunks: list[_Chunk] = [_Chunk(10)]

    def add(self, low: U64, high: U64) -> None:
        """Remember ids; adding one twice does no harm."""
        if not len(low):
            return
        chunk = self._chunks[-1]
        if 2 * (chunk.count + len(low)) > len(chunk.table):
            chunk = self._make_room(chunk.count + len(low), len(low))
        chunk.add(self._fingerprints(low, high), high)

    def may_contain(self, low: U64, high: U64) -> npt.NDArray[np.bool_]:
        """True where the journal may have the id, False where it certainly has not."""
        hit = np.zeros(len(low), bool)
        prints: U64 | None = None
        for chunk in self._chunks:
            near = (high >= np.uint64(chunk.high_min)) & (high <= np.uint64(chunk.high_max))
            if not near.any():
                continue
            if prints is None:
                prints = self._fingerprints(low, high)
            hit[near] |= chunk.may_contain(prints[near])
        return hit

    def may_contain_one(self, key: int) -> bool:
        """The same for one id."""
        low, high = np.array([key & _MASK64], np.uint64), np.array([key >> 64], np.uint64)
        return bool(self.may_contain(low, high)[0])

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return sum(chunk.table.nbytes for chunk in self._chunks)

    def _fingerprints(self, low: U64, high: U64) -> U64:
        h = low * self._key_low
        h ^= high * self._key_high
        h ^= h >> np.uint64(32)
        h *= np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
        h[h == 0] = 1
        return h

    def _make_room(self, wanted: int, adding: int) -> _Chunk:
        """Enlarge the newest chunk while it is small, else begin another."""
        old = self._chunks[-1]
        if wanted > CHUNK_IDS and old.count:
            chunk = _Chunk(max(2 * CHUNK_IDS, 2 * adding - 1).bit_length())
            self._chunks.append(chunk)
            return chunk
        # Fingerprints carry their own place, so a larger table is filled from the
        # smaller one; four times at once, so that growth is seldom.
        chunk = _Chunk((4 * wanted - 1).bit_length())
        used = old.table[old.table != 0]
        if len(used):
            chunk.add(used, np.array([old.high_min, old.high_max], np.uint64))
        chunk.count = old.count
        self._chunks[-1] = chunk
        return chunk
