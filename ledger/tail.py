"""Tail: the newest transfers in memory, while their tables have no index.

Every committed transfer of a segment that is not sealed yet is here, as columns
with an index from id to row; so a look-up, a walk or a query over the newest
rows costs no scan. The writer appends what it has committed, readers look from
other threads: what stands before ``count`` never changes, and the lock is held
only while something is looked up or moved.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns, empty_column
from ledger.draft_rows import TransferRow
from ledger.slot_map import ABSENT, SlotMap

I64 = npt.NDArray[np.int64]

RECENT_MAX = 256
"""So many single rows wait before they become columns together."""

_MASK64 = 2**64 - 1


class TailSegment:
    """The committed transfers of one segment, in order of timestamp."""

    def __init__(self, number: int, first_sequence: int, capacity: int = 1024) -> None:
        self.number = number
        self.first_sequence = first_sequence
        self.last_sequence = first_sequence - 1
        """Last batch that belongs here, with or without transfers."""
        self._lock = threading.Lock()
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._count = 0
        self._capacity = capacity
        self._recent: list[TransferRow] = []
        self._recent_ids: dict[int, int] = {}
        self._index = SlotMap(self, lambda self: self._columns["id"], capacity)

    def __len__(self) -> int:
        return self._count + len(self._recent)

    def append(self, columns: TransferColumns) -> None:
        """Add committed transfers, all younger than those before."""
        with self._lock:
            self._settle()
            self._append(columns)

    def append_rows(self, rows: Iterable[TransferRow]) -> None:
        """The same for few."""
        with self._lock:
            for row in rows:
                self._recent_ids[row.transfer.id] = len(self)
                self._recent.append(row)
            if len(self._recent) > RECENT_MAX:
                self._settle()

    def in_order(self) -> TailSegment:
        """This, if its transfers were appended in the order of their timestamps; else another one that is."""
        columns = self.columns()
        timestamps = columns["timestamp"]
        if is_ordered(timestamps):
            return self
        ordered = TailSegment(self.number, self.first_sequence, self._capacity)
        ordered.last_sequence = self.last_sequence
        ordered.append(columns.take(np.argsort(timestamps, kind="stable")))
        return ordered

    def columns(self) -> TransferColumns:
        """All transfers so far; what is appended later does not show."""
        with self._lock:
            self._settle()
            arrays = {name: values[: self._count] for name, values in self._columns.items()}
            return TransferColumns(self._count, arrays) if arrays else TransferColumns.empty()

    def find(self, ids: Sequence[int]) -> list[int]:
        """Rows of the transfers with these ids, ``ABSENT`` where there is none."""
        if not len(self):
            return [ABSENT] * len(ids)
        with self._lock:
            recent = self._recent_ids
            if not self._count:
                return [recent.get(i, ABSENT) for i in ids]
            if len(ids) <= 4:
                return [recent.get(i, ABSENT) if i in recent else self._index.get_one(i) for i in ids]
            low = np.array([i & _MASK64 for i in ids], np.uint64)
            high = np.array([i >> 64 for i in ids], np.uint64)
            rows = self._index.get(low, high).tolist()
            return [recent.get(i, row) for i, row in zip(ids, rows, strict=True)] if recent else rows

    @property
    def nbytes(self) -> int:
        """Memory of columns and index."""
        return sum(values.nbytes for values in self._columns.values()) + self._index.nbytes

    def _settle(self) -> None:
        if self._recent:
            rows, self._recent, self._recent_ids = self._recent, [], {}
            self._append(TransferColumns.from_rows(rows))

    def _append(self, columns: TransferColumns) -> None:
        count = len(columns)
        if not count:
            return
        if self._count + count > self._capacity:
            self._grow(max(2 * self._capacity, self._count + count))
        end = self._count + count
        for name, values in columns.arrays.items():
            mine = self._columns.get(name)
            if mine is None:
                mine = self._columns[name] = empty_column(name, self._capacity)
            mine[self._count : end] = values
        ids = columns["id"]
        slots = np.arange(self._count, end, dtype=np.int32)
        self._index.insert(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1]), slots)
        # Readers see the rows only now that all of them are in place.
        self._count = end

    def _grow(self, capacity: int) -> None:
        # Arrays that readers hold stay as they are; the new ones take over.
        for name, values in self._columns.items():
            grown = empty_column(name, capacity)
            grown[: self._count] = values[: self._count]
            self._columns[name] = grown
        self._capacity = capacity


class Tail:
    """The segments that are not sealed, oldest first; the last one is open."""

    def __init__(self, segments: Sequence[TailSegment]) -> None:
        self._segments: tuple[TailSegment, ...] = tuple(segments)

    @property
    def segments(self) -> tuple[TailSegment, ...]:
        """As of now; a reader keeps what it has taken."""
        return self._segments

    @property
    def open(self) -> TailSegment:
        """Where the next committed transfers go."""
        return self._segments[-1]

    def __len__(self) -> int:
        return sum(len(segment) for segment in self._segments)

    def begin(self, segment: TailSegment) -> None:
        """Open the next segment."""
        self._segments = (*self._segments, segment)

    def release(self, number: int) -> None:
        """Let go of a segment that is sealed: its rows are found in its table now."""
        self._segments = tuple(segment for segment in self._segments if segment.number != number)

    @property
    def nbytes(self) -> int:
        """Memory of all segments."""
        return sum(segment.nbytes for segment in self._segments)


def is_ordered(timestamps: I64) -> bool:
    """Whether timestamps rise from row to row."""
    return bool((timestamps[1:] > timestamps[:-1]).all())


def rows_between(timestamps: I64, oldest: int, newest: int) -> tuple[int, int]:
    """Where the rows of that time begin and end, both instants included, in rising timestamps.

    The bounds stay apart: one that is beyond 64 bits would make NumPy compare all
    of them as floating-point numbers, which cannot tell nanoseconds apart.
    """
    start, stop = timestamps.searchsorted(oldest), timestamps.searchsorted(newest, "right")
    return int(start), int(stop)
