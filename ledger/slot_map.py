"""Slot map: a 128-bit id to its slot, a whole batch at a time.

Open addressing with linear probing in one NumPy array, at most half full. An entry
is a slot; the ids themselves stand once, where the owner keeps them by slot, and are
compared there. So an id takes 8 to 16 bytes here, where a Python dict of ids takes
200. A probe round handles every id of the batch that has not found its place yet, so
a batch of thousands takes a handful of rounds. The hash is keyed with random
multipliers, since ids come from clients, who must not be able to choose colliding
ones.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

ABSENT = -1
"""What ``get`` answers for an id that is not there."""

_MASK64 = 2**64 - 1
_MIXER = 0x9E3779B97F4A7C15


class SlotMap:
    """Maps 128-bit ids, as arrays of low and high halves, to slots.

    ``keys`` gives the owner's ids by slot, as rows of low and high; a slot's row is there
    before the slot is inserted, and does not change afterwards. The owner is not held:
    both, with all their memory, would else stay until the garbage collector comes by,
    and for ever once it has been told to keep what is there (``gc.freeze``).
    """

    def __init__(self, owner: object, keys: Callable[[Any], U64], capacity: int = 1024) -> None:
        self._owner = weakref.ref(owner)
        self._keys_of = keys
        self._multiplier_low = secrets.randbits(64) | 1
        self._multiplier_high = secrets.randbits(64) | 1
        self.count = 0
        self._allocate(max(4, (2 * capacity - 1).bit_length()))

    def _allocate(self, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._entries = np.zeros(1 << bits, np.int32)
        """Slot + 1; 0 marks a free place, and so a place that was never used takes no memory."""

    def _keys(self) -> U64:
        return self._keys_of(self._owner())

    def _home(self, low: U64, high: U64) -> I64:
        """Where each id is looked for first."""
        h = low * np.uint64(self._multiplier_low)
        h ^= high * np.uint64(self._multiplier_high)
        h ^= h >> np.uint64(32)
        h *= np.uint64(_MIXER)
        h >>= np.uint64(64 - self._bits)
        return h.view(np.int64)

    def get(self, low: U64, high: U64) -> I32:
        """Slot of each id, ``ABSENT`` where there is none."""
        if not self.count:
            return np.full(len(low), ABSENT, np.int32)
        at, keys = self._home(low, high), self._keys()
        slots = self._entries.take(at) - np.int32(1)
        others = np.flatnonzero(_differ(keys, slots, low, high))
        at = at.take(others)
        while len(others):
            at = (at + 1) & self._mask
            found = self._entries.take(at) - np.int32(1)
            slots[others] = found
            still = np.flatnonzero(_differ(keys, found, low.take(others), high.take(others)))
            at, others = at.take(still), others.take(still)
        return slots

    def insert(self, low: U64, high: U64, slots: I32) -> None:
        """Add ids that are not there yet and differ from each other."""
        self.reserve(self.count + len(low))
        self._enter(self._home(low, high), slots)
        self.count += len(low)

    def _enter(self, at: I64, slots: I32) -> None:
        entries = slots + np.int32(1)
        while len(at):
            free = np.flatnonzero(self._entries.take(at) == 0)
            # Of several ids that claim one place the last one written wins; the
            # others see its entry there and go on.
            self._entries[at.take(free)] = entries.take(free)
            lost = np.flatnonzero(self._entries.take(at) != entries)
            at, entries = (at.take(lost) + 1) & self._mask, entries.take(lost)

    def get_one(self, key: int) -> int:
        """Slot of one id, ``ABSENT`` if there is none."""
        if not self.count:
            return ABSENT
        low, high = key & _MASK64, key >> 64
        h = (low * self._multiplier_low & _MASK64) ^ (high * self._multiplier_high & _MASK64)
        h ^= h >> 32
        at = (h * _MIXER & _MASK64) >> (64 - self._bits)
        keys = self._keys()
        while True:
            slot = int(self._entries[at]) - 1
            if slot < 0:
                return ABSENT
            if int(keys[slot, 0]) == low and int(keys[slot, 1]) == high:
                return slot
            at = (at + 1) & self._mask

    def reserve(self, count: int) -> None:
        """Make room, so that ``count`` ids fill at most half of it."""
        if 2 * count <= 1 << self._bits:
            return
        slots = self._entries[self._entries != 0] - np.int32(1)
        self._allocate((2 * count - 1).bit_length())
        if len(slots):
            keys = self._keys().take(slots, axis=0)
            self._enter(self._home(keys[:, 0], keys[:, 1]), slots)

    @property
    def nbytes(self) -> int:
        """Memory of the entries."""
        return self._entries.nbytes


def _differ(keys: U64, slots: I32, low: U64, high: U64) -> npt.NDArray[np.bool_]:
    """Where another id is in the slot that was found; a free place holds none."""
    found = keys.take(slots, axis=0, mode="clip")
    differ: npt.NDArray[np.bool_] = found[:, 0] != low
    differ |= found[:, 1] != high
    differ &= slots != ABSENT
    return differ
