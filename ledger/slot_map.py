"""Slot map: a 128-bit id to its slot, a whole batch at a time.

Open addressing with linear probing in three NumPy arrays, at most half full: 40
bytes an id, where a Python dict costs five times that. A probe round handles
every id of the batch that has not found its place yet, so a batch of thousands
takes a handful of rounds. The hash is keyed with random multipliers, since ids
come from clients, who must not be able to choose colliding ones.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

ABSENT = -1
"""What ``get`` answers for an id that is not there."""

_MASK64 = 2**64 - 1


class SlotMap:
    """Maps 128-bit ids, as arrays of low and high halves, to slots."""

    def __init__(self, capacity: int = 1024) -> None:
        self._multiplier_low = secrets.randbits(64) | 1
        self._multiplier_high = secrets.randbits(64) | 1
        self.count = 0
        self._allocate(max(4, (2 * capacity - 1).bit_length()))

    def _allocate(self, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._low = np.zeros(1 << bits, np.uint64)
        self._high = np.zeros(1 << bits, np.uint64)
        self._slot = np.full(1 << bits, ABSENT, np.int32)

    def _home(self, low: U64, high: U64) -> I64:
        h = low * np.uint64(self._multiplier_low)
        h ^= high * np.uint64(self._multiplier_high)
        h ^= h >> np.uint64(32)
        h *= np.uint64(0x9E3779B97F4A7C15)
        return (h >> np.uint64(64 - self._bits)).astype(np.int64)

    def get(self, low: U64, high: U64) -> I32:
        """Slot of each id, ``ABSENT`` where there is none."""
        at = self._home(low, high)
        slot = self._slot[at]
        wrong = np.flatnonzero((slot != ABSENT) & ((self._low[at] != low) | (self._high[at] != high)))
        while len(wrong):
            place = (at[wrong] + 1) & self._mask
            at[wrong] = place
            found = self._slot[place]
            slot[wrong] = found
            still = (found != ABSENT) & (
                (self._low[place] != low[wrong]) | (self._high[place] != high[wrong])
            )
            wrong = wrong[still]
        return slot

    def insert(self, low: U64, high: U64, slots: I32) -> None:
        """Add ids that are not there yet and differ from each other."""
        self.reserve(self.count + len(low))
        at = self._home(low, high)
        todo = np.arange(len(low))
        while len(todo):
            place = at[todo]
            free = self._slot[place] == ABSENT
            claimants, claimed = todo[free], place[free]
            # Of several ids that claim one place the last one written wins; the
            # others see another slot there and go on.
            self._slot[claimed] = slots[claimants]
            won = self._slot[claimed] == slots[claimants]
            winners, places = claimants[won], claimed[won]
            self._low[places], self._high[places] = low[winners], high[winners]
            lost = np.ones(len(todo), bool)
            lost[np.flatnonzero(free)[won]] = False
            todo = todo[lost]
            at[todo] = (at[todo] + 1) & self._mask
        self.count += len(low)

    def get_one(self, key: int) -> int:
        """Slot of one id, ``ABSENT`` if there is none."""
        low, high = key & _MASK64, key >> 64
        h = (low * self._multiplier_low & _MASK64) ^ (high * self._multiplier_high & _MASK64)
        h ^= h >> 32
        at = (h * 0x9E3779B97F4A7C15 & _MASK64) >> (64 - self._bits)
        while True:
            slot = int(self._slot[at])
            if slot == ABSENT or (int(self._low[at]) == low and int(self._high[at]) == high):
                return slot
            at = (at + 1) & self._mask

    def reserve(self, count: int) -> None:
        """Make room, so that ``count`` ids fill at most half of it."""
        if 2 * count <= 1 << self._bits:
            return
        used = np.flatnonzero(self._slot != ABSENT)
        low, high, slots = self._low[used], self._high[used], self._slot[used]
        self._allocate((2 * count - 1).bit_length())
        self.count = 0
        self.insert(low, high, slots)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self._low.nbytes + self._high.nbytes + self._slot.nbytes
